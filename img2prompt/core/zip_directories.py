"""Zips that come from others: what damaged ones raise, and reading their directory in bounds."""

import io
import lzma
import os
import struct
import zipfile
import zlib

# What opening a zip or reading a member raises where it is damaged, encrypted or of an unsupported
# kind; OSError besides, which may also be the disk's.
DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OverflowError,  # a member further off than a seek can say
    RuntimeError,  # NotImplementedError and RecursionError too
    ValueError,
)


class BoundedFile(io.FileIO):
    """A file to read that is not read in pieces larger than `most`, until that is None.

    zipfile reads an archive's directory in one piece, as long as the archive says that it is, and
    a few megabytes of it take hundreds in memory before anybody can say how many members there are.

    Args:
        path: the file.
        most: bytes of one piece.
        refusal: what is raised where more are asked for.
    """

    def __init__(self, path: str | os.PathLike[str], most: int, refusal: Exception) -> None:
        super().__init__(path)
        self.most: int | None = most
        self._refusal = refusal

    def read(self, size: int | None = -1) -> bytes:
        if self.most is not None and size is not None and size > self.most:
            raise self._refusal
        return super().read(-1 if size is None else size)
