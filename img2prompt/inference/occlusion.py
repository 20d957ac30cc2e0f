"""Occlusion maps: cover a part of the picture and measure how far a word's cosine falls.

Occlusion (Zeiler & Fergus 2014, arXiv 1311.2901) needs nothing but the model's outputs, so it works
for every preset. `quarter_drops` checks a map: it covers the hottest and the coldest quarter in
another way and compares. One batch of covered pictures serves all words.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.predictor import Predictor

# Measured on pictures of the test split (scripts/dev/check_explanation.py): 6 × 6 windows, each two
# cells wide, do as well as 7 × 7 or 8 × 8; 37 pictures take `gaze` about a second on two cores.
CELLS = 6
OVERLAP = 2.0  # a window's side in cells
# Blurred rather than painted over: a patch of flat colour is itself something to recognise.
BLUR = 1 / 12  # radius in sides
BATCH = 16  # pictures predicted together; more was slower
SPREAD = 0.6  # of the Gaussian that spreads a window's drop around its centre, in cells

# The overlay's colours from weak to strong: lightness rises all the way and blue turns to yellow,
# which every kind of colour blindness tells apart (the idea of cividis, Nuñez et al. 2018).
RAMP = ("#14285a", "#3f5a8a", "#8a8f8c", "#d0b254", "#ffe14d")
OPAQUE = 225  # alpha where the heat is strongest; the picture shines through still

REGIONS = (
    ("upper_left", "upper", "upper_right"),
    ("left", "centre", "right"),
    ("lower_left", "lower", "lower_right"),
)


@dataclass(frozen=True)
class OcclusionMaps:
    """Which parts of one picture speak for some words.

    Attributes:
        preset: the model.
        scores: by word, its cosine to the nearest predicted vector, in [−1, 1].
        heats: by word, float32 (h, w) in the picture's own aspect: how far the score falls when
            that part is covered; negative where the part speaks against the word. Parts outside
            the model's input (`fit` "crop") are 0.
    """

    preset: str
    scores: dict[str, float]
    heats: dict[str, NDArray[np.float32]]


def occlusion_maps(
    predictor: Predictor, image: images.ImageSource, words: Sequence[str]
) -> OcclusionMaps:
    """Which parts of a picture speak for each of `words`.

    Args:
        predictor: the model.
        image: as `images.open_image` takes it.
        words: any words of the vocabulary, among the answers or not.

    Raises:
        ImageError: the picture cannot be used.
        UserError: the vocabulary lacks a word, or hides it.
    """
    words = list(dict.fromkeys(words))
    directions = _directions(predictor.vectors, words)
    pixels, size = images.preprocess_sized(image, predictor.side, predictor.fit)
    scores, heats = occlude(predictor, pixels, directions)
    return OcclusionMaps(
        predictor.preset,
        {word: float(score) for word, score in zip(words, scores, strict=True)},
        {word: unfit(heat, size, predictor.fit) for word, heat in zip(words, heats, strict=True)},
    )


def occlude(
    predictor: Predictor, pixels: NDArray[np.float32], directions: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`occlusion_maps` for a preprocessed picture and directions in the embedding.

    Args:
        predictor: the model.
        pixels: float32 (side, side, 3) in [0, 1].
        directions: float32 (n, D) of length 1.

    Returns:
        Cosines float32 (n,) of each direction to the nearest predicted vector, and heat maps
        float32 (n, side, side).
    """
    side = len(pixels)
    windows = _windows(side)
    blurred = blur(pixels)
    batch = np.repeat(pixels[None], len(windows) + 1, axis=0)
    for covered, (top, bottom, left, right) in zip(batch[1:], windows, strict=True):
        covered[top:bottom, left:right] = blurred[top:bottom, left:right]
    scores = score_directions(predictor, batch, directions)  # (1 + windows, n)
    drops = (scores[0] - scores[1:]).T.reshape(-1, CELLS, CELLS)
    spread = _spread(side)
    heats = np.einsum("yi,nij,xj->nyx", spread, drops, spread)
    return scores[0], heats.astype(np.float32)


