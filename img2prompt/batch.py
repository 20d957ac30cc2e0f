"""Many pictures at once: files and zip archives → a row each, with its answer or its reason.

The set is listed before the first picture is read, so the number of rows is known. Then one
picture at a time is decoded; nothing is unpacked to disk, and a file's or member's name is only
ever shown, never used as a path.
"""

import contextlib
import io
import itertools
import math
import os
import time
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from img2prompt import images
from img2prompt.errors import UserError
from img2prompt.prediction import Prediction, Predictor, check_word_count

MAX_FILES = 2_000  # at 25 pictures a second over a minute of both cores
MAX_UNPACKED = 2 * 2**30  # bytes that the archives of a set may unpack to, all together
# A picture needs some 150 bytes in an archive's directory. zipfile holds the whole directory in
# memory, half a kilobyte an entry, before it tells how many there are.
MAX_DIRECTORY = 2**20
TOGETHER = 8  # pictures answered together: few enough that a table grows while one looks
# Seconds for a whole set: seven times what MAX_FILES ordinary pictures take. Sets are answered one
# after the other, so without an end one of slow pictures would keep everybody else's waiting.
LONGEST = 600.0
PATIENCE = 1.0  # seconds of decoding after which the pictures read so far are answered
THUMBNAIL = 96  # pixels; shown half as large, for dense screens
NAME_LENGTH = 120

_ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # an archive with members, one without
_ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".xz")
# What the systems' own packers leave in an archive beside the pictures.
_LEFTOVERS = {"thumbs.db", "desktop.ini"}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what every packer writes by default
_ENCRYPTED = 0x1
_UTF8 = 0x800
_DAMAGED = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
    OverflowError,  # a member further off than a seek can say
    ValueError,
)

_LATE = "The set took too long, and this picture was not reached; take fewer at once."


@dataclass(frozen=True)
class Entry:
    """A row to be: where its picture is, or why there will be none.

    Attributes:
        name: to be shown, see `clean_name`; of a member "archive.zip/member.png".
        path: the file, or the archive it is in.
        member: its entry in the archive's directory; None for a file of its own.
        error: a reason known before reading; None for a picture to be read.
    """

    name: str
    path: Path
    member: zipfile.ZipInfo | None = None
    error: UserError | None = None


@dataclass(frozen=True)
class Row:
    """What became of one picture.

    Attributes:
        name: to be shown.
        result: the answer, or the `UserError` that says why there is none.
        thumbnail: JPEG bytes, `THUMBNAIL` pixels square; None where nothing could be decoded.
    """

    name: str
    result: Prediction | UserError
    thumbnail: bytes | None = None


def list_pictures(files: Iterable[str | os.PathLike]) -> list[Entry]:
    """Files and the members of zip archives, in order, unread but for archives' directories.

    Folders and what systems leave in archives (`__MACOSX`, hidden files, `Thumbs.db`) are no
    rows. A damaged or encrypted archive is one row with its reason, an archive inside an archive
    likewise.

    Raises:
        UserError: no picture at all, or more than `MAX_FILES`, `MAX_UNPACKED` or
            `MAX_DIRECTORY` allow.
    """
    entries: list[Entry] = []
    unpacked = 0
    for path in map(Path, files):
        found = _members(path) if _is_zip(path) else [Entry(clean_name(path.name), path)]
        entries += found
        unpacked += sum(entry.member.file_size for entry in found if entry.member)
        if len(entries) > MAX_FILES:
            raise UserError(f"That is more than {MAX_FILES:,} pictures; take fewer at once.")
        if unpacked > MAX_UNPACKED:
            raise UserError(
                f"The archives unpack to {unpacked / 2**30:.1f} GB, the limit is "
                f"{MAX_UNPACKED / 2**30:.0f} GB; take fewer pictures at once."
            )
    if not entries:
        raise UserError("Choose pictures, or a zip archive of some, first.")
    return entries


