"""What stands around the pixels of a file never costs a whole picture, nor memory, nor time."""

import io
import struct
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import CASES
from PIL import Image, PngImagePlugin

from img2prompt.data import images
from img2prompt.data.images import ImageError, open_encoded, open_image
from img2prompt.data.picture_files import exif, png_chunks
from img2prompt.data.picture_files import kinds as picture_kinds

START = picture_kinds.PNG_START
PIXELS = np.asarray(Image.effect_noise((40, 24), 60).convert("RGB"))
JUNK = b"junk" * 20


def chunk(kind: bytes, body: bytes, check: int | None = None) -> bytes:
    check = zlib.crc32(kind + body) if check is None else check
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", check & 0xFFFFFFFF)


def png(*ancillary: bytes, pixels: np.ndarray = PIXELS, late: bytes = b"", end: bool = True):
    """A PNG of `pixels` with chunks before and behind its own."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    head = 8 + 25
    body = data[head:-12]
    return data[:head] + b"".join(ancillary) + body + late + (data[-12:] if end else b"")


def raw_png(depth: int, colour: int, rows: bytes, size: tuple[int, int], *chunks: bytes) -> bytes:
    head = struct.pack(">LLBBBBB", *size, depth, colour, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return START + chunk(b"IHDR", head) + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def saved(file_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, file_format, **options)
    return buffer.getvalue()


def jpeg(*segments: tuple[int, bytes]) -> bytes:
    data = saved("JPEG", quality=95)
    extra = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return data[:2] + extra + data[2:]


def same(data: bytes, expected: np.ndarray = PIXELS) -> Image.Image:
    opened = open_image(data)
    np.testing.assert_array_equal(np.asarray(opened), expected)
    return opened


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(data)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 300
    return message


# --- PNG ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(CASES.glob("*text*.png")), ids=lambda path: path.stem)
def test_a_whole_picture_with_an_odd_text_is_read(path: Path) -> None:
    assert open_image(path).size == (32, 32)


def test_texts_are_handed_on_wherever_they_stand_and_however_they_are_packed() -> None:
    long = b"a" * (2 * 2**20)
    data = png(
        chunk(b"tEXt", b"first\0one", check=7),
        chunk(b"zTXt", b"second\0\0" + zlib.compress(long)),
        late=chunk(b"iTXt", b"third\0\1\0\0\0" + zlib.compress("drei ü".encode()))
        + chunk(b"tEXt", b"fourth\0four"),
    )
    info = open_encoded(data).info
    assert (info["first"], info["third"], info["fourth"]) == ("one", "drei ü", "four")
    assert info["second"].encode() == long
    same(data)


@pytest.mark.parametrize(
    "odd",
    [
        chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(30 * 2**20))),
        chunk(b"zTXt", b"a\0\7" + zlib.compress(b"x")),
        chunk(b"zTXt", b"a\0\0no zlib"),
        chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(30 * 2**20))),
        chunk(b"iTXt", b"a\0\1"),
        chunk(b"iTXt", b"a\0\0\0\0\0\xff\xfe\xff"),
        chunk(b"tEXt", b"no zero"),
        chunk(b"tEXt", b"transparency\0red"),
        chunk(b"tEXt", b"bbox\0red"),
        chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(3 * 2**20))),
        chunk(b"iCCP", b"a\0\5x"),
        chunk(b"iCCP", b"a"),
        chunk(b"eXIf", JUNK),
        chunk(b"eXIf", b"odd"),
        chunk(b"eXIf", b"MM\0*" + JUNK[:16]),
        chunk(b"sRGB", b""),
        chunk(b"pHYs", b"\0"),
        chunk(b"gAMA", b"\0"),
        chunk(b"cHRM", b"\0\0\0"),
        chunk(b"tRNS", b"\0"),
        chunk(b"tRNS", b"\0\0\0\0\0\0", check=1),
        chunk(b"acTL", b"\0"),
        chunk(b"fcTL", b"\0" * 26) * 2,
        chunk(b"fdAT", b"\0"),
        chunk(b"prVt", JUNK, check=1),
        chunk(b"IHDR", JUNK),
        chunk(b"p\xe4rT", JUNK),
    ],
    ids=lambda odd: odd[4:8].decode("ascii", "ignore"),
)
@pytest.mark.parametrize("late", [False, True], ids=["before", "behind"])
def test_no_odd_chunk_costs_a_whole_png(odd: bytes, late: bool) -> None:
    same(png(late=odd) if late else png(odd))


def test_sixty_texts_that_unpack_to_a_gigabyte_are_not_unpacked_all() -> None:
    packed = zlib.compress(bytes(16 * 2**20))
    same(png(*(chunk(b"zTXt", b"k%d\0\0" % i + packed) for i in range(60))))
    texts = [chunk(b"zTXt", b"k%d\0\0" % i + zlib.compress(bytes(2**20))) for i in range(60)]
    info = open_encoded(png(*texts)).info
    assert sum(len(info[key]) for key in info if key.startswith("k")) <= png_chunks.MAX_TEXTS


def test_bombs_that_are_unpacked_in_vain_cost_no_minutes() -> None:
    bomb = zlib.compress(bytes(8 * 2**20))
    started = time.process_time()
    same(png(*(chunk(b"zTXt", b"k%d\0\0" % i + bomb) for i in range(5_000))))
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "data",
    [
        png(chunk(b"prVt", b"") * 200_000),
        saved("GIF")[: 13 + 768] + b"!\xfe\0" * 200_000 + saved("GIF")[13 + 768 :],
        jpeg()[:2] + b"\xff\xd0" * 200_000 + jpeg()[2:],
    ],
    ids=["PNG", "GIF", "JPEG"],
)
def test_a_file_of_too_many_parts_is_refused(data: bytes) -> None:
    assert "is written in a way we cannot read" in refusal(data)


def test_a_png_without_its_end_is_whole_while_its_pixels_are() -> None:
    same(png(end=False))
    same(png(late=chunk(b"tEXt", b"a\0b")[:-6], end=False))
    assert "cut off" in refusal(png(end=False)[:-30])


def test_apples_png_is_named_as_one_we_do_not_read() -> None:
    data = png()
    assert "This PNG is written in a way" in refusal(START + chunk(b"CgBI", b"\0" * 4) + data[8:])


@pytest.mark.parametrize(
    ("depth", "colour", "row", "clear"),
    [
        (1, 0, b"\x40", b"\0\0"),
        (2, 0, b"\x40", b"\0\1"),
        (4, 0, b"\x70", b"\0\7"),
        (8, 0, b"\7\x50", b"\0\7"),
        (16, 0, b"\1\2\1\3", b"\1\2"),
        (8, 2, b"\1\2\3\1\2\4", b"\0\1\0\2\0\3"),
        (16, 2, b"\1\7\2\7\3\7\1\7\2\7\4\7", b"\1\7\2\7\3\7"),
    ],
)
def test_a_transparent_colour_is_laid_on_white(depth, colour, row, clear) -> None:
    data = raw_png(depth, colour, b"\0" + row, (2, 1), chunk(b"tRNS", clear))
    first, second = np.asarray(open_image(data))[0].tolist()
    without = np.asarray(open_image(raw_png(depth, colour, b"\0" + row, (2, 1))))[0].tolist()
    assert first == [255] * 3 and second == without[1] and without[0] != [255] * 3


def test_16_bit_grey_with_transparency_is_laid_on_white() -> None:
    opened = open_image(CASES / "transparent-grey-of-16-bits.png")
    assert opened.getpixel((0, 0)) == (255, 255, 255)


def test_a_palette_picture_without_its_palette_gives_a_picture_or_a_sentence() -> None:
    data = raw_png(8, 3, b"\0\1\2", (2, 1), chunk(b"tRNS", b"\0\xff"))
    for whole in (data, raw_png(8, 3, b"\0\1\2", (2, 1))):
        try:
            assert open_image(whole).size == (2, 1)
        except ImageError:
            continue


@pytest.mark.parametrize(("colour", "row"), [(4, b"\x20\0\0\0"), (6, b"\x20\0\x30\0\x40\0\0\0")])
def test_16_bits_with_an_alpha_channel_are_laid_on_white(colour: int, row: bytes) -> None:
    assert open_image(raw_png(16, colour, b"\0" + row, (1, 1))).getpixel((0, 0)) == (255,) * 3


# --- JPEG, GIF, WebP ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "segments",
    [
        [(0xE1, b"Exif\0\0" + JUNK)],
        [(0xE1, b"Exif\0\0")] * 3,
        [(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + JUNK)],
        [(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + JUNK)],
        [(0xE2, b"ICC_PROFILE\0" + JUNK)],
        [(0xE2, b"ICC_PROFILE\0")],
        [(0xE2, b"MPF\0" + JUNK)],
        [(0xE2, b"MPF\0II*\0\x08\0\0\0\x01\0\1\xb0\4\0\1\0\0\0\2\0\0\0")],
        [(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\2ab")],
        [(0xED, b"Photoshop 3.0\x008BIM\xff")],
        [(0xE0, b"JFIF\0")],
        [(0xEE, b"Adobe")],
        [(0xFE, JUNK)] * 100,
        [(0xE9, b"\xff\xda\xff\xd9")],
    ],
    ids=lambda segments: f"{segments[0][0]:x}",
)
def test_no_odd_segment_costs_a_whole_jpeg(segments: list[tuple[int, bytes]]) -> None:
    same(jpeg(*segments), np.asarray(open_image(jpeg())))


def test_comments_and_exif_of_a_jpeg_are_handed_on() -> None:
    tags = Image.Exif()
    tags[0x010E] = "a description"
    data = jpeg(
        (0xFE, b"a comment"), (0xE1, b"Exif\0\0" + tags.tobytes().removeprefix(b"Exif\0\0"))
    )
    opened = open_encoded(data)
    assert opened.info["comment"] == b"a comment"
    assert images.read_exif(opened)[0x010E] == "a description"


def test_a_jpeg_of_thousands_of_passes_is_refused_at_once() -> None:
    data = saved("JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    data = data[:scan] + data[scan:-2] * 5_000 + b"\xff\xd9"
    assert "This JPEG is written in a way we cannot read" in refusal(data)


@pytest.mark.parametrize(
    "extension",
    [
        b"!\xfe\x00",
        b"!\xff\x0bNETSCAPE2.0\x01\x05\0",
        b"!\xf9\x01\x05\0",
        b"!\x42\x04abcd\0",
        b"!\xff\0",
    ],
)
def test_no_odd_extension_costs_a_whole_gif(extension: bytes) -> None:
    data = saved("GIF")
    place = 13 + (3 << (data[10] & 7) + 1)
    same(data[:place] + extension + data[place:], np.asarray(open_image(data)))


def test_a_gif_with_a_comment_of_megabytes_is_read_quickly() -> None:
    data = saved("GIF")
    place = 13 + (3 << (data[10] & 7) + 1)
    comment = b"!\xfe" + (b"\xff" + b"c" * 255) * 60_000 + b"\0"
    started = time.process_time()
    same(data[:place] + comment + data[place:], np.asarray(open_image(data)))
    assert time.process_time() - started < 5


def webp(*chunks: tuple[bytes, bytes], flags: int = 0x2C) -> bytes:
    """An extended WebP with chunks that are named in its flags."""
    pixels = saved("WEBP", lossless=True)[12:]
    size = struct.pack("<L", PIXELS.shape[1] - 1)[:3] + struct.pack("<L", PIXELS.shape[0] - 1)[:3]
    body = b"VP8X" + struct.pack("<L", 10) + bytes([flags, 0, 0, 0]) + size + pixels
    for kind, value in chunks:
        body += kind + struct.pack("<L", len(value)) + value + b"\0" * (len(value) & 1)
    return b"RIFF" + struct.pack("<L", 4 + len(body)) + b"WEBP" + body


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"EXIF", JUNK)],
        [(b"EXIF", b"odd")],
        [(b"EXIF", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff")],
        [(b"XMP ", JUNK), (b"XMP ", b"")],
        [(b"ICCP", JUNK)],
        [(b"odd!", JUNK), (b"EXIF", b"")],
    ],
)
def test_no_odd_chunk_costs_a_whole_webp(chunks: list[tuple[bytes, bytes]]) -> None:
    same(webp(*chunks))


# --- orientation, TIFF ----------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("value", range(1, 9))
def test_every_format_is_turned_as_its_exif_says(file_format: str, value: int) -> None:
    tags = Image.Exif()
    tags[exif.ORIENTATION] = value
    options = {"lossless": True} if file_format == "WEBP" else {}
    lies = np.asarray(open_image(saved(file_format, **options)))
    columns_first = value > 4
    expected = np.swapaxes(lies, 0, 1) if columns_first else lies
    if value in (2, 3, 6, 7):
        expected = expected[:, ::-1]
    if value in (3, 4, 7, 8):
        expected = expected[::-1]
    same(saved(file_format, exif=tags, **options), expected)


@pytest.mark.parametrize("value", [0, 9, 65535])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_orientation_that_is_none_is_ignored(file_format: str, value: int) -> None:
    tags = Image.Exif()
    tags[exif.ORIENTATION] = value
    assert open_image(saved(file_format, exif=tags)).size == (40, 24)


def test_an_orientation_that_only_xmp_knows_counts() -> None:
    xmp = b'<x tiff:Orientation="6"/>'
    assert open_image(jpeg((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp))).size == (24, 40)


def overlapping(entries: int, order: str = "<") -> bytes:
    """An EXIF block whose tags all point at one large value."""
    value = bytes(entries * 12)
    place = 8 + 2 + entries * 12 + 4
    table = b"".join(struct.pack("<HHLL", 700 + i, 7, len(value), place) for i in range(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", entries) + table + b"\0" * 4 + value


def test_tags_that_share_one_value_are_not_copied_a_thousand_times() -> None:
    assert exif.main_directory(overlapping(1)) is not None
    assert exif.main_directory(overlapping(2000)) is None
    started = time.process_time()
    opened = open_encoded(png(chunk(b"eXIf", overlapping(60_000))))
    assert "exif" not in opened.info and len(images.read_exif(opened)) == 0
    assert time.process_time() - started < 5


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_a_tiff_whose_folders_are_unsound_is_read(compression: str) -> None:
    data = saved("TIFF", compression=compression, tiffinfo={0x8769: 2**31, 0x8825: 7})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, of the tags
        same(data)


def test_a_tiff_that_lists_millions_of_strips_is_refused() -> None:
    number = 4_000_000
    table = struct.pack("<HHHLL", 1, 273, 4, number, 26) + b"\0" * 4
    data = b"II*\0\x08\0\0\0" + table + bytes(4 * number)
    assert "This TIFF is written in a way we cannot read" in refusal(data)


def test_a_tiff_that_pillow_cannot_decode_is_not_called_damaged() -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).convert("YCbCr").save(buffer, "TIFF")
    assert refusal(buffer.getvalue()) == (
        "This TIFF is written in a way we cannot read; save it as PNG or JPEG."
    )


# --- the end is missing ---------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [1, 3, 20, 200])
@pytest.mark.parametrize("file_format", images.FORMATS)
def test_what_lacks_its_end_is_called_cut_off_or_is_whole(file_format: str, lost: int) -> None:
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(file_format, **options)
    try:
        opened = open_image(data[:-lost])
    except ImageError as error:
        assert str(error) == (
            "The picture is cut off: its last part is missing; save or download it again."
        )
        return
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(open_image(data)))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
@pytest.mark.parametrize("file_format", images.FORMATS)
def test_what_lacks_more_is_never_read(file_format: str, share: float) -> None:
    data = saved(file_format)
    message = refusal(data[: int(len(data) * share)])
    assert "cut off" in message


def test_a_png_with_damaged_pixels_is_called_damaged() -> None:
    data = bytearray(png())
    place = data.index(b"IDAT") + 40
    data[place : place + 40] = bytes(40)
    assert refusal(bytes(data)) == "The picture is damaged; save or download it again."


# --- what it is instead ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x1cftypavif", "AVIF"),
        (b"\0\0\0\x20ftypisom", "MP4 video"),
        (b"8BPS\0\1", "Photoshop (PSD)"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\1\0\1\0", "ICO"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"PK\x03\x04\x14\0", "ZIP"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"\xef\xbb\xbf <!DOCTYPE html><title>Not found</title>", "HTML"),
        (b"P6\n2 2\n255\n", "PPM"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera RAW"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI video"),
    ],
)
def test_a_format_that_we_do_not_read_is_named(start: bytes, name: str) -> None:
    formats = ", ".join(images.FORMATS)
    assert refusal(start + bytes(32)) == (
        f"This file is {name}, not a picture we can read; use one saved as {formats}."
    )


# --- anything at all ------------------------------------------------------------------------------


def _seeds() -> dict[str, bytes]:
    tags = Image.Exif()
    tags[exif.ORIENTATION] = 6
    tags.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0a prompt"
    turned = Image.Exif()
    turned[exif.ORIENTATION] = 6
    texts = PngImagePlugin.PngInfo()
    texts.add_text("parameters", "a prompt")
    texts.add_itxt("Description", "ein Wort", zip=True)
    frames = [Image.fromarray(PIXELS[::-1])]
    return {
        "PNG": saved("PNG", pnginfo=texts, exif=tags),
        "APNG": saved("PNG", save_all=True, append_images=frames, pnginfo=texts),
        "JPEG": saved("JPEG", exif=tags, comment=b"a prompt", progressive=True),
        "MPO": saved("MPO", save_all=True, append_images=frames, exif=tags),
        "WEBP": saved("WEBP", exif=tags, xmp=b"<x/>"),
        "WEBP animation": saved("WEBP", save_all=True, append_images=frames),
        "GIF": saved("GIF", save_all=True, append_images=frames, comment=b"a prompt"),
        "BMP": saved("BMP"),
        "TIFF": saved("TIFF", exif=turned),
        "TIFF LZW": saved("TIFF", compression="tiff_lzw", exif=turned),
        "TIFF JPEG": saved("TIFF", compression="jpeg"),
    }


SEEDS = _seeds()


@pytest.mark.filterwarnings("ignore")  # Pillow's own, on damaged tags
@given(
    seed=st.sampled_from(sorted(SEEDS)),
    changes=st.lists(
        st.tuples(
            st.one_of(st.integers(0, 160), st.floats(0, 0.999)),
            st.one_of(st.binary(min_size=1, max_size=4), st.just(b"\xff\xff\xff\xff")),
        ),
        max_size=5,
    ),
)
def test_mutated_files_give_a_picture_or_a_sentence(seed: str, changes: list) -> None:
    data = bytearray(SEEDS[seed])
    for place, value in changes:
        start = place if isinstance(place, int) else int(place * len(data))
        data[start : start + len(value)] = value
    try:
        encoded = open_encoded(bytes(data))
        images.read_exif(encoded)
        picture = open_image(encoded)
    except ImageError as error:
        assert "\n" not in str(error)
        return
    assert picture.mode == "RGB" and max(picture.size) <= images.MAX_SIDE
    assert picture.size[0] * picture.size[1] <= images.MAX_PIXELS


@given(body=st.binary(max_size=300), file_format=st.sampled_from(sorted(SEEDS)))
def test_any_bytes_behind_a_format_s_first_ones_give_a_sentence(
    body: bytes, file_format: str
) -> None:
    with pytest.raises(ImageError):
        open_image(SEEDS[file_format][:16] + body)
