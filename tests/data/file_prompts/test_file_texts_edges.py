"""The texts of a file at their edges: lengths, encodings, folders of EXIF, fields of XMP."""

import io
import struct
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import iTXt
from prompt_files import commented, exif_file, png, saved, xmp_file

from img2prompt.data.file_prompts import texts as file_texts
from img2prompt.data.file_prompts.texts import (
    MAX_TEXT,
    MAX_TEXTS,
    MAX_XMP,
    decode_comment,
    mend,
    read_texts,
)
from img2prompt.data.images import open_encoded

JIS = b"JIS\0\0\0\0\0"


def texts_of(data: bytes) -> dict[str, str]:
    return read_texts(open_encoded(data))


def with_info(file_format: str | None = "WEBP", **info: Any) -> dict[str, str]:
    """The texts of a picture of which Pillow has read just this."""
    image = Image.new("RGB", (4, 4))
    image.format = file_format
    image.info.update(info)
    return read_texts(image)


# --- how many, how long ---------------------------------------------------------------------------


def test_a_text_of_the_greatest_length_is_read_and_an_empty_one_is_none() -> None:
    assert with_info("PNG", a="x" * MAX_TEXT, b="x" * (MAX_TEXT + 1), c="", d="y") == {
        "a": "x" * MAX_TEXT,
        "d": "y",
    }


def test_the_first_texts_count_where_there_are_too_many() -> None:
    told = {f"key{number}": "x" for number in range(MAX_TEXTS + 1)}
    found = with_info("PNG", **told, comment=b"one too many")
    assert list(found) == list(told)[:MAX_TEXTS]


def test_of_two_texts_of_one_name_the_chunk_counts() -> None:
    assert with_info("PNG", comment="in a chunk") == {"comment": "in a chunk"}
    image = Image.new("RGB", (4, 4))
    image.format, image.info = "PNG", {"comment": "in a chunk", "other": "x"}
    assert read_texts(image)["comment"] == "in a chunk"


@pytest.mark.parametrize("broken", ["_chunks", "_comment", "_exif_texts", "_xmp_texts"])
def test_each_kind_of_text_that_is_damaged_leaves_those_behind_it(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(image: Image.Image) -> dict:
        raise SyntaxError("damaged")

    monkeypatch.setattr(file_texts, broken, fails)
    monkeypatch.setattr(file_texts, "_iptc_texts", lambda image: {"iptc.caption": "a fox"})
    assert texts_of(saved("PNG")) == {"iptc.caption": "a fox"}


# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "comment, expected",
    [
        (JIS + "狐".encode("euc_jp") + "雪".encode("euc_jp"), "狐雪"),
        (JIS + b"\x80\xff", "€ÿ"),  # no Japanese at all: as Windows writes it
        (JIS + b"\x1b\xff", "\x1bÿ"),
        (b"jis     " + "狐".encode("shift_jis"), "狐"),
        (b"a fox \x81 caf\xe9", "a fox \ufffd café"),  # a byte that Windows has no letter for
        (b"ASCII\0\0\0\xef\xbb\xbfa fox \xff", "a fox \ufffd"),
        (b"UNICODE\0" + "a fox".encode("utf-16-le") + b"x", "a fox\ufffd"),
        (b"UNICODE\0", ""),
        (b"UNICODE\0" + "caf\xe9".encode(), "café"),
        (b"UNICODE\0" + b"\xff\xd8\xe9\x72", "\uffd8\ue972"),
        (bytes(8), ""),
        (bytes(7), ""),
        (b"ASCII\0\0", "ASCII"),  # seven bytes are no head
        (b"XASCII\0\0a fox", "XASCII\0\0a fox"),
    ],
)
def test_a_comment_of_an_odd_encoding_is_decoded(comment: bytes, expected: str) -> None:
    assert decode_comment(comment) == expected


@pytest.mark.parametrize("head", [b"", b"ASCII\0\0\0", bytes(8)])
@pytest.mark.parametrize("zeros", [1, 2, 3, 64])
def test_zeros_that_fill_a_field_up_make_no_utf16(head: bytes, zeros: int) -> None:
    assert decode_comment(head + b"a red fox" + bytes(zeros)) == "a red fox"
    for order in ("le", "be"):
        wide = "a red 狐".encode(f"utf-16-{order}")
        assert decode_comment(b"UNICODE\0" + wide + bytes(2 * zeros)) == "a red 狐"


