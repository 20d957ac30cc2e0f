"""Training on several replicas: real processes on loopback take the steps of one process."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
from paths import ROOT
from sharding import write_shards
from waiting import HELD_TRAINING, PATIENCE, held_at, is_held, wait_until

from img2prompt.core.errors import UserError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training import distributed, trainer
from img2prompt.training.config import TrainJob, default_config

# A small learning rate: rounding that differs by the order of sums grows slowly, then.
SETTINGS = {
    "epochs": 2, "images_per_epoch": 64, "batch_size": 16, "dropout": 0.0, "learning_rate": 1e-4
}  # fmt: skip


@pytest.fixture(scope="module")
def world(vectors: WordVectors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of noise and an embedding."""
    root = tmp_path_factory.mktemp("cluster")
    content = [word for word, good in zip(vectors.words, vectors.answerable, strict=True) if good]
    write_shards(root / "ready", content)
    vectors.save(root / "embedding.npz")
    return root


def command(world: Path, out: Path, *more: str, **changes: float | bool) -> list[str]:
    settings = SETTINGS | changes
    flags = [
        flag
        for name, value in settings.items()
        for flag in (
            [f"--{name}"] if value is True else [f"--{name.replace('_', '-')}", str(value)]
        )
    ]
    return [sys.executable, "scripts/train_model.py", "--preset", "original", "--data",
            str(world / "ready"), "--embedding", str(world / "embedding.npz"), "--out", str(out),
            *flags, *more]  # fmt: skip


@pytest.fixture
def start() -> Iterator[Callable[..., list[subprocess.Popen]]]:
    """(command, number of workers) → the processes of a cluster on free ports of loopback."""
    running: list[subprocess.Popen] = []

    def launch(
        arguments: list[str], workers: int = 2, environment: dict[str, str] | None = None
    ) -> list[subprocess.Popen]:
        sockets = [socket.socket() for _ in range(workers)]
        for free in sockets:
            free.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{free.getsockname()[1]}" for free in sockets]
        for free in sockets:
            free.close()
        own = []
        for index in range(workers):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            own.append(
                subprocess.Popen(
                    [*arguments, "--strategy", "multiworker"],
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=os.environ
                    | {"TF_CONFIG": json.dumps(task), "TF_CPP_MIN_LOG_LEVEL": "3"}
                    | (environment or {}),
                )
            )
        running.extend(own)
        return own

    yield launch
    for process in running:
        process.kill()
        process.communicate()


def finish(processes: list[subprocess.Popen], code: int = 0) -> list[str]:
    """Wait for all; their error output."""
    told = []
    for process in processes:
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, errors[-4000:]
        told.append(errors)
    return told


def wait_until_held(go: Path, processes: list[subprocess.Popen]) -> None:
    def held() -> bool:
        for process in processes:
            assert process.poll() is None, process.communicate()[1][-4000:]
        return is_held(go)

    wait_until(held)


def curve(out: Path, name: str = "loss") -> np.ndarray:
    with (out / "history.csv").open() as file:
        return np.array([float(row[name]) for row in csv.DictReader(file)])


def job_of(world: Path, out: Path, resume: bool = False) -> TrainJob:
    return TrainJob([world / "ready"], world / "embedding.npz", out, resume=resume)


def alone(world: Path, out: Path, resume: bool = False, **changes: float | bool) -> Path:
    config = default_config("original", **(SETTINGS | changes))
    trainer.train(config, job_of(world, out, resume), verbose=0)
    return out


def test_streaming_workers_lose_what_one_process_loses(
    world: Path, tmp_path: Path, start: Callable
) -> None:
    one = alone(world, tmp_path / "one", stream=True)
    two = tmp_path / "two"
    finish(start(command(world, two, stream=True)))
    for figure in ("loss", "val_loss", "val_f1"):
        np.testing.assert_allclose(curve(two, figure), curve(one, figure), atol=1e-5)
    whole, shared = (keras.models.load_model(out / "model.keras") for out in (one, two))
    assert getattr(shared, "optimizer", None) is None
    assert {layer.compute_dtype for layer in shared.layers} == {"float32"}
    for a, b in zip(whole.get_weights(), shared.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}


