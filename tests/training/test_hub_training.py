"""An encoder of keras-hub all the way: features, text encoder, head, shipped, measured, served."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_presets import write_preset
from paths import ROOT
from PIL import Image
from sharding import SIDE, write_shards
from waiting import PATIENCE

from img2prompt.core.arrays import map_array
from img2prompt.core.errors import UserError
from img2prompt.data.images import to_float
from img2prompt.embedding.class_words import CLASS_WORDS_FILE, count_class_words
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.evaluation.systems import EvaluationConfig, evaluate_systems
from img2prompt.inference.activations import activations
from img2prompt.inference.artifacts import Assets, load
from img2prompt.models import features, gaze, hub_texts
from img2prompt.training import ship, trainer
from img2prompt.training.config import TrainJob, default_config

pytest.importorskip("keras_hub", reason="needs requirements-eyes.lock")

SETTINGS = {"epochs": 1, "batch_size": 16, "images_per_epoch": 32}
SERVE = """
import sys
import numpy as np
import img2prompt
predictor = img2prompt.load(sys.argv[1])
answer = predictor(sys.argv[2], words=5)
assert "keras_hub" in sys.modules
np.save(sys.argv[3], answer.vectors)
"""


@pytest.fixture(scope="module")
def world(
    vectors: WordVectors, content: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Shards of noise, an embedding and class words."""
    root = tmp_path_factory.mktemp("world")
    write_shards(root / "ready", content, sizes=(60, 30))
    vectors.save(root / EMBEDDING_FILE)
    ship.record(root / EMBEDDING_FILE, ["python", "embed"])
    prompts = root / "prompts.txt"
    prompts.write_text("\n".join(f"a {one} and a {two}" for one in content for two in content))
    count_class_words([prompts], vectors)[0].save(root / CLASS_WORDS_FILE)
    return root


def train(world: Path, out: Path, backbone: Path) -> None:
    config = default_config("gaze", backbone=f"keras_hub:{backbone}", **SETTINGS)
    trainer.train(config, TrainJob([world / "ready"], world / EMBEDDING_FILE, out), verbose=0)


def test_a_model_on_clip_is_trained_shipped_measured_and_served(
    world: Path, vectors: WordVectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = write_preset("clip", tmp_path / "some-clip")
    run = tmp_path / "run"
    train(world, run, preset)
    (kept,) = (world / "ready" / "features").iterdir()
    assert kept.name.startswith("some-clip-")
    (words,) = kept.glob("words-*.npy")
    assert map_array(words).shape == (int(vectors.answerable.sum()), 12)

    # What was cached is what the trained model's own tower gives, and the head reads words of it.
    predictor = load(run)
    pixels = to_float(map_array(world / "ready" / "part-000001.npy")[:4])
    tower = gaze.build_tower(f"keras_hub:{preset}", SIDE)
    cached = map_array(kept / "part-000001.npy")[:4]
    np.testing.assert_allclose(cached, tower(pixels).numpy(), atol=2e-3)
    head = predictor.model.get_layer("head")
    assert head.get_layer("words").units == vectors.answerable.sum()
    again = gaze.join(tower, head)(pixels, training=False)
    np.testing.assert_allclose(predictor.predict_vectors(pixels), again, atol=1e-6)

    # Measured with baselines on the same features, which are not computed again.
    monkeypatch.setattr(features, "to_float", None)
    config = EvaluationConfig(None, [run], f"keras_hub:{preset}", minilm=False)
    figures = evaluate_systems([world / "ready"], config).figures
    assert [row["name"] for row in figures["systems"]] == ["constant", "knn", "linear", "run"]
    assert len([*kept.parent.iterdir()]) == 1

    # Shipped in half precision, served by a process that knows nothing of the preset.
    shipped = tmp_path / "shipped"
    for name in (EMBEDDING_FILE, "embedding.report.json"):
        shipped.mkdir(exist_ok=True)
        (shipped / name).write_bytes((world / name).read_bytes())
    ship.ship_runs([run], shipped, "noise")
    assert (shipped / "gaze.keras").stat().st_size < 0.7 * (run / "model.keras").stat().st_size
    for path in preset.iterdir():
        path.rename(path.with_name(f"gone-{path.name}"))
    picture = tmp_path / "picture.png"
    Image.fromarray(np.rint(pixels[0] * 255).astype(np.uint8)).save(picture)
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(shipped), str(picture), str(tmp_path / "said.npy")],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = np.load(tmp_path / "said.npy")
    np.testing.assert_allclose(said, again[0], atol=0.01)

    # The page's Learn tab shows the patches as a map.
    seen = activations(Assets(shipped).predictor(), str(picture))
    assert [maps.maps.shape[1:] for maps in seen.depths] == [(3, 3)]
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"pip install .*requirements-eyes\.lock"):
        load(shipped)


def test_an_encoder_without_texts_has_no_evidence(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preset = write_preset("dinov2", tmp_path / "seeing")
    monkeypatch.setattr(hub_texts, "load_preset", None)
    with pytest.raises(UserError, match="--no-evidence"):
        train(world, tmp_path / "run", preset)
