"""Encoders of keras-hub as backbones, tiny ones with random weights saved as presets."""

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hub_presets import OWN_SIDE, write_preset

from img2prompt.core.errors import UserError
from img2prompt.embedding.class_words import WordsAsClasses
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.predictor import load_model
from img2prompt.models import gaze, hub_encoders, hub_texts
from img2prompt.models.features import cache_name
from img2prompt.models.layers import PooledStatistics

keras_hub = pytest.importorskip("keras_hub", reason="needs requirements-eyes.lock")

SIDE = 32
PICTURES = np.random.default_rng(0).random((3, SIDE, SIDE, 3)).astype(np.float32)
FAMILIES = ("clip", "siglip", "dinov2", "vit")


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Family → what `--backbone` says; written once."""
    root = tmp_path_factory.mktemp("presets")

    def written(family: str) -> str:
        folder = root / family
        if not folder.is_dir():
            write_preset(family, folder)
        return f"keras_hub:{folder}"

    return written


@pytest.fixture(scope="module")
def tower(preset: Callable[[str], str]) -> Callable[[str], Any]:
    """Family → its tower; built once."""
    return functools.cache(lambda family: gaze.build_tower(preset(family), SIDE))


def reference(family: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The patches' map and the whole picture's token, as keras-hub's own classes compute them."""
    name = name.removeprefix("keras_hub:")
    side = SIDE if family == "dinov2" else OWN_SIDE
    network = keras_hub.models.Backbone.from_preset(
        name, **({"image_shape": (side, side, 3)} if family == "dinov2" else {})
    )
    resized = keras.layers.Resizing(side, side, "bicubic")(PICTURES * 255)
    converter = keras_hub.layers.ImageConverter.from_preset(name, image_size=None)
    pictures = {"images": converter(resized)}
    if family == "clip":
        tokens = np.asarray(network.vision_encoder(pictures))
        whole, patches = tokens[:, 0], tokens[:, 1:]
    elif family == "siglip":
        encoder = network.vision_encoder
        inner = keras.Model(encoder.input, encoder.get_layer(encoder.post_layer_norm.name).output)
        whole, patches = np.asarray(encoder(pictures)), np.asarray(inner(pictures))
    else:
        tokens = np.asarray(network(pictures if family == "dinov2" else pictures["images"]))
        whole, patches = tokens[:, 0], tokens[:, 3 if family == "dinov2" else 1 :]
    rows = side // (8 if family == "dinov2" else 16)
    return patches.reshape(len(PICTURES), rows, rows, -1), whole


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tower_gives_the_encoders_own_tokens(
    family: str, preset: Callable[[str], str], tower: Callable[[str], Any]
) -> None:
    built = tower(family)
    assert built.input_shape == (None, SIDE, SIDE, 3) and not built.trainable_weights
    patches, whole = reference(family, preset(family))
    features = built(PICTURES, training=False).numpy()
    channels = whole.shape[-1]
    np.testing.assert_allclose(
        features[:, : 2 * channels], np.asarray(PooledStatistics()(patches)), atol=2e-5
    )
    np.testing.assert_allclose(features[:, 2 * channels : 3 * channels], whole, atol=2e-5)
    assert features.shape[1] == channels * 3 + {"clip": 12, "siglip": 16}.get(family, 0)
    assert np.abs(features[0] - features[1]).max() > 1e-2  # it looks at the picture


@pytest.mark.parametrize("family", FAMILIES)
def test_a_file_holds_the_encoder_and_its_preprocessing(
    family: str, tower: Callable[[str], Any], tmp_path: Path
) -> None:
    path = tmp_path / "tower.keras"
    tower(family).save(path)
    expected = tower(family)(PICTURES, training=False).numpy()
    again = load_model(path)
    np.testing.assert_allclose(again(PICTURES, training=False), expected, atol=1e-6)
    assert not again.trainable_weights


def test_two_presets_never_share_a_cache(
    preset: Callable[[str], str], tower: Callable[[str], Any], tmp_path: Path
) -> None:
    first = preset("vit")
    name = cache_name(first, tower("vit"))
    assert name.startswith("vit-") and "/" not in name and ":" not in name
    copied = shutil.copytree(first.removeprefix("keras_hub:"), tmp_path / "vit")
    again = f"keras_hub:{copied}"
    assert cache_name(again, gaze.build_tower(again, SIDE)) == name  # the same weights
    converter = keras_hub.layers.ImageConverter.from_preset(str(copied))
    converter.offset = [0.0, 0.0, 0.0]
    converter.save_to_preset(str(copied))
    assert cache_name(again, gaze.build_tower(again, SIDE)) != name  # other preprocessing
    shutil.rmtree(copied)
    write_preset("vit", copied, seed=1)
    assert cache_name(again, gaze.build_tower(again, SIDE)) != name  # other weights
    assert cache_name("efficientnet_lite2", None) == "efficientnet_lite2"


# --- words that an encoder reads ----------------------------------------------------------------


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_words_score_as_the_network_itself_scores_their_sentences(
    family: str, preset: Callable[[str], str], tower: Callable[[str], Any], tmp_path: Path
) -> None:
    words = ["cat", "dog", "neon", "snow"]
    classifier = hub_texts.word_classifier(preset(family), words, tmp_path)
    assert hub_encoders.reads_texts(tower(family))
    evidence = gaze.Evidence(
        classifier.kernel, classifier.bias, np.zeros((4, 2), np.float32), classifier.behind
    )
    found = evidence.probabilities(tower(family)(PICTURES, training=False).numpy())

    name = preset(family).removeprefix("keras_hub:")
    network = keras_hub.models.Backbone.from_preset(name)
    models = keras_hub.models
    packer = (models.CLIPPreprocessor if family == "clip" else models.SigLIPPreprocessor)(
        keras_hub.tokenizers.Tokenizer.from_preset(name), sequence_length=40
    )
    tokens = packer({"prompts": [f"a picture of {word}" for word in words], "images": PICTURES})
    pictures = keras.layers.Resizing(OWN_SIDE, OWN_SIDE, "bicubic")(PICTURES * 255)
    pictures = keras_hub.layers.ImageConverter.from_preset(name, image_size=None)(pictures)
    scored = network({"images": pictures, "token_ids": tokens["token_ids"]})
    expected = keras.ops.softmax(scored["vision_logits"])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.ptp(found) > 1e-3


