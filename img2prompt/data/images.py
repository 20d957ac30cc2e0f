"""The first room: whatever a person hands over → an upright RGB picture → the model's input.

This is the only preprocessing in the project. Training shards store `to_pixels`, serving calls
`preprocess`, and both go through the same lines.
"""

import contextlib
import io
import os
import threading
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from img2prompt.core.errors import UserError
from img2prompt.data.picture_files import checks as picture_files
from img2prompt.data.picture_files import exif
from img2prompt.data.picture_files import kinds as picture_kinds

SIZE = 128  # the original project's 128×128×3
Fit = Literal["stretch", "crop", "pad"]
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")

# Formats are named rather than left to Pillow's full list: every decoder is attack surface.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 50 * 2**20
MAX_PIXELS = 50_000_000  # 200 MB once decoded to RGB; Pillow itself only warns at 89 Mpx
# Resizing and turning go by columns too, and of a picture a pixel wide every row has a pointer.
MAX_SIDE = 32_768
# Bytes that one picture takes while it is read, its file included. With what answering it takes, a
# request stays under 300 MB: scripts/dev/measure_pictures.py.
MAX_MEMORY = 280_000_000
LARGE = 8_000_000  # pixels from which on pictures are decoded one after the other
WHITE = np.float32(255)  # the largest value of a pixel
BACKGROUND = (255, 255, 255)  # transparent pixels become white, as on a web page

