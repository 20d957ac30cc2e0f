"""Tag directories of TIFF and EXIF: a picture's orientation, and whether its tags are safe to read.

Pillow's own reader copies every value, and a directory of 60 kB can point at the same 60 kB
thousands of times. So each directory is checked here first, without copying.
"""

import re
import struct
from dataclasses import dataclass

ORIENTATION = 0x0112
FOLDERS = (0x8769, 0x8825, 0xA005)  # sub-directories: Exif, GPS, interoperability
RAW_PROFILE = b"Raw profile type exif"  # the key of EXIF as ImageMagick's hexadecimal text
XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
MAX_BLOCK = 4 * 2**20  # bytes of an EXIF block
MAX_ENTRIES = 2**16  # of a directory; only BigTIFF can have more
MAX_VALUES = 2**18  # numbers of one tag; the tallest picture has fewer strips
_SHORT, _LONG = 3, 4
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_BYTES = (
    1,
    2,
    6,
    7,
)  # types that Pillow keeps as bytes or text; of others each number is an object


@dataclass(frozen=True)
class Entry:
    """One tag of a directory.

    Attributes:
        tag, kind, count: as in the file; `kind` is TIFF's number of the value's type.
        start: offset of the entry.
        place: offset of its value.
    """

    tag: int
    kind: int
    count: int
    start: int
    place: int


class Directory:
    """The tags of one directory, by number.

    Args:
        data: the bytes that the directory's offsets count in.
        start: its offset.
        order: of the bytes, "<" or ">".
        big: whether it is a BigTIFF's.

    Attributes:
        entries: those within `data`, by tag.
        whole: whether these are all.

    Raises:
        struct.error: `start` is outside of `data`.
        ValueError: too many entries, or values that take more bytes than `data` has.
    """

    def __init__(self, data: bytes, start: int, order: str, big: bool = False) -> None:
        self.data, self.order = data, order
        self.entries: dict[int, Entry] = {}
        head, entry, inline = ("Q", "HHQ", 8) if big else ("H", "HHL", 4)
        length = struct.calcsize(order + entry) + inline
        place = start + struct.calcsize(order + head)
        (number,) = struct.unpack_from(order + head, data, start)
        if number > MAX_ENTRIES:
            raise ValueError("too many entries")
        self.whole = place + number * length <= len(data)
        total = 0
        for at in range(place, min(place + number * length, len(data) - length + 1), length):
            tag, kind, count = struct.unpack_from(order + entry, data, at)
            size = _SIZES.get(kind, 0) * count
            value = at + length - inline
            if size > inline:
                (value,) = struct.unpack_from(order + ("Q" if big else "L"), data, value)
            total += size
            if total > len(data) or (kind not in _BYTES and count > MAX_VALUES):
                raise ValueError("the values take more room than there is")
            self.entries[tag] = Entry(tag, kind, count, at, value)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """The whole numbers of a tag; () where it is missing, truncated or of another type."""
        entry = self.entries.get(tag)
        letter = {_SHORT: "H", _LONG: "L", 16: "Q"}.get(entry.kind) if entry else None
        if entry is None or letter is None:
            return ()
        if entry.place + _SIZES[entry.kind] * entry.count > len(self.data):
            return ()
        return struct.unpack_from(f"{self.order}{entry.count}{letter}", self.data, entry.place)

    def number(self, tag: int, default: int) -> int:
        """The single number of a tag, or `default`."""
        numbers = self.numbers(tag)
        return numbers[0] if len(numbers) == 1 else default

    def orientation(self) -> int:
        """EXIF's orientation, 1 to 8; 1 where it is missing or invalid."""
        number = self.number(ORIENTATION, 1)
        return number if 1 <= number <= 8 else 1


def header(data: bytes) -> tuple[str, int, bool] | None:
    """Byte order, offset of the first directory, whether it is a BigTIFF; None for other bytes."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 16:
        return None
    (version,) = struct.unpack_from(order + "H", data, 2)
    if version == 43:
        return order, struct.unpack_from(order + "Q", data, 8)[0], True
    return (order, struct.unpack_from(order + "L", data, 4)[0], False) if version == 42 else None


def raw_profile(text: bytes | str) -> bytes | None:
    """The EXIF block in ImageMagick's hexadecimal text; None where it is not valid."""
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    try:
        return bytes.fromhex("".join(text.split("\n")[3:]))
    except ValueError:
        return None


def main_directory(exif: bytes) -> Directory | None:
    """The first directory of an EXIF block; None where it or a sub-directory is damaged."""
    while exif.startswith(b"Exif\0\0"):
        exif = exif[6:]
    found = header(exif)
    if found is None or found[2]:
        return None
    try:
        directory = Directory(exif, found[1], found[0])
        for tag in FOLDERS:
            if folder := directory.number(tag, 0):
                Directory(exif, folder, found[0])
    except (ValueError, struct.error):
        return None
    return directory


def sound(block: bytes) -> bool:
    """Whether an EXIF block is valid and small enough for Pillow to read."""
    return len(block) <= MAX_BLOCK and main_directory(block) is not None


def orientation(exif: bytes | None, xmp: bytes | str | None = None) -> int:
    """EXIF's orientation, 1 to 8; 1 (upright) where it is missing or damaged.

    Args:
        exif: the block as Pillow keeps it, with or without its "Exif" header.
        xmp: the XMP packet, used where EXIF has no orientation.
    """
    directory = main_directory(exif) if exif else None
    if directory is not None and ORIENTATION in directory.entries:
        return directory.orientation()
    if isinstance(xmp, str):
        xmp = xmp.encode("utf-8", "replace")
    found = XMP_ORIENTATION.search(xmp) if xmp else None
    return int(found[1]) if found else 1
