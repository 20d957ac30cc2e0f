"""Pictures at the edges of what is taken: exact sentences, exact pixels, exact bounds."""

import contextlib
import io
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin
from test_images import png_header, refusal

from img2prompt.data import images
from img2prompt.data.images import ImageError, open_encoded, open_image, preprocess, to_pixels
from img2prompt.data.picture_files import exif

CUT = "The picture is cut off: its last part is missing; save or download it again."
DAMAGED = "The picture is damaged; save or download it again."
SIX = "PNG, JPEG, WEBP, GIF, BMP, TIFF"
TURNS = {  # how an upright picture is stored, by its orientation
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}


def noise(mode: str, size: tuple[int, int], seed: int = 0) -> Image.Image:
    """A picture in which no two places look alike."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], bands), np.uint8)
    return Image.fromarray(values if bands > 1 else values[:, :, 0], mode)


def with_orientation(value: int) -> Image.Exif:
    tags = Image.Exif()
    tags[exif.ORIENTATION] = value
    return tags


def on_white(picture: Image.Image) -> Image.Image:
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def alike(opened: Image.Image, expected: Image.Image) -> None:
    assert opened.mode == "RGB" and opened.size == expected.size
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(expected))


# --- sentences ------------------------------------------------------------------------------------


def test_files_that_cannot_be_opened_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone.png"
    assert refusal(gone) == f"There is no file {gone}."
    assert refusal(tmp_path) == f"{tmp_path} is a folder; name the pictures in it."
    assert refusal("a\0b.png") == "That file name cannot be opened; choose a picture."
    assert refusal(b"") == "The file is empty; choose a picture."
    locked = tmp_path / "locked.png"
    locked.touch()

    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "open", refuse)
    assert refusal(locked) == f"The file {locked} may not be read; check its permissions."


def test_what_is_no_picture_is_told_what_to_use(encode) -> None:
    assert refusal(b"only text") == f"This is not a picture we can read; use one of {SIX}."
    assert refusal(encode(Image.new("RGB", (4, 4)), "PPM")) == (
        f"This file is PPM, not a picture we can read; use one saved as {SIX}."
    )
    for start, file_format in ((b"II*\0" + bytes(30), "TIFF"), (b"BM" + bytes(60), "BMP")):
        odd = f"This {file_format} is written in a way we cannot read; save it as PNG or JPEG."
        assert refusal(start) in (odd, CUT)


def test_bytes_up_to_the_limit_are_taken(
    tmp_path: Path, encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(noise("RGB", (20, 10)))
    (tmp_path / "a.png").write_bytes(data)
    monkeypatch.setattr(images, "MAX_BYTES", len(data))
    for source in (data, tmp_path / "a.png"):
        assert open_image(source).size == (20, 10)
    monkeypatch.setattr(images, "MAX_BYTES", len(data) - 1)
    for source in (data, tmp_path / "a.png"):
        assert refusal(source) == "The file has 0 MB, the limit is 0 MB; make it smaller."


def test_a_file_that_is_too_large_says_how_large(tmp_path: Path) -> None:
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(61 * 2**20)
    for source in (tmp_path / "large.png", bytes(61 * 2**20)):
        assert refusal(source) == "The file has 61 MB, the limit is 50 MB; make it smaller."


def test_sizes_up_to_the_limits_are_taken() -> None:
    assert open_encoded(png_header(10_000, 5_000)).size == (10_000, 5_000)
    over = "The picture has over 50 million pixels; make it smaller."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Beyond Pillow's warning (89 million) and beyond its error (twice that) too.
        for size in ((10_000, 5_001), (10_000, 10_000), (30_000, 30_000)):
            assert refusal(png_header(*size)) == over
    side = "The picture's longer side has {} pixels, the limit is 32768; make it smaller."
    assert refusal(png_header(5, 32_769)) == side.format(32_769)
    assert refusal(np.zeros((40_000, 2), np.uint8)) == side.format(40_000)
    assert open_image(np.zeros((32_768, 2), np.uint8)).size == (2, 32_768)
    assert refusal(np.zeros((4, 0, 3), np.uint8)) == "The picture has no pixels."


@pytest.mark.parametrize("shape", [(3,), (4, 4, 2), (4, 4, 1), (4, 4, 5), (2, 4, 4, 3)])
def test_an_array_of_another_shape_is_named(shape: tuple[int, ...]) -> None:
    assert refusal(np.zeros(shape, np.uint8)) == (
        f"An array of shape {shape} is not a picture; "
        "use (height, width), (height, width, 3) or (height, width, 4)."
    )


def test_arrays_of_other_values_are_refused() -> None:
    assert (
        refusal(np.zeros((4, 4), np.int16)) == "Pixels must be uint8 or floating point, not int16."
    )
    for value in (1.001, -0.001, np.nan, np.inf):
        array = np.zeros((4, 6, 3))
        array[3, 5, 2] = value
        assert refusal(array) == "Floating-point pictures must lie in [0, 1]."


def test_floating_arrays_are_rounded_to_the_nearest_shade() -> None:
    array = np.array([[0.0, 1.0, 0.5, 0.6 / 255, 0.4 / 255, 200 / 255]])
    for kind in (np.float32, np.float64):
        opened = np.asarray(open_image(array.astype(kind)))
        assert opened[0, :, 0].tolist() == [0, 255, 128, 1, 0, 200]
    colours = np.zeros((2, 3, 3))
    colours[1, 2] = (1.0, 0.2, 0.0)
    assert open_image(colours).getpixel((2, 1)) == (255, 51, 0)
    clear = np.ones((1, 2, 4))
    clear[0, 1] = (0.0, 0.0, 0.0, 0.0)
    clear[0, 0] = (0.2, 0.4, 0.6, 1.0)
    opened = open_image(clear)
    assert (opened.getpixel((0, 0)), opened.getpixel((1, 0))) == ((51, 102, 153), (255,) * 3)


# --- what somebody else opened --------------------------------------------------------------------


def test_a_picture_in_memory_is_never_handed_back_itself() -> None:
    picture = noise("RGB", (8, 6))
    opened = open_image(picture)
    alike(opened, picture)
    opened.putpixel((0, 0), (1, 2, 3))
    assert opened is not picture and picture.getpixel((0, 0)) != (1, 2, 3)


@pytest.mark.parametrize("value", range(1, 9))
def test_what_pillow_opened_is_turned_too(encode, value: int) -> None:
    upright = noise("RGB", (9, 5))
    stored = upright
    for turn in TURNS[value]:
        stored = stored.transpose(turn)
    alike(open_image(Image.open(io.BytesIO(encode(stored, exif=with_orientation(value))))), upright)


@pytest.mark.parametrize("value", [0, 9, 200])
def test_an_orientation_in_memory_that_is_none_is_ignored(value: int) -> None:
    picture = noise("RGB", (9, 5))
    picture.getexif()[exif.ORIENTATION] = value
    alike(open_image(picture), picture)


def test_damage_in_what_pillow_opened_is_told(encode) -> None:
    data = encode(noise("RGB", (80, 60)), "PNG")
    assert refusal(Image.open(io.BytesIO(data[: len(data) // 2]))) == CUT
    place = data.index(b"IDAT") + 20
    broken = data[:place] + bytes(60) + data[place + 60 :]
    assert refusal(Image.open(io.BytesIO(broken))) == DAMAGED


def test_exif_that_is_damaged_is_no_exif(encode) -> None:
    picture = Image.open(io.BytesIO(encode(noise("RGB", (9, 5)))))
    picture.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\xff"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, of the tags
        assert len(images.read_exif(picture)) == 0


# --- orientation, wherever it stands --------------------------------------------------------------


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_tall_pictures_are_turned_and_made_smaller_strip_by_strip(
    monkeypatch: pytest.MonkeyPatch, encode, value: int, shrink: int
) -> None:
    """More rows than are converted at once; the last strip is a short one."""
    monkeypatch.setattr(images, "_STRIP", 2_000)
    stored = noise("RGBA", (61, 150))
    data = encode(stored, exif=with_orientation(value))
    encoded = open_encoded(data)
    pixels = 61 * 150
    need = encoded.file.held + 4 * pixels + 4 * pixels // shrink**2 + 1
    monkeypatch.setattr(images, "MAX_MEMORY", need)
    expected = on_white(stored)
    if shrink > 1:
        expected = expected.reduce(shrink)
    back = {6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    for turn in TURNS[value]:
        expected = expected.transpose(back.get(value, turn))
    opened = open_image(data)
    assert opened.size == expected.size
    # Of a side that the divisor does not divide, the last pixel is an average of fewer.
    kept = np.asarray(opened, int), np.asarray(expected, int)
    np.testing.assert_allclose(*kept, atol=0 if shrink == 1 else 1)


def test_a_text_of_imagemagicks_tells_the_orientation(encode) -> None:
    block = with_orientation(6).tobytes()
    block = block if block.startswith(b"Exif") else b"Exif\0\0" + block
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    stored = noise("RGB", (9, 5))
    alike(open_image(encode(stored, pnginfo=texts)), stored.transpose(Image.Transpose.ROTATE_270))


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "JPEG"])
def test_xmp_tells_the_orientation_where_exif_does_not(encode, file_format: str) -> None:
    packet = '<x xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="8"/>'
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", packet)
    options: dict[str, Any] = (
        {"pnginfo": texts} if file_format == "PNG" else {"xmp": packet.encode()}
    )
    stored = noise("RGB", (9, 5))
    assert open_image(encode(stored, file_format, **options)).size == (5, 9)
    options["exif"] = with_orientation(3)
    assert open_image(encode(stored, file_format, **options)).size == (9, 5)


# --- modes ----------------------------------------------------------------------------------------


def test_integers_are_clipped_to_16_bits() -> None:
    values = np.array([[0, 257, 1000, 65535, 70000, -300]], np.int32)
    opened = np.asarray(open_image(Image.fromarray(values)))
    assert opened[0].tolist() == [[v] * 3 for v in (0, 1, 4, 255, 255, 0)]


def test_a_clear_shade_of_deep_grey_becomes_white() -> None:
    picture = Image.fromarray(np.array([[5140, 5141, 0]], np.uint16))
    picture.info["transparency"] = 5141
    assert np.asarray(open_image(picture))[0, :, 1].tolist() == [20, 255, 0]
    floats = Image.fromarray(np.array([[0.0, 1.0, 0.2]], np.float32))
    floats.info["transparency"] = 0
    assert np.asarray(open_image(floats))[0, :, 1].tolist() == [0, 255, 51]


def test_floats_that_are_no_numbers_are_black_or_white() -> None:
    odd = [[np.nan, np.inf, -np.inf, 0.6, 100.0, 300.0]]
    opened = np.asarray(open_image(Image.fromarray(np.array(odd, np.float32))))
    assert opened[0, :, 2].tolist() == [0, 255, 0, 1, 100, 255]
    whole = np.asarray(open_image(Image.fromarray(np.full((3, 3), np.nan, np.float32))))
    assert (whole == 0).all()


def test_the_range_of_floats_is_that_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_STRIP", 64)
    values = np.zeros((60, 8), np.float32)
    values[0], values[-1] = 1.0, 200.0
    opened = np.asarray(open_image(Image.fromarray(values)))
    assert (opened[0, 0, 0], opened[-1, 0, 0]) == (1, 200)
    opened = np.asarray(open_image(Image.fromarray(values / 200)))
    assert (opened[0, 0, 0], opened[-1, 0, 0]) == (1, 255)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa", "PA"])
def test_alpha_is_laid_on_white_exactly(mode: str) -> None:
    source = noise("RGBA", (16, 9))
    between = {"La": "LA", "PA": "P"}.get(mode)
    picture = source.convert(between).convert(mode) if between else source.convert(mode)
    expected = on_white(picture.convert("LA") if mode == "La" else picture)
    alike(open_image(picture), expected)


# --- memory ---------------------------------------------------------------------------------------


# How a picture is saved, bytes of a pixel as decoded, and of its converted copy.
KINDS = [
    ("RGB", "PNG", 4, 0),
    ("RGBA", "PNG", 4, 4),
    ("LA", "PNG", 4, 4),
    ("L", "PNG", 1, 4),
    ("1", "PNG", 1, 4),
    ("P", "PNG", 1, 4),
    ("I;16", "PNG", 2, 4),
    ("RGB", "BMP", 4, 0),
    ("RGB", "WEBP", 4 + 12, 0),
]


def of_mode(mode: str, size: tuple[int, int]) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.full(size[::-1], 500, np.uint16))
    return noise("RGB", size).convert("RGBA" if mode in ("RGBA", "LA") else "RGB").convert(mode)


@pytest.mark.parametrize(("mode", "file_format", "native", "copy"), KINDS)
def test_memory_is_counted_by_the_pixel(
    monkeypatch: pytest.MonkeyPatch, encode, mode: str, file_format: str, native: int, copy: int
) -> None:
    data = encode(of_mode(mode, (160, 80)), file_format)
    held, pixels = open_encoded(data).file.held, 160 * 80
    for shrink, size in ((1, (160, 80)), (2, (80, 40)), (4, (40, 20)), (8, (20, 10))):
        need = held + native * pixels + copy * pixels // shrink**2
        monkeypatch.setattr(images, "MAX_MEMORY", need)
        assert open_image(data).size == ((160, 80) if copy == 0 else size)
    monkeypatch.setattr(images, "MAX_MEMORY", need - 1)
    assert "takes too much memory" in refusal(data)


def test_a_jpeg_is_made_smaller_by_its_decoder(monkeypatch: pytest.MonkeyPatch, encode) -> None:
    data = encode(noise("RGB", (160, 80)), "JPEG")
    held, pixels = open_encoded(data).file.held, 160 * 80
    for shrink, size in ((1, (160, 80)), (2, (80, 40)), (4, (40, 20)), (8, (20, 10))):
        monkeypatch.setattr(images, "MAX_MEMORY", held + 4 * pixels // shrink**2)
        assert open_image(data).size == size
    monkeypatch.setattr(images, "MAX_MEMORY", held + 4 * pixels // 64 - 1)
    assert refusal(data) == (
        "A JPEG of 0 million pixels, saved this way, takes too much memory; make it smaller."
    )


def test_a_turned_or_partly_clear_picture_needs_a_second_copy(
    monkeypatch: pytest.MonkeyPatch, encode
) -> None:
    plain = noise("RGB", (160, 80))
    turned = encode(plain, exif=with_orientation(3))
    clear = encode(plain, transparency=(1, 2, 3))
    for data in (turned, clear):
        need = open_encoded(data).file.held + 4 * 160 * 80
        monkeypatch.setattr(images, "MAX_MEMORY", need)
        assert "takes too much memory" in refusal(data)
        monkeypatch.setattr(images, "MAX_MEMORY", need + 160 * 80)
        assert open_image(data).size == (80, 40)
        monkeypatch.undo()


def test_a_picture_that_does_not_fit_says_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_MEMORY", 1_000_000)
    assert refusal(png_header(3_000, 900)) == (
        "A PNG of 3 million pixels, saved this way, takes too much memory; make it smaller."
    )


def test_every_copy_of_the_file_is_counted(tmp_path: Path, encode) -> None:
    for file_format, copies in (("PNG", 1), ("JPEG", 1), ("WEBP", 2), ("BMP", 1)):
        data = encode(noise("RGB", (16, 9)), file_format)
        path = tmp_path / file_format
        path.write_bytes(data)
        opened = open_encoded(path)
        kept = len(opened.fp.getvalue())
        assert opened.file.held == copies * kept and opened.file.data == b""
        # Bytes stand with the caller too, unless they are the very ones that are read.
        beside = 0 if file_format in ("BMP", "WEBP") else len(data)
        assert open_encoded(data).file.held == beside + copies * kept


# --- the model's input ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(50, 30), (31, 64), (7, 200), (33, 33)])
def test_each_fit_is_what_it_says(size: tuple[int, int]) -> None:
    picture, side = noise("RGB", size), 24
    bicubic = Image.Resampling.BICUBIC
    expected = {
        "stretch": picture.resize((side, side), bicubic),
        "crop": ImageOps.fit(picture, (side, side), bicubic),
    }
    for fit, square in expected.items():
        np.testing.assert_array_equal(to_pixels(picture, side, fit), np.asarray(square))
    np.testing.assert_array_equal(to_pixels(picture, side), np.asarray(expected["stretch"]))
    padded = to_pixels(picture, side, "pad")
    width, height = (round(length * side / max(size)) for length in size)
    left, top = round((side - width) / 2), round((side - height) / 2)
    inner = np.asarray(picture.resize((width, height), bicubic))
    np.testing.assert_array_equal(padded[top : top + height, left : left + width], inner)
    assert padded.sum() == inner.sum(dtype=int)  # black all around


def test_an_unknown_fit_names_the_known_ones() -> None:
    with pytest.raises(images.UserError) as caught:
        to_pixels(noise("RGB", (4, 4)), 8, "squeeze")
    assert str(caught.value) == "Unknown fit 'squeeze'; choose one of stretch, crop, pad."


def test_size_and_fit_reach_the_model(encode) -> None:
    data = encode(noise("RGB", (50, 30)), exif=with_orientation(6))
    upright = open_image(data)
    for fit in images.FITS:
        values, size = images.preprocess_sized(data, 16, fit)
        np.testing.assert_array_equal(values, images.to_float(to_pixels(upright, 16, fit)))
        np.testing.assert_array_equal(values, preprocess(data, 16, fit))
        assert size == (30, 50) and values.dtype == np.float32
    assert images.preprocess_sized(data)[0].shape == (128, 128, 3)
    np.testing.assert_array_equal(preprocess(data), images.to_float(to_pixels(upright, 128)))
    assert to_pixels(upright).shape == (128, 128, 3)
    np.testing.assert_array_equal(images.preprocess_sized(data)[0], preprocess(data))


def test_only_large_pictures_wait_for_one_another(
    monkeypatch: pytest.MonkeyPatch, encode, tmp_path: Path
) -> None:
    waited: list[str] = []

    class Lock(contextlib.nullcontext):
        def __enter__(self) -> None:
            waited.append("waited")

    monkeypatch.setattr(images, "_ONE_LARGE", Lock())
    monkeypatch.setattr(images, "LARGE", 200)
    small, large = noise("RGB", (20, 10)), noise("RGB", (21, 10))
    (tmp_path / "a.png").write_bytes(encode(large))
    for source, times in (
        (small, 0),
        (encode(small), 0),
        (large, 1),
        (encode(large), 1),
        (tmp_path / "a.png", 1),
        (str(tmp_path / "a.png"), 1),
        (np.zeros((20, 10), np.uint8), 0),
        (np.zeros((21, 10), np.uint8), 1),
    ):
        waited.clear()
        preprocess(source, 8)
        assert len(waited) == times


def test_the_header_is_read_without_the_pixels(encode) -> None:
    data = encode(noise("RGB", (30, 20)), exif=with_orientation(6))
    opened = open_encoded(data)
    assert images.read_exif(opened)[exif.ORIENTATION] == 6
    assert opened.size == (30, 20) and opened.format == "PNG"
    assert len(images.read_exif(open_encoded(encode(noise("RGB", (30, 20)))))) == 0
    damaged = bytearray(encode(noise("RGB", (30, 20))))
    place = damaged.index(b"IDAT") + 20
    damaged[place : place + 60] = bytes(60)
    opened = open_encoded(bytes(damaged))  # damage that only decoding shows
    assert len(images.read_exif(opened)) == 0
    with pytest.raises(ImageError, match="damaged"):
        open_image(opened)


def test_a_bmp_that_claims_more_than_there_is_is_cut_off(encode) -> None:
    data = encode(noise("RGB", (30, 20)), "BMP")
    assert refusal(data[:-40]) == CUT
    grown = data[:2] + struct.pack("<L", len(data) + 10) + data[6:]
    assert open_image(grown).size == (30, 20)  # every pixel is there
