"""Lists a set of pictures before it is read: files and the members of zip archives → entries.

Nothing is unpacked to disk, and a file's or member's name is only ever shown, never used as a path.
Texts beside the pictures become their true prompts, see `captions.py`.
"""

import contextlib
import itertools
import os
import time
import zipfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from img2prompt.core.errors import UserError
from img2prompt.core.printable import clean_name
from img2prompt.core.zip_directories import DAMAGED, BoundedFile
from img2prompt.data import images
from img2prompt.data.captions import Captions, is_text
from img2prompt.data.picture_files.kinds import ARCHIVE_HEAD, is_other_archive, is_zip, sniff

MAX_FILES = 2_000  # more than a minute on two cores, at 25 pictures a second
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


@dataclass(frozen=True)
class Entry:
    """One picture of a set: where it is, or why it cannot be read.

    Attributes:
        name: for display, see `clean_name`; of a member "archive.zip/member.png".
        path: the file, or the archive it is in.
        member: its entry in the archive's directory; None for a file of its own.
        error: a reason known before reading; None for a picture to be read.
        truth: the prompt that lies beside it, see `captions.py`; None where there is none.
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
        entries: its pictures in order, one row each.
        unused: how many texts of the set belong to no picture.
    """

    entries: list[Entry]
    unused: int


def list_set(files: Iterable[str | os.PathLike[str]]) -> Listing:
    """Files and the members of zip archives, in order, pictures unread.

    Folders and what systems leave in archives (`__MACOSX`, hidden files, `Thumbs.db`) are left out.
    Texts become the true prompts of the pictures they belong to. A damaged or encrypted archive is
    one entry with its reason, and so is an archive that is no zip.

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
            raise UserError("inference.too_many_pictures", most=f"{MAX_FILES:,}")
        if unpacked > MAX_UNPACKED:
            raise UserError(
                "inference.unpacks_to_too_much",
                size=f"{unpacked / 2**30:.1f}", most=f"{MAX_UNPACKED / 2**30:.0f}",
            )  # fmt: skip
    if not entries:
        raise UserError("inference.no_pictures")
    entries = [
        entry
        if entry.member or entry.error
        else replace(entry, truth=captions.find("", entry.path.name))
        for entry in entries
    ]
    return Listing(entries, captions.unused)


def contents(
    entries: Iterable[Entry], deadline: float
) -> Generator[tuple[Entry, bytes | Path | UserError]]:
    """Each entry with what `open_image` takes, or why it cannot be read.

    An archive is open while its members are read.

    Args:
        entries: of `list_set`.
        deadline: of `time.monotonic`; entries that are not reached before it are errors.
    """
    for path, group in itertools.groupby(entries, key=lambda entry: entry.path):
        with contextlib.ExitStack() as stack:
            archive: zipfile.ZipFile | None = None
            for entry in group:
                if entry.error is not None:
                    yield entry, entry.error
                elif time.monotonic() > deadline:
                    yield entry, UserError("inference.not_reached")
                elif entry.member is None:
                    yield entry, entry.path
                else:
                    try:
                        if archive is None:
                            archive = stack.enter_context(_open_zip(path))
                        yield entry, _read_picture(archive, entry.member)
                    except UserError as error:
                        yield entry, error
                    except (_TooLarge, OSError):  # it was exchanged since it was listed
                        yield entry, UserError("inference.unreadable")


def _read_picture(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    content = _read_member(archive, member)
    if is_other_archive(content[:ARCHIVE_HEAD]) or is_zip(content):
        raise UserError("inference.archive_inside")
    return content


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as file:
            # As much as the directory declares, which was checked. Asked for more, zipfile would
            # unpack that much before it compares.
            return file.read(member.file_size)
    except (*DAMAGED, OSError):
        raise UserError("inference.member_damaged") from None


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
    return UserError("inference.not_a_zip") if named or is_other_archive(head) else None


def _text(path: Path, captions: Captions) -> bytes | None:
    """A text's bytes; None where it is too large or cannot be read."""
    try:
        with path.open("rb") as file:
            if not captions.takes(os.fstat(file.fileno()).st_size):
                return None
            return file.read()
    except OSError:
        return None


def _members(path: Path, group: str, captions: Captions) -> tuple[list[Entry], int]:
    """An archive's pictures, or one entry that says why there are none; and their bytes in all."""
    name = clean_name(path.name)

    def refused(error: UserError) -> tuple[list[Entry], int]:
        return [Entry(name, path, error=error)], 0

    try:
        with _open_zip(path) as archive:
            members = [one for one in archive.infolist() if not _is_leftover(one)]
            if any(member.flag_bits & _ENCRYPTED for member in members):
                return refused(UserError("inference.locked_archive"))
            pictures = [one for one in members if not _is_caption(archive, one, group, captions)]
    except _TooLarge:
        raise UserError("inference.too_many_members", name=name) from None
    except UserError as error:
        return refused(error)
    if not pictures:
        return refused(UserError("inference.no_picture_inside"))
    entries = []
    for member in pictures:
        inside = _decoded(member)
        shown, refusal = clean_name(f"{name}/{inside}"), _refusal(member)
        if refusal is None:
            entries.append(Entry(shown, path, member, truth=captions.find(group, inside)))
        else:
            entries.append(Entry(shown, path, error=refusal))
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
        with contextlib.suppress(UserError):  # a damaged text is about no picture
            data = _read_member(archive, member)
    return captions.add(group, inside, data)


def _refusal(member: zipfile.ZipInfo) -> UserError | None:
    """Why a member is not read; None for one that is."""
    if member.filename.lower().endswith(_ARCHIVES):
        return UserError("inference.archive_inside")
    if member.file_size > images.MAX_BYTES:
        size, most = f"{member.file_size / 2**20:.0f}", images.MAX_BYTES // 2**20
        return UserError("images.large", size=size, most=most)
    if member.compress_type not in _METHODS:
        return UserError("inference.unusual_packing")
    return None


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
    """An archive, open; raises `_TooLarge`, and `UserError` where it is missing or no zip."""
    try:
        file = BoundedFile(path, MAX_DIRECTORY, _TooLarge())
    except OSError:
        raise UserError("inference.archive_gone") from None
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except (*DAMAGED, OSError):
            raise UserError("inference.archive_damaged") from None
        file.most = None
        with archive:
            yield archive
