"""The texts of a file: EXIF's comment in every encoding, XMP, IPTC, mojibake, hidden bits."""

import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from prompt_files import (
    PICTURE,
    commented,
    exif_file,
    hidden_bits,
    hidden_file,
    hidden_in_colours,
    png,
    saved,
    with_chunk,
    xmp_file,
)

from img2prompt.data.file_prompts import hidden_texts
from img2prompt.data.file_prompts.hidden_texts import hidden_text
from img2prompt.data.file_prompts.reading import read_making, read_prompt
from img2prompt.data.file_prompts.texts import MAX_TEXT, decode_comment, mend, read_texts
from img2prompt.data.images import open_encoded

ASCII, NAMED, JIS, UNDEFINED = b"ASCII\0\0\0", b"UNICODE\0", b"JIS\0\0\0\0\0", bytes(8)
WORDS = "a red fox, Märchenwald"
TOLD = f"{WORDS}\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5"


@pytest.mark.parametrize(
    "comment, expected",
    [
        (b"close-up photo of a horse", "close-up photo of a horse"),
        (b"a cat", "a cat"),
        (b"", ""),
        (ASCII, ""),
        (ASCII + WORDS.encode(), WORDS),
        (ASCII + WORDS.encode("cp1252"), WORDS),
        (b"ascii\0\0\0" + b"a cat", "a cat"),
        (b"ASCII   " + b"a cat", "a cat"),
        (b"ASCII art of a cat", "ASCII art of a cat"),
        (UNDEFINED + WORDS.encode(), WORDS),
        (UNDEFINED + WORDS.encode("utf-16-le"), WORDS),
        (UNDEFINED + b"\xff\xfe" + WORDS.encode("utf-16-le"), WORDS),
        (b"\xef\xbb\xbf" + WORDS.encode(), WORDS),
        (WORDS.encode("utf-16-le") + b"\0\0", WORDS),
        (WORDS.encode("utf-16-be"), WORDS),
        (NAMED + WORDS.encode("utf-16-le"), WORDS),
        (NAMED + WORDS.encode("utf-16-be"), WORDS),
        (NAMED + b"\xfe\xff" + WORDS.encode("utf-16-be"), WORDS),
        (NAMED + b"\xff\xfe" + WORDS.encode("utf-16-le"), WORDS),
        (NAMED + b"\xef\xbb\xbf" + WORDS.encode(), WORDS),
        (NAMED + "狐, 雪".encode("utf-16-be"), "狐, 雪"),
        (NAMED + b"a cat in UTF-8", "a cat in UTF-8"),
        (b"Unicode\0" + WORDS.encode("utf-16-be"), WORDS),
        (JIS + "狐, snow".encode("iso2022_jp"), "狐, snow"),
        (JIS + "狐, snow".encode("shift_jis"), "狐, snow"),
        (JIS + "狐, snow".encode(), "狐, snow"),
        (ASCII + "狐, snow".encode("utf-16-le"), "狐, snow"),
    ],
)
def test_a_comment_is_decoded_whatever_its_head_says(comment: bytes, expected: str) -> None:
    assert decode_comment(comment) == expected
    # A field of type ASCII comes as Latin-1.
    assert decode_comment(comment.decode("latin-1")) == expected


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_a_comment_is_found_in_either_folder_and_of_any_type(file_format: str) -> None:
    folders = [({}, {0x9286: ASCII + TOLD.encode()}), ({0x9286: TOLD.encode()}, {})]
    folders += [({0x9286: TOLD.encode("utf-16-le")}, {}), ({0x010E: TOLD.encode()}, {})]
    folders += [({0x9C9C: TOLD.encode("utf-16-le") + b"\0\0"}, {})]
    for first, inner in folders:
        if file_format == "TIFF" and inner:
            continue  # Pillow writes no second folder there
        found = read_prompt(exif_file(file_format, first, inner))
        assert found is not None and (found.prompt, found.seed) == (WORDS, 5), (first, inner)