@pytest.mark.parametrize("zeros, wide", [(2, False), (3, True)])
def test_a_quarter_of_zeros_makes_no_utf16(zeros: int, wide: bool) -> None:
    comment = b"a\0" * zeros + b"b" * (8 - 2 * zeros)
    assert (decode_comment(comment) == comment.decode("utf-16-le")) is wide


def test_a_comment_as_text_with_letters_beyond_latin1_keeps_the_others() -> None:
    assert decode_comment("a red 狐") == "a red ?"
    assert decode_comment("caf\xe9") == "café"


@pytest.mark.parametrize(
    "value, expected",
    [
        ("", ""),
        ("a fox", "a fox"),
        ("caf\u00c3\u00a9", "café"),
        ("caf\xe9", "café"),
        ("\u00e7\u008b\u0090", "狐"),
        ("caf\u00c3\u00a9 狐", "caf\u00c3\u00a9 狐"),
    ],
)
def test_only_misread_utf8_is_mended(value: str, expected: str) -> None:
    assert mend(value) == expected


# --- PNG, comments --------------------------------------------------------------------------------


def test_only_texts_under_plain_names_are_chunks() -> None:
    misread = "caf\u00c3\u00a9"
    info = {
        "parameters": "a fox",
        "tool.prompt": "a key with a dot is a name of ours",
        "dpi": (72, 72),
        "gamma": 0.45,
        "icc_profile": b"bytes",
        "Latin": misread,
        "Unicode": iTXt(misread, "", ""),
    }
    image = Image.new("RGB", (4, 4))
    image.format, image.info = "PNG", {**info, 7: "a number is no key"}
    assert read_texts(image) == {"parameters": "a fox", "Latin": "café", "Unicode": misread}
    image.format = "WEBP"
    assert read_texts(image) == {}


def test_a_comment_is_bytes_of_any_encoding() -> None:
    assert with_info(comment=b"UNICODE\0" + "狐".encode("utf-16-be")) == {"comment": "狐"}
    assert with_info(comment="a text") == with_info(comment=None) == {}
    for file_format in ("GIF", "JPEG"):
        assert texts_of(saved(file_format, comment=b"a red fox")) == {"comment": "a red fox"}


# --- EXIF -----------------------------------------------------------------------------------------

NAMES = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
}


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "PNG"])
def test_each_field_of_exif_has_its_name(file_format: str) -> None:
    tags = {tag: f"the {name}" for tag, name in NAMES.items()}
    wide = {0x9C9B: "XPTitle", 0x9C9C: "XPComment", 0x9C9E: "XPKeywords", 0x9C9F: "XPSubject"}
    tags |= {tag: f"the {name} 狐".encode("utf-16-le") + b"\0\0" for tag, name in wide.items()}
    expected = {f"exif.{name}": f"the {name}" for name in NAMES.values()}
    expected |= {f"exif.{name}": f"the {name} 狐" for name in wide.values()}
    assert texts_of(exif_file(file_format, tags)) == expected


def test_the_inner_folder_counts_before_the_outer_one() -> None:
    both = exif_file("JPEG", {0x9286: b"the outer one"}, {0x9286: b"the inner one"})
    assert texts_of(both) == {"exif.UserComment": "the inner one"}
    empty = exif_file("JPEG", {0x9286: b"the outer one"}, {0x9286: b"ASCII\0\0\0"})
    assert texts_of(empty) == {"exif.UserComment": "the outer one"}
    assert texts_of(commented("WEBP", b"ASCII\0\0\0a fox")) == {"exif.UserComment": "a fox"}


def test_a_folder_that_cannot_be_read_leaves_the_first_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(dict):
        def get_ifd(self, tag: int) -> dict:
            raise SyntaxError("damaged")

    monkeypatch.setattr(file_texts, "read_exif", lambda image: Broken({0x010E: "a red fox"}))
    assert texts_of(saved("JPEG")) == {"exif.ImageDescription": "a red fox"}


@pytest.mark.parametrize(
    "name, value, expected",
    [
        ("Make", "caf\u00c3\u00a9\0", "café"),
        ("Make", b"a fox\0\0", "a fox"),
        ("Make", b"UNICODE\0" + "狐".encode("utf-16-be"), "狐"),
        ("Make", None, ""),
        ("Make", 7, ""),
        ("Make", (97, 32, 102, 111, 120), "a fox"),  # a field of type byte
        ("Make", (233, 255), "éÿ"),
        ("Make", (97, 256), ""),
        ("Make", (97, -1), ""),
        ("Make", (97, 0.5), ""),
        ("Make", ("a", "b"), ""),
        ("Make", (), ""),
        ("XPTitle", (97, 0, 98, 0, 0, 0), "ab"),
        ("XPTitle", "caf\u00c3\u00a9", "café"),
        ("XPTitle", b"a\0b\0c", "ab\ufffd"),
        ("UserComment", (97, 98), "ab"),
        ("UserComment", "ASCII\0\0\0a fox", "a fox"),
        ("UserComment", 7, ""),
    ],
)
def test_a_field_of_any_type_is_text_or_nothing(name: str, value: Any, expected: str) -> None:
    assert file_texts._exif_text(name, value) == expected