# Bytes of a pixel in memory, by Pillow's mode; most modes have four, RGB too.
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}
_BYTES_OTHERWISE = _RGB_BYTES = 4
_STRIP = 2**17  # pixels that are converted at once
_TURNS = {  # what makes a picture upright, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ONE_LARGE = threading.Lock()
# Pillow asks for memory in blocks. glibc keeps freed ones of up to 32 MB for the thread that had
# them, so every thread would hold a whole picture for ever; larger ones it gives back.
Image.core.set_block_size(64 * 2**20)
_CUT = "The picture is cut off: its last part is missing; save or download it again."

ImageSource = str | os.PathLike | bytes | Image.Image | np.ndarray


class ImageError(UserError):
    """A picture that cannot be used; the message is one sentence for the person."""


def open_image(source: ImageSource) -> Image.Image:
    """Decode `source` into an upright RGB picture without transparency.

    Where a second copy of a large picture would not fit in `MAX_MEMORY` (turned, transparent or not
    RGB, and over some 30 million pixels), it comes with its sides halved, or halved again.

    Args:
        source: a path, encoded bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4),
            uint8 in 0–255 or floating in [0, 1].

    Returns:
        A PIL image in mode RGB, EXIF rotation applied, transparency laid on white. Of an
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
        # Of a picture in memory never the very same one: who gets it may paint on it.
        return opened.copy() if opened is source and not hasattr(source, "file") else opened
    return _decode(open_encoded(source))


def open_encoded(source: str | os.PathLike | bytes) -> Image.Image:
    """Check a picture file and open it without decoding its pixels: its header and metadata.

    What of its texts and its EXIF can be read stands in `.info`, wherever in the file it was, and
    what is damaged, oversized or of no use to us is left out (`picture_files.tidy`). `.fp` is a
    `BytesIO` of the file as it was left. Ask `read_exif` for its EXIF: Pillow's own `getexif`
    decodes a PNG first.

    Raises:
        ImageError: as `open_image`, but for damage that only decoding shows.
    """
    if isinstance(source, bytes):
        data = source
        if len(data) > MAX_BYTES:
            raise ImageError(_too_large(len(data)))
    else:
        data = _read(Path(source))
    if not data:
        raise ImageError("The file is empty; choose a picture.")
    format = picture_kinds.sniff(data)
    if format is None:
        raise ImageError(_no_picture(data))
    file = None
    try:
        file = picture_files.tidy(data, format)
        # The tidied file stands beside what the caller holds.
        file.held = len(data) if isinstance(source, bytes) and file.data is not source else 0
        del data
        with warnings.catch_warnings():
            # Our own pixel limit below is lower than Pillow's warning; both must stop here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(file.data), formats=[format])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(_too_many_pixels()) from None
    except Exception:  # Pillow's header parsers raise many types on hostile bytes
        raise ImageError(_CUT if file is not None and file.cut else _unusual(format)) from None
    _check_size(image.size)
    file.held += len(file.data) * (2 if format == "WEBP" else 1)  # Pillow keeps a copy of WebP
    file.data = b""  # it lives in `image.fp` now
    image.file = file
    _shrink(image)  # refuses what would not fit
    return image


def read_exif(image: Image.Image) -> Image.Exif:
    """The EXIF of a picture from `open_encoded`; empty where there is none that can be read.

    Never decodes pixels, which `getexif` does for a PNG without EXIF.
    """
    try:
        return Image.Image.getexif(image)
    except Exception:  # Pillow's reader raises many types on damaged EXIF
        return Image.Exif()


def to_pixels(image: Image.Image, size: int = SIZE, fit: Fit = "stretch") -> np.ndarray:
    """Resize an RGB picture to a square: uint8 (size, size, 3) in 0–255.

    Args:
        image: as `open_image` returns it.
        size: side in pixels.
        fit: `stretch` as the original did (aspect not kept), `crop` the centre square, or `pad`
            with black to a square.

    Raises:
        UserError: unknown `fit`.
    """
    if fit == "stretch":
        resized = image.resize((size, size), Image.Resampling.BICUBIC)
    elif fit == "crop":
        resized = ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC)
    elif fit == "pad":
        # Not Pillow's own `pad`, which fails where the short side rounds to nothing.
        inner = [max(1, round(length * size / max(image.size))) for length in image.size]
        resized = Image.new("RGB", (size, size))
        corner = [round((size - length) / 2) for length in inner]
        resized.paste(image.resize(inner, Image.Resampling.BICUBIC), corner)
    else:
        raise UserError(f"Unknown fit {fit!r}; choose one of {', '.join(FITS)}.")
    return np.asarray(resized, dtype=np.uint8)  # (size, size, 3)


def to_float(pixels: np.ndarray) -> np.ndarray:
    """uint8 (…, 3) in 0–255 → float32 in [0, 1], what every model takes."""
    return np.asarray(pixels, dtype=np.float32) / WHITE


def preprocess(source: ImageSource, size: int = SIZE, fit: Fit = "stretch") -> np.ndarray:
    """Any picture → the model's input: float32 (size, size, 3) in [0, 1].

    Raises:
        ImageError: as `open_image`.
    """
    return preprocess_sized(source, size, fit)[0]


def preprocess_sized(
    source: ImageSource, size: int = SIZE, fit: Fit = "stretch"
) -> tuple[np.ndarray, tuple[int, int]]:
    """What `preprocess` returns, and the upright picture's width and height.

    The decoded picture is gone when this returns, and of large ones only one at a time stands in
    memory, however many threads ask.

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
        raise ImageError(f"There is no file {path}.") from None
    except PermissionError:
        raise ImageError(f"The file {path} may not be read; check its permissions.") from None
    except (OSError, ValueError):  # a name too long, or with a null byte
        raise ImageError("That file name cannot be opened; choose a picture.") from None
    if path.is_dir():
        raise ImageError(f"{path} is a folder; name the pictures in it.")
    if length > MAX_BYTES:
        raise ImageError(_too_large(length))
    return data


def _decode(image: Image.Image) -> Image.Image:
    file = getattr(image, "file", None)
    try:
        shrink = _shrink(image)
        turn = _orientation(image)
        image.seek(0)
        if shrink > 1 and image.format == "JPEG":
            # The decoder itself makes it smaller, and so takes less memory for it.
            image.draft(None, tuple(side // shrink for side in image.size))
            shrink = 1
        image.load()
        return _upright_rgb(image, turn, shrink)
    except ImageError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error … on bad data
        if file.cut if file is not None else "truncated" in str(error):
            raise ImageError(_CUT) from None
        # Of TIFF there are many kinds, and Pillow calls those it cannot decode damaged.
        if image.format == "TIFF":
            raise ImageError(_unusual(image.format)) from None
        raise ImageError("The picture is damaged; save or download it again.") from None


def _shrink(image: Image.Image) -> int:
    """By what the sides are divided so that decoding stays within `MAX_MEMORY`: 1, 2, 4 or 8.

    Raises:
        ImageError: it does not, whatever the divisor.
    """
    file = getattr(image, "file", None)
    if file is None:  # in memory already, or opened by somebody else
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
    raise ImageError(
        f"A {image.format} of {pixels / 1e6:.0f} million pixels, saved this way, takes too much "
        "memory; make it smaller."
    )


def _orientation(image: Image.Image) -> int:
    """1 to 8, as EXIF counts; 1 where it is broken or missing."""
    file = getattr(image, "file", None)
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
    """Turned, flattened and converted in strips, so that only the result stands beside it.

    Args:
        image: decoded.
        turn: how it is stored, 1 to 8 as EXIF counts.
        shrink: what its sides are divided by.
    """
    if image.mode == "RGB" and not image.has_transparency_data and turn == 1 and shrink == 1:
        return image
    width, height = image.size
    rows = max(_STRIP // width // 8, 1) * 8
    strips = [(top, min(top + rows, height)) for top in range(0, height, rows)]
    unit = 1.0
    if image.mode == "F":  # in [0, 1] or in [0, 255]: only the whole picture tells
        unit = max(np.nanmax(_strip(image, strip), initial=0.0) for strip in strips)
    small = [-(-side // shrink) for side in image.size]
    result = Image.new("RGB", (small[1], small[0]) if turn > 4 else tuple(small))
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
    """RGB without transparency; `white` is what 1.0 of a picture of floats is multiplied by."""
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
    if image.mode == "La":  # Pillow converts it to LA alone
        image = image.convert("LA")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        flat = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return Image.alpha_composite(flat, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _from_array(array: np.ndarray) -> Image.Image:
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(
            f"An array of shape {array.shape} is not a picture; "
            "use (height, width), (height, width, 3) or (height, width, 4)."
        )
    _check_size((array.shape[1], array.shape[0]))
    if np.issubdtype(array.dtype, np.floating):
        values, array = array, np.empty(array.shape, np.uint8)
        for row, line in enumerate(values):  # copies of the whole would take ten times its bytes
            if not (np.min(line) >= 0 and np.max(line) <= 1):  # NaN is neither
                raise ImageError("Floating-point pictures must lie in [0, 1].")
            array[row] = np.rint(line * 255)
    if array.dtype != np.uint8:
        raise ImageError(f"Pixels must be uint8 or floating point, not {array.dtype}.")
    return Image.fromarray(array)


def _check_size(size: tuple[int, int]) -> None:
    if 0 in size:
        raise ImageError("The picture has no pixels.")
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(_too_many_pixels())
    if max(size) > MAX_SIDE:
        raise ImageError(
            f"The picture's longer side has {max(size)} pixels, the limit is {MAX_SIDE}; "
            "make it smaller."
        )


def _too_many_pixels() -> str:
    return f"The picture has over {MAX_PIXELS // 10**6} million pixels; make it smaller."


def _too_large(length: int) -> str:
    return (
        f"The file has {length / 2**20:.0f} MB, the limit is {MAX_BYTES // 2**20} MB; "
        "make it smaller."
    )


def _unusual(format: str) -> str:
    return f"This {format} is written in a way we cannot read; save it as PNG or JPEG."


def _no_picture(data: bytes) -> str:
    formats = ", ".join(FORMATS)
    kind = picture_kinds.other_kind(data)
    if kind is None:
        return f"This is not a picture we can read; use one of {formats}."
    return f"This file is {kind}, not a picture we can read; use one saved as {formats}."
