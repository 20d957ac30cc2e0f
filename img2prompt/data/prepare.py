"""Parts of pictures and prompts → prepared shards, a process a part, resumable.

A part's pixels are written first and its rows last, each under a temporary name, so a run that was
stopped at any moment goes on with the first part that is not whole. The bytes are the same whatever
the number of workers. This room imports no TensorFlow: every worker would load it.
"""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from img2prompt.core import files
from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.files import atomic_path, write_json
from img2prompt.core.printable import json_text
from img2prompt.core.processes import pool, usable_cores, work
from img2prompt.data import diffusiondb, images
from img2prompt.data.filters import PairFilter, is_scored
from img2prompt.data.metadata import (
    CAPS,
    SCRATCH_GLOB,
    PartRows,
    RowTable,
    check_metadata,
    make_rows,
)
from img2prompt.data.report import DataReport, ShardCounts, count_rows, count_shard
from img2prompt.data.shards import (
    ORIGIN_FILE,
    REPORT_FILE,
    SETTINGS_FILE,
    SKIPPED_FILE,
    PrepareSettings,
    is_whole,
    origin_of,
    read_skipped,
    settings_of,
)
from img2prompt.data.splits import split_of

LOCK_FILE = ".prepare.lock"


def prepare(
    source: diffusiondb.Parts | str | os.PathLike,
    out: str | os.PathLike,
    settings: PrepareSettings | None = None,
    progress: bool = True,
    workers: int | None = None,
) -> dict:
    """Turn every part of `source` into a shard in `out`; go on where an earlier run stopped.

    A picture that is broken, has no or an empty prompt, or is filtered out is counted, named in
    `skipped.jsonl`, and never fatal. So is one without an NSFW score, unless there is no filter or
    `keep_unscored`: then it is kept and counted as unrated.

    Args:
        source: the parts, or a folder in DiffusionDB's layout.
        out: folder for the shards; one run at a time works in it.
        settings: what is kept, and the pixels' form.
        progress: show a bar on stderr.
        workers: processes, a part each; None for all usable cores. Above 1 they are spawned, so a
            script that calls this needs its `if __name__ == "__main__":`.

    Returns:
        The report, also saved as `report.json`: counts, per-source table, word frequencies and
        the most repeated prompts.

    Raises:
        UserError: no parts, parts that cannot be read (told after all others are done), no
            metadata for the NSFW filter, wrong column names, unknown languages, or `out` holds
            shards made with other settings, of another data set or origin, or, with caps, behind
            other parts or parts not of `source`.
        SharedFailureError: parts could not be had for a reason that all share, such as no network;
            what could be had is prepared.
    """
    settings = settings or PrepareSettings()
    if workers is not None and workers < 1:
        raise UserError(f"The number of workers must be 1 or more, not {workers}.")
    parts = source
    if isinstance(source, (str, os.PathLike)):
        parts = diffusiondb.LocalParts(source)
    PairFilter(settings)  # before any download: a wrong language, or no detector
    metadata = parts.metadata()
    if metadata is not None:
        check_metadata(metadata, settings)
    elif settings.needs_scores:
        raise UserError(
            "There is no metadata.parquet beside the parts, so nobody knows which pictures are "
            "safe; put it there, or give --keep-unscored to keep pictures without a score."
        )
    out = Path(out)
    with locked(out):
        _check_claim(out, settings, parts.origin)
        table = make_rows(parts, metadata, settings, out)
        try:
            todo = _todo(parts, out, settings, table)
        except UserError:
            _drop_scratch(out)
            raise
        try:
            report, unreadable = _prepare(parts, todo, out, settings, table, progress, workers)
        finally:
            clean(out)  # after what stopped the workers in the midst of a shard
        if report is not None:
            report["metadata"] = metadata is not None
            write_json(out / REPORT_FILE, report)
        _drop_scratch(out)
    for error in unreadable:
        if isinstance(error, SharedFailureError):
            raise error
    if report is None:
        raise unreadable[0]
    if unreadable:
        remedy = "leave them out with --parts, or try again"
        raise UserError(
            f"{len(unreadable):,} of {len(parts.stems):,} parts could not be read, the others are "
            f"prepared; {remedy if parts.origin else 'mend them and run this again'}. "
            f"The first: {unreadable[0]}"
        )
    return report


