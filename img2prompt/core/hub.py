"""The client of the Hugging Face hub: a repository at one commit, further tries, and its errors.

Nothing here looks into a file; `artifacts.py` verifies what it gets.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.transfers import API_BYTES, limited

MAIN = "main"  # the branch where none is named
COMMIT = re.compile(r"[0-9a-f]{40}")
SHORT = 12  # digits of a commit in a sentence
ENTRY_BYTES = 2**22  # of the file that says how large the others are

# Seconds before each further try, or longer if a 429 asks for that; counted anew after progress.
WAITS = (1, 2, 4, 8, 16)
LONGEST_WAIT = 310  # seconds: a window of the hub's limits, 300, and a little; longer is told
_PASSING = (408, 429, 500, 502, 503, 504)  # statuses that another try may not meet
_STATUSES = {
    **{401: "token", 403: "forbidden", 404: "no_file", 410: "no_file"},
    **{412: "moved", 429: "busy"},
}
# The sentences by what was asked for and what went wrong; no entry: it is not the hub's fault.
_ALWAYS = {key: key for key in ("gated", "no_revision", "token", "busy")}
_SENTENCES = {
    "model": _ALWAYS
    | {"no_repository": "no_model", "no_file": "no_model_file", "forbidden": "may_not_read"}
    | dict.fromkeys(("moved", "status"), "status")
    | dict.fromkeys(("offline", "unreachable", "failed"), "not_cached"),
    "data": _ALWAYS
    | {"no_file": "no_file", "busy": "busy_goes_on", "offline": "offline"}
    | dict.fromkeys(("gated", "no_repository", "token", "forbidden"), "refuses")
    | dict.fromkeys(("moved", "status"), "fault")
    | {"unreachable": "unreachable"},
    "publish": _ALWAYS
    | {"moved": "moved", "failed": "upload_failed", "refused": "refused"}
    | dict.fromkeys(("gated", "no_repository", "forbidden"), "may_not_write")
    | dict.fromkeys(("no_revision", "no_file", "status"), "not_confirmed")
    | dict.fromkeys(("offline", "unreachable"), "broke_off"),
}
T = TypeVar("T")


@dataclass(frozen=True)
class Asked:
    """What is asked of the hub, as error sentences name it.

    Attributes:
        repo: `user/name`.
        name: of a file in it, or of what else is asked for in the words of a locale.
        revision: a branch, a tag or a commit; unset, the main branch.
        purpose: what for: a `model` to read, `data` to read, or to `publish`.
    """

    repo: str
    name: str | UserError
    revision: str | None = None
    purpose: Literal["model", "data", "publish"] = "model"

    @property
    def file(self) -> UserError:
        """The file with its repository and commit, as part of another sentence."""
        revision = shortened(self.revision)
        return UserError("hub.file_of", name=self.name, repo=self.repo, revision=revision)


class HubRepository:
    """A model repository at the one commit that its revision led to when this was made.

    Its files come through huggingface_hub's cache.

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
        self.commit = revision or MAIN
        if not COMMIT.fullmatch(self.commit) or not self._is_cached(entry):
            self._ask(entry)
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

        asked = Asked(self.repo, name, self.commit)
        if again and self._offline:
            raise _told("damaged", asked)
        with explained(asked, damaged=again), limited(asked.file, most):
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

    def _ask(self, entry: str) -> None:
        """Whether the revision is there; switches to the cache where the hub cannot be reached.

        The download itself would tell too, but tries for half a minute to reach the hub.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

        with explained(Asked(self.repo, entry, self.commit)), understood(self.repo):
            try:
                HfApi(endpoint=self._endpoint).model_info(self.repo, revision=self.commit)
            except (HTTPError, OfflineModeIsEnabled) as error:
                if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                    raise
                self._offline = True


def dataset_commit(repo: str, revision: str, endpoint: str | None = None) -> str:
    """The commit, 40 hexadecimal digits, that a revision of a data set names now.

    Args:
        repo: `user/name`.
        revision: a branch, a tag or a commit.
        endpoint: the hub's address; unset, huggingface_hub's (HF_ENDPOINT).

    Raises:
        UserError: no such revision, no access, or no network.
    """
    if COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    api, asked = (
        HfApi(endpoint=endpoint),
        Asked(repo, UserError("hub.repository"), revision, "data"),
    )
    with understood(repo):
        info = retried(
            lambda: api.dataset_info(repo, revision=revision, timeout=30), asked, tries=2
        )
    commit = info.sha or ""
    if not COMMIT.fullmatch(commit):  # it becomes a folder's name here
        raise UserError("hub.no_commit", repo=repo, revision=revision)
    return commit


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
        raise UserError("hub.repo_name", name=name)


def check_revision(name: str) -> None:
    """Raise :class:`UserError` unless git could take `name` for a branch, tag or commit."""
    # The client keeps what a branch meant in a file of its name.
    if not re.fullmatch(r"[^\s\\~^:?*\[\x00-\x1f]+", name) or ".." in name or name[0] in "/-.":
        raise UserError("hub.revision_name", name=name)


def shortened(revision: str | None) -> str:
    """A revision in a sentence: a commit by its first digits."""
    revision = revision or MAIN
    return revision[:SHORT] if COMMIT.fullmatch(revision) else revision


# --- what can go wrong ----------------------------------------------------------------------------


def condition(error: BaseException) -> str | None:
    """What went wrong at the hub; None for a fault of this machine, such as a full disk.

    Returns:
        A key of `_SENTENCES`' tables, such as `no_revision`.
    """
    from huggingface_hub import errors

    met = _met(error)
    if isinstance(met, errors.GatedRepoError):
        return "gated"
    if isinstance(met, errors.RepositoryNotFoundError):
        return "no_repository"
    if isinstance(met, errors.RevisionNotFoundError):
        return "no_revision"
    if isinstance(met, errors.HfHubHTTPError):
        return _STATUSES.get(met.response.status_code, "status")
    if isinstance(met, errors.OfflineModeIsEnabled):
        return "offline"
    if isinstance(met, OSError) and not isinstance(met, ConnectionError):
        if met.filename is not None or met.errno is not None:
            return None
        missing = isinstance(met, FileNotFoundError)
        missing = missing and not isinstance(met, errors.LocalEntryNotFoundError)
        return "no_file" if missing else "unreachable"
    if isinstance(met, errors.HTTPError | OSError):
        return "unreachable"
    return "failed" if isinstance(met, RuntimeError) else "refused"


def failure(error: BaseException, asked: Asked, damaged: bool = False) -> UserError | None:
    """The sentence for what the hub's client raised; None where it is not about the hub.

    Args:
        error: raised by huggingface_hub, or by a transfer from the hub.
        asked: what for.
        damaged: whether the cache has the file, but not as it should be.

    Returns:
        A :class:`SharedFailureError` where further files of a data set would meet it too.
    """
    from huggingface_hub.errors import HfHubHTTPError

    found, met = condition(error), _met(error)
    key = _SENTENCES[asked.purpose].get(found or "")
    if key is None:
        return None
    answered = isinstance(met, HfHubHTTPError)
    status = f"{met.response.status_code}" if answered else ""
    said = _quoted(met.server_message if answered else met.__cause__ or met)
    key = "damaged" if damaged and key == "not_cached" else key
    return _told(key, asked, status=status, status_note=_quoted(status), said=said)


def _told(key: str, asked: Asked, **values: str) -> UserError:
    kind = SharedFailureError if asked.purpose == "data" and key != "no_file" else UserError
    revision = shortened(asked.revision)
    return kind(f"hub.{key}", repo=asked.repo, name=asked.name, revision=revision, **values)


def _quoted(said: object) -> str:
    """What the hub or its client says, for the middle of a sentence: ` (…)`, or nothing."""
    text = " ".join(str(said or "").split()).rstrip(".")
    return f" ({text})" if text else ""


def _met(error: BaseException) -> Any:
    """What was met where the client wrapped it, after a look into its cache or from a thread."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    cause = error.__cause__
    wrapped = not isinstance(error, HfHubHTTPError) and isinstance(cause, HTTPError | OSError)
    return cause if wrapped else error


