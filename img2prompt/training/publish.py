"""A folder of artifacts → a model repository on the hub, in one commit.

Pushed are the files that the manifest lists (after their checksums were verified), the manifest,
and the model card with the documents that it links to. `artifacts.load("user/name")` reads it back.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2prompt.core.errors import UserError
from img2prompt.core.hub import COMMIT, MAIN, Asked, check_repo_id, check_revision, explained
from img2prompt.core.transfers import prepare_client
from img2prompt.inference.artifacts import ASSETS, MANIFEST, Assets
from img2prompt.inference.gallery import CREDITS_FILE, GALLERY_FILE, credits_document
from img2prompt.training.model_card import CARD, HUB_CARD, find_card, hub_documents

MESSAGE = "Publish {presets}"


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
    folder: str | os.PathLike[str] | None = None,
    *,
    card: str | os.PathLike[str] | None = None,
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
        raise UserError("training.commit_for_branch", branch=branch)
    folder = Path(folder) if folder is not None else ASSETS
    if (folder / "model.keras").is_file() and not (folder / MANIFEST).is_file():
        raise UserError("training.run_without_manifest", folder=folder, manifest=MANIFEST)
    assets = Assets(folder)
    if assets.default not in assets.presets:
        raise UserError("training.no_default_model", folder=folder, preset=assets.default)
    taken = {HUB_CARD, CARD} & assets.files.keys()
    if taken:
        raise UserError("training.card_in_manifest", path=folder / MANIFEST, name=taken.pop())
    uploads: dict[str, Path | bytes] = {name: assets.path(name) for name in assets.files}
    vectors = assets.embedding()
    for preset in assets.presets:
        assets.decoder(preset, vectors)  # what nobody could load is not published
    assets.hedger(vectors)
    if GALLERY_FILE in assets.files:  # no picture without its credit
        uploads[CREDITS_FILE] = credits_document(assets.gallery()).encode()
    uploads[MANIFEST] = folder / MANIFEST
    documents = hub_documents(repo, branch, find_card(folder, card), folder, {*uploads})
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
        raise UserError("hub.no_token")


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
    prepare_client()
    api = HfApi(endpoint=endpoint)
    with explained(Asked(plan.repo, MANIFEST, plan.branch, "publish")):
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
        raise UserError("hub.public", repo=plan.repo)
    if plan.branch == MAIN:
        return info.sha
    try:
        return api.model_info(plan.repo, revision=plan.branch).sha
    except RevisionNotFoundError:
        api.create_branch(plan.repo, branch=plan.branch, exist_ok=True)
        return api.model_info(plan.repo, revision=plan.branch).sha
