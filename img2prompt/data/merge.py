"""Prepared folders → one: parts that several machines prepared, each its own range.

Everything is checked before anything is written. Shards are linked where the disk allows it and
copied where not, pixels first and rows last as in `preparation.py`, so a run that was stopped goes
on when it is started again.
"""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from img2prompt.core.arrays import map_array
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, sha256_of, told_when_full, write_json
from img2prompt.core.printable import json_text
from img2prompt.data.part_names import number_of
from img2prompt.data.prepare import clean, locked
from img2prompt.data.report import build_report
from img2prompt.data.shards import (
    ORIGIN_FILE,
    REPORT_FILE,
    SETTINGS_FILE,
    SKIPPED_FILE,
    PrepareSettings,
    origin_of,
    read_skipped,
    settings_of,
)
from img2prompt.data.subsets import format_parts, parse_parts

SUFFIXES = (".npy", ".parquet")  # in the order in which they are placed


@dataclass(frozen=True)
class _Shard:
    """A whole shard: its rows' file, which part it was made of, whether metadata rated it."""

    rows: Path
    part: str
    rated: bool


def merge(
    folders: Iterable[str | os.PathLike],
    out: str | os.PathLike,
    expect: str | None = None,
    move: bool = False,
    progress: bool = True,
) -> dict:
    """Put the shards of prepared folders into one.

    Args:
        folders: made with the same settings of the same data; they may share parts that are equal.
        out: folder for all shards; may hold some already, which are then checked like the others.
        expect: numbers of parts that have to be there, such as `1-2000`; unset, whatever is there.
        move: delete the shards in `folders` once they are in `out`.
        progress: show a bar on stderr.

    Returns:
        The report of all, also saved as `report.json`, as `preparation.prepare` does.

    Raises:
        UserError: folders that are none, differ in settings, origin or metadata, or have caps; a
            shard that is not whole; a part twice with other contents; missing parts; another run
            works in one of the folders; a full disk. But for the last nothing was changed.
    """
    out = Path(out)
    folders = list({Path(folder).resolve(): Path(folder) for folder in folders}.values())
    wanted = None if expect is None else parse_parts(expect)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder for the shards.")
    if out.resolve() in {folder.resolve() for folder in folders}:
        raise UserError(f"{out} is to hold all shards; leave it out of the folders to merge.")
    with contextlib.ExitStack() as held:
        for folder in (out, *folders):
            # What is no prepared folder is told below, and gets no lock's file.
            if folder is out or (folder / SETTINGS_FILE).is_file():
                held.enter_context(_held(folder, unwritten=not move and folder is not out))
        return _merge(folders, out, expect, wanted, move, progress)


@contextlib.contextmanager
def _held(folder: Path, unwritten: bool) -> Iterator[None]:
    """`locked`; a folder that nobody may write to needs no lock to be read."""
    if unwritten and not os.access(folder, os.W_OK):
        yield
        return
    with locked(folder):
        yield


def _merge(
    folders: list[Path],
    out: Path,
    expect: str | None,
    wanted: tuple[int, ...] | None,
    move: bool,
    progress: bool,
) -> dict:
    sources = [*([out] if any(out.glob("part-*.parquet")) else []), *folders]
    settings, origin = _common(sources)
    shards = _check(sources, settings, progress)
    if not shards:
        raise UserError("These folders hold no prepared shards; run scripts/prepare_data.py.")
    if wanted is not None:
        missing = set(wanted) - {number_of(stem) for stem in shards}
        if missing:
            raise UserError(
                f"Of the parts {expect}, {len(missing):,} are in none of the folders: "
                f"{format_parts(missing)}; prepare them and merge again."
            )
    todo = [shard for shard in shards.values() if shard.rows.parent != out]

    clean(out)

    def needed() -> int:
        files = [shard.rows.with_suffix(suffix) for shard in todo for suffix in SUFFIXES]
        return sum(file.stat().st_size for file in files if not (out / file.name).exists())

    with told_when_full(out, "the rest", needed):
        if len(todo) == len(shards):
            write_json(out / SETTINGS_FILE, dataclasses.asdict(settings))
            if origin:
                write_json(out / ORIGIN_FILE, origin)
            else:
                (out / ORIGIN_FILE).unlink(missing_ok=True)
        for shard in tqdm(todo, unit="part", desc="placing", disable=not progress):
            for suffix in SUFFIXES:
                _place(shard.rows.with_suffix(suffix), out)
        with (
            atomic_path(out / SKIPPED_FILE) as temporary,
            temporary.open("w", encoding="utf-8") as log,
        ):
            log.writelines(json_text(row) + "\n" for row in read_skipped(out))
        rated = next(iter(shards.values())).rated
        report = build_report(out) | {"metadata": rated}
        write_json(out / REPORT_FILE, report)
    if move:
        for folder in folders:
            for stem in shards:
                for suffix in reversed(SUFFIXES):  # a shard without rows counts as none
                    (folder / f"{stem}{suffix}").unlink(missing_ok=True)
    return report