def predict_set(predictor: Predictor, entries: Sequence[Entry], words: int = 10) -> Iterator[Row]:
    """Rows in the order of the entries, `TOGETHER` at a time, fewer where decoding is slow.

    Holds one decoded picture and the inputs of as many. Closing the iterator closes the archives.

    Raises:
        UserError: `words` out of range.
    """
    check_word_count(words)
    return (row for rows in _answers(predictor, entries, words) for row in rows)


class Run:
    """One pass over a set that another thread may stop, and what is known of it so far.

    Iterating gives the rows. What was done before a stop stays. Pictures that are not read
    `LONGEST` seconds after the start become rows that say so.

    Args:
        predictor: answers.
        files: as `list_pictures` takes them.
        words: how many words a picture, 1–50.

    Attributes:
        total: how many rows there will be.
        results: (name, answer without its vectors, or error) of the rows so far.
        counts: word → how many pictures of the set got it.
        failed: how many of the rows are errors.

    Raises:
        UserError: as `list_pictures`, or `words` out of range.
    """

    def __init__(
        self, predictor: Predictor, files: Iterable[str | os.PathLike], words: int = 10
    ) -> None:
        entries = list_pictures(files)
        self.total = len(entries)
        self.results: list[tuple[str, Prediction | UserError]] = []
        self.counts: Counter[str] = Counter()
        self.failed = 0
        self.stopped = False
        check_word_count(words)
        self._started = time.monotonic()
        self._answers = _answers(predictor, entries, words, self._started + LONGEST)
        self._pace: float | None = None  # seconds a picture

    def __iter__(self) -> Iterator[Row]:
        with contextlib.closing(self._answers):
            for rows in self._answers:
                # Of all that were answered together: the first of them did not take so long.
                self._pace = (time.monotonic() - self._started) / (self.done + len(rows))
                for row in rows:
                    if self.stopped:
                        return
                    self._take(row)
                    yield row

    def stop(self) -> None:
        """End the pass before its next row; callable from any thread, more than once."""
        self.stopped = True

    @property
    def done(self) -> int:
        """How many rows there are already."""
        return len(self.results)

    def seconds_left(self) -> float | None:
        """How long the rest takes at the pace so far; None before there is a pace."""
        return None if self._pace is None else self._pace * (self.total - self.done)

    def most_common(self) -> list[tuple[str, int]]:
        """(word, pictures), most frequent first, equal ones in alphabetical order."""
        return sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))

    def _take(self, row: Row) -> None:
        result = row.result
        if isinstance(result, UserError):
            self.failed += 1
        else:
            self.counts.update(word.word for word in result.words)
            result = _without_vectors(result)
        self.results.append((row.name, result))


def clean_name(name: str, length: int = NAME_LENGTH) -> str:
    """A name that is safe to show: one line, no control or direction marks, no way up or out.

    Too long ones keep their beginning and their end.
    """
    visible = "".join(
        # Control characters and lone surrogates show as such; format characters, which turn the
        # direction of reading round ("gnp.exe"), go.
        {"Cc": "�", "Cs": "�", "Cf": ""}.get(unicodedata.category(letter), letter)
        for letter in unicodedata.normalize("NFC", name.replace("\\", "/"))
    )
    steps = [" ".join(step.split()) for step in visible.split("/")]
    clean = "/".join(step for step in steps if step not in ("", ".", "..")) or "�"
    if len(clean) <= length:
        return clean
    tail = length // 3
    return f"{clean[: length - tail - 1]}…{clean[-tail:]}"


