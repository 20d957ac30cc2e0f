"""`metadata.parquet` without holding it in memory: its rows by part, and which ones the caps drop.

DiffusionDB's metadata has 2 or 14 million rows, gigabytes as Python objects. The file is streamed
twice: once to count the rows of each part, once to write each row to its place in a scratch file of
fixed-size rows (a counting sort). The worker of a part then reads the thousand rows of its part.

Caps (at most so many pictures of near-duplicate prompts, or of one user) are applied here, before
any picture is decoded. They count the pairs that pass the filters of `filters.py`, and `min_size`
where the metadata has `width` and `height`. The first ones are kept: in the order of the parts,
within a part in the order of the hashed names. So what is kept of a part depends on the parts
before it only, and adding parts at the end changes nothing.

DuckDB's `row_number()` was measured instead: the same bytes, but of 14 million rows in 749 MB and
26 seconds of computing against 479 MB and 5 (a limit of 128 MB is too little for it).
"""

import dataclasses
import functools
import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, read_json, write_json
from img2prompt.core.forms import Index
from img2prompt.data import diffusiondb
from img2prompt.data.filters import DUPLICATE, USER, PairFilter, beyond_cap
from img2prompt.data.parquet import check_columns, open_parquet, reading_parquet
from img2prompt.data.part_names import number_of
from img2prompt.data.shards import PrepareSettings
from img2prompt.data.splits import hash64, near_duplicate_key

# One picture; hashes are `hash64`, 0 where there is nothing to hash. `cap` says whether a cap
# leaves the picture out, see `CAPS`; `eligible` whether it passed the filters before the caps.
ROW = np.dtype(
    [
        ("name", "<u8"),
        ("user", "<u8"),
        ("prompt", "<u8"),
        ("image_nsfw", "<f8"),
        ("prompt_nsfw", "<f8"),
        ("source", "<u2"),
        ("eligible", "u1"),
        ("cap", "u1"),
    ]
)
CAPS = (None, DUPLICATE, USER)
BATCH = 65_536  # rows of metadata.parquet in memory at once
CHUNK = 2**20  # rows of the scratch file in memory at once while caps are decided
NO_USER = "deleted_account"  # DiffusionDB's one name for all who left
SCRATCH_GLOB = ".rows-*"
SIDES = ("width", "height")  # columns of the metadata, in pixels


@dataclass(frozen=True)
class PartRows:
    """What is known about the pictures of one part.

    Attributes:
        rows: dtype `ROW`, sorted by `name`.
        sources: the names that the column `source` numbers.
        rated: whether there are scores; rows from the parts themselves have none.
    """

    rows: np.ndarray
    sources: tuple[str, ...]
    rated: bool

    @classmethod
    def none(cls) -> "PartRows":
        """For a part about which nothing is known."""
        return cls(np.zeros(0, ROW), ("diffusiondb",), False)

    def find(self, name: str) -> np.void | None:
        """The row of a picture by its file name; None where there is none."""
        place = self._places.get(hash64(name))
        return None if place is None else self.rows[place]

    @functools.cached_property
    def _places(self) -> dict[int, int]:
        return {name: place for place, name in enumerate(self.rows["name"].tolist())}

    def source(self, row: np.void | None) -> str:
        """The source of a picture; `diffusiondb` where the metadata has no such column."""
        return "diffusiondb" if row is None else self.sources[row["source"]]

    def plan(self) -> str:
        """A digest of the pictures of this part that the caps drop: 32 hexadecimal digits."""
        capped = self.rows[self.rows["cap"] > 0]
        data = capped["name"].tobytes() + capped["cap"].tobytes()
        return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True)
class RowTable:
    """The scratch file: the rows of the requested parts, part after part.

    Attributes:
        path: the file, of `ROW`s without a header.
        places: name of a part → (first row, number of rows).
        sources: the names that the column `source` numbers.
        rated: as in `PartRows`.
    """

    path: Path
    places: dict[str, tuple[int, int]]
    sources: tuple[str, ...]
    rated: bool

    def part(self, stem: str) -> PartRows:
        """The rows of one part."""
        start, count = self.places[stem]
        rows = np.fromfile(self.path, ROW, count, offset=start * ROW.itemsize)
        return PartRows(rows, self.sources, self.rated)


def check_metadata(path: Path, settings: PrepareSettings) -> None:
    """Check the columns without reading a row.

    Raises:
        UserError: not parquet, or a needed column is missing or of another type.
    """
    check_columns(path, _required(settings))


