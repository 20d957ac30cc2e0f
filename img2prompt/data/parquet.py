"""Parquet files that others wrote: read in small pieces, their columns checked first."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from img2prompt.core.errors import UserError

PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
READ_BYTES = 2**20  # of a column, held at once

_TYPES = {
    str: (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    float: (pa.types.is_floating, pa.types.is_integer, pa.types.is_null),
}


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a file to be read in small pieces: one row group may hold all of 14 million prompts."""
    return pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False)


def check_columns(path: Path, required: dict[str, type]) -> set[str]:
    """The names of a parquet file's columns.

    Args:
        path: the file.
        required: column → `str` or `float` (any number).

    Raises:
        UserError: it is not parquet, or a required column is missing or of another type.
    """
    try:
        schema = pq.read_schema(path)
        columns = set(schema.names)
    except PARQUET_ERRORS:
        raise UserError("data.no_parquet", path=path) from None
    for name in sorted(columns):
        if schema.names.count(name) > 1:
            raise UserError("data.two_columns", path=path, column=name)
    missing = [name for name in required if name not in columns]
    if missing:
        raise UserError(
            "data.missing_columns",
            path=path,
            missing=", ".join(missing),
            columns=", ".join(sorted(columns)),
        )
    for name, kind in required.items():
        found = schema.field(name).type
        plain = found.value_type if pa.types.is_dictionary(found) else found
        if not any(fits(plain) for fits in _TYPES[kind]):
            key = "data.column_of_text" if kind is str else "data.column_of_numbers"
            raise UserError(key, column=name, path=path, found=found)
    return columns


@contextlib.contextmanager
def reading_parquet(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on a damaged file into a :class:`UserError`."""
    try:
        yield
    except PARQUET_ERRORS:
        raise UserError("data.damaged_parquet", path=path) from None
