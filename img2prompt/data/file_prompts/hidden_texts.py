"""A text in the lowest bits of a picture's channels ("stealth PNG info"): alpha's, or the colours'.

NovelAI and extensions of the web UI and ComfyUI write it there, because sites that remove
metadata keep the pixels. The bits run down the columns, of each pixel red, green, blue: a name of
15 letters, the number of bits that follow as 32 bits, then the text in UTF-8, compressed by gzip
under two of the names.
"""

import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from img2prompt.data.file_prompts.texts import MAX_TEXT

MAX_PIXELS = 16_000_000  # the whole picture is decoded for it: 64 MB in RGBA
PLAIN, PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
COLOURS_PLAIN, COLOURS_PACKED = b"stealth_rgbinfo", b"stealth_rgbcomp"
_HEAD = (len(PLAIN) + 4) * 8  # bits


def hidden_text(image: Image.Image) -> str | None:
    """The text in the lowest bits of an opened picture; None where there is none.

    Args:
        image: as `images.open_encoded` returns it. Only PNG and WebP are lossless, and only
            pictures of at most `MAX_PIXELS` are searched.

    Raises:
        ValueError: the bits begin with one of the names, but the text is damaged.
        Exception: Pillow's, for damaged pixels.
    """
    if image.format not in ("PNG", "WEBP") or image.mode not in ("RGB", "RGBA", "LA"):
        return None
    if image.width * image.height > MAX_PIXELS or image.width * image.height < _HEAD:
        return None
    columns = -(-_HEAD // image.height)
    head = np.asarray(
        image.crop((0, 0, columns, image.height))
    )  # uint8 (height, columns, channels)
    for channels, names in (
        (slice(-1, None), (PLAIN, PACKED)),
        (slice(3), (COLOURS_PLAIN, COLOURS_PACKED)),
    ):
        begin = _bytes(head[..., channels], 0, _HEAD)
        name, length = begin[: len(PLAIN)], int.from_bytes(begin[len(PLAIN) :], "big")
        if name in names:
            return _text(np.asarray(image)[..., channels], name, length)
    return None


def _text(channels: NDArray[np.uint8], name: bytes, length: int) -> str:
    if not 0 < length <= min(channels.size - _HEAD, MAX_TEXT * 8):
        raise ValueError("the hidden text is longer than the picture, or than any prompt")
    data = _bytes(channels, _HEAD, length)
    if name in (PACKED, COLOURS_PACKED):
        unpacked = zlib.decompressobj(wbits=31)  # gzip's head
        try:
            data = unpacked.decompress(data, MAX_TEXT)
        except zlib.error as error:
            raise ValueError(f"the hidden text is damaged: {error}") from None
        if not unpacked.eof:
            raise ValueError("the hidden text is cut off, or longer than any prompt")
    return data.decode("utf-8", "replace")


def _bytes(channels: NDArray[np.uint8], start: int, count: int) -> bytes:
    """`count` bits from the `start`-th on, down the columns, eight to a byte."""
    column = channels.shape[0] * channels.shape[2]
    first, last = start // column, -(-(start + count) // column)
    bits = (channels[:, first:last].transpose(1, 0, 2) & 1).ravel()[start - first * column :][
        :count
    ]
    return np.packbits(bits).tobytes()
