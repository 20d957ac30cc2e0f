"""The first room: whatever a person hands over → an upright RGB picture → the model's input.

This is the only preprocessing in the project. Training shards store `to_pixels`, serving calls
`preprocess`, and both go through the same lines.
"""

import io
import os
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps

from img2prompt.errors import UserError

SIZE = 128  # the original project's 128×128×3
Fit = Literal["stretch", "crop", "pad"]
FITS: tuple[Fit, ...] = ("stretch", "crop", "pad")

# Formats are named rather than left to Pillow's full list: every decoder is attack surface.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_BYTES = 50 * 2**20
MAX_PIXELS = 50_000_000  # 150 MB once decoded to RGB; Pillow itself only warns at 89 Mpx
WHITE = np.float32(255)  # the largest value of a pixel
BACKGROUND = (255, 255, 255)  # transparent pixels become white, as on a web page

ImageSource = str | os.PathLike | bytes | Image.Image | np.ndarray


class ImageError(UserError):
    """A picture that cannot be used; the message is one sentence for the person."""


def open_image(source: ImageSource) -> Image.Image:
    """Decode `source` into an upright RGB picture without transparency.

    Args:
        source: a path, encoded bytes, a PIL image, or an array (H, W), (H, W, 3) or (H, W, 4),
            uint8 in 0–255 or floating in [0, 1].

    Returns:
        A PIL image in mode RGB, EXIF rotation applied, transparency laid on white. Of an
        animation, the first frame.

    Raises:
        ImageError: missing or empty file, not one of `FORMATS`, over `MAX_BYTES` or
            `MAX_PIXELS` (checked before decoding), or damaged.
    """
    if isinstance(source, np.ndarray):
        return _to_rgb(_from_array(source))
    if isinstance(source, Image.Image):
        _check_pixels(source.size)
        return _decode(source)
    return _decode(open_encoded(source))


def open_encoded(source: str | os.PathLike | bytes) -> Image.Image:
    """Check a picture file and open it without decoding its pixels: its header and metadata.

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
    try:
        with warnings.catch_warnings():
            # Our own pixel limit below is lower than Pillow's warning; both must stop here.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(_too_many_pixels()) from None
    except Exception:  # Pillow's header parsers raise many types on hostile bytes
        raise ImageError(
            f"This is not a picture we can read; use one of {', '.join(FORMATS)}."
        ) from None
    _check_pixels(image.size)
    return image


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
    return to_float(to_pixels(open_image(source), size, fit))


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
    try:
        image.seek(0)
        image.load()
        upright = ImageOps.exif_transpose(image)  # a copy, turned or not
    except Exception:  # decoders raise OSError, SyntaxError, struct.error … on damaged data
        raise ImageError("The picture is damaged or cut off; save or download it again.") from None
    return _to_rgb(upright)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow's own conversion clips 16-bit grey to white.
        values = np.asarray(image, dtype=np.float64)
        if image.mode == "I" or image.mode.startswith("I;16"):
            values = values / 257.0
        elif np.nanmax(values, initial=0.0) <= 1.0:
            values = values * 255.0
        values = np.nan_to_num(values, nan=0.0, posinf=255.0, neginf=0.0)
        image = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
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
    _check_pixels((array.shape[1], array.shape[0]))
    if np.issubdtype(array.dtype, np.floating):
        if not np.all(np.isfinite(array)) or array.min() < 0 or array.max() > 1:
            raise ImageError("Floating-point pictures must lie in [0, 1].")
        array = np.rint(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"Pixels must be uint8 or floating point, not {array.dtype}.")
    return Image.fromarray(array)


def _check_pixels(size: tuple[int, int]) -> None:
    if 0 in size:
        raise ImageError("The picture has no pixels.")
    if size[0] * size[1] > MAX_PIXELS:
        raise ImageError(_too_many_pixels())


def _too_many_pixels() -> str:
    return f"The picture has over {MAX_PIXELS // 10**6} million pixels; make it smaller."


def _too_large(length: int) -> str:
    return (
        f"The file has {length / 2**20:.0f} MB, the limit is {MAX_BYTES // 2**20} MB; "
        "make it smaller."
    )