# --- XMP, IPTC ------------------------------------------------------------------------------------


def test_xmp_is_found_under_either_name_as_bytes_or_text() -> None:
    packet = '<x xmlns:d="d" d:title="ein Märchen"/>'
    for info in (
        {"xmp": packet.encode()},
        {"xmp": packet},
        {"XML:com.adobe.xmp": packet},
        {"xmp": b"", "XML:com.adobe.xmp": packet},
        {"xmp": b"\xef\xbb\xbf" + packet.encode()},
        {"xmp": b"\0 \r\n\t" + packet.encode() + b"\0\t\r\n "},
    ):
        assert with_info(**info) == {"xmp.title": "ein Märchen"}, info
    assert with_info(xmp=b'<x title="a fox \xff"/>') == {"xmp.title": "a fox \ufffd"}
    assert with_info(xmp='<x title="a fox \ud800"/>') == {"xmp.title": "a fox ?"}
    assert with_info(xmp=7) == with_info(xmp=b"no packet") == with_info(xmp=b"") == {}


def test_xmp_of_the_greatest_length_is_read_and_no_longer_one() -> None:
    packet = b'<x title="a fox"/>'
    padded = packet + b" " * (MAX_XMP - len(packet))
    assert with_info(xmp=padded) == {"xmp.title": "a fox"}
    assert with_info(xmp=padded + b" ") == {}


@pytest.mark.parametrize("declared", ["<!DOCTYPE x>", "<!doctype x []>", "<!ENTITY a 'b'>"])
def test_xmp_that_declares_something_is_left(declared: str) -> None:
    assert with_info(xmp=f'{declared}<x title="a fox"/>') == {}


def test_of_xmp_only_known_names_are_texts_and_the_first_of_each() -> None:
    body = (
        "<dc:title><rdf:Alt><rdf:li>  </rdf:li><rdf:li> a fox </rdf:li><rdf:li>more</rdf:li>"
        "</rdf:Alt></dc:title><dc:title>another</dc:title><dc:subject>left</dc:subject>"
        "<dc:description> </dc:description><exif:UserComment>a comment</exif:UserComment>"
    )
    attributes = 'xmp:CreatorTool=" a tool " xmp:Rating="5" Iptc4xmpExt:DigitalSourceType="made"'
    assert texts_of(xmp_file("WEBP", body, attributes)) == {
        "xmp.CreatorTool": "a tool",
        "xmp.DigitalSourceType": "made",
        "xmp.title": "a fox",
        "xmp.UserComment": "a comment",
    }


def iptc_jpeg(*fields: tuple[int, bytes]) -> bytes:
    """A JPEG with fields of IPTC's second record, in Photoshop's segment."""
    body = b"".join(
        b"\x1c\x02" + bytes([number]) + struct.pack(">H", len(value)) + value
        for number, value in fields
    )
    block = b"8BIM\x04\x04\0\0" + struct.pack(">L", len(body)) + body + b"\0" * (len(body) & 1)
    segment = b"Photoshop 3.0\0" + block
    data = saved("JPEG")
    return data[:2] + b"\xff\xed" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def test_iptc_has_a_caption_and_a_program() -> None:
    for fields, expected in (
        ([(120, b"a fox")], {"iptc.caption": "a fox"}),
        ([(65, b"a tool\0")], {"iptc.program": "a tool"}),
        ([(120, b"one"), (120, b"two")], {"iptc.caption": "one"}),
        (
            [(120, "café".encode()), (65, b"caf\xe9")],
            {"iptc.caption": "café", "iptc.program": "café"},
        ),
        ([(25, b"a keyword")], {}),
        ([(120, b"")], {}),
    ):
        with Image.open(io.BytesIO(iptc_jpeg(*fields))) as image:
            assert read_texts(image) == expected, fields


def test_a_plain_png_text_comes_whole_through_a_file() -> None:
    assert texts_of(png({"parameters": "ein Märchen", "Software": "a tool"})) == {
        "parameters": "ein Märchen",
        "Software": "a tool",
    }
