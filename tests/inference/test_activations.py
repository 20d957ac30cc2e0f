"""What the lesson shows of a model's inside is what the model really computes."""

import keras
import numpy as np
import pytest
from paths import ROOT
from PIL import Image
from small_gaze import small_gaze

from img2prompt.data import images
from img2prompt.data.images import ImageError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.activations import CHANNELS, activations
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.predictor import Predictor
from img2prompt.models import notebook, original
from img2prompt.models.layers import PooledStatistics

EXAMPLE = ROOT / "assets" / "examples" / "01-dragon.jpg"


PRESETS = {
    "gaze": (small_gaze, 10, 3),
    "original": (lambda vectors: original.build(vectors, side=32), 10, 3),
    "notebook": (lambda vectors: notebook.build(vectors, side=32), 1, 2),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_inside_is_what_the_model_computes(preset, vectors, make_picture) -> None:
    build, steps, depths = PRESETS[preset]
    predictor = Predictor(build(vectors), vectors, preset)
    picture = make_picture(2, (40, 30))
    shown = activations(predictor, picture, words=4)

    expected = predictor.predict_vectors(images.preprocess(picture, 32)[None])[0]
    np.testing.assert_allclose(shown.vectors, expected, atol=1e-5)
    assert [word.word for word in shown.prediction.words] == [
        word.word for word in predictor(picture, words=4).words
    ]
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    assert shown.cosines.shape == (steps, steps)
    np.testing.assert_allclose(shown.cosines, unit @ unit.T, atol=1e-4)

    assert shown.pixels.shape == (32, 32, 3)
    assert 0 <= shown.pixels.min() < shown.pixels.max() <= 1
    assert len(shown.steps) == steps and len(shown.depths) == depths
    for step, vector in zip(shown.steps, expected, strict=True):
        np.testing.assert_allclose(step.vector, vector, atol=1e-5)
        assert step.output.ndim == 1 and abs(step.output).max() < 1  # an LSTM's tanh
        similarities = vectors.similarities(vector)[0]
        for word, cosine in step.nearest:
            assert vectors.answerable[vectors.index[word]]
            assert cosine == pytest.approx(similarities[vectors.index[word]], abs=1e-4)
        cosines = [cosine for _, cosine in step.nearest]
        assert cosines == sorted(cosines, reverse=True)
        assert cosines[0] == pytest.approx(similarities[vectors.answerable].max(), abs=1e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_strongest_maps_of_each_depth_are_shown(preset, vectors, make_picture) -> None:
    model = PRESETS[preset][0](vectors)
    picture = make_picture(2)
    shown = activations(Predictor(model, vectors, preset), picture)
    sizes = [maps.maps.shape[1] for maps in shown.depths]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]
    for maps in shown.depths:
        layer = model.get_layer(maps.layer)
        tensor = layer.input if isinstance(layer, PooledStatistics) else layer.output
        inside = keras.Model(model.input, tensor)
        full = inside(images.preprocess(picture, 32)[None]).numpy()[0]
        assert full.shape[-1] == maps.total
        assert len(maps.channels) == min(CHANNELS, maps.total)
        for channel, own in zip(maps.channels, maps.maps, strict=True):
            np.testing.assert_allclose(own, full[..., channel], atol=1e-5)
        rest = np.delete(full.std(axis=(0, 1)), maps.channels)
        assert (maps.maps.std(axis=(1, 2)).min() >= rest - 1e-6).all()


def test_the_notebook_sees_stretched_colours(vectors: WordVectors) -> None:
    dull = Image.effect_noise((32, 32), 20).point(lambda v: 100 + v // 8).convert("RGB")
    build = PRESETS["notebook"][0]
    pixels = activations(Predictor(build(vectors), vectors, "notebook"), dull).pixels
    assert pixels.min() == 0 and pixels.max() == pytest.approx(1)


@pytest.mark.parametrize("size", [(1, 1), (1, 500)])
def test_odd_pictures_have_an_inside_too(predictor: Predictor, size) -> None:
    shown = activations(predictor, Image.new("RGB", size, (9, 9, 9)))
    assert np.isfinite(shown.vectors).all()
    with pytest.raises(ImageError):
        activations(predictor, b"no picture")


@pytest.mark.parametrize(("preset", "steps"), [("gaze", 10), ("original", 10), ("notebook", 1)])
def test_what_ships_can_be_looked_into(preset: str, steps: int) -> None:
    predictor = Assets().predictor(preset)
    shown = activations(predictor, EXAMPLE)
    pixels = images.preprocess(EXAMPLE, predictor.side, predictor.fit)[None]
    np.testing.assert_allclose(shown.vectors, predictor.predict_vectors(pixels)[0], atol=1e-4)
    assert len(shown.steps) == steps and len(shown.depths) >= 2
