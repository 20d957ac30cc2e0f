"""Model repositories on the hub: their files, of one commit, through huggingface_hub's cache.

Nothing here looks into a file; `artifacts.py` verifies what it gets.
"""

import errno
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from img2prompt.core.errors import UserError
from img2prompt.core.transfers import API_BYTES, limited

COMMIT = re.compile(r"[0-9a-f]{40}")
ENTRY_BYTES = 2**22  # of the file that says how large the others are
SHORT = 12  # digits of a commit in a sentence
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"


class HubRepository:
    """A model repository at the one commit that its revision led to when this was made.

    Args:
        repo: `user/name`.
        entry: the file that is fetched first, and whose commit all others are fetched at.
        revision: a branch, a tag or a commit; unset, the main branch. A commit that the cache
            knows needs no network; a branch without network is what the cache last saw of it.
        endpoint: the hub's address; unset, huggingface_hub's (HF_ENDPOINT).
        cache: the folder of downloads; unset, huggingface_hub's (HF_HUB_CACHE, HF_HOME).

    Attributes:
        commit: 40 hexadecimal digits.

    Raises:
        UserError: not a repository's name or a revision's, no such repository, revision or file,
            no right to read it, or neither network nor cache.
    """

    def __init__(
        self,
        repo: str,
        entry: str,
        revision: str | None = None,
        *,
        endpoint: str | None = None,
        cache: Path | None = None,
    ) -> None:
        check_repo_id(repo)
        if revision is not None:
            check_revision(revision)
        self.repo = repo
        self._endpoint = endpoint
        self._cache = cache
        self._offline = False
        self.commit = revision or "main"
        if not COMMIT.fullmatch(self.commit) or not self._is_cached(entry):
            self._ask(revision, entry)
        # The snapshots of the cache lie in folders named like their commits. From here on the
        # branch may move: every further file is asked for by commit.
        self.commit = self.fetch(entry).parent.name

    def __str__(self) -> str:
        return f"{self.repo} at {shortened(self.commit)}"

    def fetch(self, name: str, again: bool = False, most: int = ENTRY_BYTES) -> Path:
        """A file of the repository on this machine; downloaded where the cache lacks it.

        Args:
            name: its path in the repository.
            again: download it even so, in the place of what the cache holds.
            most: bytes that it may have; a server that sends more is cut off.

        Raises:
            UserError: it cannot be had.
        """
        from huggingface_hub import hf_hub_download

        if again and self._offline:
            raise UserError(_unreachable(self.repo, self.commit, name, again))
        file = f"{name} of {self.repo} at {shortened(self.commit)}"
        with explained(self.repo, self.commit, name, again), limited(file, most):
            return Path(
                hf_hub_download(
                    self.repo,
                    name,
                    revision=self.commit,
                    cache_dir=self._cache,
                    endpoint=self._endpoint,
                    local_files_only=self._offline,
                    force_download=again,
                )
            )

    def _is_cached(self, name: str) -> bool:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(self.repo, name, cache_dir=self._cache, revision=self.commit)
        return isinstance(found, str)

    def _ask(self, revision: str | None, entry: str) -> None:
        """Whether the revision is there; switches to the cache where the hub cannot be reached.

        The download itself would tell too, but tries for half a minute to reach the hub.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

        answer = f"the hub's answer about {self.repo}"
        with explained(self.repo, revision, entry), limited(answer, API_BYTES):
            try:
                HfApi(endpoint=self._endpoint).model_info(self.repo, revision=revision)
            except HfHubHTTPError as error:
                if error.response.status_code < 500:
                    raise
                self._offline = True
            except (HTTPError, OfflineModeIsEnabled):
                self._offline = True


def is_repo_id(name: object) -> bool:
    """Whether a text has the form `user/name` that the hub takes; existing or not."""
    if not isinstance(name, str) or name.count("/") != 1:
        return False
    from huggingface_hub.errors import HFValidationError  # takes a second, a plain name none
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def check_repo_id(name: str) -> None:
    """Raise :class:`UserError` unless `is_repo_id`."""
    if not is_repo_id(name):
        raise UserError(
            f"{name!r} is not a repository's name on the hub; it has the form user/name, of "
            "letters, digits, '-', '_' and '.'."
        )


def check_revision(name: str) -> None:
    """Raise :class:`UserError` unless git could take `name` for a branch, tag or commit."""
    # The client keeps what a branch meant in a file of its name.
    if not re.fullmatch(r"[^\s\\~^:?*\[\x00-\x1f]+", name) or ".." in name or name[0] in "/-.":
        raise UserError(f"{name!r} is not a revision; name a branch, a tag or a commit.")


@contextmanager
def explained(repo: str, revision: str | None, name: str, again: bool = False) -> Iterator[None]:
    """Turn what reading from the hub can raise into a :class:`UserError`."""
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    except errors.GatedRepoError:
        raise UserError(
            f"{repo} is gated: ask for access on its page of the hub, and {LOG_IN}."
        ) from None
    except errors.RepositoryNotFoundError:
        raise UserError(
            f"There is no model {repo} on the hub (nor a folder), or it is private; "
            f"check the name, or {LOG_IN}."
        ) from None
    except errors.RevisionNotFoundError:
        raise UserError(
            f"{repo} has no revision {shortened(revision)}; name a branch, a tag or a commit of it."
        ) from None
    except errors.RemoteEntryNotFoundError:
        raise UserError(
            f"{repo} at {shortened(revision)} holds no {name}, so it is not what "
            "scripts/publish.py wrote; name another repository or revision."
        ) from None
    # RuntimeError is what hf_xet raises; ValueError, a download that had to be repeated and failed.
    except (errors.HTTPError, OSError, ValueError, RuntimeError) as error:
        # The client wraps what it met where it also looked into its cache.
        if isinstance(error, json.JSONDecodeError):
            raise UserError(
                f"What answers for {repo} is not the hub; look at the network and at HF_ENDPOINT."
            ) from None
        met = error if isinstance(error, errors.HfHubHTTPError) else error.__cause__
        if isinstance(met, errors.HfHubHTTPError):
            raise UserError(told_status(met.response.status_code, repo, "read")) from None
        disk = isinstance(error, OSError) and (error.filename or error.errno == errno.ENOSPC)
        if disk or (isinstance(error, ValueError) and met is None):  # not the hub's fault
            raise
        raise UserError(_unreachable(repo, revision, name, again)) from None


def told_status(status: int, repo: str, what: str) -> str:
    """The sentence for an HTTP error status of the hub, when asked to `read` or `write`."""
    if status == 401:
        return f"The hub does not take your token; {LOG_IN}."
    if status == 403:
        return f"Your token may not {what} {repo}; {LOG_IN}, as somebody who may."
    if status == 429:
        return "The hub has had too many requests from here; wait some minutes and try again."
    return f"The hub answers {status} for {repo}; try again later."


def shortened(revision: str | None) -> str:
    """A revision in a sentence: a commit by its first digits."""
    revision = revision or "main"
    return revision[:SHORT] if COMMIT.fullmatch(revision) else revision


def _unreachable(repo: str, revision: str | None, name: str, damaged: bool) -> str:
    file = f"{name} of {repo} at {shortened(revision)}"
    cache = f"the cached {file} is damaged (SHA-256 differs)"
    return (
        f"The hub cannot be reached or broke off, and "
        f"{cache if damaged else f'the cache lacks {file}'}; "
        "try again with a network (and without HF_HUB_OFFLINE)."
    )
