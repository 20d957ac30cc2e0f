"""Prepared shards: their form, the split by prompt, and how training reads them.

One shard a part: `part-000001.npy` (uint8, (n, size, size, 3), memory-mapped when read) and
`part-000001.parquet` (one row a picture: name, prompt, source, split). The parquet file is written
last, so its presence means the shard is whole. `preparation.py` makes them.
"""

import dataclasses
import functools
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from img2prompt import images, text
from img2prompt.errors import UserError
from img2prompt.files import read_json

SPLITS = ("train", "validation", "test")
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1  # the rest is test: the original's 80/10/10
SETTINGS_FILE = "settings.json"
REPORT_FILE = "report.json"
SKIPPED_FILE = "skipped.jsonl"


def split_of(prompt: str) -> str:
    """`train`, `validation` or `test`, decided by the folded prompt alone.

    A stable hash (BLAKE2b), so the same prompt always lands in the same split whatever the
    number, order or origin of the parts: adding parts never moves a prompt, and no prompt
    crosses from training to test.
    """
    digest = hashlib.blake2b(text.fold(prompt).encode("utf-8"), digest_size=8).digest()
    position = int.from_bytes(digest, "big") / 2**64  # uniform in [0, 1)
    if position < TRAIN_SHARE:
        return "train"
    return "validation" if position < TRAIN_SHARE + VALIDATION_SHARE else "test"


@dataclass(frozen=True)
class PrepareSettings:
    """What decides a shard's contents; shards of different settings never mix in one folder."""

    size: int = images.SIZE
    fit: images.Fit = "stretch"
    # DiffusionDB's authors suggest no threshold. 0.5 cuts at "more likely than not"; 2.0 marks
    # pictures that were blurred for it, so they go too. None switches the filter off.
    max_image_nsfw: float | None = 0.5
    max_prompt_nsfw: float | None = 0.5
    # Pictures that only teach words: those whose prompt hashes to another split are left out.
    train_only: bool = False

    def __post_init__(self) -> None:
        if not 32 <= self.size <= 1024:
            raise UserError(f"The size must lie in 32…1024 pixels, not {self.size}.")
        if self.fit not in images.FITS:
            raise UserError(f"Unknown fit {self.fit!r}; choose one of {', '.join(images.FITS)}.")


@dataclass(frozen=True)
class Records:
    """The rows of prepared shards, without their pixels.

    `shard` and `row` say where a picture's pixels lie: `folders[folder]/shard.npy[row]`.
    All arrays have one entry a picture.
    """

    folders: tuple[Path, ...]
    folder: np.ndarray  # (n,) int, index into folders
    shard: np.ndarray  # (n,) str
    row: np.ndarray  # (n,) int
    name: np.ndarray  # (n,) str
    prompt: np.ndarray  # (n,) str
    source: np.ndarray  # (n,) str
    split: np.ndarray  # (n,) str

    def __len__(self) -> int:
        return len(self.row)

    def take(self, mask_or_index: np.ndarray) -> "Records":
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
            raise UserError(f"Unknown split {split!r}; choose one of {', '.join(SPLITS)}.")
        return self.take(self.split == split)


def load_records(folders: str | os.PathLike | Iterable[str | os.PathLike]) -> Records:
    """Read the rows of one or several prepared folders.

    Raises:
        UserError: a folder holds no prepared shards, or their picture sizes differ.
    """
    if isinstance(folders, (str, os.PathLike)):
        folders = [folders]
    folders = tuple(Path(folder) for folder in folders)
    columns: dict[str, list] = {name: [] for name in _COLUMNS}
    for index, folder in enumerate(folders):
        shards = sorted(folder.glob("part-*.parquet"))
        if not shards:
            raise UserError(f"{folder} holds no prepared shards; run scripts/prepare_data.py.")
        for path in shards:
            try:
                table = pq.read_table(path, columns=["name", "prompt", "source", "split"])
            except (pa.ArrowException, OSError):
                raise UserError(f"{path} is damaged; delete it and prepare again.") from None
            n = table.num_rows
            columns["folder"].append(np.full(n, index, np.int32))
            columns["shard"].append(np.full(n, path.stem, dtype=object))
            columns["row"].append(np.arange(n, dtype=np.int64))
            for name in ("name", "prompt", "source", "split"):
                values = np.array(table.column(name).to_pylist(), dtype=object)
                columns[name].append(values)
    if len({(settings_of(folder).size, settings_of(folder).fit) for folder in folders}) > 1:
        raise UserError("These folders differ in --size or --fit; prepare them alike.")
    return Records(folders, **{name: np.concatenate(parts) for name, parts in columns.items()})


def settings_of(folder: str | os.PathLike) -> PrepareSettings:
    """The settings a prepared folder was made with."""
    path = Path(folder) / SETTINGS_FILE
    try:
        return PrepareSettings(**read_json(path))
    except TypeError:  # not a dictionary, or other names
        raise UserError(f"{path} does not hold the settings of prepared shards.") from None


