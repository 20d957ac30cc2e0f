"""Heat maps: they find the part that speaks for a word; covering it costs the word its score."""

import io

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT
from PIL import Image

from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.data.images import ImageError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.occlusion import (
    REGIONS,
    describe,
    heat_png,
    occlusion_maps,
    quarter_drops,
    unfit,
)
from img2prompt.inference.predictor import Predictor
from img2prompt.models.layers import ScaledTanh

EXAMPLES = sorted((ROOT / "assets" / "examples").glob("*.jpg"))
SIDE = 32


def corner_watcher(vectors: WordVectors, fit: images.Fit = "stretch") -> Predictor:
    """A model that says "moon" the more, the brighter the sharp spots in the upper right corner.

    Its other vector says "fox" whatever it is shown.
    """
    corner = SIDE // 5
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Cropping2D(((0, SIDE - corner), (SIDE - corner, 0)))(inputs)
    x = keras.layers.GlobalMaxPooling2D()(x)
    bright = keras.layers.Dense(vectors.dimensions, name="bright")
    y = keras.layers.Reshape((2, vectors.dimensions))(
        keras.layers.Concatenate()(
            [bright(x), keras.layers.Dense(vectors.dimensions, name="fox")(x)]
        )
    )
    y = ScaledTanh(-1.0, 1.0, vectors.fingerprint, fit)(y)
    model = keras.Model(inputs, y)
    moon, fox, other = (vectors.unit[vectors.index[w]] for w in ("moon", "fox", "city"))
    model.get_layer("bright").set_weights([np.tile((moon - other) / 3, (3, 1)), other])
    model.get_layer("fox").set_weights([np.zeros((3, vectors.dimensions)), fox])
    return Predictor(model, vectors, "watcher")