def _common(sources: list[Path]) -> tuple[PrepareSettings, dict]:
    """What all folders share: settings and origin."""
    first = sources[0] if sources else None
    if first is None:
        raise UserError("Give the prepared folders to merge.")
    for folder in sources:
        if not (folder / SETTINGS_FILE).is_file():
            raise UserError(f"{folder} is no prepared folder; run scripts/prepare_data.py.")
        if settings_of(folder) != settings_of(first):
            raise UserError(
                f"{folder} and {first} were made with other settings ({SETTINGS_FILE}); "
                "prepare them alike."
            )
        if origin_of(folder) != origin_of(first):
            raise UserError(
                f"{folder} and {first} hold parts of other data or of another revision "
                f"({ORIGIN_FILE}); prepare them from the same."
            )
    settings = settings_of(first)
    if settings.caps:
        raise UserError(
            "Caps per prompt or user count over all parts before, so their parts are prepared "
            "in one folder; prepare without caps to merge."
        )
    return settings, origin_of(first)


def _check(sources: list[Path], settings: PrepareSettings, progress: bool) -> dict[str, _Shard]:
    """Every part's shard in the order of the parts, the one in the first folder that has it."""
    shards: dict[str, _Shard] = {}
    files = [path for folder in sources for path in sorted(folder.glob("part-*.parquet"))]
    broken = []
    for path in tqdm(files, unit="shard", desc="checking", disable=not progress):
        shard = _read(path, settings.size)
        if shard is None:
            broken.append(path)
            continue
        known = shards.setdefault(path.stem, shard)
        if known is not shard and not _same(known, shard):
            raise UserError(
                f"{known.rows.parent} and {path.parent} both hold {path.stem}, with other "
                "contents; delete the wrong one."
            )
        if shard.rated != next(iter(shards.values())).rated:
            raise UserError(
                f"{path} was made {'with' if shard.rated else 'without'} metadata.parquet, and "
                "others were not, so their NSFW filters differ; prepare them alike."
            )
    if broken:
        more = f" and {len(broken) - 1:,} more are" if len(broken) > 1 else " is"
        raise UserError(f"{broken[0]}{more} not whole; prepare again what is in that folder.")
    return dict(sorted(shards.items()))


def _read(path: Path, size: int) -> _Shard | None:
    """The shard, or None unless its rows are readable and its pixels are as many."""
    try:
        table = pq.read_table(path)
        pixels = map_array(path.with_suffix(".npy"))
    except (OSError, EOFError, ValueError, pa.ArrowException):
        return None
    if pixels.dtype != np.uint8 or pixels.shape != (table.num_rows, size, size, 3):
        return None
    stamp = table.schema.metadata or {}
    rated = stamp.get(b"metadata", b"") == b"True"
    return _Shard(path, stamp.get(b"part", b"").decode(), rated)


def _same(one: _Shard, other: _Shard) -> bool:
    if one.part != other.part or not pq.read_table(one.rows).equals(pq.read_table(other.rows)):
        return False
    pixels = [shard.rows.with_suffix(".npy") for shard in (one, other)]
    return pixels[0].samefile(pixels[1]) or sha256_of(pixels[0]) == sha256_of(pixels[1])


def _place(file: Path, out: Path) -> None:
    with atomic_path(out / file.name) as temporary:
        try:
            os.link(file, temporary)
        except FileExistsError:  # of a killed run with this process's number
            temporary.unlink()
            os.link(file, temporary)
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, temporary)
