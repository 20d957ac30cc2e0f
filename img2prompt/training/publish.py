"""Artifacts → a model repository on the hub, in one commit, so that nobody sees half of it.

What is pushed is what a manifest lists, each file after its checksum held, the manifest, and the
model card with the documents that it links to. `artifacts.load("user/name")` reads it back.
"""

import os
import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from img2prompt.core.errors import UserError
from img2prompt.core.hub import COMMIT, LOG_IN, check_repo_id, check_revision, told_status
from img2prompt.inference.artifacts import ASSETS, MANIFEST, Assets

CARD = "MODEL_CARD.md"
HUB_CARD = "README.md"  # where the hub looks for a model card
MAIN = "main"
MESSAGE = "Publish {presets}"
# The hub's metadata of every model of this kind; what a card says itself goes before it.
METADATA = {
    "library_name": "keras",
    "pipeline_tag": "image-to-text",
    "tags": ["img2prompt", "image-to-text", "word2vec", "stable-diffusion", "education"],
}
# And of the models that ship; of others only their authors know.
OUR_METADATA = {"license": "mit", "datasets": ["poloclub/diffusiondb"]}

# Markdown's inline links and pictures, its link definitions, and HTML's; code, which may look like
# them, is passed over.
_LINKS = re.compile(
    r"""^\ {0,3}(?P<fence>```+|~~~+)[\s\S]*?(?:^\ {0,3}(?P=fence)|\Z) | (?P<tick>`+)[^`]+?(?P=tick)
        | (?P<head>\]\(\s*<? | ^\ {0,3}\[[^\]\n]+\]:\s*<? | \b(?:src|href)=["'])
          (?P<target>[^\s<>()"']+)""",
    re.VERBOSE | re.MULTILINE,
)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|/|#", re.IGNORECASE)


@dataclass(frozen=True)
class Upload:
    """One file of a publication: its path in the repository, and a local file or its bytes."""

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True)
class Plan:
    """What is to be pushed, and where.

    Attributes:
        repo: `user/name`.
        branch: the branch that gets the commit; made if it is not there.
        private: whether the repository has to be private.
        message: the commit's.
        uploads: the files in the order of their names; checksums have held.
    """

    repo: str
    branch: str
    private: bool
    message: str
    uploads: tuple[Upload, ...]

    @property
    def size(self) -> int:
        """Of all files, in bytes."""
        return sum(upload.size for upload in self.uploads)


@dataclass(frozen=True)
class Publication:
    """What became of a plan.

    Attributes:
        commit: the commit that holds the files, 40 hexadecimal digits.
        url: its page.
        changed: False where the branch held exactly these files before, and nothing was sent.
        line: the Python line that loads exactly this.
    """

    repo: str
    commit: str
    url: str
    changed: bool

    @property
    def line(self) -> str:
        return f'img2prompt.load("{self.repo}", revision="{self.commit}")'


def plan_publication(
    repo: str,
    folder: str | os.PathLike | None = None,
    *,
    card: str | os.PathLike | None = None,
    private: bool = False,
    branch: str | None = None,
    message: str | None = None,
) -> Plan:
    """Collect and verify what would be pushed; sends nothing.

    Args:
        repo: `user/name`.
        folder: artifacts with a manifest; unset, `assets/` of the checkout.
        card: the model card; unset, `MODEL_CARD.md` of the folder, or of the checkout for its
            own `assets/`.
        private: whether the repository has to be private.
        branch: unset, `main`.
        message: of the commit; unset, one that names the presets.

    Raises:
        UserError: a name that is none, a folder without a manifest, a file that is missing or
            changed, no model in it, no card, or a card with a link to what cannot be shipped.
    """
    check_repo_id(repo)
    branch = MAIN if branch is None else branch
    check_revision(branch)
    if COMMIT.fullmatch(branch):
        raise UserError(f"{branch} is a commit; name the branch that is to get a new one.")
    folder = Path(folder) if folder is not None else ASSETS
    if (folder / "model.keras").is_file() and not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} is a training run without a {MANIFEST}; make a folder of artifacts of it "
            f"with scripts/build_assets.py --runs {folder} --out FOLDER, and publish that."
        )
    assets = Assets(folder)
    if assets.default not in assets.presets:
        raise UserError(
            f"{folder} has no model {assets.default}, its default; "
            "build its manifest again with scripts/build_assets.py."
        )
    taken = {HUB_CARD, CARD} & assets.files.keys()
    if taken:
        raise UserError(f"{folder / MANIFEST} lists {taken.pop()}, whose place the card takes.")
    uploads = {name: assets.path(name) for name in assets.files}
    vectors = assets.embedding()
    for preset in assets.presets:
        assets.decoder(preset, vectors)  # what nobody could load is not published
    uploads[MANIFEST] = folder / MANIFEST
    documents = _documents(repo, branch, _find_card(folder, card), folder, {*uploads})
    return Plan(
        repo,
        branch,
        private,
        message or MESSAGE.format(presets=", ".join(assets.presets)),
        tuple(Upload(name, content) for name, content in sorted((uploads | documents).items())),
    )