@pytest.mark.parametrize("kind", [1, 2, 7])
def test_a_comment_of_type_byte_ascii_or_undefined_is_read(kind: int) -> None:
    """As bytes: Pillow writes the type that the standard names, programs write others."""
    for head in (b"", UNDEFINED, ASCII):
        data = head + TOLD.encode()
        entry = struct.pack("<HHHII", 1, 0x9286, kind, len(data), 26) + bytes(4)
        exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry + data
        for file_format in ("JPEG", "WEBP"):
            found = read_prompt(saved(file_format, exif=exif))
            assert found is not None and (found.prompt, found.seed) == (WORDS, 5), (
                head,
                file_format,
            )


def test_utf8_in_a_latin1_chunk_is_mended_and_latin1_stays() -> None:
    for kind, pack in ((b"tEXt", lambda text: text), (b"zTXt", lambda t: b"\0" + zlib.compress(t))):
        for encoding in ("utf-8", "latin-1"):
            body = b"parameters\0" + pack(TOLD.encode(encoding))
            found = read_prompt(with_chunk(saved("PNG"), kind, body, before=b"IDAT"))
            assert found is not None and found.prompt == WORDS
    assert mend("MÃ¤rchen 狐") == "MÃ¤rchen 狐"  # no Latin-1 at all: nobody misread it
    # iTXt is UTF-8 by its standard; what looks misread there was written so.
    assert read_texts(open_encoded(png({"a": "MÃ¤rchen"})))["a"] == "MÃ¤rchen"


def test_reading_texts_decodes_no_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without EXIF Pillow would look for it behind the pixels, by way of these."""
    decoded = []
    monkeypatch.setattr(PngImageFile, "load", lambda image: decoded.append(image))
    told = with_chunk(saved("PNG"), b"tEXt", b"parameters\0" + TOLD.encode(), before=b"IEND")
    assert read_texts(open_encoded(told))["parameters"] == TOLD
    assert decoded == []


def test_xmp_is_read_in_elements_and_attributes() -> None:
    told = "<rdf:Alt><rdf:li xml:lang='x-default'>a red &lt;fox></rdf:li></rdf:Alt>"
    body = f"<dc:description>{told}</dc:description>"
    for file_format in ("PNG", "JPEG", "WEBP", "TIFF"):
        texts = read_texts(
            open_encoded(xmp_file(file_format, body, 'xmp:CreatorTool="Draw Things"'))
        )
        assert texts["xmp.description"] == "a red <fox>"
        assert texts["xmp.CreatorTool"] == "Draw Things"


def test_hostile_xmp_is_no_xmp() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>'
    deep = "<dc:title>" * 9_000 + "</dc:title>" * 9_000
    for packet in (bomb, "<x", "", "\0" * 100, "<a>" * 60_000):
        start = time.process_time()
        assert read_texts(open_encoded(saved("WEBP", xmp=packet.encode()))) == {}
        assert time.process_time() - start < 2
    start = time.process_time()
    read_texts(open_encoded(xmp_file("WEBP", deep)))
    read_texts(open_encoded(xmp_file("WEBP", "x" * 2_000_000)))
    assert time.process_time() - start < 3


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_no_pixels_are_decoded_for_the_texts(
    file_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow decodes a PNG that has no EXIF to look for some behind the pixels."""
    image = open_encoded(saved(file_format))

    decoded = []
    monkeypatch.setattr(type(image), "load", lambda self: decoded.append(self))
    assert read_texts(image) == {} and not decoded


def test_texts_are_few_and_bounded() -> None:
    texts = read_texts(open_encoded(png({f"key{i}": "x" for i in range(1_000)})))
    assert len(texts) <= 200
    long = with_chunk(saved("PNG"), b"tEXt", b"parameters\0" + b"x" * (MAX_TEXT + 1), b"IDAT")
    assert "parameters" not in read_texts(open_encoded(long))


