"""Whatever a person hands over becomes an upright RGB picture, or one sentence."""

import contextlib
import os
import struct
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.data.images import ImageError, open_image, preprocess, to_float, to_pixels


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def refusal(source: images.ImageSource) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(source)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".") and len(message) < 300
    return message


# --- pictures that cannot be used ---------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "no-such.png" in refusal(tmp_path / "no-such.png")
    assert "no-such.png" in refusal(str(tmp_path / "no-such.png"))


def test_a_folder_is_called_a_folder(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 5000 + ".png"])
def test_an_impossible_file_name_is_refused(name: str) -> None:
    refusal(name)


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    assert "empty" in refusal(tmp_path / "empty.png")
    assert "empty" in refusal(b"")


def test_a_text_file_is_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("this is only text")
    assert "not a picture" in refusal(tmp_path / "notes.png")


@pytest.mark.parametrize("file_format", ["ICO", "PPM", "TGA", "EPS", "PCX"])
def test_formats_we_do_not_name_are_refused(make_picture, encode, file_format: str) -> None:
    assert "not a picture" in refusal(encode(make_picture(), file_format))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(
    make_picture, encode, file_format: str, share: float
) -> None:
    data = encode(make_picture(size=(200, 150)), file_format)
    refusal(data[: int(len(data) * share)])


@pytest.mark.parametrize("size", [(60_000, 60_000), (8_000, 8_000), (7_072, 7_072)])
def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path, size: tuple) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(*size))
    assert "million pixels" in refusal(path)


@pytest.mark.parametrize("size", [(1, 50_000_000), (50_000_000, 1), (1, 32_769), (32_769, 900)])
def test_a_side_that_is_too_long_is_refused_before_decoding(size: tuple) -> None:
    assert "longer side has" in refusal(png_header(*size))
    assert "longer side has" in refusal(Image.new("L", (max(size) // 1000 + 32_769, 1)))


def test_the_longest_side_is_taken(encode) -> None:
    assert open_image(encode(Image.new("L", (images.MAX_SIDE, 2)))).size == (32_768, 2)


def test_a_large_file_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "large.png", "wb") as file:
        file.truncate(images.MAX_BYTES + 1)
    assert "limit is 50 MB" in refusal(tmp_path / "large.png")


def test_large_bytes_are_refused() -> None:
    assert "limit is 50 MB" in refusal(bytes(images.MAX_BYTES + 1))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_read_up_to_the_limit(tmp_path: Path, monkeypatch) -> None:
    # A pipe or /dev/zero has no size to check beforehand.
    monkeypatch.setattr(images, "MAX_BYTES", 2**20)
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)

    def feed() -> None:
        with contextlib.suppress(BrokenPipeError):  # the reader had enough
            pipe.write_bytes(bytes(4 * 2**20))

    writer = threading.Thread(target=feed)
    writer.start()
    message = refusal(pipe)
    writer.join()
    assert "limit" in message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_a_file_without_permission_says_so(tmp_path: Path, make_picture) -> None:
    make_picture().save(tmp_path / "locked.png")
    (tmp_path / "locked.png").chmod(0)
    assert "permissions" in refusal(tmp_path / "locked.png")


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_a_picture_without_pixels_is_refused(size: tuple) -> None:
    assert "no pixels" in refusal(Image.new("RGB", size))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 2), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 4, 3), np.int64),
        np.full((4, 4, 3), 1.5),
        np.full((4, 4, 3), -0.1),
        np.full((4, 4), np.nan),
    ],
    ids=["2 channels", "1-d", "4-d", "empty", "int64", "above 1", "below 0", "nan"],
)
def test_arrays_that_are_no_pictures_are_refused(array: np.ndarray) -> None:
    refusal(array)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own, on damaged EXIF and TIFF tags
@given(
    file_format=st.sampled_from(images.FORMATS),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    length=st.floats(0, 1),
)
def test_damaged_bytes_give_a_picture_or_a_sentence(file_format, changes, length) -> None:
    from toy_files import encoded, picture_of

    data = bytearray(encoded(picture_of(3), file_format))
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        picture = open_image(bytes(data[: int(length * len(data))]))
    except ImageError:
        return
    assert picture.mode == "RGB"


# --- pictures that need care --------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(make_picture, encode, orientation: int) -> None:
    upright = make_picture(5, (48, 32))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,  # undone by turning right
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turn[orientation]) if orientation in turn else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_image(encode(stored, "PNG", exif=exif))
    assert opened.size == (48, 32)
    np.testing.assert_array_equal(np.asarray(opened), np.asarray(upright))


def test_16_bit_grey_keeps_its_shades(encode) -> None:
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)
    data = encode(Image.fromarray(np.tile(ramp, (4, 1))))
    opened = np.asarray(open_image(data))
    assert opened.shape == (4, 256, 3)
    np.testing.assert_array_equal(opened[0, :, 0], np.arange(256))


