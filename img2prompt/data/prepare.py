"""Parts of pictures and prompts → prepared shards, a process a part, resumable.

A part's pixels are written first and its rows last, each under a temporary name, so a run that was
stopped at any moment goes on with the first part that is not whole. The bytes are the same whatever
the number of workers and wherever they run. This module imports no TensorFlow: every worker would
load it.
"""

import contextlib
import json
import os
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tqdm import tqdm

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.executors import (
    check_workers,
    fetch_and_work,
    in_order,
    local,
    usable_cores,
)
from img2prompt.core.files import atomic_path, write_json
from img2prompt.core.printable import json_text
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
from img2prompt.data.prepared_folder import check_claim, claim, clean, holds_shards, locked
from img2prompt.data.report import DataReport, ShardCounts, count_rows, count_shard
from img2prompt.data.shards import (
    REPORT_FILE,
    SKIPPED_FILE,
    PrepareSettings,
    is_whole,
    read_skipped,
)
from img2prompt.data.splits import split_of


def prepare(
    source: diffusiondb.Parts | str | os.PathLike[str],
    out: str | os.PathLike[str],
    settings: PrepareSettings | None = None,
    progress: bool = True,
    workers: int | None = None,
    executor: Executor | None = None,
) -> dict[str, Any]:
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
        executor: where to make the shards instead, a task a part; see `core.executors`. All its
            workers see the parts and `out` under the same paths.

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
    check_workers(workers)
    parts = diffusiondb.LocalParts(source) if isinstance(source, str | os.PathLike) else source
    metadata = _metadata(parts, settings)
    out = Path(out)
    with locked(out):
        check_claim(out, settings, parts.origin)
        table = make_rows(parts, metadata, settings, out)
        run = _Run(parts, out, settings, table)
        try:
            todo = run.todo()
        except UserError:
            _drop_scratch(out)
            raise
        claim(out, settings, parts.origin)
        clean(out)
        for stem in todo:  # damaged rows must not pass for a shard if the part cannot be had again
            (out / f"{stem}.parquet").unlink(missing_ok=True)
        made = sorted(out.glob("part-*.parquet"))
        try:
            most = max(1, min(workers or usable_cores(), len(todo) + len(made)))
            with contextlib.nullcontext(executor) if executor else local(most) as engine:
                report, unreadable = run.make(todo, made, engine, progress)
        finally:
            clean(out)  # after what stopped the workers in the midst of a shard
        if report is not None:
            report["metadata"] = metadata is not None
            write_json(out / REPORT_FILE, report)
        _drop_scratch(out)
    if report is None or unreadable:
        raise _unreadable(unreadable, parts, prepared=report is not None)
    return report


def _metadata(parts: diffusiondb.Parts, settings: PrepareSettings) -> Path | None:
    """The table of all pictures, its columns checked."""
    PairFilter(settings)  # before any download: a wrong language, or no detector
    metadata = parts.metadata()
    if metadata is not None:
        check_metadata(metadata, settings)
    elif settings.needs_scores:
        raise UserError("data.no_metadata")
    return metadata


def _unreadable(errors: list[UserError], parts: diffusiondb.Parts, prepared: bool) -> UserError:
    """The error to raise where parts could not be read."""
    for error in errors:
        if isinstance(error, SharedFailureError):
            return error
    if not prepared:
        return errors[0]
    return UserError(
        "data.unreadable_hub_parts" if parts.origin else "data.unreadable_parts",
        count=f"{len(errors):,}",
        parts=f"{len(parts.stems):,}",
        first=errors[0],
    )