def make_rows(
    parts: diffusiondb.Parts,
    metadata: Path | None,
    settings: PrepareSettings,
    folder: Path,
) -> RowTable | None:
    """The rows of all of `parts`, in a scratch file in `folder`; None where none are needed.

    They come from the metadata; without it, and only if there are caps, from the prompts of the
    parts themselves. A scratch file that a killed run left for the same is used again.

    Raises:
        UserError: as `check_metadata`; the metadata is damaged; or there are caps, but neither
            metadata nor all parts at hand.
    """
    if metadata is None and not settings.caps:
        return None
    if metadata is None and parts.origin:
        raise UserError("data.caps_need_metadata")
    key: list[Any] = [ROW.descr, dataclasses.asdict(settings), list(parts.stems), parts.origin]
    if metadata is None:
        key += [[stem, parts.identity(stem)] for stem in parts.stems]
    else:
        state = metadata.stat()
        key += [str(metadata.resolve()), state.st_size, state.st_mtime_ns]
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=12).hexdigest()
    path, index = folder / f".rows-{digest}.bin", folder / f".rows-{digest}.json"
    if not (index.exists() and path.exists()):
        index.unlink(missing_ok=True)  # it is written last, and tells that the rows are whole
        with atomic_path(path) as temporary:
            if metadata is None:
                places = _from_parts(parts, settings, temporary)
                sources: list[str] = ["diffusiondb"]
            else:
                places, sources = _from_metadata(parts.stems, metadata, settings, temporary)
            if settings.caps:
                _decide_caps(temporary, settings)
        write_json(index, {"places": places, "sources": sources})
    found = read_json(index, Index)
    places = {stem: (start, count) for stem, (start, count) in found["places"].items()}
    return RowTable(path, places, tuple(found["sources"]), metadata is not None)


def _required(settings: PrepareSettings) -> dict[str, type]:
    needed = {"image_name": str, "image_nsfw": float, "prompt_nsfw": float, "part_id": float}
    if settings.caps:
        needed["prompt"] = str
    if settings.max_per_user:
        needed["user_name"] = str
    return needed


def _from_metadata(
    stems: list[str], path: Path, settings: PrepareSettings, out: Path
) -> tuple[dict[str, tuple[int, int]], list[str]]:
    columns = check_columns(path, _required(settings))
    order = {number_of(stem): place for place, stem in enumerate(stems)}
    wanted = np.array(sorted(order), np.int64)
    counts = np.zeros(len(stems), np.int64)
    sources: dict[str, int] = {"diffusiondb": 0}
    pair_filter = PairFilter(settings)
    with reading_parquet(path), open_parquet(path) as file:
        groups = _row_groups(file, wanted)
        for batch in file.iter_batches(BATCH, groups, ["part_id"], use_threads=False):
            _, place = _places(batch, wanted, order)
            counts += np.bincount(place, minlength=len(stems))
        starts = np.concatenate([[0], np.cumsum(counts)])
        free = starts[:-1].copy()  # where each part's next row goes
        asked = {*_required(settings), "source"}
        if settings.caps and settings.min_size:
            asked |= {name for name in SIDES if _is_whole_numbers(file, name)}
        names = sorted(asked & columns)
        with out.open("wb") as rows_file:
            rows_file.truncate(int(starts[-1]) * ROW.itemsize)
            for batch in file.iter_batches(BATCH, groups, names, use_threads=False):
                chosen, place = _places(batch, wanted, order)
                if not len(chosen):
                    continue
                by_part = np.argsort(place, kind="stable")
                taken = batch.take(pa.array(chosen[by_part]))
                rows = _rows(taken, settings, pair_filter, sources)
                place = place[by_part]
                # One write for each run of rows of one part.
                bounds = np.flatnonzero(np.r_[True, place[1:] != place[:-1], True])
                for start, stop in itertools.pairwise(bounds):
                    part = place[start]
                    rows_file.seek(int(free[part]) * ROW.itemsize)
                    rows_file.write(rows[start:stop].tobytes())
                    free[part] += stop - start
    pa.default_memory_pool().release_unused()
    places = {
        stem: (int(start), int(count))
        for stem, start, count in zip(stems, starts[:-1], counts, strict=True)
    }
    _sort_parts(out, places)
    return places, list(sources)


def _from_parts(
    parts: diffusiondb.Parts, settings: PrepareSettings, out: Path
) -> dict[str, tuple[int, int]]:
    pair_filter = PairFilter(settings)
    places, start = {}, 0
    with out.open("wb") as file:
        for stem in parts.stems:
            # A part that cannot be read stops the run: what it holds decides what later ones keep.
            prompts = diffusiondb.read_prompts(parts.fetch(stem))
            rows = np.zeros(len(prompts), ROW)
            for row, (name, prompt) in zip(rows, prompts.items(), strict=True):
                row["name"] = hash64(name)
                row["prompt"] = near_duplicate_key(prompt)
                row["eligible"] = pair_filter.reason(prompt, np.nan, np.nan) is None
            rows.sort(order="name")
            file.write(rows.tobytes())
            places[stem] = (start, len(rows))
            start += len(rows)
    return places


