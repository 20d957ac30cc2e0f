"""The chain of `make assets`, and the README's recipe, on a tiny DiffusionDB.

Every step is the real script in a process of its own, as a person runs it.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from commands import assert_refused, run_here
from paths import ROOT
from toy_chain import make


def test_every_artifact_of_the_chain_tells_what_made_it(world: Path, shipped: Path) -> None:
    files = json.loads((shipped / "manifest.json").read_text("utf-8"))["files"]
    scripts = {
        "embedding.npz": "train_embedding.py",
        "class_words.npz": "count_class_words.py",
        "kinds.npz": "build_kinds.py",
        "lexicon.npz": "build_lexicon.py",
        "map.npz": "build_map.py",
        "taxonomy.npz": "build_taxonomy.py",
        "gallery.npz": "build_gallery.py",
        "gaze.keras": "train_model.py --preset gaze",
        "gaze.decoder.npz": "train_model.py --preset gaze",
        "original.keras": "train_model.py --preset original",
        "original.decoder.npz": "train_model.py --preset original",
    }
    assert set(files) == set(scripts)
    for name, script in scripts.items():
        assert files[name]["made_by"].startswith(f"python scripts/{script}"), name
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", files[name]["date"])
        assert "commit" in files[name]
    assert files["class_words.npz"]["figures"]["prompts"] > 0
    assert files["map.npz"]["figures"].keys() == {"recall_2d", "recall_3d"}


def test_the_chain_repeats_what_is_older_than_what_it_is_made_of(
    world: Path, shipped: Path
) -> None:
    make(world, "assets", "--question")  # nothing is left to do
    planned = make(world, "assets", "--dry-run", "--what-if", shipped / "embedding.npz")
    for step in ("build_map.py", "build_taxonomy.py", "--preset gaze"):
        assert step in planned
    assert "prepare_data.py" not in planned and "train_embedding.py" not in planned
    trained = ("assets", "--dry-run", "--what-if", world / "runs" / "gaze" / "model.keras")
    assert "build_gallery.py" in make(world, *trained)
    assert "build_gallery.py" not in make(world, *trained, "METADATA=")  # whose are they?
    refused = make(world, "assets", "DATA=", code=2)
    assert "make assets DATA=FOLDER" in refused


def test_an_artifact_of_unknown_making_does_not_ship(shipped: Path, tmp_path: Path) -> None:
    shutil.copytree(shipped, tmp_path / "assets")
    build = ("scripts/build_assets.py", "--out", tmp_path / "assets")
    for name in ("map.report.json", "manifest.json"):
        (tmp_path / "assets" / name).unlink()
    refused = run_here(*build, code=2)
    assert_refused(refused, "Nothing tells what made")
    assert not (tmp_path / "assets" / "manifest.json").exists()


# What makes the README's recipe small enough for a test.
SMALLER = {
    "train_embedding.py": "--min-count 2 --epochs 3",
    "build_map.py": "--words 60",
    "train_model.py": "--epochs 1 --images-per-epoch 64",
    "evaluate.py": "--no-minilm --no-baselines",
    "app.py": "--port {port}",
}


def readme_recipe(folder: Path, port: int) -> str:
    """The README's training recipe as a shell would get it, for a folder in place of the hub."""
    section = (ROOT / "README.md").read_text("utf-8").split("\n## Train it yourself\n")[1]
    block, of_folder = re.findall(r"```sh\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    commands = block.replace("\\\n", " ").splitlines()
    assert commands.pop(0) == "make train-setup && . .venv/bin/activate"
    for line in of_folder.splitlines():
        script = line.split()[1]
        (place,) = (n for n, command in enumerate(commands) if script in command)
        assert "hub" in commands[place] or "--subset" in commands[place]
        commands[place] = line.replace("FOLDER", shlex.quote(str(folder)))
    for n, command in enumerate(commands):
        name = Path(command.split()[1]).name
        commands[n] += " " + SMALLER.get(name, "").format(port=port)
    assert commands[-1].startswith("python app.py ")  # it blocks, so nothing may follow
    return "set -e\n" + "\n".join(commands) + "\n"


def test_the_readmes_recipe_runs_with_a_folder_alone(world: Path, tmp_path: Path) -> None:
    """Pasted as one block: nobody is asked, nothing is fetched, git sees nothing of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = tmp_path / "own pictures"
    shutil.copytree(world / "data", folder)
    lines = (world / "prompts.txt").read_text("utf-8").splitlines()
    pq.write_table(pa.table({"prompt": lines}), folder / "prompts.parquet")
    place = tmp_path / "repository"
    place.mkdir()
    for name in ("scripts", "app.py", "img2prompt"):
        (place / name).symlink_to(ROOT / name)
    (place / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    (place / "bin").mkdir()
    (place / "bin" / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    (place / "bin" / "python").chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log.txt"
    with log.open("wb") as told:
        process = subprocess.Popen(
            ["bash"],
            cwd=place,
            stdin=subprocess.PIPE,
            stdout=told,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ
            | {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
            | {"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        )
    try:
        # Through a pipe, as a terminal has it: a command that reads a line takes the next one.
        process.stdin.write(readme_recipe(folder, port).encode())
        process.stdin.close()
        answered = False
        deadline = time.monotonic() + 600
        while not answered:
            assert process.poll() is None, log.read_text("utf-8")[-3000:]
            assert time.monotonic() < deadline, log.read_text("utf-8")[-3000:]
            time.sleep(0.1)
            with (
                contextlib.suppress(OSError),
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as page,
            ):
                answered = page.status == 200
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    manifest = json.loads((place / "mine" / "manifest.json").read_text("utf-8"))
    assert manifest["data"] == "180 pictures of a folder of one's own, parts 1-2"
    assert {"gaze.keras", "embedding.npz", "map.npz"} <= set(manifest["files"])
    assert "left out: " in log.read_text("utf-8")
    subprocess.run(["git", "init", "-q"], cwd=place, check=True)
    seen = subprocess.run(
        ["git", "status", "--porcelain", "-uall"],
        cwd=place,
        capture_output=True,
        text=True,
        check=True,
    )
    new = {line.split(maxsplit=1)[1] for line in seen.stdout.splitlines()}
    assert new <= {"scripts", "app.py", "img2prompt", ".gitignore", "bin/python"}, new