def test_words_are_read_once(
    preset: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = hub_texts.word_classifier(preset("clip"), ["cat", "dog"], tmp_path)
    other = hub_texts.word_classifier(preset("clip"), ["dog", "cat"], tmp_path)  # other classes
    np.testing.assert_allclose(first.kernel, other.kernel[:, ::-1], atol=1e-5)
    monkeypatch.setattr(hub_texts, "load_preset", None)
    again = hub_texts.word_classifier(preset("clip"), ["cat", "dog"], tmp_path)
    np.testing.assert_array_equal(again.kernel, first.kernel)
    monkeypatch.undo()
    for path in tmp_path.glob("words-*.npy"):
        np.save(path, np.full((1, 3), np.nan, np.float32))  # somebody else's
    read = hub_texts.word_classifier(preset("clip"), ["cat", "dog"], tmp_path)
    np.testing.assert_allclose(read.kernel, first.kernel, atol=1e-6)


def test_words_as_classes_say_themselves(vectors: WordVectors) -> None:
    words = np.array([4, 7])
    classes = WordsAsClasses(words, len(vectors))
    shares = classes.expected(np.array([[0.25, 0.75]], np.float32))
    assert shares.shape == (1, len(vectors)) and shares.sum() == 1
    assert shares[0, 4] == 0.25 and shares[0, 7] == 0.75
    np.testing.assert_array_equal(classes.directions(vectors), vectors.unit[words])


# --- what cannot be had -------------------------------------------------------------------------


def test_what_cannot_be_read_is_one_sentence(
    preset: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Path(preset("vit").removeprefix("keras_hub:"))
    for lacking in ("image_converter.json", "model.weights.h5", "config.json"):
        copied = shutil.copytree(whole, tmp_path / lacking)
        (copied / lacking).unlink()
        with pytest.raises(UserError, match="cannot be read") as told:
            gaze.build_tower(f"keras_hub:{copied}", SIDE)
        assert "\n" not in str(told.value)
    with pytest.raises(UserError, match="neither a preset"):
        gaze.build_tower("keras_hub:clip_vit_base_patch99", SIDE)
    with pytest.raises(UserError, match=r"cannot be read|no image encoder"):
        gaze.build_tower(f"keras_hub:{write_preset('text', tmp_path / 'text')}", SIDE)
    clip = shutil.copytree(preset("clip").removeprefix("keras_hub:"), tmp_path / "clip")
    shutil.rmtree(clip / "assets")
    with pytest.raises(UserError, match="no tokenizer"):
        hub_texts.word_classifier(f"keras_hub:{clip}", ["cat"], tmp_path)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("image_converter.json", {"scale": "a"}),
        ("image_converter.json", {"scale": [1.0] * 7}),
        ("image_converter.json", {"interpolation": "no"}),
        ("config.json", {"image_shape": [48, 48, 1]}),
        ("config.json", {"image_shape": [48, 0, 3]}),
        ("config.json", {"patch_size": 0}),
    ],
)
def test_a_preset_of_nonsense_is_one_sentence(
    file: str, change: dict, preset: Callable[[str], str], tmp_path: Path
) -> None:
    copied = shutil.copytree(preset("vit").removeprefix("keras_hub:"), tmp_path / "vit")
    told = json.loads((copied / file).read_text())
    told["config"].update(change)
    (copied / file).write_text(json.dumps(told))
    with pytest.raises(UserError, match="cannot be read") as error:
        gaze.build_tower(f"keras_hub:{copied}", SIDE)
    assert "\n" not in str(error.value)


def test_a_converter_of_another_network_is_one_sentence(
    preset: Callable[[str], str], tmp_path: Path
) -> None:
    other = keras_hub.models.ResNetBackbone(
        [64], [64], [64], [1], [1], block_type="basic_block", image_shape=(32, 32, 3)
    )
    other.save_to_preset(str(tmp_path))
    converter = Path(preset("vit").removeprefix("keras_hub:")) / "image_converter.json"
    shutil.copy(converter, tmp_path / "image_converter.json")
    with pytest.raises(UserError, match="no image encoder that we can read"):
        gaze.build_tower(f"keras_hub:{tmp_path}", SIDE)


@pytest.mark.parametrize(
    "name", ["x" * 5_000, "a\0b", "http://127.0.0.1/x", "gs://x/y", "HF://a/b", "../none"]
)
def test_what_names_no_preset_is_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match="neither a preset"):
        gaze.build_tower(f"keras_hub:{name}", SIDE)


def test_without_network_a_preset_to_download_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError("HTTPSConnectionPool: Max retries exceeded\nName or service unknown")

    monkeypatch.setattr("kagglehub.model_download", unreachable)
    with pytest.raises(UserError, match="clip_vit_base_patch16' cannot be read") as told:
        gaze.build_tower("keras_hub:clip_vit_base_patch16", SIDE)
    assert "check its name and the network" in str(told.value) and "\n" not in str(told.value)
