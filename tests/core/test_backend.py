"""The error output holds our own lines and every error, and nothing of TensorFlow's start."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from browser_kit import free_port
from paths import ROOT
from sharding import write_shards
from waiting import PATIENCE, wait_until

from img2prompt.core.cli import OURS
from img2prompt.embedding.vectors import WordVectors

# Stands in for TensorFlow: writes as its libraries do, past Python, and does what it is told to.
FAKE = """
import contextlib, os
def say(line):
    with contextlib.suppress(OSError):
        os.write(2, line)
say(b"WARNING: All log messages before absl::InitializeLog() is called are written\\n")
say(b"I0000 00:00:1795.048    1 port.cc:153] oneDNN custom operations are on.\\n")
say(b"2026-11-26 04:08:18.1: I tensorflow/core/util/port.cc:153] oneDNN is on.\\n")
say(b"I0000 00:00:1795.486    1 cpu_feature_guard.cc:227] This binary is optimized\\n")
say(b"To enable the following instructions: AVX2, in other operations, rebuild TensorFlow"
            b" with the appropriate compiler flags.\\n")
say(b"E0000 00:00:1795.474 1 cuda_platform.cc:52] failed call to cuInit: ERROR (303)\\n")
say(b"E0000 00:00:1795.474 1 cuda_platform.cc:52] failed call to cuInit: ERROR (999)\\n")
say(b"I am no note of a library\\n")
if os.environ.get("FAKE") == "abort":
    say(b"F0000 00:00:1795.5 1 this processor lacks AVX\\n")
    os.abort()
if os.environ.get("FAKE") == "raise":
    raise ImportError("a library is missing")
if os.environ.get("FAKE") == "partial":
    say(b"without an end")

class config:
    def list_physical_devices(): pass

def get_logger():
    import logging
    return logging.getLogger("tensorflow")
"""
KEPT = [
    "E0000 00:00:1795.474 1 cuda_platform.cc:52] failed call to cuInit: ERROR (999)",
    "I am no note of a library",
]


def run(
    *command: str | Path, level: str | None = None, path: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess:
    """Run Python from the repository's root with a user's environment, not the tests' own."""
    ours = ("TF_CPP_MIN_LOG_LEVEL", OURS)
    clean = {key: value for key, value in os.environ.items() if key not in ours}
    given = {} if level is None else {"TF_CPP_MIN_LOG_LEVEL": level}
    paths = os.pathsep.join((str(path), str(ROOT)))
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env=clean | given | {"PYTHONPATH": paths} | environment,
    )  # fmt: skip


@pytest.fixture
def fake(tmp_path: Path) -> Path:
    (tmp_path / "tensorflow.py").write_text(FAKE)
    (tmp_path / "keras.py").write_text("import tensorflow")
    return tmp_path


IMPORT = "import os, img2prompt.core.backend; os.write(2, b'I0000 00:00:1 afterwards\\n')"


def test_start_up_lines_go_and_everything_else_stays(fake: Path) -> None:
    done = run("-c", IMPORT, path=fake)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [*KEPT, "I0000 00:00:1 afterwards"]


@pytest.mark.parametrize(("level", "told"), [("1", 4), ("2", 4), ("0", 9)])
def test_a_level_of_ones_own_is_respected(fake: Path, level: str, told: int) -> None:
    """Only information is filtered where a person asked for warnings; nothing at level 0."""
    done = run("-c", IMPORT, path=fake, level=level)
    assert len(done.stderr.splitlines()) == told, done.stderr
    assert "(303)" in done.stderr and set(KEPT) < set(done.stderr.splitlines())
    seen = run("-c", "import img2prompt.core.backend, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])",  # noqa: E501
               path=fake, level=level)  # fmt: skip
    assert seen.stdout.strip() == level


def test_errors_are_seen_even_of_a_library_that_ends_the_process(fake: Path) -> None:
    aborted = run("-c", IMPORT, path=fake, FAKE="abort")
    assert aborted.returncode == -signal.SIGABRT
    assert aborted.stderr.splitlines() == [*KEPT, "F0000 00:00:1795.5 1 this processor lacks AVX"]
    raised = run("-c", IMPORT, path=fake, FAKE="raise")
    assert raised.returncode == 1
    assert raised.stderr.splitlines()[: len(KEPT)] == KEPT
    assert raised.stderr.endswith("ImportError: a library is missing\n")
    partial = run("-c", "import img2prompt.core.backend", path=fake, FAKE="partial")
    assert partial.stderr.endswith("\nwithout an end")


def test_ctrl_c_while_it_is_imported_says_nothing_more(fake: Path) -> None:
    """As a terminal does: to every process of the group."""
    (fake / "keras.py").write_text("import os, signal, time; os.killpg(0, signal.SIGINT)")
    code = "from img2prompt.core.cli import run_command; import sys\n"
    code += "def main():\n    import img2prompt.core.backend\nsys.exit(run_command(main))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env=os.environ | {"PYTHONPATH": f"{fake}{os.pathsep}{ROOT}"}, start_new_session=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "stopped\n")


