"""Image loading and preprocessing: path, bytes, PIL image or array → the model's input.

Training and serving share this code: shards store what `to_pixels` returns, the predictor calls
`preprocess`.
"""

import contextlib
import io
import os
import threading
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from img2prompt.core.errors import UserError
from img2prompt.data.picture_files import checks, exif, kinds

SIZE = 128  # the original project's 128×128×3
Fit = Literal["stretch", "crop", "pad"]
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")

# Only these of Pillow's formats, because every decoder can be attacked.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 50 * 2**20
MAX_PIXELS = 50_000_000  # 200 MB once decoded to RGB; Pillow itself only warns at 89 Mpx
# Resizing and rotating also work by columns, and Pillow keeps a pointer for every row.
MAX_SIDE = 32_768
# Bytes that one picture takes while it is read, its file included, so that a whole request stays
# under 300 MB: scripts/dev/measure_pictures.py.
MAX_MEMORY = 280_000_000
LARGE = 8_000_000  # pixels; larger pictures are decoded one at a time
WHITE = np.float32(255)  # the largest value of a pixel
BACKGROUND = (255, 255, 255)  # transparent pixels become white, as on a web page

# Bytes a pixel in memory, by Pillow's mode; most modes, RGB among them, take four.
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_BYTES_OTHERWISE = _RGB_BYTES = 4
_STRIP = 2**17  # pixels that are converted at a time
_TURNS = {  # EXIF orientation → what makes the picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ONE_LARGE = threading.Lock()
# Pillow allocates memory in blocks. glibc keeps freed blocks of up to 32 MB for the thread that had
# them, so every thread would hold a whole picture for ever; it returns larger ones to the system.
Image.core.set_block_size(64 * 2**20)  # type: ignore[attr-defined]  # Pillow's C part has no types

EncodedSource = str | os.PathLike[str] | bytes
ImageSource = EncodedSource | Image.Image | NDArray[Any]


class ImageError(UserError):
    """A picture that cannot be used."""


def open_image(source: ImageSource) -> Image.Image:
    """Decode a picture: upright, RGB, without transparency.

    A large picture whose second copy would not fit into `MAX_MEMORY` (rotated, transparent or not
    RGB, and over some 30 million pixels) is decoded at half or a quarter of its side.

    Args:
        source: a path, encoded bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4),
            uint8 in 0–255 or floating in [0, 1].

    Returns:
        A PIL image in mode RGB: EXIF orientation applied, transparent pixels white. Of an
        animation, the first frame.

    Raises:
        ImageError: missing or empty file, not one of `FORMATS`, over `MAX_BYTES`, `MAX_PIXELS`,
            `MAX_SIDE` or `MAX_MEMORY` (checked before decoding), cut off, or damaged.
    """
    if isinstance(source, np.ndarray):
        return _upright_rgb(_from_array(source), 1, 1)
    if isinstance(source, Image.Image):
        _check_size(source.size)
        opened = _decode(source)
        # A copy, because the caller may change the picture.
        return opened.copy() if opened is source and not hasattr(source, "file") else opened
    return _decode(open_encoded(source))


def open_encoded(source: EncodedSource) -> Image.Image:
    """Check a picture file and open it without decoding its pixels: header and metadata only.

    `.info` holds the texts and EXIF that can be read, wherever in the file they were; damaged,
    oversized and unused parts are removed beforehand (`checks.tidy`). `.fp` is a `BytesIO` of the
    cleaned file. Use `read_exif` for EXIF: Pillow's own `getexif` decodes a PNG first.

    Args:
        source: a path or encoded bytes.

    Raises:
        ImageError: as `open_image`, except for damage that only decoding shows.
    """
    if isinstance(source, bytes):
        data = source
        if len(data) > MAX_BYTES:
            raise _too_large(len(data))
    else:
        data = _read(Path(source))
    if not data:
        raise ImageError("images.empty")
    kind = kinds.sniff(data)
    if kind is None:
        raise _no_picture(data)
    file = None
    try:
        file = checks.tidy(data, kind)
        # The cleaned copy exists beside the bytes that the caller holds.
        file.held = len(data) if isinstance(source, bytes) and file.data is not source else 0
        del data
        with warnings.catch_warnings():
            # Our own pixel limit is lower than Pillow's; both end here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(file.data), formats=[kind])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many_pixels() from None
    except Exception:  # Pillow's header parsers raise many types on hostile bytes
        if file is not None and file.cut:
            raise ImageError("images.cut") from None
        raise ImageError("images.odd", format=kind) from None
    _check_size(image.size)
    file.held += len(file.data) * (2 if kind == "WEBP" else 1)  # Pillow keeps a copy of WebP
    file.data = b""  # `image.fp` has it
    image.file = file  # type: ignore[attr-defined]  # what `_decode` has to know of the file
    _shrink(image)  # raises where it would not fit
    return image


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF of a picture from `open_encoded`; empty where there is none or it is damaged.

    Never decodes pixels, as `getexif` does for a PNG without EXIF.
    """
    try:
        return Image.Image.getexif(image)
    except Exception:  # Pillow's reader raises many types on damaged EXIF
        return Image.Exif()


def to_pixels(image: Image.Image, size: int = SIZE, fit: Fit = "stretch") -> NDArray[np.uint8]:
    """Resize an RGB picture to a square: uint8 (size, size, 3) in 0–255.

    Args:
        image: as `open_image` returns it.
        size: side in pixels.
        fit: `stretch` as the original did (aspect not kept), `crop` to the centre square, or `pad`
            with black.

    Raises:
        UserError: unknown `fit`.
    """
    if fit == "stretch":
        resized = image.resize((size, size), Image.Resampling.BICUBIC)
    elif fit == "crop":
        resized = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    elif fit == "pad":
        # Not Pillow's own `pad`, which fails where the short side rounds to nothing.
        width, height = (max(1, round(side * size / max(image.size))) for side in image.size)
        inner = image.resize((width, height), Image.Resampling.BICUBIC)
        resized = Image.new("RGB", (size, size))
        resized.paste(inner, (round((size - width) / 2), round((size - height) / 2)))
    else:
        raise UserError("images.fit", fit=fit, known=", ".join(FITS))
    return np.asarray(resized, dtype=np.uint8)  # (size, size, 3)


def to_float(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (…, 3) in 0–255 → float32 in [0, 1], what every model takes."""
    return np.asarray(pixels, dtype=np.float32) / WHITE


def preprocess(source: ImageSource, size: int = SIZE, fit: Fit = "stretch") -> NDArray[np.float32]:
    """Any picture → the model's input: float32 (size, size, 3) in [0, 1].

    Args:
        source: as `open_image`.
        size, fit: as `to_pixels`.

    Raises:
        ImageError: as `open_image`.
        UserError: unknown `fit`.
    """
    return preprocess_sized(source, size, fit)[0]


def preprocess_sized(
    source: ImageSource, size: int = SIZE, fit: Fit = "stretch"
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """As `preprocess`, and the upright picture's width and height in pixels.

    However many threads call this, only one large picture at a time is in memory.

    Raises:
        ImageError: as `open_image`.
    """
    if isinstance(source, str | os.PathLike | bytes):
        source = open_encoded(source)
    pixels = source.size if isinstance(source, np.ndarray) else source.size[0] * source.size[1]
    with _ONE_LARGE if pixels > LARGE else contextlib.nullcontext():
        picture = open_image(source)
        return to_float(to_pixels(picture, size, fit)), picture.size


def _read(path: Path) -> bytes:
    try:
        length = path.stat().st_size
        if length <= MAX_BYTES and not path.is_dir():
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)  # a pipe has no size to check beforehand
            length = len(data)
    except FileNotFoundError:
        raise ImageError("core.no_file", path=path) from None
    except PermissionError:
        raise ImageError("images.forbidden", path=path) from None
    except (OSError, ValueError):  # a name too long, or with a null byte
        raise ImageError("images.name") from None
    if path.is_dir():
        raise ImageError("images.folder", path=path)
    if length > MAX_BYTES:
        raise _too_large(length)
    return data


def _decode(image: Image.Image) -> Image.Image:
    file = _file(image)
    try:
        shrink = _shrink(image)
        turn = _orientation(image)
        image.seek(0)
        if shrink > 1 and image.format == "JPEG":
            # The decoder scales it down itself, which takes less memory.
            image.draft(None, (image.width // shrink, image.height // shrink))
            shrink = 1
        image.load()
        return _upright_rgb(image, turn, shrink)
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error … on bad data
        if file.cut if file is not None else "truncated" in str(error):
            raise ImageError("images.cut") from None
        # Pillow calls kinds of TIFF that it cannot decode damaged.
        if image.format == "TIFF":
            raise ImageError("images.odd", format=image.format) from None
        raise ImageError("images.damaged") from None


def _file(image: Image.Image) -> checks.PictureFile | None:
    """What `open_encoded` found out; None for a picture that it did not open."""
    return getattr(image, "file", None)


def _shrink(image: Image.Image) -> int:
    """The divisor of the sides that keeps decoding within `MAX_MEMORY`: 1, 2, 4 or 8.

    Raises:
        ImageError: even 8 takes too much.
    """
    file = _file(image)
    if file is None:  # in memory already, or not opened here
        return 1
    pixels = image.size[0] * image.size[1]
    plain = image.mode == "RGB" and "transparency" not in image.info and _orientation(image) == 1
    second = 0 if plain else _RGB_BYTES
    native = _BYTES.get(image.mode, _BYTES_OTHERWISE)
    fixed = file.held + file.piece + file.decoder * pixels
    for shrink in (1, 2, 4, 8):
        first = native / shrink**2 if image.format == "JPEG" else native
        if fixed + (first + second / shrink**2) * pixels <= MAX_MEMORY:
            return shrink
    raise ImageError("images.memory", format=image.format, size=f"{pixels / 1e6:.0f}")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is damaged or missing."""
    file = _file(image)
    if file is None:
        number = read_exif(image).get(exif.ORIENTATION, 1)
        return number if number in range(1, 9) else 1
    if image.format == "TIFF":
        return file.orientation
    block = image.info.get("exif")
    raw = image.info.get(exif.RAW_PROFILE.decode())
    if block is None and isinstance(raw, str):
        block = exif.raw_profile(raw)
    xmp = image.info.get("XML:com.adobe.xmp") or image.info.get("xmp")
    return exif.orientation(block, xmp if isinstance(xmp, str | bytes) else None)


def _upright_rgb(image: Image.Image, turn: int, shrink: int) -> Image.Image:
    """Rotate, flatten and convert in strips, so that memory holds only one copy beside it.

    Args:
        image: decoded.
        turn: its EXIF orientation, 1 to 8.
        shrink: what its sides are divided by.
    """
    if image.mode == "RGB" and not image.has_transparency_data and turn == 1 and shrink == 1:
        return image
    width, height = image.size
    rows = max(_STRIP // width // 8, 1) * 8
    strips = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    unit = 1.0
    if image.mode == "F":  # in [0, 1] or in [0, 255]: only the whole picture shows which
        unit = max(
            float(np.nanmax(np.asarray(_strip(image, strip)), initial=0.0)) for strip in strips
        )
    small = (-(-width // shrink), -(-height // shrink))
    result = Image.new("RGB", small[::-1] if turn > 4 else small)
    for top, bottom in strips:
        piece = _to_rgb(_strip(image, (top, bottom)), 255.0 if unit <= 1.0 else 1.0)
        if shrink > 1:
            piece = piece.reduce(shrink)
        place = top // shrink
        if turn in (3, 4, 6, 7):
            place = small[1] - place - piece.size[1]
        if turn in _TURNS:
            piece = piece.transpose(_TURNS[turn])
        result.paste(piece, (place, 0) if turn > 4 else (0, place))
    return result


def _strip(image: Image.Image, rows: tuple[int, int]) -> Image.Image:
    return image.crop((0, rows[0], image.size[0], rows[1]))


def _to_rgb(image: Image.Image, white: float) -> Image.Image:
    """RGB without transparency; values of a float picture are multiplied by `white`."""
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion clips 16-bit grey to white.
        values = np.asarray(image, dtype=np.float64)
        clear = image.info.get("transparency")
        grey = values * white if image.mode == "F" else values / 257.0
        grey = np.nan_to_num(grey, nan=0.0, posinf=255.0, neginf=0.0)
        grey = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
        if isinstance(clear, int) and image.mode != "F":
            grey = np.where(values == clear, np.uint8(BACKGROUND[0]), grey)
        return Image.fromarray(grey).convert("RGB")
    if image.mode == "La":  # Pillow can convert it only to LA
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return Image.alpha_composite(flat, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError("images.shape", shape=array.shape)
    _check_size((array.shape[1], array.shape[0]))
    if np.issubdtype(array.dtype, np.floating):
        values, array = array, np.empty(array.shape, np.uint8)
        for row, line in enumerate(values):  # by row: the whole would take ten times its bytes
            if not (np.min(line) >= 0 and np.max(line) <= 1):  # NaN is neither
                raise ImageError("images.range")
            array[row] = np.rint(line * 255)
    if array.dtype != np.uint8:
        raise ImageError("images.dtype", dtype=array.dtype)
    return Image.fromarray(array)


def _check_size(size: tuple[int, int]) -> None:
    if 0 in size:
        raise ImageError("images.no_pixels")
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_many_pixels()
    if max(size) > MAX_SIDE:
        raise ImageError("images.side", size=max(size), most=MAX_SIDE)


def _too_many_pixels() -> ImageError:
    return ImageError("images.pixels", most=MAX_PIXELS // 10**6)


def _too_large(length: int) -> ImageError:
    size, most = f"{length / 2**20:.0f}", MAX_BYTES // 2**20
    return ImageError("images.large", size=size, most=most)


def _no_picture(data: bytes) -> ImageError:
    formats, kind = ", ".join(FORMATS), kinds.other_kind(data)
    if kind is None:
        return ImageError("images.unreadable", formats=formats)
    return ImageError("images.other_kind", kind=kind, formats=formats)
