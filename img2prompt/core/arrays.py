"""`.npz` and `.npy` files: saving ours, and reading those of others with every size checked first.

An `.npz` is a zip of `.npy` files. A kilobyte of it can declare terabytes, unpack to gigabytes or
ask for a pickle; `load_arrays` refuses such a file in one sentence and spends no memory on it.
Prepared shards are opened by `map_array`, which checks the same of one `.npy`.
"""

import contextlib
import functools
import io
import math
import os
import struct
import threading
import tokenize
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, is_web_page
from img2prompt.core.zip_directories import DAMAGED, BoundedFile

MEMBERS = 64  # arrays of one file; ours have eight at most
DIRECTORY_BYTES = 2**17  # of the zip's list of them; its comment alone may have half of this
HEADER_BYTES = 1_024  # of one array; numpy writes 128
# What a file may unpack to: some times its own size, or this much. Vectors do not compress, and
# the codes of `kinds.npz`, which do, are small.
UNPACKED_TIMES, UNPACKED_BYTES = 4, 2**26
DEFLATE_MOST = 1_032  # a deflated byte cannot become more
_HEADERS = {
    (1, 0): ("<H", np.lib.format.read_array_header_1_0),
    (2, 0): ("<I", np.lib.format.read_array_header_2_0),
}
# tf.data reads in threads. numpy reads an array's header by `ast.literal_eval`, and Python before
# 3.11.8 and 3.12.2 now and then raises SystemError where two threads do so at once (CPython issue
# 106905).
_HEADER_LOCK = threading.Lock()


class Form(NamedTuple):
    """What one array has to be.

    Attributes:
        kinds: the letters of numpy's `dtype.kind` that it may have.
        shape: its sides; None where any length will do.
        text: "": it stays an array. "utf8": bytes that become a text. "plain": a single numpy
            text that becomes one.
        optional: it may be missing.
    """

    kinds: str
    shape: tuple[int | None, ...]
    text: str = ""
    optional: bool = False


TEXT = Form("U", (), "plain")
UTF8 = Form("u", (None,), "utf8")


class ArrayFile(NamedTuple):
    """A kind of `.npz` file of this project.

    Attributes:
        name: what such a file is called, a key of the locales.
        script: what makes it, for a reader.
        forms: name → what the array has to be.
    """

    name: str
    script: str
    forms: Mapping[str, Form]

    def error(self, key: str, path: str | os.PathLike[str], **values: Any) -> UserError:
        """An error about one of these files, to be raised."""
        return UserError(key, path=path, kind=UserError(self.name), script=self.script, **values)

    def unfit(self, path: str | os.PathLike[str], reason: UserError) -> UserError:
        """The error that a file is not one of these, to be raised."""
        return self.error("core.unfit_array_file", path, reason=reason)


class UnfitError(UserError):
    """Why a file is not used; stands in the sentence of another error."""


# What zipfile and numpy raise where a file lies.
_DAMAGED = (*DAMAGED, TypeError, KeyError, SyntaxError, MemoryError)


def save_arrays(
    path: str | os.PathLike[str],
    kind: ArrayFile,
    arrays: Mapping[str, Any],
    compressed: bool = False,
) -> None:
    """Write an `.npz`, atomically; the same contents give the same bytes.

    Args:
        path: the file; its name stays as it is given.
        kind: what sort of file it is.
        arrays: name → array, or str where the form says that it is a text.
        compressed: whether its arrays are.
    """
    written: dict[str, Any] = {
        name: np.frombuffer(value.encode("utf-8"), np.uint8) if kind.forms[name] == UTF8 else value
        for name, value in arrays.items()
    }
    # An open file, because numpy appends `.npz` to a name that lacks it.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        (np.savez_compressed if compressed else np.savez)(file, **written)


def load_arrays(
    path: str | os.PathLike[str], kind: ArrayFile, embedding: str | None = None
) -> dict[str, Any]:
    """Read the arrays of an `.npz`; others in it are not looked at.

    Args:
        path: the file.
        kind: what sort of file it has to be.
        embedding: `WordVectors.fingerprint` of the embedding that it must belong to; unset, any.

    Returns:
        name → array, or str where the form says so; a missing optional one is left out.

    Raises:
        UserError: missing, not a zip, damaged, packed in an unusual way, larger unpacked than a
            file of its size should be, with other arrays than `kind` says, or of another
            embedding. No memory beyond `UNPACKED_TIMES` of the file (or `UNPACKED_BYTES`) was
            used then.
    """
    path = Path(path)
    if not path.is_file():
        raise kind.error("core.no_array_file", path)
    with (
        refused_if_unfit(functools.partial(kind.unfit, path)),
        opened_zip(path) as (archive, members),
    ):
        arrays = _read(archive, members, kind.forms)
    if embedding is not None and arrays["embedding"] != embedding:
        raise kind.error("core.other_embedding", path)
    return arrays