def _rows(
    batch: pa.RecordBatch,
    settings: PrepareSettings,
    pair_filter: PairFilter,
    sources: dict[str, int],
) -> np.ndarray:
    rows = np.zeros(batch.num_rows, ROW)
    rows["name"] = [hash64(name or "") for name in batch.column("image_name").to_pylist()]
    for name in ("image_nsfw", "prompt_nsfw"):
        values = pc.fill_null(batch.column(name).cast(pa.float64()), np.nan)
        rows[name] = values.to_numpy(zero_copy_only=False)
    if "source" in batch.schema.names:
        own = [source or "diffusiondb" for source in batch.column("source").to_pylist()]
        if len(sources) + len(set(own) - set(sources)) > np.iinfo(ROW["source"]).max:
            raise UserError("data.too_many_sources")
        rows["source"] = [sources.setdefault(source, len(sources)) for source in own]
    if settings.max_per_user:
        users = batch.column("user_name").to_pylist()
        rows["user"] = [hash64(user) if user and user != NO_USER else 0 for user in users]
    if settings.caps:
        prompts = [prompt or "" for prompt in batch.column("prompt").to_pylist()]
        rows["prompt"] = [near_duplicate_key(prompt) for prompt in prompts]
        scores = zip(rows["image_nsfw"].tolist(), rows["prompt_nsfw"].tolist(), strict=True)
        rows["eligible"] = [
            bool(prompt.strip()) and pair_filter.reason(prompt, *both) is None
            for prompt, both in zip(prompts, scores, strict=True)
        ]
        for name in set(SIDES) & set(batch.schema.names):
            pixels = pc.fill_null(batch.column(name).cast(pa.int64()), settings.min_size)
            rows["eligible"] &= pixels.to_numpy(zero_copy_only=False) >= settings.min_size
    return rows


def _is_whole_numbers(file: pq.ParquetFile, name: str) -> bool:
    schema = file.schema_arrow
    return name in schema.names and pa.types.is_integer(schema.field(name).type)


def _places(
    batch: pa.RecordBatch, wanted: np.ndarray, order: dict[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the rows of wanted parts, and the position of each one's part: (n,) each."""
    numbers = pc.fill_null(batch.column("part_id").cast(pa.int64(), safe=False), -1)
    numbers = numbers.to_numpy(zero_copy_only=False)
    if not len(wanted):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    near = np.minimum(np.searchsorted(wanted, numbers), len(wanted) - 1)
    chosen = np.flatnonzero(wanted[near] == numbers)
    position = np.array([order[number] for number in wanted.tolist()])
    return chosen, position[near[chosen]]


def _row_groups(file: pq.ParquetFile, wanted: np.ndarray) -> list[int]:
    """The row groups that may hold wanted parts, by the file's own statistics."""
    # Columns within columns count singly there.
    places = range(file.metadata.num_columns)
    column = next(i for i in places if file.schema.column(i).path == "part_id")
    chosen = []
    for group in range(file.metadata.num_row_groups):
        told = file.metadata.row_group(group).column(column).statistics
        if (
            told is None
            or not told.has_min_max
            or np.any((wanted >= told.min) & (wanted <= told.max))
        ):
            chosen.append(group)
    return chosen


def _sort_parts(path: Path, places: dict[str, tuple[int, int]]) -> None:
    with path.open("r+b") as file:
        for start, count in places.values():
            file.seek(start * ROW.itemsize)
            rows = np.frombuffer(file.read(count * ROW.itemsize), ROW)
            rows = rows[np.argsort(rows["name"], kind="stable")]
            _agree(rows)
            file.seek(start * ROW.itemsize)
            file.write(rows.tobytes())


def _agree(rows: np.ndarray) -> None:
    """Give neighbouring rows of one name the worst of their scores; no score is the worst."""
    first = np.r_[True, rows["name"][1:] != rows["name"][:-1]][: len(rows)]
    if first.all():
        return
    starts = np.flatnonzero(first)
    times = np.diff(starts, append=len(rows))
    for score in ("image_nsfw", "prompt_nsfw"):
        known = np.where(rows[score] >= 0, rows[score], np.nan)
        rows[score] = np.repeat(np.maximum.reduceat(known, starts), times)
    rows["eligible"] = np.repeat(np.minimum.reduceat(rows["eligible"], starts), times)


def _decide_caps(path: Path, settings: PrepareSettings) -> None:
    """Fill in `cap`. Needs 10 bytes of memory a picture, and about 25 more while it sorts."""
    total = path.stat().st_size // ROW.itemsize
    eligible = np.empty(total, bool)
    cap = np.zeros(total, np.uint8)
    keys = np.empty(total, np.uint64)
    steps = [("prompt", settings.max_per_prompt), ("user", settings.max_per_user)]
    for field, most in steps:
        if not most:
            continue
        for start, rows in _chunks(path):
            keys[start : start + len(rows)] = rows[field]
            eligible[start : start + len(rows)] = rows["eligible"]
        # What one cap leaves out does not count for the next; nobody's pictures have no cap.
        eligible &= (cap == 0) & (keys != 0)
        cap[beyond_cap(keys, eligible, most)] = 1 if field == "prompt" else 2
    with path.open("r+b") as file:
        for start, rows in _chunks(path):
            rows["cap"] = cap[start : start + len(rows)]
            file.seek(start * ROW.itemsize)
            file.write(rows.tobytes())


def _chunks(path: Path) -> Iterator[tuple[int, np.ndarray]]:
    start = 0
    while len(rows := np.fromfile(path, ROW, CHUNK, offset=start * ROW.itemsize)):
        yield start, rows
        start += len(rows)
