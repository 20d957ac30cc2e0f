"""Our Keras layers: what they compute, and that a file with them loads in safe mode."""

from pathlib import Path

import keras
import numpy as np
import pytest

from img2prompt.models.layers import ChannelStretch, PooledStatistics, ScaledTanh


def reloaded(model: keras.Model, folder: Path) -> keras.Model:
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ScaledTanh(-6.9, 7.3, "0123456789abcdef"), (4, 10, 8)),
        (ChannelStretch(), (4, 9, 7, 3)),
        (PooledStatistics(), (4, 5, 6, 11)),
    ],
    ids=["ScaledTanh", "ChannelStretch", "PooledStatistics"],
)
def test_a_saved_layer_gives_the_same_output(tmp_path: Path, layer, shape: tuple) -> None:
    inputs = keras.Input(shape[1:])
    model = keras.Model(inputs, layer(inputs))
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = model(values).numpy()
    again = reloaded(model, tmp_path)
    np.testing.assert_allclose(again(values).numpy(), expected, atol=1e-6)
    assert again.output_shape == model.output_shape == (None, *expected.shape[1:])


def test_scaled_tanh_is_the_originals_formula() -> None:
    x = np.linspace(-20, 20, 401, dtype=np.float32)
    y = np.asarray(ScaledTanh(-7.0, 5.0)(x))
    np.testing.assert_allclose(y, np.tanh(x) * (5 + 7) / 2 + (5 - 7) / 2, atol=1e-5)
    assert y[0] == pytest.approx(-7) and y[-1] == pytest.approx(5) and y[200] == pytest.approx(-1)


def test_scaled_tanh_carries_its_embedding(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, ScaledTanh(-1.0, 2.0, "0123456789abcdef", name="last")(inputs))
    layer = reloaded(model, tmp_path).get_layer("last")
    assert (layer.minimum, layer.maximum, layer.embedding) == (-1.0, 2.0, "0123456789abcdef")


@pytest.mark.parametrize("ends", [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_scaled_tanh_needs_a_range(ends: tuple) -> None:
    with pytest.raises(ValueError, match="below"):
        ScaledTanh(*ends)


def test_channel_stretch_reaches_from_0_to_1_in_each_channel_of_each_picture() -> None:
    pictures = np.random.default_rng(0).uniform(0.3, 0.5, (3, 8, 8, 3)).astype(np.float32)
    stretched = np.asarray(ChannelStretch()(pictures))
    np.testing.assert_allclose(stretched.min(axis=(1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(stretched.max(axis=(1, 2)), 1, atol=1e-6)
    alone = np.asarray(ChannelStretch()(pictures[1:2]))
    np.testing.assert_allclose(stretched[1:2], alone, atol=1e-6)  # no picture sees another


def test_channel_stretch_of_one_colour_is_finite() -> None:
    assert (np.asarray(ChannelStretch()(np.full((1, 4, 4, 3), 0.7, np.float32))) == 0).all()


def test_pooled_statistics_are_mean_and_deviation() -> None:
    maps = np.random.default_rng(0).normal(3, 2, (2, 5, 6, 4)).astype(np.float32)
    pooled = np.asarray(PooledStatistics()(maps))
    assert pooled.shape == (2, 8)
    np.testing.assert_allclose(pooled[:, :4], maps.mean(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(pooled[:, 4:], maps.std(axis=(1, 2)), atol=1e-5)
    flat = np.asarray(PooledStatistics()(np.ones((1, 3, 3, 2), np.float32)))
    np.testing.assert_allclose(flat, [[1, 1, 0, 0]], atol=2e-3)
