"""A text in the lowest bits of a picture's alpha channel ("stealth PNG info").

NovelAI and extensions of the web UI and ComfyUI write it there, because sites that take metadata
away leave the pixels. The bits run down the columns: a name of 15 letters, the number of bits that
follow as 32 bits, then the text in UTF-8, gzip-packed where the name says so.
"""

import zlib

import numpy as np
from PIL import Image

from img2prompt.file_texts import MAX_TEXT

MAX_PIXELS = 16_000_000  # the whole picture is decoded for it: 64 MB in RGBA
PLAIN, PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
_HEAD = (len(PLAIN) + 4) * 8  # bits


def hidden_text(image: Image.Image) -> str | None:
    """The text in the alpha channel of an opened picture; None where there is none.

    Args:
        image: as `images.open_encoded` returns it. Only PNG and WebP keep the bits as they are, and
            only pictures of at most `MAX_PIXELS` are looked into.

    Raises:
        ValueError: the channel begins as such a text does, but what follows is damaged.
        Exception: Pillow's, for damaged pixels.
    """
    if image.format not in ("PNG", "WEBP") or image.mode not in ("RGBA", "LA"):
        return None
    if image.width * image.height > MAX_PIXELS or image.width * image.height < _HEAD:
        return None
    alpha = np.asarray(image.getchannel("A"))  # uint8 (height, width)
    head = _bytes(alpha, 0, _HEAD)
    name, length = head[: len(PLAIN)], int.from_bytes(head[len(PLAIN) :], "big")
    if name not in (PLAIN, PACKED):
        return None
    if not 0 < length <= min(alpha.size - _HEAD, MAX_TEXT * 8):
        raise ValueError("the hidden text is longer than the picture, or than any prompt")
    data = _bytes(alpha, _HEAD, length)
    if name == PACKED:
        unpacked = zlib.decompressobj(wbits=31)  # gzip's head
        try:
            data = unpacked.decompress(data, MAX_TEXT)
        except zlib.error as error:
            raise ValueError(f"the hidden text is damaged: {error}") from None
        if not unpacked.eof:
            raise ValueError("the hidden text is cut off, or longer than any prompt")
    return data.decode("utf-8", "replace")


def _bytes(alpha: np.ndarray, start: int, count: int) -> bytes:
    """`count` bits from the `start`-th on, down the columns, eight to a byte."""
    height = alpha.shape[0]
    first, last = start // height, -(-(start + count) // height)
    bits = (alpha[:, first:last].T & 1).ravel()[start - first * height :][:count]
    return np.packbits(bits).tobytes()