def score_directions(
    predictor: Predictor, pictures: NDArray[np.float32], directions: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Cosine of each direction (n, D), of length 1, to the nearest vector of each picture.

    Args:
        predictor: the model.
        pictures: float32 (b, side, side, 3) in [0, 1].
        directions: float32 (n, D).

    Returns:
        float32 (b, n).
    """
    blocks = range(0, len(pictures), BATCH)
    vectors = [predictor.predict_vectors(pictures[start : start + BATCH]) for start in blocks]
    said = np.concatenate(vectors)  # (b, steps, D)
    said /= np.maximum(np.linalg.norm(said, axis=-1, keepdims=True), 1e-12)
    return np.clip(said @ directions.T, -1.0, 1.0).max(axis=1)


def blur(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pixels float32 (side, side, 3) in [0, 1] → the same, blurred beyond recognition."""
    picture = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    return images.to_float(np.asarray(picture.filter(ImageFilter.GaussianBlur(len(pixels) * BLUR))))


def quarter_drops(
    predictor: Predictor, pixels: NDArray[np.float32], words: int = 5
) -> NDArray[np.float32]:
    """How far the words of an answer fall when the hottest and the coldest quarter is covered.

    They are covered with the picture's mean colour instead of the blur of `occlusion_maps`, and
    pixel by pixel instead of in windows, so that a map is not checked by the way it was made.

    Args:
        predictor: the model.
        pixels: float32 (side, side, 3) in [0, 1].
        words: how many words of the answer.

    Returns:
        float32 (words, 2): by how much the word's cosine falls without its hottest quarter, and
        without its coldest.
    """
    side = len(pixels)
    answer = predictor.decode(predictor.predict_vectors(pixels[None])[0], words)
    directions = _directions(predictor.vectors, [word.word for word in answer.words])
    scores, heats = occlude(predictor, pixels, directions)
    batch = np.repeat(pixels.reshape(1, -1, 3), 2 * len(heats), axis=0)
    for row, heat in enumerate(heats):
        order = np.argsort(heat, axis=None, kind="stable")
        quarter = len(order) // 4
        batch[2 * row, order[-quarter:]] = pixels.mean(axis=(0, 1))
        batch[2 * row + 1, order[:quarter]] = pixels.mean(axis=(0, 1))
    covered = score_directions(predictor, batch.reshape(-1, side, side, 3), directions)
    own = covered.reshape(len(heats), 2, -1)[np.arange(len(heats)), :, np.arange(len(heats))]
    return scores[:, None] - own


def heat_png(heat: NDArray[np.floating], size: tuple[int, int]) -> bytes:
    """A heat map as an overlay: a PNG with transparency, nothing where the heat is not positive.

    Args:
        heat: float (h, w); its largest value is drawn strongest.
        size: width and height in pixels, in the picture's aspect.
    """
    strength = np.clip(heat / max(float(np.max(heat)), 1e-9), 0.0, 1.0).astype(np.float32)
    large = Image.fromarray(strength).resize(size, Image.Resampling.BICUBIC)
    # 256 shades: finer than the eye, and the file stays small.
    shade = np.rint(np.clip(np.asarray(large), 0.0, 1.0) * 255).astype(np.uint8)
    overlay = np.dstack([colours(shade / 255), (shade * (OPAQUE / 255)).astype(np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(overlay).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def colours(strength: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Strengths in [0, 1] → uint8 (…, 3), in the colours of `RAMP`, straight lines between."""
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in RAMP], dtype=float)
    places = np.linspace(0, 1, len(stops))
    channels = [np.interp(strength, places, stops[:, i]) for i in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def describe(heat: NDArray[np.floating]) -> str:
    """The hottest ninth of the picture, in words for a screen reader: one of `REGIONS`."""
    large = Image.fromarray(np.asarray(heat, dtype=np.float32))
    # A picture of one pixel has nine ninths, too, once it is enlarged.
    ninths = np.asarray(large.resize((3, 3), Image.Resampling.BOX))
    row, column = np.unravel_index(ninths.argmax(), ninths.shape)
    return REGIONS[row][column]


def unfit(
    square: NDArray[np.float32], size: tuple[int, int], fit: images.Fit
) -> NDArray[np.float32]:
    """A map over the model's square input → over the whole picture; undoes `images.to_pixels`.

    Args:
        square: float (side, side).
        size: the picture's width and height.
        fit: how the picture was made square.

    Returns:
        float32 (h, w), the longer side as long as the square's; 0 outside the model's input.
    """
    side, longest = len(square), max(size)
    width, height = (max(1, round(length * side / longest)) for length in size)
    picture = Image.fromarray(np.asarray(square, dtype=np.float32))
    if fit == "pad":
        left, top = round((side - width) / 2), round((side - height) / 2)
        return np.asarray(picture)[top : top + height, left : left + width].copy()
    if fit == "crop":
        seen = min(width, height)
        whole = np.zeros((height, width), np.float32)
        top, left = (height - seen) // 2, (width - seen) // 2
        inner = picture.resize((seen, seen), Image.Resampling.BILINEAR)
        whole[top : top + seen, left : left + seen] = np.asarray(inner)
        return whole
    return np.array(picture.resize((width, height), Image.Resampling.BILINEAR))


def _directions(vectors: WordVectors, words: Sequence[str]) -> NDArray[np.float32]:
    for word in words:
        if word not in vectors or word in vectors.hidden:
            raise UserError("embedding.unknown_word", word=word)
    return vectors.unit[vectors.positions(words)]


def _windows(side: int) -> list[tuple[int, int, int, int]]:
    """Top, bottom, left and right of each window, row by row."""

    def edge(cells: float) -> int:
        return round(min(max(cells * (side / CELLS), 0), side))

    middles = [number + 0.5 for number in range(CELLS)]
    spans = [(edge(middle - OVERLAP / 2), edge(middle + OVERLAP / 2)) for middle in middles]
    return [(*rows, *columns) for rows in spans for columns in spans]


def _spread(side: int) -> NDArray[np.float64]:
    """float64 (side, CELLS): how much each window's drop counts at each pixel; rows sum to 1."""
    places = (np.arange(side) + 0.5) / side * CELLS
    weights = np.exp(-0.5 * ((places[:, None] - np.arange(CELLS) - 0.5) / SPREAD) ** 2)
    return weights / weights.sum(axis=1, keepdims=True)
