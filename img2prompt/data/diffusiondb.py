"""Pictures with their prompts, from any folder in DiffusionDB's layout.

DiffusionDB (Wang et al. 2022, arXiv 2210.14896) keeps `images/part-000001.zip` …, each with up to
1,000 pictures and `part-000001.json`: file name → {"p": prompt, "se": seed, "c": cfg, "st": steps,
"sa": sampler}; the Large set has `diffusiondb-large-part-1/` and `-part-2/`. Beside them lies
`metadata.parquet` (or `metadata-large.parquet`).
"""

import contextlib
import json
import os
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from img2prompt.core.errors import UserError
from img2prompt.core.printable import encodable
from img2prompt.core.zip_directories import DAMAGED
from img2prompt.data.images import MAX_BYTES
from img2prompt.data.part_names import STEM, zips_in

REPOSITORY = "poloclub/diffusiondb"  # on the hub
PART_FOLDERS = ("images", "diffusiondb-large-part-1", "diffusiondb-large-part-2", ".")
METADATA_NAMES = ("metadata.parquet", "metadata-large.parquet")
READ_ERRORS = (*DAMAGED, OSError)  # of a zip
IMAGE_SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
MAX_JSON_BYTES = 64 * 2**20  # a thousand prompts have less than one; a zip can claim anything


@dataclass(frozen=True)
class Pair:
    """One picture and its prompt as they lie in a part; bytes are not decoded yet."""

    name: str
    data: bytes
    prompt: str


@dataclass(frozen=True)
class Skipped:
    """A picture that is left out of a part.

    Attributes:
        name: its file name.
        reason: `missing prompt`, `empty prompt`, `too large`, `unreadable`, `repeated name` (each
            of several pictures of one name: their scores cannot be told apart), or `missing
            picture` (a name that only the JSON has).
    """

    name: str
    reason: str


class Parts(Protocol):
    """Parts to prepare: `LocalParts` of a folder, or `hub_parts.HubParts` of the hub.

    Attributes:
        stems: names of the parts in order, `part-000001` …
        origin: where they come from, as a JSON object; {} for a folder. It is written beside the
            shards; one prepared folder holds shards of one origin only.
    """

    stems: list[str]
    origin: dict[str, Any]

    def fetch(self, stem: str) -> Path:
        """The part's zip on this machine; may download. Several threads may call it.

        Raises:
            UserError: it cannot be had.
        """
        ...

    def release(self, stem: str) -> None:
        """The part is prepared, or cannot be read: its zip is no longer needed."""
        ...

    def identity(self, stem: str) -> str:
        """What a shard records about its part: tells apart the same part of different sets."""
        ...

    def metadata(self) -> Path | None:
        """The parquet file of all pictures, if there is one; may download."""
        ...


class LocalParts:
    """The parts of a folder in DiffusionDB's layout.

    Raises:
        UserError: as `find_parts`.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = Path(root)
        self._paths = {path.stem: path for path in find_parts(root)}
        self.stems = list(self._paths)
        self.origin: dict[str, Any] = {}

    def fetch(self, stem: str) -> Path:
        return self._paths[stem]

    def release(self, stem: str) -> None:
        """Nothing: a person's own files stay."""

    def identity(self, stem: str) -> str:
        return str(self._paths[stem].stat().st_size)

    def metadata(self) -> Path | None:
        return find_metadata(self._root)