@dataclass(frozen=True)
class _Run:
    """One preparation: its parts, where the shards go, what is kept, what is known of each part."""

    parts: diffusiondb.Parts
    out: Path
    settings: PrepareSettings
    table: RowTable | None

    def todo(self) -> list[str]:
        """The parts that are not prepared, after a check of those that are."""
        stems = self.parts.stems
        todo = [stem for stem in stems if not is_whole(self.out, stem)]
        unlisted = {path.stem for path in self.out.glob("part-*.parquet")} - set(stems)
        if self.settings.caps and todo and unlisted:
            more = len(unlisted) - 1
            place = "hub" if self.parts.origin else "folder"
            key = f"data.left_out_{place}_parts" if more else f"data.left_out_{place}_part"
            raise UserError(key, out=self.out, part=min(unlisted), more=f"{more:,}")
        for stem in sorted(set(stems) - set(todo)):
            self._check_same_part(stem)
        return todo

    def make(
        self, todo: list[str], made: list[Path], executor: Executor, progress: bool
    ) -> tuple[dict[str, Any] | None, list[UserError]]:
        """The report, None where there is no shard at all, and why parts could not be read."""
        parts, report = self.parts, DataReport()
        unreadable: dict[str, UserError] = {}
        fetched: set[str] = set()

        def task(stem: str, zip_: Path) -> tuple[Any, ...]:
            fetched.add(stem)
            known = PartRows.none() if self.table is None else self.table.part(stem)
            out, identity = self.out.absolute(), parts.identity(stem)
            return _make_shard, Job(stem, zip_.absolute(), out, self.settings, identity, known)

        already = len(parts.stems) - len(todo)
        with tqdm(
            total=len(parts.stems), initial=already, unit="part", disable=not progress
        ) as bar:
            for stem, result in fetch_and_work(executor, todo, parts.fetch, task):
                if isinstance(result, UserError):
                    unreadable[stem] = result
                else:
                    report.add(result)
                if stem in fetched:
                    parts.release(stem)
                bar.set_postfix_str(stem)
                bar.update()
            rows = ((path.absolute(),) for path in made)
            for counts in in_order(executor, count_shard, rows):
                report.add(counts)
        errors = [unreadable[stem] for stem in sorted(unreadable)]
        if not holds_shards(self.out):
            return None, errors
        with (
            atomic_path(self.out / SKIPPED_FILE) as temporary,
            temporary.open("w", encoding="utf-8") as log,
        ):
            log.writelines(json_text(row) + "\n" for row in read_skipped(self.out))
        return report.result(self.out), errors

    def _check_same_part(self, stem: str) -> None:
        """A shard has its part's name; another data set's part 1 must not pass for this one."""
        out = self.out
        stamp = pq.read_schema(out / f"{stem}.parquet").metadata or {}
        # Folders prepared before there were other origins call it `part_bytes`.
        made_of = stamp.get(b"part") or stamp.get(b"part_bytes", b"")
        if made_of != self.parts.identity(stem).encode():
            raise UserError("data.other_part", out=out, part=stem)
        rated = self.table is not None and self.table.rated
        if stamp.get(b"metadata", b"") != str(rated).encode():
            key = "data.made_without_metadata" if rated else "data.made_with_metadata"
            raise UserError(key, out=out, part=stem)
        if self.settings.needs_scores and int(stamp.get(b"unrated", 0)):
            raise UserError("data.holds_unscored", out=out, part=stem)
        if self.table is None or not self.settings.caps:
            return
        if stamp.get(b"plan", b"") != self.table.part(stem).plan().encode():
            raise UserError("data.other_caps", out=out, part=stem)


@dataclass(frozen=True)
class Job:
    """What a worker needs to make one shard.

    Attributes:
        stem: the part's name.
        zip_: where it lies.
        out: folder for the shard.
        settings: what is kept, and the pixels' form.
        identity: `Parts.identity`.
        known: the metadata of this part's pictures, and what caps leave out.
    """

    stem: str
    zip_: Path
    out: Path
    settings: PrepareSettings
    identity: str
    known: PartRows


def _make_shard(job: Job) -> ShardCounts:
    settings, known = job.settings, job.known
    pair_filter = PairFilter(settings)
    rows: dict[str, list[str]] = {"name": [], "prompt": [], "source": [], "split": []}
    skipped: list[dict[str, str]] = []
    unrated = without_user = 0
    shape = (settings.size, settings.size, 3)
    with atomic_path(job.out / f"{job.stem}.npy") as temporary, temporary.open("wb") as file:
        _write_header(file, (0, *shape))
        for item in diffusiondb.read_part(job.zip_):
            row = known.find(item.name)
            made = _pixels_or_reason(item, row, settings, pair_filter)
            if isinstance(item, diffusiondb.Skipped) or isinstance(made, str):
                skipped.append({"part": job.zip_.name, "name": item.name, "reason": str(made)})
                continue
            file.write(made.data)
            rows["name"].append(item.name)
            rows["prompt"].append(item.prompt)
            rows["source"].append(known.source(row))
            rows["split"].append(split_of(item.prompt))
            unrated += known.rated and not is_scored(*_scores(row))
            without_user += bool(settings.max_per_user) and (row is None or not row["user"])
        file.seek(0)
        _write_header(file, (len(rows["name"]), *shape))
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
    pair: diffusiondb.Pair | diffusiondb.Skipped,
    row: np.void | None,
    settings: PrepareSettings,
    pair_filter: PairFilter,
) -> NDArray[np.uint8] | str:
    """The picture, uint8 (size, size, 3), or why it is left out."""
    if isinstance(pair, diffusiondb.Skipped):
        return pair.reason
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


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The header of a `.npy` of uint8, as `np.save` writes it.

    numpy leaves room in it for the number of rows, so that one can be written over another and a
    part's pixels never lie in memory.
    """
    header = {
        "descr": np.lib.format.dtype_to_descr(np.dtype(np.uint8)),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(file, header)


def _drop_scratch(out: Path) -> None:
    for scratch in out.glob(SCRATCH_GLOB):
        scratch.unlink()
