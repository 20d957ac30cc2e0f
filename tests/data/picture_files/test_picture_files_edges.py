"""What is left of a picture file before Pillow sees it, byte for byte, and what is learnt of it."""

import struct

import pytest

from img2prompt.data.picture_files import checks as picture_files
from img2prompt.data.picture_files.checks import PictureFile, tidy
from img2prompt.data.picture_files.kinds import UnusualError
from img2prompt.data.picture_files.png_chunks import MAX_TEXT

XMP = b"http://ns.adobe.com/xap/1.0/\0<x/>"
SOUND = b"II*\0\x08\0\0\0" + struct.pack("<HHHLHHL", 1, 0x0112, 3, 1, 6, 0, 0)


def segment(marker: int, body: bytes = b"") -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def frame(*samplings: int) -> bytes:
    """A JPEG's frame of 16 × 16 pixels, a component for each sampling."""
    parts = b"".join(bytes([at + 1, factors, 0]) for at, factors in enumerate(samplings))
    return b"\x08\0\x10\0\x10" + bytes([len(samplings)]) + parts


FRAME = segment(0xC0, frame(0x22, 0x11, 0x11))
SCAN = segment(0xDA, b"\x03\x01\0\x02\0\x03\0\0\x3f\0") + b"pixels\xff\0\xff\xd9"
TABLES = segment(0xDB, b"quantities") + segment(0xC4, b"codes") + segment(0xDD, b"\0\x04")


def jpeg(*segments: bytes, scan: bytes = SCAN) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + FRAME + scan


def kept(*segments: bytes) -> PictureFile:
    return tidy(jpeg(*segments), "JPEG")


# --- JPEG -----------------------------------------------------------------------------------------

EXIF = segment(0xE1, b"Exif\0\0" + SOUND)
JFIF = segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
ADOBE = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")


@pytest.mark.parametrize(
    "part",
    [
        *(
            EXIF,
            JFIF,
            ADOBE,
            TABLES,
            segment(0xFE, b"a comment"),
            segment(0xFE),
            segment(0xE1, XMP),
        ),
        *(segment(0xCC, b"conditions"), segment(0xC8, b"reserved"), segment(0xF0, b"?")),
    ],
)
def test_a_jpeg_keeps_what_makes_pixels_or_may_tell_a_prompt(part: bytes) -> None:
    assert kept(part) == PictureFile(jpeg(part))