def _todo(
    parts: diffusiondb.Parts, out: Path, settings: PrepareSettings, table: RowTable | None
) -> list[str]:
    """The parts that are not prepared, after a check of those that are."""
    todo = [stem for stem in parts.stems if not is_whole(out, stem)]
    unlisted = {path.stem for path in out.glob("part-*.parquet")} - set(parts.stems)
    if settings.caps and todo and unlisted:
        more = f" and {len(unlisted) - 1:,} more parts" if len(unlisted) > 1 else ""
        them, zips = ("them", "their zips") if more else ("it", "its zip")
        remedy = f"list {them} in --parts too" if parts.origin else f"put {zips} beside the others"
        raise UserError(
            f"{out} holds {min(unlisted)}{more}, which this run leaves out, and caps count over "
            f"all parts; {remedy}, or give another --out."
        )
    for stem in sorted(set(parts.stems) - set(todo)):
        _check_same_part(parts, stem, out, settings, table)
    return todo


def _prepare(
    parts: diffusiondb.Parts,
    todo: list[str],
    out: Path,
    settings: PrepareSettings,
    table: RowTable | None,
    progress: bool,
    workers: int | None,
) -> tuple[dict | None, list[UserError]]:
    """The report, None where there is no shard at all, and why parts could not be read."""
    _claim(out, settings, parts.origin)
    clean(out)
    for stem in todo:  # damaged rows must not pass for a shard if the part cannot be had again
        (out / f"{stem}.parquet").unlink(missing_ok=True)
    made = {path.stem for path in out.glob("part-*.parquet")}
    workers = max(1, min(workers or usable_cores(), len(todo) + len(made)))
    report = DataReport()
    unreadable: dict[str, UserError] = {}
    fetched: set[str] = set()

    def job(stem: str, zip_: Path) -> tuple:
        fetched.add(stem)
        rows = None
        if table is not None:
            rows = dataclasses.replace(table, places={stem: table.places[stem]})
        return _make_shard, Job(stem, zip_, out, settings, parts.identity(stem), rows)

    def rows_of(stem: str) -> Path:
        return out / f"{stem}.parquet"

    def counting(stem: str, rows: Path) -> tuple:
        return count_shard, rows

    already = len(parts.stems) - len(todo)
    bar = tqdm(total=len(parts.stems), initial=already, unit="part", disable=not progress)
    with bar, pool(workers) as executor:
        for stem, result in work(executor, workers, todo, parts.fetch, job):
            if isinstance(result, UserError):
                unreadable[stem] = result
            else:
                report.add(result)
            if stem in fetched:
                parts.release(stem)
            bar.set_postfix_str(stem)
            bar.update()
        for _, result in work(executor, workers, sorted(made), rows_of, counting):
            if isinstance(result, UserError):
                raise result
            report.add(result)
    told = [unreadable[stem] for stem in sorted(unreadable)]
    if not any(out.glob("part-*.parquet")):
        return None, told
    with atomic_path(out / SKIPPED_FILE) as temporary, temporary.open("w", encoding="utf-8") as log:
        log.writelines(json_text(row) + "\n" for row in read_skipped(out))
    return report.result(out), told


@dataclass(frozen=True)
class Job:
    """What a worker needs to make one shard.

    Attributes:
        stem: the part's name.
        zip_: where it lies.
        out: folder for the shard.
        settings: what is kept, and the pixels' form.
        identity: `Parts.identity`.
        table: the rows of this part, None without metadata and caps.
    """

    stem: str
    zip_: Path
    out: Path
    settings: PrepareSettings
    identity: str
    table: RowTable | None


def _make_shard(job: Job) -> ShardCounts:
    settings = job.settings
    known = job.table.part(job.stem) if job.table else PartRows.none()
    pair_filter = PairFilter(settings)
    rows: dict[str, list] = {"name": [], "prompt": [], "source": [], "split": []}
    skipped: list[dict] = []
    unrated = without_user = 0
    shape = (settings.size, settings.size, 3)
    with (
        atomic_path(job.out / f"{job.stem}.npy") as temporary,
        temporary.open("wb") as file,
        _ArrayWriter(file, shape) as pixels,
    ):
        for item in diffusiondb.read_part(job.zip_):
            row = known.find(item.name)
            made = (
                item.reason
                if isinstance(item, diffusiondb.Skipped)
                else _pixels_or_reason(item, row, settings, pair_filter)
            )
            if isinstance(made, str):
                skipped.append({"part": job.zip_.name, "name": item.name, "reason": made})
                continue
            pixels.append(made)
            rows["name"].append(item.name)
            rows["prompt"].append(item.prompt)
            rows["source"].append(known.source(row))
            rows["split"].append(split_of(item.prompt))
            unrated += known.rated and not is_scored(*_scores(row))
            without_user += bool(settings.max_per_user) and (row is None or not row["user"])
    stamp = {
        "skipped": json.dumps(skipped),
        "part": job.identity,
        "metadata": str(known.rated),
        "unrated": str(unrated),
        "without_user": str(without_user),
    }
    if settings.caps:
        stamp["plan"] = known.plan()
    schema = pa.schema([(name, pa.string()) for name in rows], metadata=stamp)
    with atomic_path(job.out / f"{job.stem}.parquet") as temporary:
        pq.write_table(pa.table(rows, schema=schema), temporary)
    return count_rows(job.stem, rows, stamp)


