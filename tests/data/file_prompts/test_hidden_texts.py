"""A text in the lowest bits at its edges: where it may stand, how long it may be, what is told."""

import gzip
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from prompt_files import hidden_bits, saved

from img2prompt.data.file_prompts import hidden_texts
from img2prompt.data.file_prompts.hidden_texts import hidden_text
from img2prompt.data.images import open_encoded

PLAIN, PACKED = b"stealth_pnginfo", b"stealth_pngcomp"
COLOURS, COLOURS_PACKED = b"stealth_rgbinfo", b"stealth_rgbcomp"
TEXT = "a red fox, Märchen"


def in_channels(
    mode: str, name: bytes, data: bytes, size: tuple[int, int], told: int | None = None
) -> Image.Image:
    """A PNG's picture that is filled from its first column on; `told` bits are said to follow."""
    width, height = size
    channels = len(mode)
    pixels = np.full((width, height, channels), 200, np.uint8)  # column by column
    place = slice(0, 3) if name in (COLOURS, COLOURS_PACKED) else slice(channels - 1, channels)
    length = struct.pack(">L", len(data) * 8 if told is None else told)
    bits = np.unpackbits(np.frombuffer(name + length + data, np.uint8))
    chosen = pixels[..., place].reshape(-1)
    chosen[: len(bits)] |= bits[: len(chosen)]
    pixels[..., place] = chosen.reshape(pixels[..., place].shape)
    rows = np.ascontiguousarray(pixels.transpose(1, 0, 2))
    return open_encoded(saved("PNG", Image.fromarray(rows, mode)))


@pytest.mark.parametrize("mode, name", [("RGBA", PLAIN), ("LA", PLAIN), ("RGB", COLOURS)])
@pytest.mark.parametrize("size", [(40, 30), (30, 40), (2, 152), (152, 2), (1, 400), (400, 1)])
def test_the_bits_run_down_the_columns(mode: str, name: bytes, size: tuple[int, int]) -> None:
    data = TEXT.encode()[:12] if min(size) == 2 else TEXT.encode()
    assert hidden_text(in_channels(mode, name, data, size)) == data.decode()


def test_colours_hold_a_text_beside_an_alpha_channel_too() -> None:
    assert hidden_text(in_channels("RGBA", COLOURS, TEXT.encode(), (20, 20))) == TEXT
    packed = gzip.compress(TEXT.encode())
    assert hidden_text(in_channels("RGBA", COLOURS_PACKED, packed, (30, 20))) == TEXT


@pytest.mark.parametrize(
    "name", [b"stealth_pnginf0", b"stealth_PNGinfo", b"stealth_rgbinfo"[::-1], bytes(15)]
)
def test_another_name_is_no_hidden_text(name: bytes) -> None:
    assert hidden_text(in_channels("RGBA", name, TEXT.encode(), (30, 30))) is None


def test_only_png_and_webp_keep_the_bits() -> None:
    picture = in_channels("RGBA", PLAIN, TEXT.encode(), (30, 30))
    for file_format, expected in (("PNG", TEXT), ("WEBP", TEXT), ("TIFF", None), (None, None)):
        picture.format = file_format
        assert hidden_text(picture) == expected
    for mode in ("L", "P", "1", "CMYK"):
        other = Image.new(mode, (30, 30))
        other.format = "PNG"
        assert hidden_text(other) is None


def test_the_smallest_and_the_largest_pictures_that_are_looked_into(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert hidden_text(in_channels("RGB", COLOURS, b"fox", (8, 19))) == "fox"  # 152 pixels
    assert hidden_text(in_channels("RGB", COLOURS, b"fox", (1, 151))) is None
    monkeypatch.setattr(hidden_texts, "MAX_PIXELS", 900)
    assert hidden_text(in_channels("RGBA", PLAIN, b"fox", (30, 30))) == "fox"
    assert hidden_text(in_channels("RGBA", PLAIN, b"fox", (17, 53))) is None  # one pixel more


LONGER = "^the hidden text is longer than the picture, or than any prompt$"
CUT = "^the hidden text is cut off, or longer than any prompt$"


def test_a_text_may_fill_the_picture_and_no_more() -> None:
    data = b"x" * 81  # with its head 800 bits
    assert hidden_text(in_channels("RGBA", PLAIN, data, (40, 20))) == "x" * 81
    for told in (0, 81 * 8 + 1, 2**32 - 1):
        with pytest.raises(ValueError, match=LONGER):
            hidden_text(in_channels("RGBA", PLAIN, data, (40, 20), told))
    # Of a colour picture three bits a pixel.
    data = b"x" * 281
    assert hidden_text(in_channels("RGB", COLOURS, data, (40, 20))) == "x" * 281
    with pytest.raises(ValueError, match=LONGER):
        hidden_text(in_channels("RGB", COLOURS, data, (40, 20), 281 * 8 + 1))


def test_bits_that_fill_no_byte_are_filled_up_with_zeros() -> None:
    picture = in_channels("RGBA", PLAIN, b"\xff", (40, 20), 1)
    assert hidden_text(picture) == b"\x80".decode("utf-8", "replace")
    assert hidden_text(in_channels("RGBA", PLAIN, b"a\xffb", (40, 20))) == "a\ufffdb"


def test_a_text_may_be_as_long_as_any_prompt_and_no_longer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hidden_texts, "MAX_TEXT", 40)
    assert hidden_text(in_channels("RGBA", PLAIN, b"x" * 40, (40, 20))) == "x" * 40
    with pytest.raises(ValueError, match=LONGER):
        hidden_text(in_channels("RGBA", PLAIN, b"x" * 41, (40, 20)))
    with pytest.raises(ValueError, match=LONGER):
        hidden_text(in_channels("RGBA", PLAIN, b"x" * 40, (40, 20), 321))
    short = gzip.compress(b"x" * 39)
    assert hidden_text(open_encoded(hidden_bits(PACKED, short))) == "x" * 39
    bomb = gzip.compress(b"x" * 10_000)
    monkeypatch.setattr(hidden_texts, "MAX_TEXT", len(bomb))
    with pytest.raises(ValueError, match=CUT):
        hidden_text(open_encoded(hidden_bits(PACKED, bomb)))


@pytest.mark.parametrize("mode, name", [("RGBA", PACKED), ("LA", PACKED), ("RGB", COLOURS_PACKED)])
def test_a_packed_text_is_gzip_whole_and_sound(mode: str, name: bytes) -> None:
    packed = gzip.compress(TEXT.encode())
    assert hidden_text(in_channels(mode, name, packed, (40, 40))) == TEXT
    assert hidden_text(in_channels(mode, name, packed + b"behind", (40, 40))) == TEXT
    with pytest.raises(ValueError, match=CUT):
        hidden_text(in_channels(mode, name, packed[:-1], (40, 40)))
    damaged = packed[:-8] + bytes(8)  # another checksum
    for data in (damaged, b"no gzip at all", zlib.compress(TEXT.encode())):
        with pytest.raises(ValueError, match=r"^the hidden text is damaged: Error -3 "):
            hidden_text(in_channels(mode, name, data, (40, 40)))


def test_a_plain_text_is_not_unpacked() -> None:
    packed = gzip.compress(TEXT.encode(), mtime=0)
    found = hidden_text(in_channels("RGBA", PLAIN, packed, (40, 40)))
    assert found == packed.decode("utf-8", "replace")