class ShardReader:
    """Reads rows of `Records` from memory-mapped arrays, one file a shard.

    Args:
        records: whose rows are read.
        path_of: (prepared folder, shard name) → the shard's `.npy`.
    """

    # Each open map holds a file descriptor; systems allow 256 to 1,024 of them.
    OPEN_MAPS = 128

    def __init__(self, records: Records, path_of: Callable[[Path, str], Path]) -> None:
        self.records, self._path_of = records, path_of
        self._map = functools.lru_cache(self.OPEN_MAPS)(self._open)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        """Positions (b,) → the shards' rows, (b, …), in their own dtype."""
        records = self.records
        rows = [
            self._map(int(records.folder[i]), records.shard[i])[records.row[i]]
            for i in index.tolist()
        ]
        return np.stack(rows)

    def _open(self, folder: int, shard: str) -> np.ndarray:
        path = self._path_of(self.records.folders[folder], shard)
        try:
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, EOFError, ValueError):
            raise UserError(f"{path} is missing or damaged; prepare again.") from None


def pixel_reader(records: Records) -> ShardReader:
    """Positions (b,) → pictures, uint8 (b, size, size, 3) in 0–255."""
    return ShardReader(records, lambda folder, shard: folder / f"{shard}.npy")


def source_group(source: str) -> str:
    """The source a figure is reported under.

    Sources named `owner/repository` are single repositories of a few pictures each; they are
    reported together as `small-repositories`, and the two collections of one generator together.
    """
    if "/" in source:
        return "small-repositories"
    return "gptimage2" if source.startswith("gptimage2-") else source


def source_names(line: str) -> tuple[str, ...]:
    """The source groups of a list with commas between, as `--without` takes it."""
    return tuple(name.strip() for name in line.split(",") if name.strip())


def of_source_groups(records: Records, groups: Sequence[str]) -> np.ndarray:
    """Which records belong to one of these source groups: bool (n,).

    Raises:
        UserError: a group that the records don't have.
    """
    own = np.array([source_group(source) for source in records.source], dtype=object)
    unknown = set(groups) - set(own)
    if unknown:
        raise UserError(
            f"There is no source {', '.join(sorted(unknown))}; "
            f"there are {', '.join(sorted(set(own)))}."
        )
    return np.isin(own, list(groups))


def sampling_weights(records: Records, power: float = 0.5) -> np.ndarray:
    """Probability of drawing each picture, so that big sources don't drown the others.

    A source group of n pictures gets a share proportional to n**power: 0 gives every group the
    same share. Within a group pictures of one prompt share a single prompt's weight, the remedy
    against the most repeated prompts. At 1 the data stays as it lies, every picture alike.

    Returns:
        float64 (n,), summing to 1.
    """
    if power == 1:
        return np.full(len(records), 1 / len(records))
    groups = np.array([source_group(source) for source in records.source], dtype=object)
    folded = np.array([text.fold(prompt) for prompt in records.prompt], dtype=object)
    repeats = Counter(folded)
    weights = np.array([1.0 / repeats[prompt] for prompt in folded])
    for group in set(groups):
        members = groups == group
        weights[members] *= members.sum() ** power / weights[members].sum()
    return weights / weights.sum()


def build_report(folder: str | os.PathLike) -> dict:
    """Counts, per-source table, word frequencies and most repeated prompts of a prepared folder."""
    folder = Path(folder)
    records = load_records(folder)
    skipped = Counter(row["reason"] for row in read_skipped(folder))
    by_source = {}
    for source in sorted(set(records.source)):
        mine = records.source == source
        by_source[source] = {
            "pictures": int(mine.sum()),
            "prompts": len({text.fold(prompt) for prompt in records.prompt[mine]}),
            **{split: int((mine & (records.split == split)).sum()) for split in SPLITS},
        }
    counts: Counter[str] = Counter()
    for prompt in records.prompt:
        counts.update(text.content_words(prompt))
    repeated = Counter(text.fold(prompt) for prompt in records.prompt)
    return {
        "settings": dataclasses.asdict(settings_of(folder)),
        "pictures": len(records),
        "prompts": len(repeated),
        "splits": {split: int((records.split == split).sum()) for split in SPLITS},
        "skipped": dict(sorted(skipped.items())),
        "sources": by_source,
        "distinct_content_words": len(counts),
        "words": counts.most_common(200),
        "word_frequency_curve": _curve([count for _, count in counts.most_common()]),
        "most_repeated_prompts": repeated.most_common(30),
    }


_COLUMNS = ("folder", "shard", "row", "name", "prompt", "source", "split")


def read_skipped(folder: Path) -> Iterator[dict]:
    """What was left out of a prepared folder: `part`, `name`, `reason` of each picture."""
    # The truth lies in each shard's own metadata; skipped.jsonl is its readable copy.
    for path in sorted(folder.glob("part-*.parquet")):
        yield from json.loads((pq.read_schema(path).metadata or {}).get(b"skipped", b"[]"))


def _curve(counts: list[int], points: int = 200) -> list[tuple[int, int]]:
    """(rank, count) at logarithmically spaced ranks."""
    if not counts:
        return []
    ranks = np.unique(np.geomspace(1, len(counts), points).astype(int))
    return [(int(rank), int(counts[rank - 1])) for rank in ranks]