@pytest.mark.parametrize(("command", "found"), [(False, "True"), (True, "False")])
def test_only_a_command_of_ours_hides_what_keras_need_not_import(
    fake: Path, command: bool, found: str
) -> None:
    """From it, and from its worker processes; afterwards everything can be imported."""
    for name in ("matplotlib", "sklearn"):
        (fake / f"{name}.py").touch()
    (fake / "keras.py").write_text(
        "import contextlib, sys\n"
        "with contextlib.suppress(ImportError):\n    import matplotlib\n"
        "with contextlib.suppress(ImportError):\n    import sklearn\n"
        "print(None not in map(sys.modules.get, ('matplotlib', 'sklearn')))"
    )
    main = "import img2prompt.core.backend, matplotlib, sklearn, subprocess, sys"
    worker = "subprocess.run([sys.executable, '-c', 'import img2prompt.core.backend'], check=True)"
    code = f"def main():\n    {main}\n    sys.stdout.flush()\n    {worker}\n"
    code += "from img2prompt.core.cli import run_command\n"
    done = run("-c", code + ("run_command(main)" if command else "main()"), path=fake)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [found, found]


def test_without_error_output_all_works(fake: Path) -> None:
    command = 'exec "$0" -c "import img2prompt.core.backend; print(1)" 2>&-'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable], cwd=ROOT, stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{fake}{os.pathsep}{ROOT}"}, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, b"1\n")


# --- the real commands ----------------------------------------------------------------------------

PICTURE = ROOT / "assets" / "examples" / "01-dragon.jpg"


def test_a_prediction_in_python_says_nothing() -> None:
    code = (
        "import sys, img2prompt\n"
        "for preset in (None, 'original'):\n    print(img2prompt.load(preset)(sys.argv[1]).prompt)"
    )
    done = run("-W", "default::UserWarning", "-c", code, PICTURE)
    assert (done.returncode, done.stderr) == (0, "")
    assert "dragon" in done.stdout


def test_the_command_line_says_nothing_but_its_own() -> None:
    done = run("-m", "img2prompt", "predict", PICTURE, ROOT / "nowhere.png")
    assert done.returncode == 2 and "dragon" in done.stdout
    assert [line[:7] for line in done.stderr.splitlines()] == ["error: "], done.stderr


def test_the_page_says_nothing(tmp_path: Path) -> None:
    port = free_port()
    clean = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    with (tmp_path / "errors").open("w") as errors:
        app = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port)],
            cwd=ROOT, env=clean, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as response:
                return response.status == 200
        except OSError:
            return False

    try:
        wait_until(answers, app)
    finally:
        app.kill()
        app.wait(PATIENCE)
    assert (tmp_path / "errors").read_text() == ""


# Commands one after the other in one process.
SEVERAL = """
import json, runpy, sys
for sys.argv in json.loads(sys.argv[1]):
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        assert not end.code
"""


def run_several(*commands: list) -> str:
    """What the commands say on the error output."""
    done = run("-c", SEVERAL, json.dumps([[str(word) for word in words] for words in commands]))
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.fixture
def train(vectors: WordVectors, tmp_path: Path) -> list:
    """How training is called; its folder, preset and more are to follow."""
    content = [word for word, good in zip(vectors.words, vectors.answerable, strict=True) if good]
    write_shards(tmp_path / "ready", content)
    vectors.save(tmp_path / "embedding.npz")
    return ["scripts/train_model.py", "--data", tmp_path / "ready", "--embedding",
            tmp_path / "embedding.npz", "--epochs", "2", "--images-per-epoch", "64"]  # fmt: skip


def test_training_and_measuring_say_nothing(train: list, tmp_path: Path) -> None:
    """But `gaze`, which shows its progress."""
    ready, out = tmp_path / "ready", tmp_path / "run"
    told = run_several(
        [*train, "--preset", "notebook", "--out", out],
        ["scripts/fit_decoder.py", "--run", out, "--data", ready],
        ["scripts/evaluate.py", "--presets", out, "--data", ready, "--no-minilm",
         "--no-baselines"],
        [*train, "--preset", "gaze", "--out", tmp_path / "gaze", "--batch-size", "32",
         "--no-evidence", "--prior", "0", "--class-teacher", "0"],
    )  # fmt: skip
    lines = [line for line in told.replace("\r", "\n").splitlines() if line.strip()]
    assert lines[0] == "measuring run …"
    assert all("features of efficientnet" in line for line in lines[1:]), told


def test_training_on_replicas_says_nothing(train: list, tmp_path: Path) -> None:
    told = run_several(
        [*train, "--preset", "notebook", "--out", tmp_path / "run", "--stream", "--strategy",
         "mirrored"]
    )  # fmt: skip
    assert told == ""