def test_a_lost_worker_ends_the_others_and_the_run_goes_on(
    world: Path, tmp_path: Path, start: Callable
) -> None:
    """A worker is killed; resumed, the chief is killed; one process ends the run as if nothing
    had been."""
    out, epochs = tmp_path / "killed", 6
    arguments = command(world, out, epochs=epochs)
    for rows, lost in ((2, 1), (4, 0)):
        # The chief waits, and with it the other one, until a worker is killed.
        go = tmp_path / f"go{lost}"
        training_held = [*HELD_TRAINING, *arguments[2:]]
        processes = start(
            [*training_held, *(["--resume"] if lost == 0 else [])],
            environment=held_at(go, epoch=rows, step=1),
        )
        wait_until_held(go, processes)
        os.kill(processes[lost].pid, signal.SIGKILL)
        processes[lost].wait()
        go.touch()
        (errors,) = finish([processes[1 - lost]], code=2)
        sentences = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert len(sentences) == 1
        assert "A worker is gone" in sentences[0] and "--resume" in sentences[0]
        assert "Traceback" not in errors
        assert not (out / "model.keras").exists()
        assert len(curve(out)) == rows
    alone(world, out, epochs=epochs, resume=True)
    one = alone(world, tmp_path / "one", epochs=epochs)
    # Sums in another order differ by 1e-8, and Adam makes more of it with every step.
    np.testing.assert_allclose(curve(out), curve(one), atol=1e-5)
    assert not (out / "checkpoint").exists()


