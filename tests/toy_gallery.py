"""A gallery of three pictures."""

import io

import numpy as np
from PIL import Image

from img2prompt.core.scaler import Scaler
from img2prompt.inference.gallery import Credit, Gallery, Projection

PROMPTS = ("a dog in the sunset", "a castle, oil painting", "the dog and the cat")
MINE, THEIRS = Credit("a/b", "MIT", "https://github.com/a/b"), Credit("stock", "CC0-1.0", "")


def webp(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (12, 8), colour).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


def gallery_of(features: np.ndarray, tower: str = "none") -> Gallery:
    """Three pictures with these features (3, F), which are compared as they are."""
    width = features.shape[1]
    scaler = Scaler(np.zeros(width, np.float32), np.full(width, 1, np.float32))
    projection = Projection(scaler, np.eye(width, dtype=np.float32))
    files = [webp(colour) for colour in ("red", "green", "blue")]
    return Gallery(
        PROMPTS,
        (MINE, THEIRS),
        np.array([0, 1, 0], np.uint16),
        np.frombuffer(b"".join(files), np.uint8),
        np.cumsum([len(file) for file in files]),
        projection(features),
        projection,
        tower,
    )
