"""A set of pictures before it is read: files and the members of zip archives → entries.

Nothing is unpacked to disk, and a file's or member's name is only ever shown, never used as a path.
Texts beside the pictures become their true prompts, see `captions.py`.
"""

import contextlib
import itertools
import os
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from img2prompt.core.errors import UserError
from img2prompt.core.printable import clean_name
from img2prompt.core.zip_directories import DAMAGED, BoundedFile
from img2prompt.data import images
from img2prompt.data.captions import Captions, is_text
from img2prompt.data.picture_files.kinds import ARCHIVE_HEAD, is_other_archive, is_zip, sniff

MAX_FILES = 2_000  # at 25 pictures a second over a minute of both cores
MAX_UNPACKED = 2 * 2**30  # bytes that the archives of a set may unpack to, all together
# A picture needs some 150 bytes in an archive's directory. zipfile holds the whole directory in
# memory, half a kilobyte an entry, before it tells how many there are.
MAX_DIRECTORY = 2**20

_ARCHIVES = (
    *(".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".lz4"),
    *(".cab", ".iso", ".dmg", ".cbr", ".cb7", ".lzh", ".arj", ".z"),
)
# What the systems' own packers leave in an archive beside the pictures.
_LEFTOVERS = {"thumbs.db", "desktop.ini"}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what every packer writes by default
_ENCRYPTED = 0x1
_UTF8 = 0x800

_INSIDE = "An archive inside an archive is not opened; unpack it first."
_NO_ZIP = "This is an archive, but not a zip; unpack it and make a zip of its pictures."
UNREAD = "The file cannot be read any more; choose it again."
_LATE = "The set took too long, and this picture was not reached; take fewer at once."


@dataclass(frozen=True)
class Entry:
    """A row to be: where its picture is, or why there will be none.

    Attributes:
        name: to be shown, see `clean_name`; of a member "archive.zip/member.png".
        path: the file, or the archive it is in.
        member: its entry in the archive's directory; None for a file of its own.
        truth: the prompt that lies beside it, see `captions.py`; None where there is none.
        error: a reason known before reading; None for a picture to be read.
    """

    name: str
    path: Path
    member: zipfile.ZipInfo | None = None
    error: UserError | None = None
    truth: str | None = None


@dataclass(frozen=True)
class Listing:
    """A set before it is read.

    Attributes:
        entries: the rows to be, in order.
        unused: how many texts of it are about no picture; they are no rows.
    """

    entries: list[Entry]
    unused: int


def list_pictures(files: Iterable[str | os.PathLike]) -> list[Entry]:
    """The entries of `list_set`.

    Raises:
        UserError: as `list_set`.
    """
    return list_set(files).entries


def list_set(files: Iterable[str | os.PathLike]) -> Listing:
    """Files and the members of zip archives, in order, pictures unread.

    Folders and what systems leave in archives (`__MACOSX`, hidden files, `Thumbs.db`) are no
    rows; neither are texts, whose prompts go to the pictures that they are about. A damaged or
    encrypted archive is one row with its reason, an archive that is no zip likewise.

    Raises:
        UserError: no picture at all, or more than `MAX_FILES`, `MAX_UNPACKED` or
            `MAX_DIRECTORY` allow.
    """
    entries: list[Entry] = []
    captions = Captions()
    unpacked = 0
    for number, path in enumerate(map(Path, files)):
        if _is_zip(path):
            found, size = _members(path, str(number), captions)
            unpacked += size
        elif is_text(path.name) and captions.add("", path.name, _text(path, captions)):
            continue
        else:
            found = [Entry(clean_name(path.name), path, error=_other_archive(path))]
        entries += found
        if len(entries) > MAX_FILES:
            raise UserError(f"That is more than {MAX_FILES:,} pictures; take fewer at once.")
        if unpacked > MAX_UNPACKED:
            raise UserError(
                f"The archives unpack to {unpacked / 2**30:.1f} GB, the limit is "
                f"{MAX_UNPACKED / 2**30:.0f} GB; take fewer pictures at once."
            )
    if not entries:
        raise UserError("Choose pictures, or a zip archive of some, first.")
    entries = [
        entry if entry.member or entry.error else replace(entry, truth=_beside(entry, captions))
        for entry in entries
    ]
    return Listing(entries, captions.unused)


def contents(
    entries: Iterable[Entry], deadline: float
) -> Iterator[tuple[Entry, bytes | Path | UserError]]:
    """Each entry with what `open_image` takes; an archive is open while its members are read.

    Args:
        entries: of `list_set`.
        deadline: of `time.monotonic`; what is not reached before it is a reason.
    """
    for path, group in itertools.groupby(entries, key=lambda entry: entry.path):
        with contextlib.ExitStack() as stack:
            archive: zipfile.ZipFile | None = None
            for entry in group:
                if entry.error is not None:
                    yield entry, entry.error
                elif time.monotonic() > deadline:
                    yield entry, UserError(_LATE)
                elif entry.member is None:
                    yield entry, entry.path
                else:
                    try:
                        if archive is None:
                            archive = stack.enter_context(_open_zip(path))
                        content = _read_member(archive, entry.member)
                        if is_other_archive(content[:ARCHIVE_HEAD]) or is_zip(content):
                            raise UserError(_INSIDE)
                    except UserError as error:
                        yield entry, error
                    except (_TooLarge, OSError):  # it was exchanged since it was listed
                        yield entry, UserError(UNREAD)
                    else:
                        yield entry, content


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as file:
            # As much as the directory declares, which was checked. Asked for more, zipfile would
            # unpack that much before it compares.
            return file.read(member.file_size)
    except (*DAMAGED, OSError):
        raise UserError("The archive is damaged at this file; make or download it again.") from None


def _is_zip(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        return True
    try:
        with path.open("rb") as file:
            return is_zip(file.read(4))
    except (OSError, ValueError):
        return False  # `open_image` says why it cannot be read


def _other_archive(path: Path) -> UserError | None:
    """The reason against an archive that is no zip; None for anything else."""
    try:
        with path.open("rb") as file:
            head = file.read(ARCHIVE_HEAD)
    except (OSError, ValueError):
        return None  # `open_image` says why it cannot be read
    named = path.name.lower().endswith(_ARCHIVES) and sniff(head) is None
    return UserError(_NO_ZIP) if named or is_other_archive(head) else None


def _text(path: Path, captions: Captions) -> bytes | None:
    """A text's bytes; None where it is too large or cannot be read."""
    try:
        with path.open("rb") as file:
            if not captions.takes(os.fstat(file.fileno()).st_size):
                return None
            return file.read()
    except OSError:
        return None


def _beside(entry: Entry, captions: Captions) -> str | None:
    return captions.find("", entry.path.name)


def _members(path: Path, group: str, captions: Captions) -> tuple[list[Entry], int]:
    """An archive's pictures, or one entry that says why there are none; and the bytes of all."""
    name = clean_name(path.name)

    def refused(sentence: str) -> tuple[list[Entry], int]:
        return [Entry(name, path, error=UserError(sentence))], 0

    try:
        with _open_zip(path) as archive:
            members = [one for one in archive.infolist() if not _is_leftover(one)]
            if any(member.flag_bits & _ENCRYPTED for member in members):
                return refused("The archive is locked with a password; make one without.")
            pictures = [one for one in members if not _is_caption(archive, one, group, captions)]
    except _TooLarge:
        raise UserError(f"{name} holds too many files; take fewer at once.") from None
    except UserError as error:
        return refused(str(error))
    if not pictures:
        return refused("The archive holds no picture; choose another one.")
    entries = []
    for member in pictures:
        inside = _decoded(member)
        usable, error = _usable(member)
        truth = captions.find(group, inside) if usable else None
        entries.append(Entry(clean_name(f"{name}/{inside}"), path, usable, error, truth))
    return entries, sum(member.file_size for member in members)


def _is_caption(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, group: str, captions: Captions
) -> bool:
    """Whether a member is a text; if so, `captions` has it."""
    inside = _decoded(member)
    if not is_text(inside):
        return False
    data = None
    if captions.takes(member.file_size) and member.compress_type in _METHODS:
        with contextlib.suppress(UserError):  # damaged: a text that tells nothing
            data = _read_member(archive, member)
    return captions.add(group, inside, data)


def _usable(member: zipfile.ZipInfo) -> tuple[zipfile.ZipInfo | None, UserError | None]:
    if member.filename.lower().endswith(_ARCHIVES):
        return None, UserError(_INSIDE)
    if member.file_size > images.MAX_BYTES:
        return None, UserError(
            f"The file has {member.file_size / 2**20:.0f} MB, the limit is "
            f"{images.MAX_BYTES // 2**20} MB; make it smaller."
        )
    if member.compress_type not in _METHODS:
        return None, UserError("The file is packed in an unusual way; make an ordinary zip.")
    return member, None


def _is_leftover(member: zipfile.ZipInfo) -> bool:
    steps = member.filename.replace("\\", "/").split("/")
    return (
        member.is_dir()
        or "__MACOSX" in steps
        or steps[-1].startswith(".")
        or steps[-1].lower() in _LEFTOVERS
    )


def _decoded(member: zipfile.ZipInfo) -> str:
    """A member's name; macOS and others write UTF-8 without the flag that says so."""
    if member.flag_bits & _UTF8:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


class _TooLarge(Exception):
    """An archive's directory is over `MAX_DIRECTORY`."""


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Raises `_TooLarge`, and `UserError` where it is missing or no archive."""
    try:
        file = BoundedFile(path, MAX_DIRECTORY, _TooLarge())
    except OSError:
        raise UserError("The archive cannot be opened; choose it again.") from None
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except (*DAMAGED, OSError):
            raise UserError(
                "The archive is damaged or not a zip; make or download it again."
            ) from None
        file.most = None
        with archive:
            yield archive
