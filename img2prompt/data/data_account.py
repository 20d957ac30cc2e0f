"""One sentence for the manifest about the pictures in prepared folders, from their records."""

import os
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from img2prompt.core.files import read_json
from img2prompt.data.part_names import number_of
from img2prompt.data.shards import REPORT_FILE, origin_of, shard_files
from img2prompt.data.subsets import format_parts

SOURCES = 3  # named of a folder; the others are counted
UNNAMED = "diffusiondb"  # what a picture's source is called where the metadata names none


def account(
    folders: Sequence[str | os.PathLike[str]], auxiliary: Sequence[str | os.PathLike[str]] = ()
) -> str:
    """Where a model's pictures come from: "9,876 pictures of DiffusionDB 2m, parts 1-10 …".

    Args:
        folders: prepared folders.
        auxiliary: prepared folders whose pictures only teach words.

    Raises:
        UserError: a folder holds no shards.
    """
    told = [_account(Path(folder), "pictures") for folder in folders]
    told += [_account(Path(folder), "auxiliary pictures") for folder in auxiliary]
    return "; ".join(told)


def _account(folder: Path, kind: str) -> str:
    shards = shard_files(folder)
    pictures = sum(pq.read_metadata(path).num_rows for path in shards)
    parts = format_parts(number_of(path.stem) for path in shards)
    told = f"{pictures:,} {kind} of "
    origin = origin_of(folder)
    if "repository" in origin:
        name = f"DiffusionDB {origin['set']}" if "set" in origin else origin["repository"]
        revision = str(origin.get("revision", ""))[:12]
        return f"{told}{name}, parts {parts} ({origin['repository']} at {revision})"
    return f"{told}a folder of one's own, parts {parts}{_sources(folder)}"


def _sources(folder: Path) -> str:
    """The biggest sources by name, as the folder's report has them; "" where it has none."""
    if not (folder / REPORT_FILE).is_file():
        return ""
    rows = read_json(folder / REPORT_FILE).get("sources", {})
    names = sorted((name for name in rows if name != UNNAMED), key=lambda n: -rows[n]["pictures"])
    more = f" and {len(names) - SOURCES:,} more" if len(names) > SOURCES else ""
    return f" (sources: {', '.join(names[:SOURCES])}{more})" if names else ""