def test_a_worker_that_cannot_begin_ends_the_others(
    world: Path, tmp_path: Path, start: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second worker's machine lacks the embedding."""
    (tmp_path / "embedding.npz").write_bytes((world / "embedding.npz").read_bytes())
    arguments = command(world, tmp_path / "run")
    arguments[arguments.index("--embedding") + 1] = "EMBEDDING"
    places = [str(world / "embedding.npz"), str(tmp_path / "nowhere.npz")]
    processes = start(
        ["sh", "-c", 'case "$TF_CONFIG" in *\'"index": 0\'*) e="$1";; *) e="$2";; esac; shift 2;'
         ' exec "$@" --embedding "$e" --strategy multiworker', "sh", *places,
         *(word for word in arguments if word not in ("--embedding", "EMBEDDING"))]
    )  # fmt: skip
    chief, other = finish(processes, code=2)
    assert "no word embedding" in other and "Traceback" not in other
    assert "A worker is gone" in chief and "Traceback" not in chief
    assert not (tmp_path / "run" / "config.json").exists()


def run_code(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """Run Python in a process of its own, whose devices nobody has set up yet."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done


TWO_DEVICES = """
import json, sys
from pathlib import Path
import numpy as np
from img2prompt.core.backend import keras, tf
from img2prompt.embedding.vectors import WordVectors
from img2prompt.models.losses import VocabularyLoss, VocabularySettings
from img2prompt.training import distributed, trainer
from img2prompt.training.config import TrainJob, default_config
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
world = Path(sys.argv[1])
"""
# In a process of their own each: TensorFlow confuses the collectives of two strategies in one.
A_RUN = """
config = default_config("notebook", epochs=2, images_per_epoch=64, batch_size=16, dropout=0,
                        learning_rate=1e-4)
job = TrainJob([world / "ready"], world / "embedding.npz", Path(sys.argv[2]), strategy="mirrored")
trainer.train(config, job, verbose=0)
"""
THE_LOSS = """
vectors = WordVectors.load(world / "embedding.npz")
rng = np.random.default_rng(0)
x = rng.normal(size=(48, 5)).astype(np.float32)
words = rng.integers(-1, len(vectors), (48, 4)).astype(np.float32)
shares = np.full((48, 3), 1 / 3, np.float32)
soft = rng.integers(0, len(vectors), (48, 3)).astype(np.float32)
data = tf.data.Dataset.from_tensor_slices((x, np.hstack([words, soft, shares]))).batch(8)

def build():
    inputs = keras.Input((5,))
    x = keras.layers.Dense(2 * vectors.dimensions)(inputs)
    return keras.Model(inputs, keras.layers.Reshape((2, vectors.dimensions))(x))

def losses(strategy):
    with distributed.opened(strategy) as cluster:
        keras.utils.set_random_seed(1)
        # So few negatives that it matters which ones are drawn.
        settings = VocabularySettings(soft_words=3, devices=cluster.local, seen_negatives=2,
                                      random_negatives=2)
        loss = VocabularyLoss(vectors, np.arange(9, 20), settings)
        with cluster.scope():
            network = build()
            network.compile(keras.optimizers.AdamW(0.01, clipnorm=0.1), loss)
        if strategy == "none":
            history = network.fit(
                data.repeat(), steps_per_epoch=6, epochs=3, verbose=0, validation_data=data)
        else:
            assert cluster.replicas == 2
            def validate():  # alone, as training does, with the same loss
                eval_model.evaluate(data, verbose=0)
                loss.align()
                return {}

            eval_model = build()
            eval_model.compile(loss=loss)
            history = distributed.fit(
                cluster, network, data.repeat(), distributed.Schedule(6, range(3)), validate)
            # A run that is resumed after its last epoch has nothing to do.
            assert not distributed.fit(
                cluster, network, data.repeat(), distributed.Schedule(6, range(3, 3)), validate
            ).history
        return history.history["loss"]

print(json.dumps([losses("none"), losses("mirrored")]))
"""


def test_mirrored_devices_lose_what_one_loses(world: Path, tmp_path: Path) -> None:
    """`notebook`, because its layers have a penalty, too."""
    one, two = tmp_path / "one", tmp_path / "two"
    run_code(TWO_DEVICES + A_RUN, world, two)
    trainer.train(default_config("notebook", **SETTINGS), job_of(world, one), verbose=0)
    for figure in ("loss", "val_loss"):
        np.testing.assert_allclose(curve(two, figure), curve(one, figure), atol=1e-5, rtol=1e-6)


def test_replicas_share_negatives_and_clip_the_whole_gradient(world: Path) -> None:
    """The loss of `gaze` compares with words of the whole batch, and its optimizer clips."""
    one, two = json.loads(run_code(TWO_DEVICES + THE_LOSS, world).stdout.splitlines()[-1])
    assert one[0] != one[1]
    np.testing.assert_allclose(two, one, atol=1e-5)


def cluster_of(*addresses: object, kind: str = "worker", index: object = 0, **jobs: list) -> str:
    return json.dumps(
        {"cluster": {"worker": list(addresses), **jobs}, "task": {"type": kind, "index": index}}
    )


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (None, "needs the environment variable TF_CONFIG"),
        ("{", "is not of the form"),
        ("[]", "is not of the form"),
        ('{"cluster": {}}', "is not of the form"),
        (cluster_of(1), "is not of the form"),
        (cluster_of("a:1", index="x"), "is not of the form"),
        (cluster_of("host"), '"host:port"'),
        (cluster_of("host:99999"), '"host:port"'),
        (cluster_of("a:1", index=1), "names no such task"),
        (cluster_of("a:1", index=-1), "names no such task"),
        (cluster_of("a:1", kind="evaluator"), "names no such task"),
        (cluster_of("a:1", ps=["b:1"]), "another kind (ps)"),
        (cluster_of("a:1", "a:1"), "the same address"),
        (cluster_of("a:1", chief=["b:1", "c:1"]), "one chief at most"),
    ],
)
def test_a_wrong_cluster_is_one_sentence(
    told: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if told is not None:
        monkeypatch.setenv("TF_CONFIG", told)
    with pytest.raises(UserError) as error:
        distributed.task_of("multiworker")
    assert expected in str(error.value)


def test_a_chief_comes_before_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", cluster_of("a:1", "b:1", index=1, chief=["c:1"]))
    assert distributed.task_of("multiworker") == distributed.Task(rank=2, workers=3)
    assert distributed.task_of("none") == distributed.Task(rank=0, workers=1)
    with pytest.raises(UserError, match="Unknown strategy"):
        distributed.task_of("ring")


def test_a_batch_is_shared_out_evenly_or_refused() -> None:
    class Three:
        num_replicas_in_sync = 3

    cluster = distributed.Cluster(Three(), distributed.Task(1, 3))
    with pytest.raises(UserError, match="give a multiple of 3"):
        cluster.check_batch(32)
    cluster.check_batch(33)
    assert cluster.part(np.arange(6)).tolist() == [2, 3]
