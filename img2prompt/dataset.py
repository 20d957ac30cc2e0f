"""Prepared shards: parts of pictures and prompts → uint8 arrays a training run streams.

One shard a part: `part-000001.npy` (uint8, (n, size, size, 3), memory-mapped when read) and
`part-000001.parquet` (one row a picture: name, prompt, source, split). The parquet file is written
last, so its presence means the shard is whole, and a stopped run goes on with the next part.
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
from tqdm import tqdm

from img2prompt import diffusiondb, images, text
from img2prompt.errors import UserError
from img2prompt.files import atomic_path, read_json, write_json

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


def prepare(
    source: str | os.PathLike,
    out: str | os.PathLike,
    settings: PrepareSettings | None = None,
    progress: bool = True,
) -> dict:
    """Turn every part below `source` into a shard in `out`; go on where an earlier run stopped.

    A picture that is broken, has no or an empty prompt, or is filtered out is counted, named in
    `skipped.jsonl`, and never fatal.

    Returns:
        The report, also saved as `report.json`: counts, per-source table, word frequencies and
        the most repeated prompts.

    Raises:
        UserError: no parts, parts that cannot be read (told after all others are done), wrong
            column names, or `out` holds shards made with other settings or of another data set.
    """
    settings = settings or PrepareSettings()
    parts = diffusiondb.find_parts(source)
    metadata = diffusiondb.read_metadata(source)
    out = Path(out)
    _claim(out, settings)
    unreadable: list[str] = []
    todo = [part for part in parts if not _is_whole(out, part.stem)]
    for part in set(parts) - set(todo):
        _check_same_part(part, out, metadata)
    for leftover in out.glob(".part-*.tmp*"):  # of a killed run
        leftover.unlink()
    with tqdm(
        total=len(parts), initial=len(parts) - len(todo), unit="part", disable=not progress
    ) as bar:
        for part in todo:
            bar.set_postfix_str(part.stem)
            try:
                _prepare_part(part, out, settings, metadata)
            except UserError as error:
                unreadable.append(str(error))
            bar.update()
    if unreadable and not list(out.glob("part-*.parquet")):
        raise UserError(unreadable[0])
    with atomic_path(out / SKIPPED_FILE) as temporary:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in _read_skipped(out)]
        temporary.write_text("".join(lines), encoding="utf-8")
    report = build_report(out) | {"metadata": metadata is not None}
    write_json(out / REPORT_FILE, report)
    if unreadable:
        raise UserError(
            f"{len(unreadable)} of {len(parts)} parts could not be read, the others are prepared; "
            f"mend them and run this again. The first: {unreadable[0]}"
        )
    return report


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
    skipped = Counter(row["reason"] for row in _read_skipped(folder))
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


def _claim(out: Path, settings: PrepareSettings) -> None:
    path = out / SETTINGS_FILE
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the shards.")
    if not any(out.glob("part-*.parquet")):
        write_json(path, dataclasses.asdict(settings))
    elif not path.exists():
        raise UserError(f"{out} holds shards but no {path.name}; give another --out.")
    elif settings_of(out) != settings:
        raise UserError(
            f"{out} holds shards made with other settings ({path.name}); "
            "give another --out or delete it."
        )


def _is_whole(out: Path, stem: str) -> bool:
    try:
        rows = pq.read_metadata(out / f"{stem}.parquet").num_rows
        pixels = np.load(out / f"{stem}.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError, pa.ArrowException):
        return False  # missing or damaged: it is made again
    return len(pixels) == rows


def _prepare_part(
    part: Path,
    out: Path,
    settings: PrepareSettings,
    metadata: diffusiondb.Metadata | None,
) -> None:
    pixels: list[np.ndarray] = []
    rows: dict[str, list] = {"name": [], "prompt": [], "source": [], "split": []}
    skipped: list[dict] = []
    for item in diffusiondb.read_part(part):
        reason = item.reason if isinstance(item, diffusiondb.Skipped) else None
        if reason is None:
            reason = _filter_reason(item, settings, metadata)
        if reason is None:
            try:
                picture = images.open_image(item.data)
            except images.ImageError as error:
                reason = f"broken: {error}"
        if reason is not None:
            skipped.append({"part": part.name, "name": item.name, "reason": reason})
            continue
        pixels.append(images.to_pixels(picture, settings.size, settings.fit))
        rows["name"].append(item.name)
        rows["prompt"].append(item.prompt)
        rows["source"].append(metadata.source(item.name) if metadata else "diffusiondb")
        rows["split"].append(split_of(item.prompt))
    array = np.stack(pixels) if pixels else np.empty((0, settings.size, settings.size, 3), np.uint8)
    with atomic_path(out / f"{part.stem}.npy") as temporary:
        np.save(temporary, array)
    schema = pa.schema([(name, pa.string()) for name in rows])
    stamp = {
        "skipped": json.dumps(skipped),
        "part_bytes": str(part.stat().st_size),
        "metadata": str(metadata is not None),
    }
    schema = schema.with_metadata(stamp)
    with atomic_path(out / f"{part.stem}.parquet") as temporary:
        pq.write_table(pa.table(rows, schema=schema), temporary)


def _check_same_part(part: Path, out: Path, metadata: diffusiondb.Metadata | None) -> None:
    """A shard is known by its part's name; another data set's part 1 must not pass for this one."""
    stamp = pq.read_schema(out / f"{part.stem}.parquet").metadata or {}
    if stamp.get(b"part_bytes", b"") != str(part.stat().st_size).encode():
        raise UserError(
            f"{out} holds {part.stem} of another data set (its zip had another size); "
            "give another --out or delete it."
        )
    if stamp.get(b"metadata", b"") != str(metadata is not None).encode():
        raise UserError(
            f"{out} holds {part.stem} made {'without' if metadata else 'with'} metadata.parquet, "
            "so its NSFW filter differs; give another --out or delete it."
        )


def _filter_reason(
    pair: diffusiondb.Pair, settings: PrepareSettings, metadata: diffusiondb.Metadata | None
) -> str | None:
    image_nsfw, prompt_nsfw = metadata.nsfw(pair.name) if metadata else (0.0, 0.0)
    if settings.max_image_nsfw is not None and image_nsfw > settings.max_image_nsfw:
        return "blurred" if image_nsfw == diffusiondb.ALREADY_BLURRED else "image_nsfw"
    if settings.max_prompt_nsfw is not None and prompt_nsfw > settings.max_prompt_nsfw:
        return "prompt_nsfw"
    if settings.train_only and split_of(pair.prompt) != "train":
        return "not in the training split"
    return None


def _read_skipped(folder: Path) -> Iterator[dict]:
    # The truth lies in each shard's own metadata; skipped.jsonl is its readable copy.
    for path in sorted(folder.glob("part-*.parquet")):
        yield from json.loads((pq.read_schema(path).metadata or {}).get(b"skipped", b"[]"))


def _curve(counts: list[int], points: int = 200) -> list[tuple[int, int]]:
    """(rank, count) at logarithmically spaced ranks."""
    if not counts:
        return []
    ranks = np.unique(np.geomspace(1, len(counts), points).astype(int))
    return [(int(rank), int(counts[rank - 1])) for rank in ranks]
