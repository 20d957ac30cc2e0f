"""The model card for the hub, and every document and picture that it links to."""

import os
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from img2prompt.core.errors import UserError
from img2prompt.core.hub import MAIN
from img2prompt.inference.artifacts import ASSETS

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

CARD = "MODEL_CARD.md"
HUB_CARD = "README.md"  # where the hub looks for a model card
# The hub's metadata of every model of this kind; what a card says itself goes before it.
METADATA: dict[str, Any] = {
    "library_name": "keras",
    "pipeline_tag": "image-to-text",
    "tags": ["img2prompt", "image-to-text", "word2vec", "stable-diffusion", "education"],
}
# And of the models that ship; of others only their authors know.
OUR_METADATA: dict[str, Any] = {"license": "mit", "datasets": ["poloclub/diffusiondb"]}

# Markdown's inline links and pictures, its link definitions, and HTML's; code, which may look like
# them, is passed over.
_LINKS = re.compile(
    r"""^\ {0,3}(?P<fence>```+|~~~+)[\s\S]*?(?:^\ {0,3}(?P=fence)|\Z) | (?P<tick>`+)[^`]+?(?P=tick)
        | (?P<head>\]\(\s*<? | ^\ {0,3}\[[^\]\n]+\]:\s*<? | \b(?:src|href)=["'])
          (?P<target>[^\s<>()"']+)""",
    re.VERBOSE | re.MULTILINE,
)
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|/|#", re.IGNORECASE)


def find_card(folder: Path, card: str | os.PathLike[str] | None) -> Path:
    """The model card: the named one, that of the folder, or the checkout's for its own `assets/`.

    Raises:
        UserError: there is none.
    """
    if card is not None:
        if not Path(card).is_file():
            raise UserError("training.no_card_file", path=card)
        return Path(card)
    if (folder / CARD).is_file():
        return folder / CARD
    if folder.resolve() == ASSETS.resolve() and (ASSETS.parent / CARD).is_file():
        return ASSETS.parent / CARD
    raise UserError("training.no_card", folder=folder, card=CARD)


def hub_documents(
    repo: str, branch: str, card: Path, folder: Path, published: set[str]
) -> dict[str, Path | bytes]:
    """The card for the hub, and every document and picture that it leads to.

    Paths below the card's folder stay what they are; those into `folder` become the root's.

    Args:
        repo, branch: what the card's line of Python loads.
        card: a Markdown file.
        folder: the artifacts.
        published: names of files that are published beside the documents.

    Returns:
        Path in the repository → a local file, or the bytes of a rewritten one.

    Raises:
        UserError: a link to what cannot be published, a file that is not UTF-8, or bad metadata.
    """
    card, folder = card.resolve(), folder.resolve()
    documents = _Documents(card, folder, published)
    text = documents.collect()
    head = _with_metadata(text, card, ours=folder == ASSETS.resolve())
    body = head.text
    if folder.is_relative_to(card.parent):
        inside = folder.relative_to(card.parent).as_posix()
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
    end = title.end() if title else 0
    head.text = f"{body[:end]}\n{usage}\n{body[end:].lstrip(chr(10))}"
    return documents.found | {HUB_CARD: str(head).encode()}


class _Documents:
    """What a card links to, directly or through other documents, with its links rewritten.

    Attributes:
        found: path in the repository → a local file, or the bytes of a rewritten one.
    """

    def __init__(self, card: Path, folder: Path, published: set[str]) -> None:
        self.found: dict[str, Path | bytes] = {}
        self._card, self._folder, self._published = card, folder, published
        self._waiting: dict[str, Path] = {}

    def collect(self) -> str:
        """Fill `found` with all documents but the card, and return the card's rewritten text."""
        text = self._rewritten(HUB_CARD, self._card)
        while self._waiting:
            name, path = self._waiting.popitem()
            document = path.suffix.lower() == ".md"
            self.found[name] = path  # known from now on, also to itself
            if document:
                self.found[name] = self._rewritten(name, path).encode()
        return text

    def _rewritten(self, name: str, path: Path) -> str:
        def moved(link: re.Match[str]) -> str:
            if link["target"] is None or _ELSEWHERE.match(link["target"]):
                return link[0]
            target, mark, part = link["target"].partition("#")
            place = self._place(path, target)
            there = posixpath.relpath(place, posixpath.dirname(name) or ".")
            if there == posixpath.normpath(unquote(target)):
                return link[0]
            return link["head"] + quote(there) + mark + part

        try:
            return _LINKS.sub(moved, path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            raise UserError("training.document_not_utf8", path=path) from None

    def _place(self, path: Path, target: str) -> str:
        """Where a link's target lies in the repository."""
        to = (path.parent / unquote(target)).resolve()
        if to.parent == self._folder and to.name in self._published:
            return to.name
        if to == self._card:
            return HUB_CARD
        root = self._card.parent
        if not to.is_file() or not to.is_relative_to(root):
            raise UserError("training.dead_link", path=path, target=target, root=root)
        place = to.relative_to(root).as_posix()
        if place in (HUB_CARD, *self._published):
            raise UserError("training.taken_link", path=path, target=target)
        if place not in self.found:
            self._waiting[place] = to
        return place


def _with_metadata(text: str, card: Path, ours: bool) -> "ModelCard":
    """The card with the hub's metadata where it has none of its own."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        parsed = ModelCard(text if text.startswith("---") else f"---\n{{}}\n---\n\n{text}")
    except (ValueError, TypeError, yaml.YAMLError):
        raise UserError("training.card_metadata", path=card) from None
    for key, value in ((OUR_METADATA if ours else {}) | METADATA).items():
        if parsed.data.get(key) is None:
            parsed.data[key] = value
    return parsed
