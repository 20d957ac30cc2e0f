"""Rebuilds a PNG from the chunks that make its picture and from its readable texts.

Pillow refuses a whole picture for one damaged or large chunk that is not needed.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from img2prompt.data.picture_files import exif
from img2prompt.data.picture_files.kinds import PNG_START, UnusualError, parts

MAX_TEXT = 4 * 2**20  # bytes of one text, decompressed
MAX_TEXTS = 8 * 2**20  # bytes of all texts of a file
MAX_TEXT_CHUNKS = 1_000

# Keys that Pillow keeps for itself beside the texts; such a text would change the pixels.
_RESERVED = frozenset(
    b"transparency bbox exif icc_profile interlace default_image gamma chromaticity srgb dpi "
    b"aspect loop duration disposal blend".split()
)
_TRNS_BYTES = {0: 2, 2: 6}  # by colour type: the least that a tRNS chunk must hold


@dataclass
class _Texts:
    """The texts of a PNG that are kept, and how many more bytes are allowed.

    `effort` also counts bytes decompressed in vain: a thousand failing bombs would take minutes.
    """

    chunks: list[bytes] = field(default_factory=list)
    left: int = MAX_TEXTS
    effort: int = 4 * MAX_TEXTS

    def add(self, kind: bytes, body: bytes) -> None:
        text = self._unpacked(kind, body)
        if text is None or len(text) > self.left or len(self.chunks) == MAX_TEXT_CHUNKS:
            return
        if text.startswith(exif.RAW_PROFILE + b"\0"):
            block = exif.raw_profile(text[len(exif.RAW_PROFILE) + 1 :])
            if block is None or not exif.sound(block):
                return
        self.left -= len(text)
        self.chunks.append(_chunk(b"tEXt" if kind == b"zTXt" else kind, text))

    def _unpacked(self, kind: bytes, body: bytes) -> bytes | None:
        """The chunk without compression; None where it cannot be read."""
        key, zero, rest = body.partition(b"\0")
        if not key or not zero or key.lower() in _RESERVED or len(body) > MAX_TEXT:
            return None
        if kind == b"tEXt":
            return body
        if kind == b"zTXt":
            text = self._inflated(rest[1:]) if rest[:1] == b"\0" else None
            return None if text is None else key + b"\0" + text
        if len(rest) < 2 or rest[2:].count(b"\0") < 2:
            return None
        if rest[0] == 0:
            return body
        language, name, packed = rest[2:].split(b"\0", 2)
        text = self._inflated(packed) if rest[1] == 0 else None
        return None if text is None else b"\0".join((key, b"\0", language, name, text))

    def _inflated(self, packed: bytes) -> bytes | None:
        if self.effort <= 0:
            return None
        stream = zlib.decompressobj()
        try:
            text = stream.decompress(packed, MAX_TEXT)
        except zlib.error:
            text = b""
            self.effort -= MAX_TEXT
        self.effort -= len(text)
        return text if stream.eof else None


def rebuilt(data: bytes) -> tuple[bytes, bool]:
    """The cleaned PNG, and whether its end was there.

    Texts and EXIF come before the pixels, texts decompressed. Profiles, which nothing here uses,
    and further frames of an animation are removed.

    Raises:
        UnusualError: its first chunk is not the standard's.
    """
    head: list[bytes | memoryview] = []
    pixels: list[bytes | memoryview] = []
    texts, tags = _Texts(), b""
    seen: set[bytes] = set()
    colour = depth = -1
    ended = False
    for kind, body, whole, sound in _png_chunks(data):
        if not seen and kind != b"IHDR":
            raise UnusualError("another chunk comes first, as in Apple's own PNGs")
        if kind == b"IDAT":
            pixels.append(whole)
        elif kind == b"IEND":
            ended = True
            break
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            texts.add(kind, body)
        elif kind == b"eXIf" and not tags and exif.sound(body):
            tags = _chunk(kind, body)
        elif kind in (b"IHDR", b"PLTE") and kind not in seen and not pixels:
            head.append(whole)
            if kind == b"IHDR":
                depth, colour = body[8], body[9]
        elif kind == b"tRNS" and sound and kind not in seen and not pixels:
            head += _transparency(body, colour, depth)
        seen.add(kind)
    chunks = (*head, *texts.chunks, tags, *pixels, _chunk(b"IEND", b""))
    return b"".join((PNG_START, *chunks)), ended


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bytes | memoryview, bool]]:
    """Type, body, the whole chunk, and whether its checksum is right (True, unread, for pixels).

    The last chunk of a truncated file is as long as the rest of the file.
    """
    place, view = len(PNG_START), memoryview(data)
    for _ in parts():
        if place + 8 > len(data):
            return
        length, kind = struct.unpack_from(">L4s", data, place)
        if kind == b"IDAT":
            yield kind, b"", view[place : place + length + 12], True
        else:
            whole = data[place : place + length + 12]
            body = whole[8 : 8 + length]
            stated = whole[8 + length :]
            yield kind, body, whole, stated == struct.pack(">L", zlib.crc32(whole[4 : 8 + length]))
        place += length + 12


def _transparency(body: bytes, colour: int, depth: int) -> list[bytes]:
    """A tRNS chunk in the values that Pillow compares with, which are not always the file's."""
    if colour not in (0, 2, 3) or len(body) < _TRNS_BYTES.get(colour, 1):
        return []
    if colour == 0 and depth < 16:
        grey = struct.unpack(">H", body[:2])[0] & ((1 << depth) - 1)
        if depth in (2, 4):  # Pillow spreads these over 0–255
            grey *= 255 // ((1 << depth) - 1)
        body = struct.pack(">H", grey)
    elif colour == 2:
        shift = 8 if depth == 16 else 0  # of 16 bits Pillow keeps the upper half
        samples = struct.unpack(">3H", body[:6])
        body = struct.pack(">3H", *(sample >> shift & 255 for sample in samples))
    return [_chunk(b"tRNS", body)]


def _chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">L", zlib.crc32(kind + body))
    return struct.pack(">L", len(body)) + kind + body + check