def check_token() -> None:
    """Raise :class:`UserError` where huggingface_hub knows no token."""
    from huggingface_hub import get_token

    if get_token() is None:
        raise UserError(f"Publishing needs a token of the hub that may write; {LOG_IN}.")


def publish(plan: Plan, endpoint: str | None = None) -> Publication:
    """Push a plan: the repository and the branch are made if need be, and get one commit.

    Files that the hub has already are not sent again, so after a broken connection the same call
    goes on where it was. Files of earlier commits that the plan lacks stay in the repository; no
    manifest lists them any more.

    Args:
        endpoint: the hub's address; unset, huggingface_hub's (HF_ENDPOINT).

    Raises:
        UserError: no token or one that may not write, a public repository that had to be private,
            no network, a branch that moved meanwhile, or what else the hub refuses. No commit was
            made then, unless its confirmation was lost on the way: the next call finds it.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    check_token()
    api = HfApi(endpoint=endpoint)
    with _explained(plan):
        before = _prepared(api, plan)
        done = api.create_commit(
            plan.repo,
            [CommitOperationAdd(upload.name, upload.content) for upload in plan.uploads],
            commit_message=plan.message,
            revision=plan.branch,
            parent_commit=before,
        )
    return Publication(plan.repo, done.oid, done.commit_url, done.oid != before)


def _prepared(api: Any, plan: Plan) -> str | None:
    """Make repository and branch where they are not there; the commit that the branch is at."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = api.model_info(plan.repo)
    except RepositoryNotFoundError:
        api.create_repo(plan.repo, private=plan.private or None, exist_ok=True)
        info = api.model_info(plan.repo)
    if plan.private and not info.private:
        raise UserError(
            f"{plan.repo} is public; make it private in its settings on the hub first, "
            "or leave out --private."
        )
    if plan.branch == MAIN:
        return info.sha
    try:
        return api.model_info(plan.repo, revision=plan.branch).sha
    except RevisionNotFoundError:
        api.create_branch(plan.repo, branch=plan.branch, exist_ok=True)
        return api.model_info(plan.repo, revision=plan.branch).sha


@contextmanager
def _explained(plan: Plan) -> Iterator[None]:
    """Turn what writing to the hub can raise into a :class:`UserError`."""
    from huggingface_hub import errors

    try:
        yield
    except UserError:
        raise
    # RuntimeError wraps what an upload's thread met, ValueError what the hub said of the content.
    except (errors.HTTPError, OSError, RuntimeError, ValueError) as error:
        met = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        if isinstance(met, errors.HfHubHTTPError):
            raise UserError(_told(met, plan)) from error
        if isinstance(met, OSError) and met.errno is not None and met.filename is not None:
            raise
        if isinstance(met, (errors.HTTPError, OSError)):
            raise UserError(
                f"The hub cannot be reached, or broke off before it confirmed a commit to "
                f"{plan.repo}; publish again with a network (and without HF_HUB_OFFLINE)."
            ) from error
        told = " ".join(str(met).split()).rstrip(".")
        if isinstance(met, RuntimeError):
            raise UserError(f"The upload to {plan.repo} failed ({told}); publish again.") from error
        raise UserError(f"The hub refuses what was to be published ({told}).") from error


def _told(error: Any, plan: Plan) -> str:
    from huggingface_hub.errors import RepositoryNotFoundError

    status = error.response.status_code
    if status == 412:
        return (
            f"The branch {plan.branch} of {plan.repo} got another commit meanwhile, and nothing "
            "was published; look at it, and publish again."
        )
    if isinstance(error, RepositoryNotFoundError):  # also what the hub says to who may not see it
        return f"Your token may not write to {plan.repo}; {LOG_IN}, as somebody who may."
    if status in (401, 403, 429):
        return told_status(status, plan.repo, "write to")
    said = " ".join((error.server_message or "").split()).rstrip(".")
    said = f" ({said})" if said else ""
    return (
        f"The hub answers {status}{said} and confirmed no commit to {plan.repo}; "
        "publish again later, which sends only what is missing."
    )


