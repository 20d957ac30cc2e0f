"""Prompts without pictures: of files, of a folder of parts, of DiffusionDB's table on the hub.

A folder's prompts come from `metadata.parquet` where it has them, else from the parts' own JSON,
and from a `prompts.parquet` beside it (column `prompt`) where there is one.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, told_when_full
from img2prompt.core.hub import MAIN, Asked, dataset_commit, failure, retried
from img2prompt.core.transfers import prepare_client
from img2prompt.data import diffusiondb
from img2prompt.data.diffusiondb import REPOSITORY
from img2prompt.data.parquet import PARQUET_ERRORS, check_columns, open_parquet, reading_parquet
from img2prompt.data.subsets import select

PROMPTS_FILE = "prompts.parquet"
BATCH = 65_536  # rows in memory at once
READ_AHEAD = 2**23  # bytes of the hub's table asked for at once


class PromptRow(NamedTuple):
    """One prompt of a file.

    Attributes:
        prompt: its text, not empty.
        written: False where the column `prompt_exact` says that it was rebuilt from a template
            ("a dog by ARTIST") rather than written by a person.
        source: of the column `source`; "" where the file has none.
    """

    prompt: str
    written: bool = True
    source: str = ""


# `PromptRow` as parquet.
SCHEMA = pa.schema([("prompt", pa.string()), ("prompt_exact", pa.bool_()), ("source", pa.string())])


def iter_prompts(path: str | os.PathLike[str], batch_rows: int = BATCH) -> Iterator[PromptRow]:
    """Stream the prompts of a `.parquet` file (column `prompt`) or a `.txt` file (one a line).

    Raises:
        UserError: missing file, one of another name, wrong column names, or not UTF-8 text.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError("data.no_prompts_file", path=path)
    if path.suffix not in (".parquet", ".txt"):  # any text has lines
        raise UserError("data.not_prompts", path=path)
    if path.suffix == ".parquet":
        found = check_columns(path, {"prompt": str})
        columns = ["prompt", *(name for name in ("prompt_exact", "source") if name in found)]
        with reading_parquet(path), open_parquet(path) as file:
            for batch in file.iter_batches(batch_rows, columns=columns):
                rows = batch.to_pydict()
                n = len(rows["prompt"])
                written = rows.get("prompt_exact") or [True] * n
                sources = rows.get("source") or [""] * n
                for prompt, exact, source in zip(rows["prompt"], written, sources, strict=True):
                    if prompt:
                        yield PromptRow(prompt, exact is not False, source or "")
    else:
        try:
            with path.open(encoding="utf-8-sig") as lines:  # Windows editors write the mark
                for line in lines:
                    if line.strip():
                        yield PromptRow(line.strip())
        except UnicodeDecodeError:
            raise UserError("data.prompts_not_utf8", path=path) from None


def folder_prompts(root: str | os.PathLike[str]) -> Iterator[pa.Table]:
    """Stream the prompts of a folder in DiffusionDB's layout, repeated ones too.

    Yields:
        Tables of `SCHEMA` with up to `BATCH` rows.

    Raises:
        UserError: no parts, or a file that cannot be read.
    """
    root = Path(root)
    parts = diffusiondb.find_parts(root)
    metadata = diffusiondb.find_metadata(root)
    found: list[Iterator[PromptRow]] = []
    if metadata is not None and "prompt" in check_columns(metadata, {}):
        found.append(iter_prompts(metadata))
    else:
        each = (diffusiondb.read_prompts(part).values() for part in parts)
        found.append(map(PromptRow, chain.from_iterable(each)))
    if (root / PROMPTS_FILE).is_file():
        found.append(iter_prompts(root / PROMPTS_FILE))
    prompts = chain(*found)
    while rows := list(islice(prompts, BATCH)):
        columns = [list(column) for column in zip(*rows, strict=True)]
        yield pa.table(dict(zip(SCHEMA.names, columns, strict=True)), schema=SCHEMA)


def hub_prompts(
    subset: str = "2m",
    parts: str | None = None,
    revision: str = MAIN,
    columns: Sequence[str] = ("prompt",),
) -> Iterator[pa.Table]:
    """Stream columns of the table of all pictures; of the file only those columns travel.

    The hub is that of `HF_ENDPOINT`.

    Args:
        subset, parts: as for `select`; the rows of other parts are left out.
        revision: a branch or a commit, resolved once.
        columns: names of the table's columns.

    Yields:
        Tables of these columns with up to `BATCH` rows.

    Raises:
        UserError: as `select`; no such revision, file or column, no access, or no network.
    """
    from huggingface_hub.errors import HTTPError

    selection = select(subset, parts)
    file = selection.collection.metadata
    asked = Asked(REPOSITORY, file, dataset_commit(REPOSITORY, revision), "data")
    some = 0 < len(selection.numbers) < selection.collection.parts
    filters = [("part_id", "in", list(selection.numbers))] if some else None
    try:
        yield from retried(lambda: _table_rows(asked, list(columns), filters), asked, tries=2)
    except (HTTPError, FileNotFoundError, ConnectionError) as error:
        raise failure(error, asked) or error from None
    except PARQUET_ERRORS:
        raise UserError("hub.no_parquet", name=file, repo=REPOSITORY) from None


def _table_rows(
    asked: Asked, columns: list[str], filters: list[tuple[str, str, list[int]]] | None
) -> Iterator[pa.Table]:
    # Takes seconds to import, and nothing else here needs it.
    import datasets
    import pyarrow.dataset as ds

    prepare_client()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # it would count every load at the hub
    rows = datasets.load_dataset(
        "parquet",
        data_files=f"hf://datasets/{asked.repo}@{asked.revision}/{asked.name}",
        split="train",
        streaming=True,
        columns=columns,
        filters=filters,
        # Else the reader hands over whole row groups, which may hold millions of rows.
        batch_size=BATCH,
        fragment_scan_options=ds.ParquetFragmentScanOptions(
            use_buffered_stream=True, buffer_size=READ_AHEAD, pre_buffer=False
        ),
    )
    if missing := [name for name in columns if name not in (rows.features or columns)]:
        raise UserError("hub.no_column", name=asked.name, columns=", ".join(missing))
    return rows.with_format("arrow").iter(batch_size=BATCH)


def write_prompts(
    tables: Iterable[pa.Table],
    out: str | os.PathLike[str],
    on_rows: Callable[[int], object] | None = None,
) -> int:
    """Write a stream of tables as one parquet file, atomically.

    Args:
        tables: of one schema.
        out: the file.
        on_rows: called with the number of rows of each table when it is written.

    Returns:
        The number of rows.

    Raises:
        UserError: no rows, or a full disk; `out` is then as it was.
    """
    out, rows, writer = Path(out), 0, None
    with told_when_full(out.parent, out.name), atomic_path(out) as temporary:
        try:
            for table in tables:
                writer = writer or pq.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
                rows += len(table)
                if on_rows is not None:
                    on_rows(len(table))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise UserError("data.no_prompts")
    return rows
