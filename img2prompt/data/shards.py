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

from img2prompt.core.arrays import map_array
from img2prompt.core.errors import UserError
from img2prompt.core.files import read_json
from img2prompt.core.forms import Origin, Prepared
from img2prompt.data import images, text
from img2prompt.data.part_names import STEM

SPLITS = ("train", "validation", "test")
TRAIN_SHARE, VALIDATION_SHARE = 0.8, 0.1  # the rest is test: the original's 80/10/10
SETTINGS_FILE = "settings.json"
REPORT_FILE = "report.json"
SKIPPED_FILE = "skipped.jsonl"
ORIGIN_FILE = "origin.json"  # where the parts came from; a folder's shards have none


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


def near_duplicate_key(prompt: str) -> int:
    """What near-duplicate prompts have in common, as 64 bits, never 0.

    Two prompts are near-duplicates when they hold the same words (as `text.words` gives them),
    whatever their order, case, punctuation and repetition. A prompt without a word is its folded
    self.
    """
    return hash64(" ".join(sorted(set(text.words(prompt)))) or "\0" + text.fold(prompt))


def hash64(value: str) -> int:
    """A stable 64-bit hash (BLAKE2b), never 0, so that 0 can stand for none.

    Among 14 million values the chance of a single collision is 5e-6.
    """
    digest = hashlib.blake2b(value.encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


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
            raise UserError(f"The size must lie in 32…1024 pixels, not {self.size}.")
        if self.fit not in images.FITS:
            raise UserError(f"Unknown fit {self.fit!r}; choose one of {', '.join(images.FITS)}.")
        for name in ("min_size", "min_words", "max_per_prompt", "max_per_user"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name.replace('_', '-')} must be 0 (off) or more.")
        if self.max_words is not None and self.max_words < max(1, self.min_words):
            raise UserError("--max-words must be at least 1 and at least --min-words.")
        if isinstance(self.languages, str):
            raise UserError("The languages must be a list of codes, such as en and de.")
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
        for path in shard_files(folder):
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
    check_alike(folders)
    return Records(folders, **{name: np.concatenate(parts) for name, parts in columns.items()})


def check_alike(folders: Iterable[Path]) -> None:
    """Raise `UserError` where the pictures of prepared folders differ in size or fit."""
    if len({(settings_of(folder).size, settings_of(folder).fit) for folder in folders}) > 1:
        raise UserError("These folders differ in --size or --fit; prepare them alike.")


def settings_of(folder: str | os.PathLike) -> PrepareSettings:
    """The settings a prepared folder was made with."""
    path = Path(folder) / SETTINGS_FILE
    try:
        return PrepareSettings(**read_json(path, Prepared))
    except (TypeError, AttributeError):  # not a dictionary, other names, other types
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
            return map_array(path)
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


def origin_of(folder: str | os.PathLike) -> dict:
    """Where the parts of a prepared folder came from, as `Parts.origin` said; {} for a folder."""
    path = Path(folder) / ORIGIN_FILE
    return read_json(path, Origin) if path.exists() else {}


@dataclass(frozen=True)
class ShardCounts:
    """What the report needs of one shard, small enough to go from process to process.

    Attributes:
        stem: the shard's name.
        prompts: `hash64` of each picture's folded prompt, uint64 (n,).
        sources: the shard's sources.
        source: each picture's position among them, uint16 (n,).
        splits: (source, split) → pictures.
        words: content word → pictures.
        skipped: reason → pictures left out.
        unrated: pictures kept that the metadata has no score of.
        without_user: pictures kept that no cap per user could count.
    """

    stem: str
    prompts: np.ndarray
    sources: tuple[str, ...]
    source: np.ndarray
    splits: Counter[tuple[str, str]]
    words: Counter[str]
    skipped: Counter[str]
    unrated: int
    without_user: int


def count_rows(stem: str, rows: dict[str, list], stamp: dict[str, str]) -> ShardCounts:
    """Count one shard.

    Args:
        stem: its name.
        rows: its columns `prompt`, `source`, `split`.
        stamp: what its parquet file carries: `skipped`, and, since there are such,
            `unrated` and `without_user`.
    """
    places = {source: place for place, source in enumerate(dict.fromkeys(rows["source"]))}
    words: Counter[str] = Counter()
    for prompt in rows["prompt"]:
        words.update(text.content_words(prompt))
    return ShardCounts(
        stem,
        np.array([hash64(text.fold(prompt)) for prompt in rows["prompt"]], np.uint64),
        tuple(places),
        np.array([places[source] for source in rows["source"]], np.uint16),
        Counter(zip(rows["source"], rows["split"], strict=True)),
        words,
        Counter(row["reason"] for row in json.loads(stamp.get("skipped", "[]"))),
        int(stamp.get("unrated", 0)),
        int(stamp.get("without_user", 0)),
    )


def count_shard(path: str | os.PathLike) -> ShardCounts:
    """Count the shard whose rows lie in `path`, a parquet file.

    Raises:
        UserError: it is damaged.
    """
    path = Path(path)
    try:
        table = pq.read_table(path, columns=["prompt", "source", "split"])
    except (pa.ArrowException, OSError):
        raise UserError(f"{path} is damaged; delete it and prepare again.") from None
    stamp = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return count_rows(path.stem, table.to_pydict(), stamp)


class DataReport:
    """Adds up shards, in any order, to the report of a prepared folder.

    Holds ten bytes a picture and the vocabulary: 140 MB for DiffusionDB's 14 million pictures
    where their prompts would take gigabytes.
    """

    def __init__(self) -> None:
        self._stems: list[str] = []
        self._prompts: list[np.ndarray] = []
        self._source: list[np.ndarray] = []
        self._sources: dict[str, int] = {}
        self._splits: Counter[tuple[str, str]] = Counter()
        self._words: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._unrated = self._without_user = 0

    def add(self, shard: ShardCounts) -> None:
        """Add one shard; each may be added once."""
        self._stems.append(shard.stem)
        self._prompts.append(shard.prompts)
        own = [self._sources.setdefault(source, len(self._sources)) for source in shard.sources]
        self._source.append(np.array(own, np.uint16)[shard.source])
        self._splits.update(shard.splits)
        self._words.update(shard.words)
        self._skipped.update(shard.skipped)
        self._unrated += shard.unrated
        self._without_user += shard.without_user

    def result(self, folder: str | os.PathLike) -> dict:
        """The report, JSON-ready.

        Args:
            folder: the prepared folder, for its settings and the most repeated prompts' text.
        """
        folder = Path(folder)
        prompts = np.concatenate([np.empty(0, np.uint64), *self._prompts])
        source = np.concatenate([np.empty(0, np.uint16), *self._source])
        by_source = {}
        for name in sorted(self._sources):
            counts = {split: self._splits[name, split] for split in SPLITS}
            by_source[name] = {
                "pictures": sum(counts.values()),
                "prompts": len(np.unique(prompts[source == self._sources[name]])),
                **counts,
            }
        distinct, first, repeats = np.unique(prompts, return_index=True, return_counts=True)
        # Ties by word or hash and not by arrival: any order of the shards gives one report.
        top = np.lexsort((distinct, -repeats))[:30]
        ranked = sorted(self._words.items(), key=lambda item: (-item[1], item[0]))
        return {
            "settings": dataclasses.asdict(settings_of(folder)),
            "pictures": len(prompts),
            "prompts": len(distinct),
            "splits": {split: sum(row[split] for row in by_source.values()) for split in SPLITS},
            "skipped": dict(sorted(self._skipped.items())),
            "unrated": self._unrated,
            "without_user": self._without_user,
            "sources": by_source,
            "distinct_content_words": len(ranked),
            "words": ranked[:200],
            "word_frequency_curve": _curve([count for _, count in ranked]),
            "most_repeated_prompts": [
                (self._prompt_at(folder, int(first[place])), int(repeats[place])) for place in top
            ],
        }

    def _prompt_at(self, folder: Path, position: int) -> str:
        for stem, prompts in zip(self._stems, self._prompts, strict=True):
            if position < len(prompts):
                table = pq.read_table(folder / f"{stem}.parquet", columns=["prompt"])
                return text.fold(table.column("prompt")[position].as_py())
            position -= len(prompts)
        raise IndexError(position)


def build_report(folder: str | os.PathLike) -> dict:
    """Counts, per-source table, word frequencies and most repeated prompts of a prepared folder.

    Raises:
        UserError: the folder holds no prepared shards, or a damaged one.
    """
    folder = Path(folder)
    report = DataReport()
    for path in shard_files(folder):
        report.add(count_shard(path))
    return report.result(folder)


def is_whole(folder: str | os.PathLike, stem: str) -> bool:
    """Whether a part is prepared: its rows are readable and its pixels are as many.

    Reads only the heads of both files. What is missing or damaged is to be made again.
    """
    try:
        rows = pq.read_metadata(Path(folder) / f"{stem}.parquet").num_rows
        pixels = map_array(Path(folder) / f"{stem}.npy")
    except (OSError, EOFError, ValueError, pa.ArrowException):
        return False
    return len(pixels) == rows


def shard_files(folder: str | os.PathLike) -> list[Path]:
    """The parquet files of a prepared folder's shards, in order.

    Raises:
        UserError: there are none, or one whose name is not a part's: a copy would teach its
            pictures twice.
    """
    shards = sorted(Path(folder).glob("part-*.parquet"))
    for path in shards:
        if not STEM.fullmatch(path.stem):
            raise UserError(f"{path} is not a shard's name; delete it if it is a copy.")
    if not shards:
        raise UserError(f"{folder} holds no prepared shards; run scripts/prepare_data.py.")
    return shards


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