def find_parts(root: str | os.PathLike[str]) -> list[Path]:
    """The part zips below `root` in order.

    Raises:
        UserError: `root` is missing, not a folder, or holds no part; a part there has another name,
            lies there twice, or is unpacked.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError("data.no_folder", path=root)
    for folder in PART_FOLDERS:
        parts = zips_in(root / folder)
        if folder == "diffusiondb-large-part-1":
            parts += zips_in(root / "diffusiondb-large-part-2")
        for stem, times in Counter(path.stem for path in parts).items():
            if times > 1:
                raise UserError("data.part_twice", folder=root, part=stem)
        if parts:
            return parts
    raise UserError("data.no_parts", folder=root)


def find_metadata(root: str | os.PathLike[str]) -> Path | None:
    """`metadata.parquet` or `metadata-large.parquet` below `root`, whichever fits its parts."""
    # The hub's repository holds both sets and both files; the parts that are read decide.
    first, large_first = (any((Path(root) / name).glob("part-*.zip")) for name in PART_FOLDERS[:2])
    large = large_first and not first
    for name in reversed(METADATA_NAMES) if large else METADATA_NAMES:
        path = Path(root) / name
        if path.exists():
            return path
    return None


def read_part(path: str | os.PathLike[str]) -> Iterator[Pair | Skipped]:
    """Go through one part in the zip's order, one picture in memory at a time.

    Raises:
        UserError: the zip is damaged, holds no readable JSON of prompts, or is another part under
            this one's name.
    """
    path = Path(path)
    with _opened(path) as (archive, pictures, prompts):
        seen = Counter(name for name, _ in pictures)
        for name, entry in pictures:
            if seen[name] > 1:
                yield Skipped(name, "repeated name")
            elif name not in prompts:
                yield Skipped(name, "missing prompt")
            elif not prompts[name].strip():
                yield Skipped(name, "empty prompt")
            elif entry.file_size > MAX_BYTES:
                yield Skipped(name, "too large")
            else:
                try:
                    data = archive.read(entry)
                except READ_ERRORS:
                    yield Skipped(name, "unreadable")
                    continue
                yield Pair(name, data, prompts[name])
        for name in prompts:
            if name not in seen:
                yield Skipped(name, "missing picture")


def read_prompts(path: str | os.PathLike[str]) -> dict[str, str]:
    """The prompts of a part's pictures, by name, without reading a picture.

    Raises:
        UserError: as `read_part`.
    """
    with _opened(Path(path)) as (_, pictures, prompts):
        seen = Counter(name for name, _ in pictures)
        return {n: prompts[n] for n in seen if seen[n] == 1 and prompts.get(n, "").strip()}


@contextlib.contextmanager
def _opened(
    path: Path,
) -> Iterator[tuple[zipfile.ZipFile, list[tuple[str, zipfile.ZipInfo]], dict[str, str]]]:
    """A part's archive, its pictures in order, and its prompts by name."""
    try:
        archive = zipfile.ZipFile(path)
    except READ_ERRORS:
        raise UserError("data.no_zip", part=path.name) from None
    with archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        prompts = _read_prompts(archive, entries, path)
        # Not pathlib, which takes a tenth of the time that decoding a small picture does.
        named = [(entry.filename.rpartition("/")[2], entry) for entry in entries]
        pictures = [(n, entry) for n, entry in named if n.lower().endswith(IMAGE_SUFFIXES)]
        yield archive, pictures, prompts


def _read_prompts(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], path: Path
) -> dict[str, str]:
    names = [
        entry.filename
        for entry in entries
        if entry.filename.endswith(".json") and entry.file_size <= MAX_JSON_BYTES
    ]
    preferred = [name for name in names if PurePosixPath(name).stem == path.stem]
    if not names:
        raise UserError("data.part_without_prompts", part=path.name)
    others = [stem for name in names if STEM.fullmatch(stem := PurePosixPath(name).stem)]
    if others and not preferred and STEM.fullmatch(path.stem):
        # The metadata would be asked for another part's pictures.
        raise UserError("data.another_part", part=path.name, other=others[0])
    try:
        raw = json.loads(archive.read((preferred or names)[0])).items()
    except (*READ_ERRORS, AttributeError):
        raise UserError("data.part_prompts_damaged", part=path.name) from None
    prompts = {}
    for name, value in raw:
        prompt = value.get("p") if isinstance(value, dict) else value
        if isinstance(prompt, str):
            prompts[encodable(name.rpartition("/")[2])] = encodable(prompt)
    return prompts
