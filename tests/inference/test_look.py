"""One pass of a model gives the word vectors and the features that its head reads."""

from pathlib import Path

import keras
import numpy as np
import pytest
from small_gaze import small_gaze

from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.predictor import Predictor, load_model


@pytest.fixture(scope="module")
def gaze(vectors: WordVectors) -> keras.Model:
    return small_gaze(vectors)


def pixels_of(count: int) -> np.ndarray:
    return np.random.default_rng(count).random((count, 32, 32, 3), np.float32)


def test_the_features_are_those_that_the_head_reads(gaze, vectors: WordVectors) -> None:
    predictor, pixels = Predictor(gaze, vectors, "gaze"), pixels_of(3)
    look = predictor.look(pixels)
    assert look.features is not None and look.features.shape == (3, 62)
    assert (look.vectors.dtype, look.features.dtype) == (np.float32, np.float32)
    head = gaze.get_layer("head")
    np.testing.assert_allclose(look.vectors, head(look.features).numpy(), atol=1e-5)
    np.testing.assert_array_equal(look.vectors, predictor.predict_vectors(pixels))
    assert predictor._call.experimental_get_tracing_count() == 1


def test_a_loaded_model_gives_them_too(gaze, vectors: WordVectors, tmp_path: Path) -> None:
    gaze.save(tmp_path / "gaze.keras")
    loaded = Predictor(load_model(tmp_path / "gaze.keras"), vectors, "gaze")
    pixels = pixels_of(2)
    before, after = Predictor(gaze, vectors, "gaze").look(pixels), loaded.look(pixels)
    np.testing.assert_allclose(after.vectors, before.vectors, atol=1e-6)
    np.testing.assert_allclose(after.features, before.features, atol=1e-6)


def test_a_model_without_such_a_layer_gives_none(predictor: Predictor) -> None:
    look = predictor.look(pixels_of(2))
    assert look.features is None and look.vectors.shape == (2, 10, 8)


def test_a_layer_of_that_name_that_gives_no_rows_is_not_it(vectors: WordVectors) -> None:
    """A model's input may have the name, and so may a feature map of somebody else's model."""
    plain = small_gaze(vectors)
    inputs = keras.Input((32, 32, 3), name="features")
    assert (
        Predictor(keras.Model(inputs, plain(inputs)), vectors, "a").look(pixels_of(1)).features
        is None
    )
    inputs = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(3, 1, name="features")(inputs)
    assert (
        Predictor(keras.Model(inputs, plain(maps)), vectors, "a").look(pixels_of(1)).features
        is None
    )
