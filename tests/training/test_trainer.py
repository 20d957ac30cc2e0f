"""Pieces of a run that the end-to-end test cannot see: checkpoints, weights, targets, settings."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.data.prepare import prepare
from img2prompt.data.shards import PrepareSettings
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training import checkpoints, trainer
from img2prompt.training.config import LATER_SETTINGS, default_config
from img2prompt.training.inputs import draw_weights, load_data


def network() -> keras.Model:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse")
    return model


def test_a_restored_run_takes_the_very_same_steps(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    y = x[:, :2] * 2
    keras.utils.set_random_seed(0)
    whole = network()
    start = whole.get_weights()
    whole.fit(x, y, epochs=6, shuffle=False, verbose=0)

    first = network()
    first.set_weights(start)
    first.fit(
        x, y, epochs=3, shuffle=False, verbose=0, callbacks=[checkpoints.Checkpoint(tmp_path)]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-0003.weights.h5"]
    second = network()
    assert checkpoints.restore(tmp_path, second) == 3
    second.fit(x, y, epochs=6, initial_epoch=3, shuffle=False, verbose=0)
    # Equal only if Adam's moments came back too.
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_half_written_checkpoint_is_ignored(tmp_path: Path) -> None:
    model = network()
    model.fit(np.ones((4, 3)), np.ones((4, 2)), epochs=2, verbose=0,
              callbacks=[checkpoints.Checkpoint(tmp_path)])  # fmt: skip
    (tmp_path / "new.weights.h5").write_bytes(b"killed while writing")
    assert checkpoints.restore(tmp_path, network()) == 2


def test_rows_of_epochs_that_run_again_are_dropped(tmp_path: Path) -> None:
    history = tmp_path / "history.csv"
    history.write_text("epoch,loss\n0,3\n1,2\n2,1\n")
    trainer._keep_rows(history, 2)
    assert history.read_text() == "epoch,loss\n0,3\n1,2\n"


def test_draw_weights_give_auxiliary_pictures_their_share(make_table: Callable) -> None:
    sources = ["big"] * 16 + ["small"] * 4 + ["aux"] * 10
    pictures = make_table([f"p{i}" for i in range(30)], sources)
    config = default_config("gaze", auxiliary_weight=0.1, source_power=0.5)
    weights = draw_weights(config, pictures, np.arange(30), np.arange(30) >= 20)
    assert weights.sum() == pytest.approx(1)
    assert weights[20:].sum() == pytest.approx(0.1)
    # Square roots: 4 to 2, not 16 to 4.
    assert weights[:16].sum() / weights[16:20].sum() == pytest.approx(2)


def test_the_originals_keep_the_original_schedule() -> None:
    for preset in ("original", "notebook"):
        config = default_config(preset)
        assert (config.epochs, config.batch_size, config.learning_rate) == (20, 32, 1e-3)
        assert config.source_power == 1.0


@pytest.mark.parametrize(
    "changes",
    [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": -1.0}, {"source_power": 2.0},
     {"auxiliary_weight": 1.0}, {"seed": 2**32}, {"learning_rate": float("nan")},
     {"dropout": 1.5}, {"dropout": -0.1}, {"max_per_prompt": -1}, {"word_power": 1.5},
     {"stream": True, "max_per_prompt": 1}, {"stream": True, "word_power": 0.5}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(changes: dict) -> None:
    with pytest.raises(UserError):
        default_config("gaze", **changes)


def test_an_unknown_setting_is_an_error() -> None:
    with pytest.raises(TypeError, match="colour"):
        default_config("gaze", colour="red")


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(UserError, match="Unknown preset"):
        default_config("nonsense")


@pytest.mark.parametrize("preset", ["original", "notebook"])
def test_a_gpus_precision_does_not_reach_the_shipped_model(
    preset: str, vectors: WordVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    from img2prompt.models import notebook, original

    build = {"original": original.build, "notebook": notebook.build}[preset]
    monkeypatch.setattr(trainer, "_has_gpu", lambda: True)
    with trainer._mixed_precision():
        network = build(vectors, 32)
    shipped = build(vectors, 32)
    shipped.set_weights(network.get_weights())
    assert network.get_layer("conv1").compute_dtype == "bfloat16"
    assert network.output.dtype == "float32"
    assert {layer.compute_dtype for layer in shipped.layers} == {"float32"}
    picture = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(network(picture), shipped(picture), atol=0.2)


def test_near_duplicates_are_capped(
    diffusiondb_folder: Path, tmp_path: Path, vectors: WordVectors
) -> None:
    prepare(diffusiondb_folder, tmp_path, PrepareSettings(size=32), progress=False, workers=1)

    def names(**changes: int) -> set[str]:
        config = default_config("original", **changes)
        data = load_data(config, [tmp_path], [], vectors, tmp_path / "soft")
        assert len(data.weights) == len(data.training)
        return set(data.pictures.texts(data.training).names)

    assert names() - names(max_per_prompt=1) == {"fox-2.png"}
    assert "fox-1.png" in names(max_per_prompt=1) and names(max_per_prompt=2) == names()


def test_frequent_words_are_drawn_less(make_table: Callable) -> None:
    pictures = make_table(["a castle"] * 48 + ["a fox"] * 12)

    def share_of_foxes(power: float) -> float:
        config = default_config("original", word_power=power)
        weights = draw_weights(config, pictures, np.arange(60), np.zeros(60, bool))
        assert weights.sum() == pytest.approx(1)
        return weights[48:].sum()

    assert share_of_foxes(0) == pytest.approx(0.2)
    assert share_of_foxes(1) == pytest.approx(0.5)  # each word as often as the other


def test_dropout_is_scaled_and_the_saved_network_keeps_its_own(vectors: WordVectors) -> None:
    from img2prompt.models import original

    plain = original.build(vectors, 32)
    scaled = trainer._with_dropout(original.build(vectors, 32), 0.0)
    rates = [
        [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        for model in (plain, scaled)
    ]
    assert rates == [[0.25], [0.0]]
    picture = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    once, again = (scaled(picture, training=True).numpy() for _ in range(2))
    np.testing.assert_array_equal(once, again)


def test_a_run_of_an_earlier_version_can_be_resumed(tmp_path: Path) -> None:
    from img2prompt.core.files import write_json

    stamp = {"epochs": 3} | LATER_SETTINGS
    write_json(tmp_path / "config.json", {"epochs": 3})
    trainer._check_claim(tmp_path, stamp, resume=True)
    with pytest.raises(UserError, match="holds another run"):
        trainer._check_claim(tmp_path, stamp | {"stream": True}, resume=True)
