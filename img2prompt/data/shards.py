"""Prepared shards: the settings they were made with, and the table of their pictures.

One shard a part: `part-000001.npy` (uint8, (n, size, size, 3)) and `part-000001.parquet` (one row a
picture: name, prompt, source, split). The parquet file is written last, so its presence means the
shard is whole. `prepare.py` makes them.
"""

import functools
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from img2prompt.core.arrays import map_array
from img2prompt.core.errors import UserError
from img2prompt.core.files import read_json
from img2prompt.core.forms import Origin, Prepared
from img2prompt.data import images, text
from img2prompt.data.part_names import STEM
from img2prompt.data.rows import gather_rows
from img2prompt.data.splits import SPLITS, hash64, source_group

SETTINGS_FILE = "settings.json"
REPORT_FILE = "report.json"
SKIPPED_FILE = "skipped.jsonl"
ORIGIN_FILE = "origin.json"  # where the parts came from; a folder's shards have none

TEXTS_BLOCK = 1 << 16  # prompts held at a time

# (prepared folder, shard name) → a file that is the shard or lies beside it
PathOf = Callable[[Path, str], Path]


@dataclass(frozen=True)
class PrepareSettings:
    """What decides a shard's contents; shards of different settings never mix in one folder.

    A field that an older `settings.json` lacks has its default, which is what was done then.
    """

    size: int = images.SIZE
    fit: images.Fit = "stretch"
    # DiffusionDB's authors suggest no threshold. 0.5 cuts at "more likely than not"; 2.0 marks
    # pictures that were blurred for it, so they go too. None switches the filter off.
    max_image_nsfw: float | None = 0.5
    max_prompt_nsfw: float | None = 0.5
    # Blurred pictures stay whatever the threshold. (Without a threshold they stay anyway.)
    keep_blurred: bool = False
    # Pictures without a score stay too: the metadata does not know them, or there is none. By
    # default the NSFW filter leaves them out, for it cannot pass what nobody rated.
    keep_unscored: bool = False
    # Pictures that only teach words: those whose prompt hashes to another split are left out.
    train_only: bool = False
    min_size: int = 0  # pixels of the shorter side, as the picture lies in its file
    min_words: int = 0  # words of the prompt, stop words too
    max_words: int | None = None
    # ISO 639-1 codes; empty: every language. Prompts too short to tell are kept.
    languages: tuple[str, ...] = ()
    # The first so many in part order are kept, 0 for all: of prompts that are near-duplicates
    # (`near_duplicate_key`), and of each user of the metadata. Which those are is decided before
    # any picture is decoded, so where they turn out to be broken, or too small without the metadata
    # saying so by `width` and `height`, a prompt can be left with fewer pictures or with none.
    max_per_prompt: int = 0
    max_per_user: int = 0

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise UserError("data.size", size=self.size)
        if self.fit not in images.FITS:
            raise UserError("images.fit", fit=self.fit, known=", ".join(images.FITS))
        for name in ("min_size", "min_words", "max_per_prompt", "max_per_user"):
            if getattr(self, name) < 0:
                raise UserError("data.negative", option=f"--{name.replace('_', '-')}")
        for most in (self.max_image_nsfw, self.max_prompt_nsfw):
            # Nothing is above what is not a number, and JSON has no infinite ones.
            if most is not None and not 0 <= most < float("inf"):
                raise UserError("data.threshold", most=most)
        if self.max_words is not None and self.max_words < max(1, self.min_words):
            raise UserError("data.max_words")
        if isinstance(self.languages, str):
            raise UserError("data.languages")
        # One order, so that "en,de" and "de,en" are the same settings; JSON gives a list.
        codes = tuple(sorted({code.strip().lower() for code in self.languages}))
        object.__setattr__(self, "languages", codes)

    @property
    def needs_scores(self) -> bool:
        """Whether a picture without an NSFW score is left out."""
        filtered = self.max_image_nsfw is not None or self.max_prompt_nsfw is not None
        return filtered and not self.keep_unscored

    @property
    def caps(self) -> bool:
        """Whether what is kept of one part depends on the parts before it."""
        return bool(self.max_per_prompt or self.max_per_user)


@dataclass(frozen=True)
class Texts:
    """What a shard's table says of chosen pictures; of each a list in their order."""

    names: list[str]
    prompts: list[str]
    sources: list[str]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def groups(self) -> list[str]:
        """The source groups that figures are reported under."""
        return [source_group(source) for source in self.sources]