@contextlib.contextmanager
def refused_if_unfit(refusal: Callable[[UserError], UserError]) -> Iterator[None]:
    """Turn what reading an archive can raise into one sentence.

    Args:
        refusal: reason → the error to raise.
    """
    try:
        yield
    except UnfitError as error:
        reason = error
    except UserError:
        raise
    except OSError as error:
        if error.filename is not None:  # of this machine: missing, or may not be read
            raise
        reason = UnfitError("core.damaged")
    except _DAMAGED:
        reason = UnfitError("core.damaged")
    else:
        return
    raise refusal(reason)


def map_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """A `.npy` file mapped into memory, its pages read when they are used.

    Raises:
        OSError, EOFError, ValueError: as `array_head`.
    """
    with open(path, "rb") as file:
        shape, dtype, start = array_head(file)
    return np.memmap(path, dtype, "r", start, shape)


def array_head(file: BinaryIO, whole: bool = True) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, dtype and where the values begin, of an open `.npy` file.

    Args:
        whole: whether its length must be what its head says; else the caller looks.

    Raises:
        OSError, EOFError, ValueError: damaged, of another length, or not rows of plain numbers
            in C order.
    """
    shape, dtype, fortran, start = _header(file)
    if fortran or dtype.kind not in "biuf" or not shape:
        raise ValueError("not an array of rows")
    if whole and start + dtype.itemsize * math.prod(shape) != os.fstat(file.fileno()).st_size:
        raise ValueError("not as long as its head declares")
    return shape, dtype, start


@contextlib.contextmanager
def opened_zip(
    path: str | os.PathLike[str],
) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """A zip archive and its members by name, none of which unpacks to more than it may.

    Raises:
        UnfitError: a password, another packing, two members of one name, too many of them, or
            more than `UNPACKED_TIMES` of the file's size.
        OSError, zipfile.BadZipFile, …: `_DAMAGED`, and what the caller does with the members.
    """
    with BoundedFile(path, DIRECTORY_BYTES, UnfitError("core.too_many_files")) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(1_024)
        if is_web_page(start):
            raise UnfitError("core.web_page")
        with zipfile.ZipFile(file) as archive:
            file.most = None
            yield archive, _checked_members(archive, size)


def _checked_members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members = archive.infolist()
    named = {member.filename: member for member in members}
    if len(members) > MEMBERS:
        raise UnfitError("core.too_many_files")
    if len(named) != len(members):
        raise UnfitError("core.file_twice")
    for member in members:
        if member.flag_bits & 0x1 or member.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise UnfitError("core.unusual_packing")
        ratio = DEFLATE_MOST if member.compress_type == zipfile.ZIP_DEFLATED else 1
        if member.file_size > ratio * member.compress_size or member.compress_size > size:
            raise UnfitError("core.declares_more")
    if sum(member.file_size for member in members) > max(UNPACKED_TIMES * size, UNPACKED_BYTES):
        raise UnfitError("core.unpacks_to_more")
    return named


def _read(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], forms: Mapping[str, Form]
) -> dict[str, Any]:
    """Check every array's head, and then read them."""
    wanted = {}
    for name, form in forms.items():
        member = members.get(f"{name}.npy")
        if member is not None:
            _check(archive, member, name, form)
            wanted[name] = member
        elif not form.optional:
            raise UnfitError("core.lacks", name=name)
    found: dict[str, Any] = {}
    for name, member in wanted.items():
        with archive.open(member) as stream:
            array = np.lib.format.read_array(
                stream, allow_pickle=False, max_header_size=HEADER_BYTES
            )
            stream.read(1)  # at its end zipfile compares the checksum
        found[name] = _told(array, forms[name].text)
    return found


def _check(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, form: Form) -> None:
    with archive.open(member) as stream:
        shape, dtype, _, start = _header(stream)
    sides = zip(shape, form.shape, strict=False)
    fits = len(shape) == len(form.shape) and all(want in (None, side) for side, want in sides)
    if dtype.hasobject or dtype.kind not in form.kinds or not fits:
        raise UnfitError("core.another_form", name=name)
    if start + dtype.itemsize * math.prod(shape) != member.file_size:
        raise UnfitError("core.another_length", name=name)


def _header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """An array's shape, its type, whether it is in Fortran's order, and where its values begin."""
    magic = stream.read(np.lib.format.MAGIC_LEN)
    version = np.lib.format.read_magic(io.BytesIO(magic))
    if version not in _HEADERS:
        raise ValueError("unknown version")
    form, read = _HEADERS[version]
    length = stream.read(struct.calcsize(form))
    (size,) = struct.unpack(form, length)
    if size > HEADER_BYTES:
        raise ValueError("a long header")
    head = stream.read(size)
    try:
        with _HEADER_LOCK:
            shape, fortran, dtype = read(io.BytesIO(length + head), max_header_size=HEADER_BYTES)
    except (*_DAMAGED, tokenize.TokenError) as error:
        raise ValueError("a header that is none") from error
    if any(side < 0 for side in shape):
        raise ValueError("a side below nothing")
    return shape, dtype, fortran, len(magic) + len(length) + size


def _told(array: NDArray[Any], text: str) -> Any:
    if text == "plain":
        return str(array)
    if text == "utf8":
        return array.tobytes().decode("utf-8")
    return array