def test_floating_grey_keeps_its_shades(encode) -> None:
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (4, 1))
    for values in (ramp, ramp * 255):
        opened = np.asarray(open_image(encode(Image.fromarray(values), "TIFF")))
        np.testing.assert_array_equal(opened[0, :, 1], np.arange(256))


def test_transparent_palette_entries_become_white(encode) -> None:
    picture = Image.new("P", (4, 1))
    picture.putpalette([0, 0, 0, 255, 0, 0])
    picture.putdata([0, 1, 0, 1])
    opened = np.asarray(open_image(encode(picture, "PNG", transparency=0)))
    np.testing.assert_array_equal(opened[0], [[255] * 3, [255, 0, 0], [255] * 3, [255, 0, 0]])


@pytest.mark.parametrize("file_format", ["PNG", "WEBP"])
def test_half_transparent_pixels_are_mixed_with_white(encode, file_format: str) -> None:
    picture = Image.new("RGBA", (8, 8), (0, 0, 200, 128))
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else {}
    opened = np.asarray(open_image(encode(picture, file_format, **options)), dtype=int)
    expected = 255 - 128 / 255 * (255 - np.array([0, 0, 200]))
    np.testing.assert_allclose(opened[0, 0], expected, atol=1)


def test_grey_with_transparency_becomes_white(encode) -> None:
    picture = Image.new("LA", (2, 2), (10, 0))
    assert np.asarray(open_image(encode(picture))).min() == 255


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(make_picture, encode, file_format: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encode(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(open_image(data))[8, 8].tolist() == [255, 0, 0]


def test_an_animation_someone_has_wound_on_is_wound_back(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.gif") as animation:
        animation.seek(1)
        assert np.asarray(open_image(animation))[8, 8].tolist() == [255, 0, 0]


def test_a_cmyk_jpeg_keeps_its_colours(encode) -> None:
    data = encode(Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK"), "JPEG", quality=95)
    opened = open_image(data)
    assert opened.mode == "RGB"
    np.testing.assert_allclose(np.asarray(opened)[16, 16], (200, 40, 90), atol=8)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV"]
)
def test_every_mode_becomes_rgb(mode: str) -> None:
    assert open_image(Image.new(mode, (6, 4))).mode == "RGB"


def test_path_bytes_picture_and_array_give_the_same(tmp_path: Path, make_picture) -> None:
    picture = make_picture(7, (30, 20))
    path = tmp_path / "a.png"
    picture.save(path)
    expected = np.asarray(picture)
    sources = [path, str(path), path.read_bytes(), picture, expected, expected / 255.0]
    for source in sources:
        np.testing.assert_array_equal(np.asarray(open_image(source)), expected)


def test_grey_and_rgba_arrays_are_pictures() -> None:
    assert np.asarray(open_image(np.full((4, 6), 9, np.uint8)))[0, 0].tolist() == [9, 9, 9]
    clear = np.zeros((4, 6, 4), np.uint8)
    assert np.asarray(open_image(clear))[0, 0].tolist() == [255, 255, 255]


# --- the model's input --------------------------------------------------------------------------


@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    side=st.integers(8, 64),
    fit=st.sampled_from(images.FITS),
)
def test_preprocess_is_to_pixels_over_255(width: int, height: int, side: int, fit) -> None:
    from toy_files import picture_of

    picture = picture_of(width * 100 + height, (width, height))
    pixels = to_pixels(picture, side, fit)
    assert pixels.shape == (side, side, 3) and pixels.dtype == np.uint8
    values = preprocess(picture, side, fit)
    assert values.dtype == np.float32 and values.min() >= 0 and values.max() <= 1
    np.testing.assert_array_equal(values, pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(values, to_float(pixels))


def test_the_default_is_the_originals_128(make_picture) -> None:
    assert preprocess(make_picture()).shape == (128, 128, 3)


def test_fits_treat_a_wide_picture_as_they_say() -> None:
    wide = Image.new("RGB", (90, 30), (0, 255, 0))
    wide.paste((255, 0, 0), (0, 0, 15, 30))
    wide.paste((255, 0, 0), (75, 0, 90, 30))
    stretch, crop, pad = (to_pixels(wide, 30, fit) for fit in images.FITS)
    assert stretch[15, 0].tolist() == [255, 0, 0] and stretch[15, 15].tolist() == [0, 255, 0]
    assert (crop == [0, 255, 0]).all()  # the red ends lie outside the centre square
    assert (pad[:9] == 0).all() and (pad[21:] == 0).all()
    assert pad[15, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("fit", images.FITS)
@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1)])
def test_thin_pictures_survive_every_fit(size: tuple, fit) -> None:
    picture = Image.new("RGB", size, (200, 200, 200))
    assert to_pixels(picture, 32, fit).max() == 200


def test_an_unknown_fit_is_refused(make_picture) -> None:
    with pytest.raises(UserError, match="fit"):
        preprocess(make_picture(), 32, "squeeze")