@pytest.mark.parametrize(
    "part",
    [
        *(segment(0xE1, b"Exif\0\0junk"), segment(0xE1, b"other"), segment(0xE1)),
        *(segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0"), segment(0xE0, b"JFXX\0" + bytes(20))),
        *(segment(0xEE, b"Adobe\0\x64\0\0\0\0"), segment(0xEE, b"adobe" + bytes(20))),
        *(segment(0xE2, b"ICC_PROFILE\0"), segment(0xED, b"Photoshop 3.0\0"), segment(0xEF, b"x")),
        *(b"\xff\xd0", b"\xff\xd9", b"\xff\x01", b"\xff\x00", b"\xff", b"\xff" * 5, b"between"),
    ],
)
def test_a_jpeg_loses_what_is_of_no_use(part: bytes) -> None:
    assert kept(part, TABLES) == PictureFile(jpeg(TABLES))
    assert kept(TABLES, part) == PictureFile(jpeg(TABLES))


def test_of_several_exif_blocks_the_first_sound_one_stays() -> None:
    second = segment(0xE1, b"Exif\0\0" + SOUND + b"\0\0")
    assert kept(EXIF, second).data == jpeg(EXIF)
    assert kept(segment(0xE1, b"Exif\0\0junk"), second, EXIF).data == jpeg(second)


def test_comments_and_xmp_of_a_jpeg_have_a_room_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(picture_files, "MAX_TEXT", 40)
    full = segment(0xFE, b"c" * 40)
    assert kept(full).data == jpeg(full)
    assert kept(segment(0xFE, b"c" * 41)).data == jpeg()
    half, more = segment(0xE1, XMP), segment(0xFE, b"c" * (40 - len(XMP)))
    assert kept(half, segment(0xFE, b"c" * 20), more, segment(0xFE, b"c")).data == jpeg(half, more)


@pytest.mark.parametrize(
    "samplings, bytes_a_pixel",
    [
        ((0x11,), 2.0),
        ((0x22, 0x11, 0x11), 3.0),
        ((0x21, 0x11, 0x11), 4.0),
        ((0x12, 0x11, 0x11), 4.0),
        ((0x11, 0x11, 0x11), 6.0),
        ((0x41, 0x12, 0x11), 2.0 * 7 / 8),
        ((0x22, 0x22, 0x22, 0x22), 8.0),
        ((0x00,), 0.0),
    ],
)
def test_all_coefficients_of_a_progressive_jpeg_are_held(
    samplings: tuple[int, ...], bytes_a_pixel: float
) -> None:
    one = segment(0xDA, bytes([len(samplings)]) + b"\0" * 9) + b"\xff\xd9"
    for marker in range(0xC0, 0xD0):
        if marker in (0xC4, 0xC8, 0xCC):
            continue
        data = b"\xff\xd8" + segment(marker, frame(*samplings)) + one
        held = bytes_a_pixel if marker in (0xC2, 0xC6, 0xCA, 0xCE) else 0.0
        assert tidy(data, "JPEG").decoder == pytest.approx(held), hex(marker)


def test_a_pass_for_each_component_holds_all_coefficients_too() -> None:
    for components, held in ((1, 3.0), (2, 3.0), (3, 0.0)):
        scan = segment(0xDA, bytes([components]) + b"\0" * 9) + b"\xff\xd9"
        assert tidy(jpeg(scan=scan), "JPEG").decoder == held
    no_frame = b"\xff\xd8" + SCAN
    assert tidy(no_frame, "JPEG").decoder == 0.0


def test_a_jpeg_may_have_a_hundred_passes() -> None:
    one = segment(0xDA, b"\x01\0\0\0\0\0")
    assert not tidy(jpeg(scan=one * 100 + b"\xff\xd9"), "JPEG").cut
    with pytest.raises(UnusualError, match="it is saved in too many passes"):
        tidy(jpeg(scan=one * 101 + b"\xff\xd9"), "JPEG")


def test_a_jpeg_whose_end_is_missing_is_cut() -> None:
    assert not kept(TABLES).cut
    assert tidy(jpeg(scan=SCAN[:-2]), "JPEG").cut
    assert tidy(jpeg(b"\xff\xd9", scan=SCAN[:-2]), "JPEG").cut  # an end before the pixels is none
    assert tidy(jpeg()[:-1], "JPEG").cut
    for end in (2, 3, 5):
        assert tidy(jpeg()[:end], "JPEG") == PictureFile(jpeg()[:end], cut=True)


# --- GIF ------------------------------------------------------------------------------------------

SCREEN = b"GIF89a\x08\0\x08\0"
IMAGE = b",\0\0\0\0\x08\0\x08\0"
BLOCKS = b"\x02\x03abc\0"
PLAIN = b"!\xfe\x05a fox\0"


@pytest.mark.parametrize(
    "flags, colours", [(0x00, 0), (0x07, 0), (0x80, 2), (0x81, 4), (0x87, 256)]
)
def test_a_gif_keeps_its_first_frame_and_the_comments_before_it(flags: int, colours: int) -> None:
    table = bytes(range(1, 4)) * colours
    head = SCREEN + bytes([flags, 0, 0]) + table
    first = IMAGE + bytes([flags]) + table + BLOCKS
    after = PLAIN + IMAGE + b"\0" + BLOCKS + b";"
    assert tidy(head + first + after, "GIF") == PictureFile(head + first + b";")
    assert tidy(head + PLAIN + PLAIN + first, "GIF") == PictureFile(head + PLAIN * 2 + first + b";")
    for odd in (b"!\xff\x0bNETSCAPE2.0\x03\1\0\0\0", b"!\x01\x01x\0", b"!\xf9\x01x\0"):
        assert tidy(head + odd + PLAIN + first, "GIF").data == head + PLAIN + first + b";"
    for lost in range(1, len(BLOCKS)):
        assert tidy((head + first)[:-lost], "GIF").cut
    assert tidy(head + b"?", "GIF") == PictureFile(head + b"?")
    assert tidy(head, "GIF") == PictureFile(head, cut=True, decoder=12.0)


def test_a_gif_s_frame_is_told_nothing_of_the_next_one() -> None:
    head, first = SCREEN + bytes(3), IMAGE + b"\0" + BLOCKS
    for flags in (0x00, 0x01, 0x04, 0x0D, 0x1D, 0xFF):
        control = b"!\xf9\x04" + bytes([flags]) + b"\x0a\0\x05\0"
        expected = b"!\xf9\x04" + bytes([flags & 0b11100011]) + b"\x0a\0\x05\0"
        assert tidy(head + control + first, "GIF").data == head + expected + first + b";"


def test_a_gif_s_comments_have_a_room_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    head, first = SCREEN + bytes(3), IMAGE + b"\0" + BLOCKS
    monkeypatch.setattr(picture_files, "MAX_COMMENTS", 2 * len(PLAIN))
    assert tidy(head + PLAIN * 3 + first, "GIF").data == head + PLAIN * 2 + first + b";"
    monkeypatch.setattr(picture_files, "MAX_BLOCKS", 3)
    row = b"\x01a" * 2 + b"\0"
    assert not tidy(head + IMAGE + b"\0\x02" + row, "GIF").cut
    with pytest.raises(UnusualError, match="its blocks are too small"):
        tidy(head + IMAGE + b"\0\x02\x01a" + row, "GIF")


# --- WebP -----------------------------------------------------------------------------------------


def webp(*chunks: tuple[bytes, bytes], flags: int = 0x3E, more: int = 0) -> bytes:
    body = b"".join(
        kind + struct.pack("<L", len(value)) + value + b"\0" * (len(value) & 1)
        for kind, value in ((b"VP8X", bytes([flags]) + b"\1\2\3\4\5\6\7\x08\x09"), *chunks)
    )
    return b"RIFF" + struct.pack("<L", 4 + len(body) + more) + b"WEBP" + body


PIXELS = (b"VP8L", b"pixel")


@pytest.mark.parametrize(
    "chunks, left, flags",
    [
        ([PIXELS], [PIXELS], 0x12),
        ([PIXELS, (b"EXIF", SOUND)], [PIXELS, (b"EXIF", SOUND)], 0x1A),
        ([(b"XMP ", b"odd"), PIXELS], [(b"XMP ", b"odd"), PIXELS], 0x16),
        ([(b"EXIF", SOUND), (b"XMP ", b"x")], [(b"EXIF", SOUND), (b"XMP ", b"x")], 0x1E),
        ([(b"EXIF", b"junk"), (b"EXIF", SOUND), PIXELS], [(b"EXIF", SOUND), PIXELS], 0x1A),
        ([(b"ICCP", b"profile"), (b"????", b"1"), PIXELS], [PIXELS], 0x12),
        (
            [(b"ANIM", b"a"), (b"ANMF", b"1"), (b"ANMF", b"2")],
            [(b"ANIM", b"a"), (b"ANMF", b"1")],
            18,
        ),
        (
            [(b"ALPH", b"a"), (b"VP8 ", b"p"), PIXELS],
            [(b"ALPH", b"a"), (b"VP8 ", b"p"), PIXELS],
            18,
        ),
        ([(b"XMP ", b"x" * (MAX_TEXT + 1)), PIXELS], [PIXELS], 0x12),
        ([(b"XMP ", b"x" * MAX_TEXT)], [(b"XMP ", b"x" * MAX_TEXT)], 0x16),
    ],
)
def test_a_webp_keeps_one_chunk_of_each_kind_and_says_so(
    chunks: list, left: list, flags: int
) -> None:
    assert tidy(webp(*chunks), "WEBP") == PictureFile(webp(*left, flags=flags), decoder=12.0)


def test_a_webp_shorter_than_it_says_is_cut() -> None:
    assert not tidy(webp(PIXELS) + b"behind", "WEBP").cut
    assert not tidy(webp(PIXELS, more=0), "WEBP").cut
    assert tidy(webp(PIXELS, more=1), "WEBP").cut
    plain = b"RIFF" + struct.pack("<L", 14) + b"WEBPVP8 \2\0\0\0"
    assert tidy(plain, "WEBP") == PictureFile(plain, cut=True, decoder=12.0)
    assert tidy(plain + b"ab", "WEBP") == PictureFile(plain + b"ab", decoder=12.0)
    for end in (4, 7, 11):
        assert tidy(plain[:end], "WEBP") == PictureFile(plain[:end], cut=True, decoder=12.0)