@contextlib.contextmanager
def explained(asked: Asked, damaged: bool = False) -> Iterator[None]:
    """Turn what the hub's client can raise into a :class:`UserError`, as `failure` tells it."""
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except UserError:
        raise
    # RuntimeError: from hf_xet or an upload's thread. ValueError: a download that had to be
    # repeated and failed, or what the hub says of the content.
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        told = failure(error, asked, damaged)
        if told is None:
            raise
        raise told from error


@contextlib.contextmanager
def understood(repo: str) -> Iterator[None]:
    """Tell of an answer about a repository that is too long or is not the hub's, but a web page."""
    from huggingface_hub.errors import HTTPError

    try:
        with limited(UserError("hub.answer_about", repo=repo), API_BYTES):
            yield
    except (UserError, HTTPError):
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UserError("hub.not_hub", name=repo) from None


def retried(
    call: Callable[[], T],
    asked: Asked,
    tries: int | None = None,
    progress: Callable[[], int] = lambda: 0,
) -> T:
    """`call()`, again after what may pass by itself, such as a busy hub or a lost connection.

    Args:
        call: a transfer.
        asked: what for.
        tries: further tries, at most as many as `WAITS`; unset, all of them.
        progress: what the call has achieved; whenever it has grown, tries are counted anew.

    Raises:
        UserError: it does not pass.
        OSError: of this machine, such as a full disk.
    """
    from huggingface_hub.errors import HTTPError

    waits = WAITS[:tries]
    done, failures = progress(), 0
    while True:
        try:
            return call()
        except (HTTPError, OSError) as error:
            told = failure(error, asked)
            if told is None:
                raise
            if progress() > done:
                done, failures = progress(), 0
            wait = _wait_of(error)
            if wait is None or wait > LONGEST_WAIT or failures == len(waits):
                raise told from error
            time.sleep(max(wait, waits[failures]))
            failures += 1


def _wait_of(error: Exception) -> float | None:
    """Seconds to wait at least before another try; None where none would help."""
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import parse_ratelimit_headers

    met = _met(error)
    if not isinstance(met, HfHubHTTPError):
        return 0.0 if condition(met) == "unreachable" else None
    status, headers = met.response.status_code, met.response.headers
    if status not in _PASSING:
        return None
    # The hub's own header goes before the general one, as in its client.
    limit = parse_ratelimit_headers(headers) if status == 429 else None
    if limit is not None:
        return limit.reset_in_seconds + 1.0
    asked = headers.get("Retry-After", "")
    return float(asked) if asked.isdigit() else 0.0