# --- the model card -------------------------------------------------------------------------------


def _find_card(folder: Path, card: str | os.PathLike | None) -> Path:
    if card is not None:
        if not Path(card).is_file():
            raise UserError(f"There is no file {card}; give a model card.")
        return Path(card)
    if (folder / CARD).is_file():
        return folder / CARD
    if folder.resolve() == ASSETS.resolve() and (ASSETS.parent / CARD).is_file():
        return ASSETS.parent / CARD
    raise UserError(
        f"{folder} holds no {CARD}; write one that says what the models learned from and what "
        "they are for, or name one with --card."
    )


def _documents(
    repo: str, branch: str, card: Path, folder: Path, published: set[str]
) -> dict[str, Path | bytes]:
    """The card for the hub, and every document and picture that it leads to.

    Paths below the card's folder stay what they are; those into `folder` become the root's.
    """
    root, folder = card.resolve().parent, folder.resolve()
    found: dict[str, Path | bytes] = {}
    waiting = [(HUB_CARD, card.resolve())]
    while waiting:
        name, path = waiting.pop()
        if path.suffix.lower() != ".md":
            found[name] = path
            continue
        text = _read(path)

        def moved(link: re.Match, name: str = name, path: Path = path) -> str:
            if link["target"] is None or _ELSEWHERE.match(link["target"]):
                return link[0]
            target, mark, part = link["target"].partition("#")
            to = (path.parent / unquote(target)).resolve()
            if to.parent == folder and to.name in published:
                place = to.name
            elif to == card.resolve():
                place = HUB_CARD
            elif not to.is_file() or not to.is_relative_to(root):
                raise UserError(
                    f"{path} links to {target}, which is no file below {root}; "
                    "mend the link before publishing."
                )
            else:
                place = to.relative_to(root).as_posix()
                if place in (HUB_CARD, *published):
                    raise UserError(
                        f"{path} links to {target}, whose place another file takes on the hub; "
                        "take the link out."
                    )
                if place not in found and place not in (other for other, _ in waiting):
                    waiting.append((place, to))
            there = posixpath.relpath(place, posixpath.dirname(name) or ".")
            if there == posixpath.normpath(unquote(target)):
                return link[0]
            return link["head"] + quote(there) + mark + part

        text = _LINKS.sub(moved, text)
        found[name] = text.encode()
        if name == HUB_CARD:
            found[name] = _for_the_hub(repo, branch, card, text, folder, published).encode()
    return found


def _for_the_hub(
    repo: str, branch: str, card: Path, text: str, folder: Path, published: set[str]
) -> str:
    """The card with the hub's metadata, the line that loads the model, and the root's names."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        parsed = ModelCard(text if text.startswith("---") else f"---\n{{}}\n---\n\n{text}")
    except (ValueError, TypeError, yaml.YAMLError):
        raise UserError(f"The metadata at the head of {card} is not valid YAML; mend it.") from None
    ours = OUR_METADATA if folder == ASSETS.resolve() else {}
    for key, value in (ours | METADATA).items():
        if parsed.data.get(key) is None:
            parsed.data[key] = value
    body = parsed.text
    if folder.is_relative_to(card.resolve().parent):
        inside = folder.relative_to(card.resolve().parent).as_posix()
        for name in sorted(published):
            body = body.replace(f"`{inside}/{name}`", f"`{name}`")
        body = body.replace(f"`{inside}/`", "this repository")
    pinned = f', revision="{branch}"' if branch != MAIN else ""
    usage = (
        "```python\nimport img2prompt\n\n"
        f'predictor = img2prompt.load("{repo}"{pinned})\n'
        'print(predictor("picture.png", words=10).prompt)\n```\n'
    )
    title = re.search(r"^# .*\n", body, re.MULTILINE)
    head, rest = body[: title.end() if title else 0], body[title.end() if title else 0 :]
    parsed.text = f"{head}\n{usage}\n{rest.lstrip(chr(10))}"
    return str(parsed)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text.") from None