@dataclass(frozen=True)
class ShardIndex:
    """The table of the pictures of prepared folders: numbers alone, at most 12 bytes a picture.

    A picture is its position, 0 to n − 1: the folders' shards lie end to end. Its pixels and texts
    are read from the shards where somebody asks for them.

    Attributes:
        folders: the prepared folders.
        shards: (position in `folders`, shard name) of each of S shards.
        start: int64 (S + 1,), the position of each shard's first picture; the last is n.
        split: uint8 (n,), position in `splits.SPLITS`.
        source: int16 (n,), or int32 where they are very many: position in `sources`.
        sources: the sources there are, as the shards name them.
    """

    folders: tuple[Path, ...]
    shards: tuple[tuple[int, str], ...]
    start: NDArray[np.int64]
    split: NDArray[np.uint8]
    source: NDArray[np.integer]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.split)

    @property
    def folder(self) -> NDArray[np.int32]:
        """int32 (n,), position in `folders`."""
        of_shard = np.array([folder for folder, _ in self.shards], np.int32)
        return np.repeat(of_shard, np.diff(self.start))

    @functools.cached_property
    def prompt_hash(self) -> NDArray[np.uint64]:
        """uint64 (n,), a hash of the folded prompt; reads all prompts, once."""
        hashes = np.empty(len(self), np.uint64)
        for shard, (first, last) in enumerate(itertools.pairwise(self.start)):
            hashes[first:last] = prompt_hashes(self.prompts_of(shard))
        return hashes

    def in_split(self, split: str) -> NDArray[np.bool_]:
        """Which pictures are of a split: bool (n,).

        Raises:
            UserError: an unknown split.
        """
        if split not in SPLITS:
            raise UserError("data.no_split", split=split, splits=", ".join(SPLITS))
        return self.split == SPLITS.index(split)

    def of_sources(self, names: Iterable[str], strict: bool = True) -> NDArray[np.bool_]:
        """Which pictures are of some sources: bool (n,).

        Args:
            names: source groups, or single sources.
            strict: whether a name that the pictures don't have is an error.

        Raises:
            UserError: such a name.
        """
        named = set(names)
        groups = [source_group(source) for source in self.sources]
        unknown = named - set(groups) - set(self.sources)
        if strict and unknown:
            raise UserError(
                "data.no_source",
                names=", ".join(sorted(unknown)),
                sources=", ".join(sorted({*groups, *(s for s in self.sources if "/" not in s)})),
            )
        mine = [not named.isdisjoint(both) for both in zip(self.sources, groups, strict=True)]
        return np.array(mine, bool)[self.source]

    def places(self) -> list[tuple[Path, str]]:
        """Prepared folder and name of every shard."""
        return [(self.folders[folder], shard) for folder, shard in self.shards]

    def file(self, shard: int, path_of: PathOf) -> Path:
        """The file of one kind that lies beside (or is) a shard."""
        folder, name = self.shards[shard]
        return path_of(self.folders[folder], name)

    def locate(self, index: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Positions (b,) → position in `shards` and row in that shard, two int (b,)."""
        shard = np.searchsorted(self.start, index, side="right") - 1
        return shard, index - self.start[shard]

    def reader(self, path_of: PathOf) -> Callable[[NDArray[np.integer]], NDArray[Any]]:
        """Positions (b,) in any order → rows (b, …) of the shards' files, in their own dtype.

        What it returns raises `UserError` where a file is missing or damaged.
        """
        return lambda index: gather_rows(
            lambda shard: self.file(shard, path_of), *self.locate(np.asarray(index, np.int64))
        )

    def prompts_of(self, shard: int) -> list[str]:
        """All prompts of a shard, in order."""
        table = read_table(self.file(shard, rows_path), ["prompt"])
        return list(table.column("prompt").to_pylist())

    def prompts(self, index: NDArray[np.integer]) -> list[str]:
        """The prompts at positions (b,), read from the shards."""
        return self._columns(index, ["prompt"])[0]

    def prompt_blocks(self, index: NDArray[np.integer]) -> Iterator[tuple[slice, list[str]]]:
        """The prompts at positions (b,), so many at a time that memory does not grow with them.

        Yields:
            a slice of `index`, in its order, and the prompts of that slice.
        """
        for first in range(0, len(index), TEXTS_BLOCK):
            block = slice(first, first + TEXTS_BLOCK)
            yield block, self.prompts(index[block])

    def texts(self, index: NDArray[np.integer]) -> Texts:
        """Names, prompts and sources at positions (b,), read from the shards."""
        return Texts(*self._columns(index, ["name", "prompt", "source"]))

    def _columns(self, index: NDArray[np.integer], names: list[str]) -> list[list[str]]:
        """Columns of the shards' tables at positions (b,)."""
        found = np.empty((len(names), len(index)), object)
        shards, rows = self.locate(np.asarray(index, np.int64))
        for shard in np.unique(shards):
            table = read_table(self.file(int(shard), rows_path), names)
            mine = shards == shard
            for column, name in zip(found, names, strict=True):
                column[mine] = table.column(name).take(rows[mine]).to_pylist()
        return [list(column) for column in found]


def pixel_path(folder: Path, shard: str) -> Path:
    """Where a shard's pictures lie."""
    return folder / f"{shard}.npy"


def rows_path(folder: Path, shard: str) -> Path:
    """Where a shard's table lies."""
    return folder / f"{shard}.parquet"


def pixel_reader(pictures: ShardIndex) -> Callable[[NDArray[np.integer]], NDArray[np.uint8]]:
    """Positions (b,) → pictures, uint8 (b, size, size, 3) in 0–255."""
    return pictures.reader(pixel_path)


def prompt_hashes(prompts: Iterable[str]) -> NDArray[np.uint64]:
    """`hash64` of each folded prompt: uint64 (n,)."""
    return np.array([hash64(text.fold(prompt)) for prompt in prompts], np.uint64)


def read_shards(folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> ShardIndex:
    """The table of the pictures of one or several prepared folders.

    Raises:
        UserError: a folder holds no prepared shards, or their picture sizes differ.
    """
    if isinstance(folders, (str, os.PathLike)):
        folders = [folders]
    folders = tuple(Path(folder) for folder in folders)
    shards, splits, sources = [], [], []
    number: dict[str, int] = {}
    for position, folder in enumerate(folders):
        for path in shard_files(folder):
            table = read_table(path, ["source", "split"])
            shards.append((position, path.stem))
            splits.append(_codes(table.column("split"), SPLITS.index).astype(np.uint8))
            own = _codes(table.column("source"), lambda name: number.setdefault(name, len(number)))
            few = len(number) <= np.iinfo(np.int16).max
            sources.append(own.astype(np.int16) if few else own)
    check_alike(folders)
    start = np.cumsum([0, *map(len, splits)]).astype(np.int64)
    return ShardIndex(
        folders, tuple(shards), start, np.concatenate(splits), np.concatenate(sources),
        tuple(number),
    )  # fmt: skip


def _codes(column: pa.ChunkedArray, number: Callable[[str], int]) -> NDArray[np.int32]:
    """A column of few distinct texts → the number of each row's text."""
    encoded = column.combine_chunks().dictionary_encode()
    codes = np.array([number(name) for name in encoded.dictionary.to_pylist()], np.int32)
    return codes[encoded.indices.to_numpy()] if len(codes) else np.empty(0, np.int32)


def read_table(path: Path, columns: list[str]) -> pa.Table:
    """Columns of a shard's table.

    Raises:
        UserError: it is damaged.
    """
    try:
        return pq.read_table(path, columns=columns)
    except (pa.ArrowException, OSError):
        raise UserError("data.damaged_table", path=path) from None


def check_alike(folders: Iterable[Path]) -> None:
    """Raise `UserError` where the pictures of prepared folders differ in size or fit."""
    if len({(settings_of(folder).size, settings_of(folder).fit) for folder in folders}) > 1:
        raise UserError("data.not_alike")


def settings_of(folder: str | os.PathLike[str]) -> PrepareSettings:
    """The settings a prepared folder was made with."""
    path = Path(folder) / SETTINGS_FILE
    try:
        return PrepareSettings(**read_json(path, Prepared))
    except (TypeError, AttributeError):  # not a dictionary, other names, other types
        raise UserError("data.no_shard_settings", path=path) from None


def origin_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Where the parts of a prepared folder came from, as `Parts.origin` said; {} for a folder."""
    path = Path(folder) / ORIGIN_FILE
    return read_json(path, Origin) if path.exists() else {}


def is_whole(folder: str | os.PathLike[str], stem: str) -> bool:
    """Whether a part is prepared: its rows are readable and its pixels are as many.

    Reads only the heads of both files. What is missing or damaged is to be made again.
    """
    try:
        rows = pq.read_metadata(Path(folder) / f"{stem}.parquet").num_rows
        pixels = map_array(Path(folder) / f"{stem}.npy")
    except (OSError, EOFError, ValueError, pa.ArrowException):
        return False
    return len(pixels) == rows


def shard_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The parquet files of a prepared folder's shards, in order.

    Raises:
        UserError: there are none, or one whose name is not a part's: a copy would teach its
            pictures twice.
    """
    shards = sorted(Path(folder).glob("part-*.parquet"))
    for path in shards:
        if not STEM.fullmatch(path.stem):
            raise UserError("data.no_shard_name", path=path)
    if not shards:
        raise UserError("data.no_shards", folder=folder)
    return shards


def read_skipped(folder: Path) -> Iterator[dict[str, Any]]:
    """What was left out of a prepared folder: `part`, `name`, `reason` of each picture."""
    # The truth lies in each shard's own metadata; skipped.jsonl is its readable copy.
    for path in sorted(folder.glob("part-*.parquet")):
        yield from json.loads((pq.read_schema(path).metadata or {}).get(b"skipped", b"[]"))