def _pixels_or_reason(
    pair: diffusiondb.Pair,
    row: np.void | None,
    settings: PrepareSettings,
    pair_filter: PairFilter,
) -> np.ndarray | str:
    reason = pair_filter.reason(pair.prompt, *_scores(row))
    if reason is None and row is not None:
        reason = CAPS[row["cap"]]
    if reason is not None:
        return reason
    try:
        encoded = images.open_encoded(pair.data)
        if min(encoded.size) < settings.min_size:
            return "too small"
        picture = images.open_image(encoded)
    except images.ImageError as error:
        return f"broken: {error}"
    return images.to_pixels(picture, settings.size, settings.fit)


def _scores(row: np.void | None) -> tuple[float, float]:
    """The NSFW scores of a picture and its prompt; not numbers where nobody knows them."""
    return (np.nan, np.nan) if row is None else (row["image_nsfw"], row["prompt_nsfw"])


class _ArrayWriter:
    """Writes a `.npy` of uint8 row by row, so that a part's pixels never lie in memory.

    The bytes are those of `np.save`. numpy leaves room in the header for the number of rows.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...]) -> None:
        self._file, self._shape, self._rows = file, shape, 0

    def __enter__(self) -> "_ArrayWriter":
        self._write_header()
        return self

    def append(self, row: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(row, np.uint8).data)
        self._rows += 1

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            start = self._file.tell()
            self._file.seek(0)
            self._write_header()
            self._file.seek(start)

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
            "fortran_order": False,
            "shape": (self._rows, *self._shape),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def _check_claim(out: Path, settings: PrepareSettings, origin: dict) -> None:
    path = out / SETTINGS_FILE
    if not any(out.glob("part-*.parquet")):
        return
    if not path.exists():
        raise UserError(f"{out} holds shards but no {path.name}; give another --out.")
    if settings_of(out) != settings:
        raise UserError(
            f"{out} holds shards made with other settings ({path.name}); "
            "give another --out or delete it."
        )
    if origin_of(out) != json.loads(json.dumps(origin)):
        raise UserError(
            f"{out} holds shards of {_told(origin_of(out))}, and these parts are of "
            f"{_told(origin)}; give another --out or delete it."
        )


def _told(origin: dict) -> str:
    return ", ".join(f"{key} {value}" for key, value in origin.items()) or "a folder"


def _claim(out: Path, settings: PrepareSettings, origin: dict) -> None:
    if any(out.glob("part-*.parquet")):
        return
    write_json(out / SETTINGS_FILE, dataclasses.asdict(settings))
    if origin:
        write_json(out / ORIGIN_FILE, origin)
    else:
        (out / ORIGIN_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a prepared folder for one run; leave none behind in which nothing was written.

    Raises:
        UserError: another run holds it, or it is a file.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the shards.")
    with files.locked(out, LOCK_FILE):
        yield


def _drop_scratch(out: Path) -> None:
    for scratch in out.glob(SCRATCH_GLOB):
        scratch.unlink()


def clean(out: Path) -> None:
    """Remove what killed runs left half-written, but nothing that a living process writes."""
    files.sweep(out, earlier_versions=True)


def _check_same_part(
    parts: diffusiondb.Parts,
    stem: str,
    out: Path,
    settings: PrepareSettings,
    table: RowTable | None,
) -> None:
    """A shard is known by its part's name; another data set's part 1 must not pass for this one."""
    stamp = pq.read_schema(out / f"{stem}.parquet").metadata or {}
    # Folders prepared before there were other origins call it `part_bytes`.
    made_of = stamp.get(b"part") or stamp.get(b"part_bytes", b"")
    if made_of != parts.identity(stem).encode():
        raise UserError(
            f"{out} holds {stem} of another data set (its zip was another); "
            "give another --out or delete it."
        )
    rated = table is not None and table.rated
    if stamp.get(b"metadata", b"") != str(rated).encode():
        raise UserError(
            f"{out} holds {stem} made {'without' if rated else 'with'} metadata.parquet, "
            "so its NSFW filter differs; give another --out or delete it."
        )
    if settings.needs_scores and int(stamp.get(b"unrated", 0)):
        raise UserError(
            f"{out} holds pictures of {stem} that nobody scored, from before they were left out; "
            "give another --out or delete it."
        )
    if settings.caps and stamp.get(b"plan", b"") != table.part(stem).plan().encode():
        raise UserError(
            f"{out} holds {stem} made behind other parts, so its caps differ; prepare parts in "
            "order, or give another --out."
        )
