"""Prepared shards: the settings they were made with, and tables of their pictures.

One shard a part: `part-000001.npy` (uint8, (n, size, size, 3)) and `part-000001.parquet` (one row a
picture: name, prompt, source, split). The parquet file is written last, so its presence means the
shard is whole. `prepare.py` makes them.
"""

import dataclasses
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
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


class Pictures:
    """What both tables of pictures can do: find the rows of the files that a position means."""

    def places(self) -> list[tuple[Path, str]]:
        """Prepared folder and name of every shard."""
        raise NotImplementedError

    def locate(self, index: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Positions (b,) → position in `places` and row in that shard, two int (b,)."""
        raise NotImplementedError

    def reader(self, path_of: PathOf) -> Callable[[NDArray[np.integer]], NDArray[Any]]:
        """Positions (b,) in any order → rows (b, …) of the shards' files, in their own dtype.

        What it returns raises `UserError` where a file is missing or damaged.
        """
        places = self.places()
        return lambda index: gather_rows(
            lambda number: path_of(*places[number]), *self.locate(np.asarray(index, np.int64))
        )


@dataclass(frozen=True)
class Records(Pictures):
    """The rows of prepared shards, without their pixels; with their texts, for measuring.

    `shard` and `row` say where a picture's pixels lie: `folders[folder]/shard.npy[row]`.
    All arrays have one entry a picture.
    """

    folders: tuple[Path, ...]
    folder: NDArray[np.integer]  # (n,), index into folders
    shard: NDArray[np.object_]  # (n,) str
    row: NDArray[np.integer]  # (n,)
    name: NDArray[np.object_]  # (n,) str
    prompt: NDArray[np.object_]  # (n,) str
    source: NDArray[np.object_]  # (n,) str
    split: NDArray[np.object_]  # (n,) str

    def __len__(self) -> int:
        return len(self.row)

    @functools.cached_property
    def _grouped(self) -> tuple[list[str], NDArray[np.integer]]:
        return _numbered([source_group(source) for source in self.source])

    @property
    def groups(self) -> Sequence[str]:
        """The source groups there are."""
        return self._grouped[0]

    @property
    def group(self) -> NDArray[np.integer]:
        """int (n,), position in `groups`."""
        return self._grouped[1]

    @functools.cached_property
    def prompt_hash(self) -> NDArray[np.uint64]:
        """uint64 (n,), a hash of the folded prompt."""
        return prompt_hashes(self.prompt.tolist())

    @functools.cached_property
    def _placed(self) -> tuple[list[tuple[int, str]], NDArray[np.integer]]:
        return _numbered(list(zip(self.folder.tolist(), self.shard.tolist(), strict=True)))

    def places(self) -> list[tuple[Path, str]]:
        """Prepared folder and name of every shard that the records lie in."""
        return [(self.folders[folder], shard) for folder, shard in self._placed[0]]

    def locate(self, index: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Positions (b,) → position in `places` and row in that shard, two int (b,)."""
        return self._placed[1][index], self.row[index]

    def take(self, mask_or_index: NDArray[Any]) -> "Records":
        """The rows chosen by a boolean mask or by positions."""
        columns = {
            column.name: getattr(self, column.name)[mask_or_index]
            for column in dataclasses.fields(self)
            if column.name != "folders"
        }
        return Records(self.folders, **columns)

    def of_split(self, split: str) -> "Records":
        """The rows of one split; unknown names are an error."""
        if split not in SPLITS:
            raise UserError("data.no_split", split=split, splits=", ".join(SPLITS))
        return self.take(self.split == split)


@dataclass(frozen=True)
class ShardIndex(Pictures):
    """What training knows of every picture: numbers alone, 12 bytes a picture.

    Attributes:
        folders: the prepared folders.
        shards: (position in `folders`, shard name) of each of S shards.
        start: int64 (S + 1,), the position of each shard's first picture; the last is n.
        split: uint8 (n,), position in `splits.SPLITS`.
        group: int16 (n,), position in `groups`.
        groups: the source groups there are.
        known: bool (n,), whether the prompt has a content word that the embedding knows.
        hashes: uint64 (n,), a hash of the folded prompt; None if it was not asked for.
    """

    folders: tuple[Path, ...]
    shards: tuple[tuple[int, str], ...]
    start: NDArray[np.int64]
    split: NDArray[np.uint8]
    group: NDArray[np.int16]
    groups: tuple[str, ...]
    known: NDArray[np.bool_]
    hashes: NDArray[np.uint64] | None

    def __len__(self) -> int:
        return len(self.split)

    @property
    def prompt_hash(self) -> NDArray[np.uint64]:
        """uint64 (n,), a hash of the folded prompt."""
        if self.hashes is None:
            raise ValueError("repeated prompts are only known to an index with hashes")
        return self.hashes

    @property
    def folder(self) -> NDArray[np.int32]:
        """int32 (n,), position in `folders`."""
        of_shard = np.array([folder for folder, _ in self.shards], np.int32)
        return np.repeat(of_shard, np.diff(self.start))

    def places(self) -> list[tuple[Path, str]]:
        """Prepared folder and name of every shard."""
        return [(self.folders[folder], shard) for folder, shard in self.shards]

    def locate(self, index: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
        """Positions (b,) → position in `places` and row in that shard, two int (b,)."""
        shard = np.searchsorted(self.start, index, side="right") - 1
        return shard, index - self.start[shard]

    def file(self, shard: int, path_of: PathOf) -> Path:
        """The file of one kind that lies beside (or is) a shard."""
        folder, name = self.shards[shard]
        return path_of(self.folders[folder], name)

    def prompts(self, index: NDArray[np.integer]) -> list[str]:
        """The prompts at positions (b,), read from the shards."""
        found = np.empty(len(index), object)
        shards, rows = self.locate(np.asarray(index, np.int64))
        for shard in np.unique(shards):
            table = read_table(self.file(int(shard), rows_path), ["prompt"])
            mine = shards == shard
            found[mine] = table.column("prompt").take(rows[mine]).to_pylist()
        return list(found)


def pixel_path(folder: Path, shard: str) -> Path:
    """Where a shard's pictures lie."""
    return folder / f"{shard}.npy"


def rows_path(folder: Path, shard: str) -> Path:
    """Where a shard's table lies."""
    return folder / f"{shard}.parquet"


def pixel_reader(pictures: Pictures) -> Callable[[NDArray[np.integer]], NDArray[np.uint8]]:
    """Positions (b,) → pictures, uint8 (b, size, size, 3) in 0–255."""
    return pictures.reader(pixel_path)


def prompt_hashes(prompts: Iterable[str]) -> NDArray[np.uint64]:
    """`hash64` of each folded prompt: uint64 (n,)."""
    return np.array([hash64(text.fold(prompt)) for prompt in prompts], np.uint64)


def load_records(folders: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Records:
    """Read the rows of one or several prepared folders.

    Raises:
        UserError: a folder holds no prepared shards, or their picture sizes differ.
    """
    if isinstance(folders, (str, os.PathLike)):
        folders = [folders]
    folders = tuple(Path(folder) for folder in folders)
    texts = ("name", "prompt", "source", "split")
    columns: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("folder", "shard", "row", *texts)
    }
    for index, folder in enumerate(folders):
        for path in shard_files(folder):
            table = read_table(path, list(texts))
            n = table.num_rows
            columns["folder"].append(np.full(n, index, np.int32))
            columns["shard"].append(np.full(n, path.stem, dtype=object))
            columns["row"].append(np.arange(n, dtype=np.int64))
            for name in texts:
                columns[name].append(np.array(table.column(name).to_pylist(), dtype=object))
    check_alike(folders)
    return Records(folders, **{name: np.concatenate(parts) for name, parts in columns.items()})


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


def _numbered(names: list[Any]) -> tuple[list[Any], NDArray[np.integer]]:
    """Distinct names, ascending, and of each name its position among them."""
    distinct = sorted(set(names))
    number = {name: place for place, name in enumerate(distinct)}
    return distinct, np.array([number[name] for name in names], np.int32)
