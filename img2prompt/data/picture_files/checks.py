"""Checks and cleans a picture file before Pillow reads it.

Pillow refuses a whole picture for a damaged text, profile or comment, decompresses parts that are
not needed here, and prepares all frames of an animation. `tidy` therefore keeps only the parts that
make the first frame or may hold a prompt. Nothing here decodes a pixel.
"""

import struct
from dataclasses import dataclass

from img2prompt.data.picture_files import exif, png_chunks
from img2prompt.data.picture_files.kinds import UnusualError, parts
from img2prompt.data.picture_files.png_chunks import MAX_TEXT

MAX_BLOCKS = 2**20  # blocks of at most 255 bytes, in a sequence of a GIF
MAX_COMMENTS = 2**20  # bytes of a GIF's comments, which Pillow concatenates one by one
MAX_RUNS = 4 * 2**20  # bytes of a run-length encoded BMP, which Pillow decodes in Python
MAX_SCANS = 100  # of a JPEG; ordinary progressive ones have ten, and each is a pass over all pixels

_WEBP_DECODER = 12.0  # bytes a pixel: two RGBA canvases and a third for Pillow
_BMP_RUNS_DECODER = 30.0  # bytes a pixel, and some microseconds a run
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_SAMPLES = 256, 257, 258, 277
_TIFF_COMPRESSION, _TIFF_PHOTOMETRIC, _YCBCR = 259, 262, 6
_TIFF_ROWS, _TIFF_TILE_WIDTH, _TIFF_TILE_HEIGHT = 278, 322, 323
_TIFF_PIECES = ((273, 279), (324, 325))  # offsets and lengths of strips, of tiles


@dataclass
class PictureFile:
    """A cleaned file and what was found out about it.

    Attributes:
        data: the bytes to open.
        cut: whether the end of the file is missing. All pixels may still be there.
        orientation: EXIF's, 1 to 8, of a TIFF; Pillow would rotate it by copying all pixels.
        decoder: bytes a pixel that decoding takes beside the picture itself.
        piece: bytes of the largest strip or tile, which decoding takes as well.
        held: bytes of the file itself, in all its copies.
    """

    data: bytes
    cut: bool = False
    orientation: int = 1
    decoder: float = 0.0
    piece: int = 0
    held: int = 0


def tidy(data: bytes, kind: str) -> PictureFile:
    """Keep the parts of a file that make its first frame, and its readable texts.

    Texts and EXIF of a PNG are moved before its pixels and decompressed, so that reading them
    decodes no pixel. Colour profiles, which nothing here uses, and further frames of animations are
    removed.

    Args:
        data: the whole file.
        kind: its format, as `kinds.sniff` returns it.

    Raises:
        UnusualError: nothing in it can be read.
    """
    readers = {"PNG": _png, "JPEG": _jpeg, "GIF": _gif, "WEBP": _webp, "TIFF": _tiff, "BMP": _bmp}
    try:
        return readers[kind](data)
    except (struct.error, IndexError):  # the file ends within its header
        return PictureFile(data, cut=True, decoder=_WEBP_DECODER)


# --- PNG, JPEG ------------------------------------------------------------------------------------


def _png(data: bytes) -> PictureFile:
    rebuilt, ended = png_chunks.rebuilt(data)
    return PictureFile(rebuilt, cut=not ended)


