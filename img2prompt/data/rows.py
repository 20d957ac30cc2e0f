"""Reads rows of `.npy` files without mapping them into memory.

A mapped file's pages count as memory of the process; a run over many shards would seem to hold them
all. Reads of one file are in order, in blocks, and what lies between rows is read over.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.arrays import array_head
from img2prompt.core.errors import UserError

BLOCK_BYTES = 4 << 20  # read at once from one file
# Rows lie close enough to be read in one go, the others between them thrown away, when no more
# than this many are read for each that is wanted. Disks read on faster than they seek.
SPARSE = 4


def gather_rows(
    path_of: Callable[[int], Path], file: NDArray[np.integer], row: NDArray[np.integer]
) -> NDArray[Any]:
    """Rows of several files of the same row shape and dtype.

    Args:
        path_of: number of a file → its path.
        file: int (b,), the file of each row; at least one.
        row: int (b,), its place in the file.

    Returns:
        (b, …) in the files' dtype, in the order asked for.

    Raises:
        UserError: a file is missing or damaged.
    """
    order = np.lexsort((row, file))
    pieces = np.split(order, np.flatnonzero(np.diff(file[order])) + 1)
    found = None
    for piece in pieces:
        rows = read_rows(path_of(int(file[piece[0]])), row[piece])
        if len(pieces) == 1 and (np.diff(order) == 1).all():
            return rows
        if found is None:
            found = np.empty((len(order), *rows.shape[1:]), rows.dtype)
        found[piece] = rows
    assert found is not None
    return found


def read_rows(path: Path, rows: NDArray[np.integer]) -> NDArray[Any]:
    """Rows of one `.npy` file.

    Args:
        path: a C-ordered array (n, …).
        rows: int (b,), not descending.

    Returns:
        (b, …) in the file's dtype.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            shape, dtype, offset = array_head(file, whole=False)
            width = math.prod(shape[1:]) * dtype.itemsize
            # Before memory is taken for them: a head may declare any size.
            if len(rows) and offset + (int(rows[-1]) + 1) * width > os.fstat(file.fileno()).st_size:
                raise EOFError
            found = np.empty((len(rows), *shape[1:]), dtype)
            block = max(1, BLOCK_BYTES // max(width, 1))
            done = 0
            while done < len(rows):
                first = rows[done]
                stop = int(np.searchsorted(rows, first + block))
                last = rows[stop - 1]
                if last - first + 1 > SPARSE * (stop - done):
                    stop = int(np.searchsorted(rows, first, side="right"))
                    last = first
                count = int(last - first + 1)
                file.seek(offset + int(first) * width)
                data = np.empty((count, *shape[1:]), dtype)
                if _fill(file, data) < data.nbytes:
                    raise EOFError
                if count == stop - done and (rows[done:stop] == np.arange(first, last + 1)).all():
                    found[done:stop] = data
                else:
                    # "clip" spares a copy; all rows are there.
                    np.take(
                        data, rows[done:stop] - first, axis=0, out=found[done:stop], mode="clip"
                    )
                done = stop
            return found
    except (OSError, EOFError, ValueError):
        raise UserError("data.damaged_rows", path=path) from None


def row_form(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape (n, …) and dtype of a `.npy` file.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with open(path, "rb") as file:
            return array_head(file)[:2]
    except (OSError, EOFError, ValueError):
        raise UserError("data.damaged_rows", path=path) from None


def _fill(file: BinaryIO, data: NDArray[Any]) -> int:
    """Read until `data` is full or the file ends; the bytes read."""
    view = memoryview(data.reshape(-1).view(np.uint8).data)
    done = 0
    while done < len(view) and (more := file.readinto(view[done:])):  # type: ignore[attr-defined]
        done += more
    return done
