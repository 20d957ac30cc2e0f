"""A run that is killed and resumed ends with the weights of one that nobody disturbed.

The killed runs are processes of their own, ended by a real SIGKILL at a chosen moment.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
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

pytestmark = pytest.mark.usefixtures("small_backbone")
SETTINGS = {"epochs": 3, "images_per_epoch": 64, "batch_size": 16}

# Trains the runs of the test, one after the other, and kills itself at a moment of the last one: at
# a step of an epoch, before a checkpoint is written, in the midst of it, or when the model is there
# and the rest not yet gone.
KILLED = """
import json, os, signal, sys
from pathlib import Path
from img2prompt.core.backend import keras, tf
from img2prompt.training import checkpoints
from img2prompt.training import trainer as training
from img2prompt.training.config import TrainJob, default_config
sys.path.insert(0, "tests")
import small_backbone

small_backbone.use()
world, moment = Path(sys.argv[1]), sys.argv[2]
runs, settings = json.loads(sys.argv[3]), json.loads(sys.argv[4])

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

def arm():
    if moment == "before a checkpoint":
        replace(checkpoints.Checkpoint, "on_epoch_end", 2)
    if moment == "in a checkpoint":
        replace(checkpoints, "random_states", 2)
    if moment == "after the model":
        replace(training, "_clear", 0)

if any(run["strategy"] == "mirrored" for run in runs):
    cpu = tf.config.list_physical_devices("CPU")[0]
    two = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, two)
for run in runs:
    last = run is runs[-1]
    if last:
        arm()
    config = default_config(run["preset"], stream=run["stream"], **settings)
    job = TrainJob([world / "ready"], world / "embedding.npz", run["out"], [world / "auxiliary"],
                   strategy=run["strategy"], resume=run["resume"])
    training.train(config, job, [Kill()] if last else [], verbose=0)
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


def a_run(
    out: Path, preset: str, stream: bool = False, resume: bool = False, strategy: str = "none"
) -> dict:
    return {"out": str(out), "preset": preset, "stream": stream, "resume": resume,
            "strategy": strategy}  # fmt: skip


def killed(world: Path, moment: str, *runs: dict, dies: bool = True) -> None:
    """Train some runs in a process of their own, which dies at a moment of the last one."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(world), moment, json.dumps(runs), json.dumps(SETTINGS)],
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


@pytest.fixture(scope="module")
def undisturbed(
    world: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, list]]:
    """(preset, stream) → the folder of a run that nobody disturbed, its last weights."""
    found: dict[tuple[str, bool], tuple[Path, list]] = {}

    def undisturbed_run(preset: str, stream: bool = False) -> tuple[Path, list]:
        if (preset, stream) not in found:
            out = tmp_path_factory.mktemp("whole") / "run"
            found[preset, stream] = (out, train(world, out, preset, stream))
        return found[preset, stream]

    return undisturbed_run


@pytest.fixture(scope="module")
def begun(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `original`, killed in its first epoch."""
    out = tmp_path_factory.mktemp("begun") / "run"
    killed(world, "epoch 0 step 2", a_run(out, "original"))
    return out


def weights_in(model: Path) -> dict[str, np.ndarray]:
    """Of a `.keras` file: where a weight lies in it → the weight."""
    found = {}
    with zipfile.ZipFile(model) as archive:
        inside = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(inside) as file:
        file.visititems(
            lambda name, item: found.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return found


def assert_same_run(one: Path, other: Path, tolerance: float = 1e-6) -> None:
    """What the runs leave is the same: files, history, model, confidences."""
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    rows = [
        np.loadtxt(out / "history.csv", delimiter=",", skiprows=1, ndmin=2) for out in (one, other)
    ]
    assert rows[0][:, 0].tolist() == list(range(SETTINGS["epochs"]))
    np.testing.assert_allclose(rows[1], rows[0], rtol=0, atol=tolerance)
    a, b = (weights_in(out / "model.keras") for out in (one, other))
    assert a.keys() == b.keys() and len(a) > 4
    for name, values in a.items():
        np.testing.assert_allclose(b[name], values, rtol=0, atol=tolerance)
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
    ("preset", "stream", "moment"),
    [
        ("original", False, "in a checkpoint"),  # and before that in its first epoch
        ("notebook", True, "before a checkpoint"),
        ("gaze", False, "in a checkpoint"),
        ("gaze", True, "epoch 1 step 3"),
    ],
)
def test_a_killed_run_ends_as_one_that_nobody_disturbed(
    world: Path, begun: Path, undisturbed: Callable, tmp_path: Path, preset: str, stream: bool,
    moment: str,
) -> None:  # fmt: skip
    out = tmp_path / "killed"
    resume = preset == "original"
    if resume:
        assert not (begun / "model.keras").exists()
        shutil.copytree(begun, out)
    killed(world, moment, a_run(out, preset, stream, resume))
    assert not (out / "model.keras").exists()
    ended = train(world, out, preset, stream, resume=True)
    whole, weights = undisturbed(preset, stream)
    for a, b in zip(weights, ended, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6)
    assert_same_run(whole, out)
    # What sorts its words takes along what it sorts them by.
    assert (out / LEXICON_FILE).is_file() == (preset == "gaze")
    # Neither here nor beside the shards is anything left of the killed processes.
    assert not list(out.rglob(".*")) and not list(world.rglob(".*"))


def test_replicas_go_on_as_one_run_too(world: Path, tmp_path: Path) -> None:
    """Dropout and negatives are drawn on each replica."""
    whole, out = (
        a_run(tmp_path / name, "gaze", strategy="mirrored") for name in ("whole", "killed")
    )
    killed(world, "epoch 2 step 1", whole, out)
    killed(world, "never", out | {"resume": True}, dies=False)
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_a_run_killed_at_its_very_end_is_tidied(
    world: Path, undisturbed: Callable, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    killed(world, "after the model", a_run(out, "original"))
    assert (out / "model.keras").exists() and (out / "checkpoint").exists()
    (out / "soft").mkdir()  # as `gaze` has it
    with pytest.raises(UserError, match="is finished; there is nothing to resume"):
        train(world, out, "original", False, resume=True)
    assert_same_run(undisturbed("original")[0], out)


def test_a_run_that_is_still_running_is_not_resumed(
    world: Path, begun: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(begun, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with (
        files.locked(out, trainer.LOCK_FILE),
        pytest.raises(UserError, match="Another run works in"),
    ):
        train(world, out, "original", False, resume=True)
    after = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    before.pop(out / trainer.LOCK_FILE)  # of the killed process
    assert after == before and out / "config.json" in after


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