def _jpeg(data: bytes) -> PictureFile:
    """Keeps tables, the frame and its colour markers, valid EXIF, XMP and comments."""
    kept: list[bytes] = [data[:2]]
    room = MAX_TEXT  # for comments and XMP
    tags = False
    coefficients, progressive, components = 0.0, False, 0
    place = 2
    for _ in parts():
        place = data.find(b"\xff", place)
        if place < 0 or place + 4 > len(data):
            return PictureFile(data, cut=True)
        marker = data[place + 1]
        if marker in (0x00, 0xFF) or marker == 0x01 or 0xD0 <= marker <= 0xD9:
            place += 1 if marker == 0xFF else 2  # padding, or a marker without a length
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        segment = data[place : place + 2 + length]
        body = segment[4:]
        if marker == 0xDA:
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            coefficients = _coefficients(body)
            progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
            components = body[5]
        if marker == 0xE1 and body.startswith(b"Exif\0"):
            keep = not tags and exif.sound(body)
            tags = tags or keep
        elif marker == 0xFE or (marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/")):
            keep = len(body) <= room
            room -= len(body) if keep else 0
        elif marker == 0xE0:
            keep = body.startswith(b"JFIF\0") and len(body) >= 14
        elif marker == 0xEE:
            keep = body.startswith(b"Adobe") and len(body) >= 12
        else:
            keep = not 0xE0 <= marker <= 0xEF
        if keep:
            kept.append(segment)
        place += 2 + length
    if data.count(b"\xff\xda", place) > MAX_SCANS:
        raise UnusualError("it is saved in too many passes")
    # The decoder keeps all coefficients where one pass does not bring whole blocks.
    held = coefficients > 0 and (progressive or body[0] < components)
    cut = data.find(b"\xff\xd9", place) < 0
    rest = memoryview(data)[place:]
    return PictureFile(b"".join((*kept, rest)), cut, decoder=coefficients if held else 0.0)


def _coefficients(frame: bytes) -> float:
    """Bytes a pixel of all coefficients: 16 bits each, with each component's subsampling."""
    factors = [frame[at] for at in range(7, 6 + 3 * frame[5], 3)]
    sampled = [(part >> 4) * (part & 15) for part in factors]
    widest = max(part >> 4 for part in factors) * max(part & 15 for part in factors)
    return 2.0 * sum(sampled) / max(widest, 1)


# --- GIF ------------------------------------------------------------------------------------------


def _gif(data: bytes) -> PictureFile:
    """Keeps the first frame and the comments before it."""
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    kept = [data[:place]]
    room = MAX_COMMENTS
    for _ in parts():
        if data[place] != 0x21:
            break
        end = _blocks_end(data, place + 2)
        block = data[place:end]
        if block[1] == 0xF9 and len(block) == 8:
            # The disposal method concerns only the next frame, and takes Pillow memory.
            kept.append(block[:3] + bytes([block[3] & 0xE3]) + block[4:])
        elif block[1] == 0xFE and len(block) <= room:
            room -= len(block)
            kept.append(block)
        place = end
    if data[place] != 0x2C:
        return PictureFile(data)  # Pillow decides
    table = 3 << (data[place + 9] & 7) + 1 if data[place + 9] & 0x80 else 0
    end = _blocks_end(data, place + 11 + table)
    cut = end > len(data)
    return PictureFile(b"".join((*kept, memoryview(data)[place:end], b";")), cut)


def _blocks_end(data: bytes, place: int) -> int:
    """Where the sequence of blocks from `place` on ends; beyond the data if it is cut off."""
    for _ in range(MAX_BLOCKS):
        if place >= len(data):
            return len(data) + 1
        length = data[place]
        place += 1 + length
        if length == 0:
            return place
    raise UnusualError("its blocks are too small")


# --- WebP -----------------------------------------------------------------------------------------


def _webp(data: bytes) -> PictureFile:
    (stated,) = struct.unpack_from("<L", data, 4)
    cut = stated + 8 > len(data)
    if data[12:16] != b"VP8X":
        return PictureFile(data, cut, decoder=_WEBP_DECODER)
    kept: list[bytes] = []
    place, seen = 12, set()
    for _ in parts():
        if place + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sL", data, place)
        whole = data[place : place + 8 + length + (length & 1)]
        if kind == b"EXIF":
            keep = exif.sound(whole[8 : 8 + length])
        elif kind == b"XMP ":
            keep = length <= MAX_TEXT
        else:
            keep = kind in (b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L")
        if keep and kind not in seen:
            kept.append(whole)
            seen.add(kind)
        place += 8 + length + (length & 1)
    told = (0x08 if b"EXIF" in seen else 0) | (0x04 if b"XMP " in seen else 0)
    flags = kept[0][8] & ~0x2C | told
    kept[0] = kept[0][:8] + bytes([flags]) + kept[0][9:]
    length = struct.pack("<L", 4 + sum(map(len, kept)))
    return PictureFile(b"".join((b"RIFF", length, b"WEBP", *kept)), cut, decoder=_WEBP_DECODER)


# --- TIFF and BMP ---------------------------------------------------------------------------------


def _tiff(data: bytes) -> PictureFile:
    order, start, big = exif.header(data) or ("<", len(data), False)
    if start >= len(data):
        return PictureFile(data, cut=True)
    try:
        tags = exif.Directory(data, start, order, big)
    except ValueError:
        raise UnusualError("its directory takes more room than the file has") from None
    bits = sum(tags.numbers(_TIFF_BITS)[:8]) or 1
    if len(tags.numbers(_TIFF_BITS)) == 1:
        bits *= min(tags.number(_TIFF_SAMPLES, 1), 8)
    width, height = tags.number(_TIFF_WIDTH, 0), tags.number(_TIFF_HEIGHT, 0)
    if _TIFF_TILE_WIDTH in tags.entries:
        area = tags.number(_TIFF_TILE_WIDTH, 0) * tags.number(_TIFF_TILE_HEIGHT, 0)
    else:
        area = width * min(tags.number(_TIFF_ROWS, height), height)
    if tags.number(_TIFF_COMPRESSION, 1) == 1:
        area = 0  # read row by row
    if tags.number(_TIFF_PHOTOMETRIC, 0) == _YCBCR:
        bits = max(bits, 32)  # unpacked to RGBA
    cut = not tags.whole
    for offsets, lengths in _TIFF_PIECES:
        pieces = zip(tags.numbers(offsets), tags.numbers(lengths), strict=False)
        cut = cut or any(offset + length > len(data) for offset, length in pieces)
    file = PictureFile(data, cut, tags.orientation(), piece=area * bits // 8)
    changed = _upright(tags, order)
    file.data = changed if changed is not None else data
    return file


def _upright(tags: exif.Directory, order: str) -> bytes | None:
    """The file with orientation 1 and without damaged sub-directories; None if nothing changes.

    Pillow reads the sub-directories while it decodes, and rotates by copying the picture.
    """
    changes: list[tuple[int, bytes]] = []
    entry = tags.entries.get(exif.ORIENTATION)
    if entry is not None and tags.orientation() != 1:
        letter = "H" if entry.kind == 3 else "L"
        changes.append((entry.place, struct.pack(order + letter, 1)))
    for tag in exif.FOLDERS:
        if tag not in tags.entries:
            continue
        try:
            exif.Directory(tags.data, tags.number(tag, len(tags.data)), order)
        except (ValueError, struct.error):
            changes.append((tags.entries[tag].start, struct.pack(order + "H", 0xFFFF)))
    if not changes:
        return None
    changed = bytearray(tags.data)
    for place, value in changes:
        changed[place : place + len(value)] = value
    return bytes(changed)


def _bmp(data: bytes) -> PictureFile:
    (length,) = struct.unpack_from("<L", data, 2)
    runs = data[30] in (1, 2)
    if runs and len(data) > MAX_RUNS:
        raise UnusualError("it has too many runs")
    return PictureFile(data, cut=length > len(data), decoder=_BMP_RUNS_DECODER if runs else 0.0)