def spots(size: tuple[int, int] = (96, 96)) -> Image.Image:
    """White spots on black, everywhere."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for row in range(3, size[1] - 3, 12):
        for column in range(3, size[0] - 3, 12):
            pixels[row : row + 3, column : column + 3] = 255
    return Image.fromarray(pixels)


def test_the_part_that_speaks_for_a_word_is_found(vectors: WordVectors) -> None:
    told = occlusion_maps(corner_watcher(vectors), spots(), ["moon", "fox", "city"])
    assert list(told.heats) == list(told.scores) == ["moon", "fox", "city"]
    moon = told.heats["moon"]
    assert moon.dtype == np.float32 and moon.shape == (SIDE, SIDE)
    assert describe(moon) == "upper_right"
    assert moon.max() > 0.05 and abs(moon[SIDE // 2 :, : SIDE // 2]).max() < 1e-3
    assert abs(told.heats["fox"]).max() < 1e-5  # said whatever is seen
    assert told.heats["city"].min() < -0.05  # the bright corner speaks against it


def test_heat_falls_off_smoothly(vectors: WordVectors) -> None:
    moon = occlusion_maps(corner_watcher(vectors), spots(), ["moon"]).heats["moon"]
    steps = max(np.abs(np.diff(moon, axis=axis)).max() for axis in (0, 1))
    assert 0 < steps < np.ptp(moon) / 5


def test_scores_are_those_of_the_prediction(predictor: Predictor, make_picture) -> None:
    picture = make_picture(3)
    words = predictor(picture, words=6).words
    told = occlusion_maps(predictor, picture, [word.word for word in words])
    for word in words:
        assert told.scores[word.word] == pytest.approx(word.score, abs=1e-5)
    assert told.preset == "original"


def test_any_word_of_the_vocabulary_can_be_asked_for(predictor: Predictor, make_picture) -> None:
    told = occlusion_maps(predictor, make_picture(3), ["of", "castle", "castle"])
    assert list(told.heats) == ["of", "castle"]
    assert occlusion_maps(predictor, make_picture(3), []).heats == {}
    with pytest.raises(UserError, match="'zeppelin'"):
        occlusion_maps(predictor, make_picture(3), ["castle", "zeppelin"])
    hiding = Predictor(predictor.model, predictor.vectors.hiding(["castle"]), "original")
    with pytest.raises(UserError, match="'castle'"):
        occlusion_maps(hiding, make_picture(3), ["castle"])
    with pytest.raises(ImageError):
        occlusion_maps(predictor, b"no picture", ["castle"])


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (900, 1), (31, 17)])
@pytest.mark.parametrize("fit", images.FITS)
def test_tiny_flat_and_lean_pictures_have_flat_heat(vectors, size, fit) -> None:
    flat = Image.new("RGB", size, (90, 90, 90))
    heat = occlusion_maps(corner_watcher(vectors, fit), flat, ["moon"]).heats["moon"]
    assert max(heat.shape) == SIDE and np.isfinite(heat).all()
    if fit != "pad":  # the black edge of a padded picture is something to see
        assert abs(heat).max() < 0.05
    assert describe(heat) in {name for row in REGIONS for name in row}
    with Image.open(io.BytesIO(heat_png(heat, size))) as overlay:
        assert overlay.size == size and overlay.mode == "RGBA"


@pytest.mark.parametrize("fit", images.FITS)
def test_heat_lies_where_the_picture_lies(fit: images.Fit) -> None:
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[20:40, 60:75] = 255  # right of the middle, inside the square that "crop" keeps
    square = images.to_pixels(Image.fromarray(picture), 64, fit)[..., 0].astype(np.float32)
    heat = unfit(square, (120, 60), fit)
    assert heat.shape == (32, 64)
    expected = np.asarray(Image.fromarray(picture[..., 0]).resize((64, 32), Image.Resampling.BOX))
    assert np.corrcoef(heat.ravel(), expected.ravel())[0, 1] > 0.93


# --- overlay and words --------------------------------------------------------------------------


def test_the_overlay_is_clear_where_nothing_speaks_and_lightest_where_most_does() -> None:
    heat = np.tile(np.linspace(-1, 3, 40, dtype=np.float32), (20, 1))
    with Image.open(io.BytesIO(heat_png(heat, (200, 100)))) as overlay:
        assert overlay.size == (200, 100)
        row = np.asarray(overlay)[50].astype(int)
    assert (row[:45, 3] == 0).all() and row[-1, 3] > 200
    assert (np.diff(row[:, 3]) >= 0).all()
    # Lightness rises with the heat, so that the map reads without any colour.
    seen = row[row[:, 3] > 0]
    assert (np.diff(seen[:, :3] @ [299, 587, 114]) >= -1000).all()
    assert seen[-1, :3].sum() - seen[0, :3].sum() > 250


@given(st.integers(0, 2), st.integers(0, 2), st.integers(3, 70), st.integers(3, 70))
def test_the_hottest_ninth_is_named(row: int, column: int, height: int, width: int) -> None:
    heat = np.zeros((height, width), np.float32)
    heat[(2 * row + 1) * height // 6, (2 * column + 1) * width // 6] = 1
    assert describe(heat) == REGIONS[row][column]


# --- what ships ---------------------------------------------------------------------------------


def test_covering_the_hottest_quarter_costs_more_than_the_coldest() -> None:
    predictor = Assets().predictor("gaze")
    assert len(EXAMPLES) >= 8
    drops = np.concatenate(
        [
            quarter_drops(predictor, images.preprocess(path, predictor.side, predictor.fit), 4)
            for path in EXAMPLES[::2]
        ]
    )
    hottest, coldest = drops.T
    # Drawn by chance both would fall alike, and the share would be a half.
    assert hottest.mean() > 0.03 + coldest.mean()
    assert (hottest > coldest).mean() > 0.75


@pytest.mark.parametrize("preset", ["original", "notebook"])
def test_the_presets_of_the_lesson_are_explained_too(preset: str) -> None:
    predictor = Assets().predictor(preset)
    words = [word.word for word in predictor(EXAMPLES[0], words=3).words]
    told = occlusion_maps(predictor, EXAMPLES[0], words)
    assert set(told.heats) == set(words)
    assert all(np.ptp(heat) > 1e-4 for heat in told.heats.values())