def thumbnail(image: Image.Image, side: int = THUMBNAIL) -> bytes:
    """The middle square of an RGB picture, small, as JPEG bytes."""
    buffer = io.BytesIO()
    ImageOps.fit(image, (side, side)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _answers(
    predictor: Predictor, entries: Sequence[Entry], words: int, deadline: float = math.inf
) -> Iterator[list[Row]]:
    with contextlib.closing(_contents(entries, deadline)) as contents:
        for first in contents:
            yield _answer_some(predictor, itertools.chain([first], contents), words)


def _answer_some(
    predictor: Predictor, contents: Iterator[tuple[Entry, bytes | Path | UserError]], words: int
) -> list[Row]:
    rows: list[Row | tuple[str, bytes]] = []  # done, or (name, thumbnail) still to be answered
    deadline = time.monotonic() + PATIENCE

    def pictures() -> Iterator[Image.Image]:
        for entry, content in contents:
            try:
                if isinstance(content, UserError):
                    raise content
                image = images.open_image(content)
            except UserError as error:
                rows.append(Row(entry.name, _unnamed(error, entry)))
            else:
                rows.append((entry.name, thumbnail(image)))
                yield image
                del image, content  # two large pictures at once would be too many
            if len(rows) == TOGETHER or time.monotonic() > deadline:
                return

    answers = iter(list(predictor.predict_many(pictures(), words)))
    return [row if isinstance(row, Row) else Row(row[0], next(answers), row[1]) for row in rows]


def _contents(
    entries: Iterable[Entry], deadline: float
) -> Iterator[tuple[Entry, bytes | Path | UserError]]:
    """Each entry with what `open_image` takes; an archive is open while its members are read."""
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
                    except UserError as error:
                        yield entry, error
                    else:
                        yield entry, content


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(member) as file:
            # As much as the directory declares, which was checked. Asked for more, zipfile would
            # unpack that much before it compares.
            return file.read(member.file_size)
    except _DAMAGED:
        raise UserError("The archive is damaged at this file; make or download it again.") from None


def _is_zip(path: Path) -> bool:
    if path.suffix.lower() == ".zip":
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) in _ZIP_STARTS
    except (OSError, ValueError):
        return False  # `open_image` says why it cannot be read


def _members(path: Path) -> list[Entry]:
    """An archive's pictures, or one entry that says why there are none."""
    name = clean_name(path.name)
    try:
        with _open_zip(path) as archive:
            members = archive.infolist()
    except _TooLarge:
        raise UserError(f"{name} holds too many files; take fewer at once.") from None
    except UserError as error:
        return [Entry(name, path, error=error)]
    members = [member for member in members if not _is_leftover(member)]
    if any(member.flag_bits & _ENCRYPTED for member in members):
        sentence = "The archive is locked with a password; make one without."
        return [Entry(name, path, error=UserError(sentence))]
    if not members:
        sentence = "The archive holds no picture; choose another one."
        return [Entry(name, path, error=UserError(sentence))]
    return [
        Entry(clean_name(f"{name}/{_decoded(member)}"), path, *_usable(member))
        for member in members
    ]


def _usable(member: zipfile.ZipInfo) -> tuple[zipfile.ZipInfo | None, UserError | None]:
    if member.filename.lower().endswith(_ARCHIVES):
        return None, UserError("An archive inside an archive is not opened; unpack it first.")
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


class _Careful(io.FileIO):
    """A file that, while `careful`, is not read in pieces larger than `MAX_DIRECTORY`.

    zipfile reads the directory in one piece, as long as the archive says that it is.
    """

    careful = True

    def read(self, size: int | None = -1) -> bytes:
        if self.careful and size is not None and size > MAX_DIRECTORY:
            raise _TooLarge
        return super().read(size)


@contextlib.contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Raises `_TooLarge`, and `UserError` where it is missing or no archive."""
    try:
        file = _Careful(path)
    except OSError:
        raise UserError("The archive cannot be opened; choose it again.") from None
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGED:
            raise UserError(
                "The archive is damaged or not a zip; make or download it again."
            ) from None
        file.careful = False
        with archive:
            yield archive


def _unnamed(error: UserError, entry: Entry) -> UserError:
    """The reason without the server's own path, which `open_image` tells of a missing file."""
    return UserError(str(error).replace(str(entry.path), entry.name))


def _without_vectors(prediction: Prediction) -> Prediction:
    """What exports need; vectors are nine tenths of a prediction's memory."""
    words = tuple(replace(word, vector=()) for word in prediction.words)
    return Prediction(prediction.preset, words, np.empty((0, 0), np.float32))
