"""Training by its script: from a stream, killed and resumed, refused; the decoder anew."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import assert_refused, run_here
from paths import ROOT
from toy_chain import CLASS_WORDS, COLOURS, EMBEDDING, READY, draw
from waiting import HELD_TRAINING, held_at, is_held, wait_until


def test_gaze_is_trained_from_a_stream_and_on_replicas(world: Path, tmp_path: Path) -> None:
    """Its features, soft targets and loss, under the loop of a strategy, dropout and all."""
    out = tmp_path / "streamed"
    run_here("scripts/train_model.py", "--preset", "gaze", "--data", world / READY, "--embedding",
             world / EMBEDDING, "--out", out, "--epochs", "3", "--images-per-epoch", "256",
             "--batch-size", "64", "--stream", "--strategy", "mirrored")  # fmt: skip
    lines = (out / "history.csv").read_text().splitlines()
    columns = lines[0].split(",")
    losses = [float(line.split(",")[columns.index("loss")]) for line in lines[1:]]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert (out / "model.keras").exists() and not (out / "soft").exists()
    picture = tmp_path / "red.png"
    draw(COLOURS["red"], "circle", 1).save(picture)
    done = run_here("-m", "img2prompt", "predict", "--preset", out, "--words", "3", picture)
    assert len(done.stdout.split(":")[-1].split(",")) == 3


def test_a_killed_run_resumes_where_it_stopped(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    command = ["scripts/train_model.py", "--preset", "original", "--data", world / READY,
               "--embedding", world / EMBEDDING, "--out", out, "--epochs", "6",
               "--images-per-epoch", "64"]  # fmt: skip
    go = tmp_path / "go"  # which never comes
    process = subprocess.Popen(
        [*HELD_TRAINING, *map(str, command[1:])],
        cwd=ROOT,
        env=held_at(go, epoch=4, step=1),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    history = out / "history.csv"
    try:
        wait_until(lambda: is_held(go), process)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (out / "model.keras").exists()
    done_before = len(history.read_text().splitlines()) - 1
    assert done_before == 4

    assert_refused(run_here(*command, code=2), "--resume")
    resumed = run_here(*command, "--resume")
    # The epoch under way at the kill is repeated; earlier ones are not.
    assert f"Epoch {done_before}/6" not in resumed.stdout
    assert f"Epoch {done_before + 1}/6" in resumed.stdout
    epochs = [int(line.split(",")[0]) for line in history.read_text().splitlines()[1:]]
    assert epochs == list(range(6))
    assert (out / "model.keras").exists()
    assert (out / "learning_curves.html").exists()
    assert not (out / "checkpoint").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "nonsense"], "Unknown preset"),
        (["--data", "nowhere"], "no prepared shards"),
        (["--embedding", "nowhere.npz"], "no word embedding"),
        (["--epochs", "0"], "must be > 0"),
        (["--preset", "gaze", "--backbone", "resnet"], "Unknown backbone"),
        (["--preset", "gaze", "--loss", "hinge"], "Unknown loss"),
        (["--preset", "gaze", "--loss", "ordered"], "no soft targets"),
        (["--preset", "gaze", "--class-words", "nowhere.npz"], "count_class_words"),
        (["--without", "nobody"], "There is no source nobody"),
        (["--pull", "-1"], "must be >= 0"),
    ],
)
def test_bad_training_arguments_are_one_sentence(
    world: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    command = {"--preset": "original", "--data": world / READY,
               "--embedding": world / EMBEDDING, "--out": tmp_path / "run"}  # fmt: skip
    command |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    done = run_here(
        "scripts/train_model.py", *(x for pair in command.items() for x in pair), code=2
    )
    assert_refused(done, expected)
    assert not (tmp_path / "run").exists()


def test_a_decoder_is_fitted_anew(world: Path, tmp_path: Path) -> None:
    out = tmp_path / "original"
    shutil.copytree(world / "runs" / "original", out)
    before = (out / "model.decoder.npz").read_bytes()
    (out / "model.decoder.npz").unlink()
    done = run_here("scripts/fit_decoder.py", "--run", out, "--data", world / READY)
    assert "confidence" in done.stdout
    assert (out / "model.decoder.npz").read_bytes() == before
    assert "fit_decoder.py" in (out / "model.decoder.made.json").read_text()
    refused = run_here("scripts/fit_decoder.py", "--run", out, "--data", world / "nowhere", code=2)
    assert_refused(refused, "no prepared shards")


def test_a_decoder_fitted_anew_keeps_the_runs_prior(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "runs" / "gaze", tmp_path / "gaze")
    before = np.load(tmp_path / "gaze" / "model.decoder.npz")["prior"]
    assert before.min() < 0  # it was trained with one
    (tmp_path / "gaze" / "model.decoder.npz").write_bytes(b"damaged")
    fit = (
        "scripts/fit_decoder.py",
        "--run",
        tmp_path / "gaze",
        "--data",
        world / READY,
    )
    assert_refused(run_here(*fit, code=2), "--class-words")
    run_here(*fit, "--class-words", world / CLASS_WORDS)
    after = np.load(tmp_path / "gaze" / "model.decoder.npz")["prior"]
    np.testing.assert_array_equal(after, before)
