"""A run that is killed and resumed ends with the weights of one that nobody disturbed.

The killed runs are processes of their own, ended by a real SIGKILL at a chosen moment.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from paths import ROOT
from sharding import write_shards
from waiting import PATIENCE

from img2prompt.core import files
from img2prompt.core.errors import UserError
from img2prompt.core.files import sha256_of
from img2prompt.embedding.class_words import count_class_words
from img2prompt.embedding.kinds import Kinds
from img2prompt.embedding.lexicon import LEXICON_FILE, build_lexicon
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training import checkpoints, trainer
from img2prompt.training.config import TrainJob, default_config

SETTINGS = {"epochs": 4, "images_per_epoch": 64, "batch_size": 16}

# Trains as the test says, and kills itself at a moment: at a step of an epoch, before a
# checkpoint is written, in the midst of it, or when the model is there and the rest not yet gone.
KILLED = """
import os, signal, sys
from pathlib import Path
import keras, tensorflow as tf
from img2prompt.training import checkpoints
from img2prompt.training import trainer as training
from img2prompt.training.config import TrainJob, default_config

world, out = Path(sys.argv[1]), sys.argv[2]
preset, stream, strategy, resume, moment = sys.argv[3:8]
settings = dict(pair.split("=") for pair in sys.argv[8:])
settings = {name: int(value) for name, value in settings.items()}

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Kill(keras.callbacks.Callback):
    now = 0
    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch
    def on_train_batch_end(self, step, logs=None):
        if moment == f"epoch {self.now} step {step}":
            die()

def replace(module, name, epoch):
    real = getattr(module, name)
    calls = []
    def counted(*given):
        calls.append(1)
        return die() if len(calls) > epoch else real(*given)
    setattr(module, name, counted)

if moment == "before a checkpoint":
    replace(checkpoints.Checkpoint, "on_epoch_end", 2)
if moment == "in a checkpoint":
    replace(checkpoints, "random_states", 2)
if moment == "after the model":
    replace(training, "_clear", 0)
if strategy == "mirrored":
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
config = default_config(preset, stream=stream == "stream", **settings)
job = TrainJob([world / "ready"], world / "embedding.npz", out, [world / "auxiliary"],
               strategy=strategy, resume=resume == "resume")
training.train(config, job, [Kill()], verbose=0)
"""


@pytest.fixture(scope="module")
def world(vectors: WordVectors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of noise, auxiliary ones, an embedding, class words and a lexicon."""
    root = tmp_path_factory.mktemp("resume")
    content = [word for word, good in zip(vectors.words, vectors.answerable, strict=True) if good]
    write_shards(root / "ready", content)
    write_shards(root / "auxiliary", content, sizes=(40,), first=1000)
    vectors.save(root / "embedding.npz")
    prompts = root / "prompts.txt"
    prompts.write_text("\n".join(f"a {one} and a {two}" for one in content for two in content))
    count_class_words([prompts], vectors)[0].save(root / "class_words.npz")
    kinds = Kinds(vectors, np.zeros(len(vectors), np.uint8))
    build_lexicon([prompts], vectors, kinds)[0].save(root / LEXICON_FILE)
    return root


def killed(
    world: Path, out: Path, preset: str, stream: bool, moment: str, resume: bool = False,
    strategy: str = "none", dies: bool = True,
) -> None:  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(world), str(out), preset,
         "stream" if stream else "memory", strategy, "resume" if resume else "start", moment,
         *(f"{name}={value}" for name, value in SETTINGS.items())],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == (-signal.SIGKILL if dies else 0), done.stderr[-4000:]


def train(world: Path, out: Path, preset: str, stream: bool, resume: bool = False) -> list:
    """Train in this process; the weights after the last epoch."""
    last: list[np.ndarray] = []

    class Last(keras.callbacks.Callback):
        def on_train_end(self, logs: dict | None = None) -> None:
            last.extend(self.model.get_weights())

    config = default_config(preset, stream=stream, **SETTINGS)
    embedding, auxiliary = world / "embedding.npz", [world / "auxiliary"]
    job = TrainJob([world / "ready"], embedding, out, auxiliary, resume=resume)
    trainer.train(config, job, [Last()], verbose=0)
    return last


def assert_same_run(one: Path, other: Path, tolerance: float = 1e-6) -> None:
    """What the runs leave is the same: files, history, model, confidences."""
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    rows = [
        np.loadtxt(out / "history.csv", delimiter=",", skiprows=1, ndmin=2) for out in (one, other)
    ]
    assert rows[0][:, 0].tolist() == list(range(SETTINGS["epochs"]))
    np.testing.assert_allclose(rows[1], rows[0], rtol=0, atol=tolerance)
    models = [keras.saving.load_model(out / "model.keras", compile=False) for out in (one, other)]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)
    decoders = [np.load(out / "model.decoder.npz") for out in (one, other)]
    for out, decoder in zip((one, other), decoders, strict=True):
        assert decoder["model"] == sha256_of(out / "model.keras")
    # A `.keras` file holds the time of its writing, so equal models have different files.
    for name in set(decoders[0].files) - {"model"}:
        a, b = (decoder[name] for decoder in decoders)
        if a.dtype.kind == "f":
            np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)
        else:
            np.testing.assert_array_equal(b, a)