def test_damage_to_one_kind_of_text_leaves_the_others() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a red fox"
    broken = exif.tobytes()[:-6]
    told = saved("WEBP", exif=broken, xmp=b"<x xmlns:dc='d' dc:title='a red fox'/>")
    assert read_texts(open_encoded(told))["xmp.title"] == "a red fox"


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_text_in_the_lowest_bits_is_read(file_format: str, packed: bool) -> None:
    found = read_prompt(hidden_file(TOLD, file_format, packed))
    assert found is not None
    assert (found.prompt, found.negative, found.seed) == (WORDS, "blurry", 5)


@pytest.mark.parametrize("packed", [True, False])
def test_a_text_in_the_lowest_bits_of_the_colours_is_read(packed: bool) -> None:
    found = read_prompt(hidden_in_colours(TOLD, packed))
    assert found is not None and (found.prompt, found.negative, found.steps) == (
        WORDS,
        "blurry",
        20,
    )


def test_hidden_bits_that_are_damaged_are_told() -> None:
    packed = b"stealth_pngcomp"
    for name, data, length in (
        (packed, b"no gzip at all", None),
        (packed, zlib.compress(b"x", wbits=31)[:-9], None),
        (packed, b"", 0),
        (b"stealth_pnginfo", b"a red fox", 2**32 - 1),
        (packed, zlib.compress(b"x" * (MAX_TEXT + 1), wbits=31), None),  # a bomb
    ):
        assert read_making(hidden_bits(name, data, length=length)).state == "unreadable"
    assert read_making(hidden_bits(b"something_else_", b"a red fox")).state == "none"


def test_hidden_bits_are_looked_for_in_small_pictures_only(monkeypatch: pytest.MonkeyPatch) -> None:
    data = hidden_file(TOLD)
    monkeypatch.setattr(hidden_texts, "MAX_PIXELS", 500)
    assert hidden_text(open_encoded(data)) is None
    for mode, file_format in (("RGB", "PNG"), ("L", "PNG"), ("P", "GIF"), ("RGBA", "TIFF")):
        assert hidden_text(open_encoded(saved_as(mode, file_format))) is None
    assert hidden_text(open_encoded(saved_as("RGBA", "PNG"))) is None  # sixteen pixels a side


def saved_as(mode: str, file_format: str) -> bytes:
    return saved(file_format, picture=PICTURE.convert(mode))


@given(st.binary(max_size=300), st.sampled_from(["JPEG", "WEBP", "PNG"]))
def test_any_comment_is_decoded(data: bytes, file_format: str) -> None:
    assert isinstance(decode_comment(data), str)
    assert read_making(commented(file_format, data)).state in (
        "found",
        "empty",
        "unreadable",
        "none",
    )


@given(
    st.dictionaries(
        st.sampled_from([0x010E, 0x010F, 0x0110, 0x0131, 0x9286, 0x9C9B, 0x9C9C, 0x8769, 0x0112]),
        st.binary(max_size=60) | st.text(max_size=60) | st.integers(0, 2**16 - 1),
    ),
    st.binary(max_size=20),
    st.integers(0, 400),
)
def test_any_exif_is_read_or_left(tags: dict, noise: bytes, place: int) -> None:
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    try:
        data = exif.tobytes()
    except Exception:  # Pillow writes no folder of bytes
        return
    broken = data[:place] + noise + data[place + len(noise) :]
    assert isinstance(read_texts(open_encoded(saved("WEBP", exif=broken))), dict)


@given(st.text(max_size=300))
def test_any_xmp_is_read_or_left(body: str) -> None:
    for packet in (body, f"<x>{body}</x>", f"<description>{body}</description>"):
        data = packet.encode("utf-8", "replace")
        assert isinstance(read_texts(open_encoded(saved("WEBP", xmp=data or b" "))), dict)