@pytest.mark.parametrize(
    ("preset", "stream", "moments"),
    [
        ("original", False, ["epoch 0 step 2", "in a checkpoint"]),
        ("original", True, ["epoch 2 step 1"]),
        ("notebook", False, ["before a checkpoint"]),
        ("notebook", True, ["epoch 1 step 3"]),
        ("gaze", False, ["in a checkpoint"]),
        ("gaze", True, ["epoch 2 step 1"]),
    ],
)
def test_a_killed_run_ends_as_one_that_nobody_disturbed(
    world: Path, tmp_path: Path, preset: str, stream: bool, moments: list[str]
) -> None:
    out, whole = tmp_path / "killed", tmp_path / "whole"
    for number, moment in enumerate(moments):
        killed(world, out, preset, stream, moment, resume=number > 0)
        assert not (out / "model.keras").exists()
    ended = train(world, out, preset, stream, resume=True)
    undisturbed = train(world, whole, preset, stream)
    for a, b in zip(undisturbed, ended, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6)
    assert_same_run(whole, out)
    # What sorts its words takes along what it sorts them by.
    assert (out / LEXICON_FILE).is_file() == (preset == "gaze")
    # Neither here nor beside the shards is anything left of the killed processes.
    assert not list(out.rglob(".*")) and not list(world.rglob(".*"))


def test_replicas_go_on_as_one_run_too(world: Path, tmp_path: Path) -> None:
    """Dropout and negatives are drawn on each replica."""
    whole, out = tmp_path / "whole", tmp_path / "killed"
    killed(world, whole, "gaze", False, "never", strategy="mirrored", dies=False)
    killed(world, out, "gaze", False, "epoch 2 step 1", strategy="mirrored")
    killed(world, out, "gaze", False, "never", resume=True, strategy="mirrored", dies=False)
    assert_same_run(whole, out)


def test_a_run_killed_at_its_very_end_is_tidied(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed(world, out, "notebook", False, "after the model")
    assert (out / "model.keras").exists() and (out / "checkpoint").exists()
    (out / "soft").mkdir()  # as `gaze` has it
    with pytest.raises(UserError, match="is finished; there is nothing to resume"):
        train(world, out, "notebook", False, resume=True)
    train(world, tmp_path / "whole", "notebook", False)
    assert_same_run(tmp_path / "whole", out)


def test_a_run_that_is_still_running_is_not_resumed(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    killed(world, out, "original", False, "epoch 1 step 1")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with (
        files.locked(out, trainer.LOCK_FILE),
        pytest.raises(UserError, match="Another run works in"),
    ):
        train(world, out, "original", False, resume=True)
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    before.pop(out / trainer.LOCK_FILE)  # of the killed process
    assert after == before


def test_what_a_run_killed_before_it_began_left_is_no_run(world: Path, tmp_path: Path) -> None:
    """Killed while `config.json` was written."""
    out = tmp_path / "run"
    out.mkdir()
    (out / trainer.LOCK_FILE).touch()
    (out / ".config.0123456789abcdef.tmp.json").write_text("{")
    (out / ".config.0123456789abcdef.tmp.writer").write_text(files.socket.gethostname())
    train(world, out, "notebook", False)
    assert (out / "model.keras").exists()
    assert not list(out.glob(".*"))


def test_the_state_of_all_that_draws_is_kept(tmp_path: Path) -> None:
    """Two layers of dropout and a loss with numbers of its own."""

    class Loss(keras.losses.MeanSquaredError):
        random_state = np.array([1, 2, 3], np.int64)

    def network() -> keras.Model:
        inputs = keras.Input((3,))
        x = keras.layers.Dropout(0.5)(keras.layers.Dense(4)(keras.layers.Dropout(0.5)(inputs)))
        model = keras.Model(inputs, keras.layers.Dense(2)(x))
        model.compile(keras.optimizers.Adam(), Loss(), metrics=["mae"])
        return model

    first = network()
    first.fit(np.ones((8, 3)), np.ones((8, 2)), batch_size=2, verbose=0)
    first.loss.random_state = np.array([4, 5, 6], np.int64)
    saver = checkpoints.Checkpoint(tmp_path)
    saver.set_model(first)
    saver.on_epoch_end(0)
    second = network()
    assert checkpoints.restore(tmp_path, second) == 1
    for a, b in zip(
        checkpoints.random_states(first), checkpoints.random_states(second), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert [len(state) for state in checkpoints.random_states(second)] == [2, 2, 3]
    np.testing.assert_array_equal(second.loss.random_state, [4, 5, 6])
    assert checkpoints.random_states(second)[0][1] == 4  # one mask a step was drawn


def test_a_checkpoint_of_an_earlier_version_is_taken(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(inputs)))
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    model.save_weights(tmp_path / "epoch-0009.weights.h5")
    model.save_weights(tmp_path / "epoch-10000.weights.h5")
    assert checkpoints.restore(tmp_path, model) == 10_000
