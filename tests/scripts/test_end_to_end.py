"""The whole way on a tiny DiffusionDB: prepare, embed, train, ship, evaluate, predict.

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

import numpy as np
import pytest
from paths import ROOT
from PIL import Image, ImageDraw
from waiting import HELD_TRAINING, PATIENCE, held_at, is_held, wait_until

from img2prompt.core.errors import UserError
from img2prompt.embedding.class_names import read_class_names
from img2prompt.embedding.kinds import read_seeds

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 180, 40),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 40),
}
READY, EMBEDDING, CLASS_WORDS = (
    Path(name) for name in ("prepared/main-32", "assets/embedding.npz", "assets/class_words.npz")
)
SHAPES = ("circle", "square", "stripes")
STYLES = ("painting", "photo", "sketch", "poster", "mosaic", "print", "fresco", "collage")


def run(*command: str | Path, code: int = 0) -> subprocess.CompletedProcess:
    """Run a script of the repository from its root and check its exit code."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def assert_refused(done: subprocess.CompletedProcess, expected: str) -> None:
    """One sentence of ours on stderr, with `expected` in it, and no traceback."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert expected in lines[0]
    assert "Traceback" not in done.stderr


def draw(colour: tuple[int, int, int], shape: str, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (40, 32), tuple(int(v) for v in rng.integers(200, 256, 3)))
    pen = ImageDraw.Draw(picture)
    x, y = (int(v) for v in rng.integers(2, 12, 2))
    if shape == "circle":
        pen.ellipse((x, y, x + 22, y + 18), fill=colour)
    elif shape == "square":
        pen.rectangle((x, y, x + 22, y + 18), fill=colour)
    else:
        for step in range(0, 40, 8):
            pen.rectangle((step, 0, step + 3, 32), fill=colour)
    return picture


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts, prepared shards and an embedding of 192 pictures whose prompts say what they show."""
    from toy_files import encoded, write_metadata, write_part

    root = tmp_path_factory.mktemp("world")
    pictures = [
        (f"a {name} {shape} in the middle, {style} {other}", draw(rgb, shape, seed))
        for seed, (name, rgb, shape, style, other) in enumerate(
            (name, rgb, shape, style, other)
            for name, rgb in COLOURS.items()
            for shape in SHAPES
            for style, other in zip(STYLES * 2, STYLES[1:] + STYLES, strict=False)
        )
    ]
    rows = []
    for part in range(2):
        chosen = pictures[part::2]
        files = {f"{part}-{i}.png": encoded(picture) for i, (_, picture) in enumerate(chosen)}
        prompts = {f"{part}-{i}.png": prompt for i, (prompt, _) in enumerate(chosen)}
        write_part(root / "data" / "images" / f"part-{part + 1:06}.zip", files, prompts)
        rows += [(name, prompt, part + 1, 0.0, 0.0) for name, prompt in prompts.items()]
    write_metadata(root / "data" / "metadata.parquet", rows)
    # More sentences about the same things, so that the words' neighbourhoods can be learned.
    lines = [prompt for prompt, _ in pictures] + [
        f"{shape} and {other} in {name}, {style}"
        for name in COLOURS
        for shape in SHAPES
        for other in SHAPES
        for style in STYLES
    ]
    (root / "prompts.txt").write_text("\n".join(lines + seed_lines()), encoding="utf-8")
    make_assets(root, root / READY / "report.json", root / CLASS_WORDS)
    return root


def seed_lines() -> list[str]:
    """Prompts of a few words of every kind, none of which a CNN's class is called by."""
    named = {word for row in read_class_names() for word in f"{row.name} {row.kind}".split()}
    of_kind: dict[str, list[str]] = {}
    for word, kind in read_seeds().items():
        if word not in named:
            of_kind.setdefault(kind, []).append(word)
    lines = [" ".join(words[at : at + 3]) for words in of_kind.values() for at in (0, 3, 6)]
    return [f"{line} {number}" for line in lines for number in range(8)]


# What makes the chain small enough for a test.
SMALL_CHAIN = {
    "SIZE_gaze": "32",
    "SIZE_original": "32",
    "PRESETS": "gaze original",
    "ARGS_embedding": "--min-count 2 --epochs 20",
    # Few pictures: the true words must carry the run.
    "ARGS_gaze": "--epochs 6 --images-per-epoch 512 --batch-size 32 --soft-targets 0.2",
    "ARGS_original": "--epochs 1 --images-per-epoch 64",
    "ARGS_gallery": "--licence CC0-1.0",
}


def make_assets(root: Path, *arguments: str | Path, code: int = 0) -> str:
    """Run `make` with the repository's Makefile on the world in a folder; what it says."""
    venv = root / "venv"
    if not venv.exists():  # this process' own Python, with nothing to install
        (venv / "bin").mkdir(parents=True)
        python = venv / "bin" / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        python.chmod(0o755)
        for name in ("created", "run", "dev", "train"):
            (venv / f"{name}.stamp").touch()
    variables = SMALL_CHAIN | {
        "DATA": root / "data", "MADE": root, "VENV": venv, "PROMPTS": root / "prompts.txt",
    }  # fmt: skip
    done = subprocess.run(
        ["make", *(f"{name}={value}" for name, value in variables.items()), *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "MAKEFLAGS": ""},
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def shipped(world: Path) -> Path:
    """Assets with a trained `gaze` and an `original`, made by the chain of `make assets`."""
    make_assets(world, "assets")
    return world / "assets"


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
    make_assets(world, "assets", "--question")  # nothing is left to do
    planned = make_assets(world, "assets", "--dry-run", "--what-if", shipped / "embedding.npz")
    for step in ("build_map.py", "build_taxonomy.py", "--preset gaze"):
        assert step in planned
    assert "prepare_data.py" not in planned and "train_embedding.py" not in planned
    refused = make_assets(world, "assets", "DATA=", code=2)
    assert "make assets DATA=FOLDER" in refused


def test_an_artifact_of_unknown_making_does_not_ship(shipped: Path, tmp_path: Path) -> None:
    shutil.copytree(shipped, tmp_path / "assets")
    build = ("scripts/build_assets.py", "--out", tmp_path / "assets")
    for name in ("map.report.json", "manifest.json"):
        (tmp_path / "assets" / name).unlink()
    refused = run(*build, code=2)
    assert_refused(refused, "Nothing tells what made")
    assert not (tmp_path / "assets" / "manifest.json").exists()


# What makes the README's recipe small enough for a test.
SMALLER = {
    "train_embedding.py": "--min-count 2 --epochs 3",
    "train_model.py": "--epochs 1 --images-per-epoch 64",
    "evaluate.py": "--no-minilm",
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
            time.sleep(0.5)
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


def test_the_trained_model_looks_at_the_picture(world: Path, shipped: Path) -> None:
    out = world / "evaluation"
    done = run("scripts/evaluate.py", "--data", world / READY, "--assets", shipped, "--no-minilm",
               "--out", out)  # fmt: skip
    report = json.loads(out.with_suffix(".json").read_text())
    rows = {row["name"]: row for row in report["systems"]}
    assert set(rows) == {"constant", "knn", "linear", "gaze", "original"}
    assert rows["constant"]["gain"] == pytest.approx(0)
    assert rows["gaze"]["gain"] > 0.05
    assert rows["gaze"]["ece"] < 0.2 and rows["constant"]["ece"] is None
    assert 0 <= rows["gaze"]["specific_3"] <= 1 and "subjects" in rows["gaze"]
    assert rows["gaze"]["f1_interval"][0] <= rows["gaze"]["f1"] <= rows["gaze"]["f1_interval"][1]
    assert out.with_suffix(".md").read_text() in done.stdout + "\n"
    for name in rows:
        assert f"| {name} |" in done.stdout


def test_a_fresh_process_predicts_the_same(world: Path, shipped: Path) -> None:
    import img2prompt

    picture = world / "red.png"
    draw(COLOURS["red"], "circle", 999).save(picture)
    predictor = img2prompt.load(shipped)
    here = predictor(picture)
    done = run("-m", "img2prompt", "predict", "--preset", shipped, "--json", picture)
    there = json.loads(done.stdout)
    assert there["file"] == str(picture)
    assert there["preset"] == "gaze"
    assert [row["word"] for row in there["words"]] == [word.word for word in here.words]
    code = (
        "import sys, json, img2prompt;"
        "p = img2prompt.load(sys.argv[1])(sys.argv[2]);"
        "print(json.dumps([w.score for w in p.words] + p.vectors.ravel().tolist()))"
    )
    fresh = json.loads(run("-c", code, shipped, picture).stdout)
    own = [word.score for word in here.words] + here.vectors.ravel().tolist()
    np.testing.assert_allclose(fresh, own, atol=1e-5)


def test_half_precision_moves_no_answer(world: Path, shipped: Path) -> None:
    import img2prompt

    picture = world / "blue.png"
    draw(COLOURS["blue"], "square", 998).save(picture)
    full = img2prompt.load(world / "runs" / "gaze")(picture)
    half = img2prompt.load(shipped)(picture)
    assert [word.word for word in full.words[:5]] == [word.word for word in half.words[:5]]
    np.testing.assert_allclose(full.vectors, half.vectors, atol=0.02)
    run_size = (world / "runs" / "gaze" / "model.keras").stat().st_size
    assert (shipped / "gaze.keras").stat().st_size < 0.6 * run_size


def test_gaze_is_trained_from_a_stream_and_on_replicas(world: Path, shipped: Path) -> None:
    """Its features, soft targets and loss, under the loop of a strategy, dropout and all."""
    out = world / "runs" / "streamed"
    run("scripts/train_model.py", "--preset", "gaze", "--data", world / READY, "--embedding",
        world / EMBEDDING, "--out", out, "--epochs", "3", "--images-per-epoch", "256",
        "--batch-size", "64", "--stream", "--strategy", "mirrored")  # fmt: skip
    lines = (out / "history.csv").read_text().splitlines()
    columns = lines[0].split(",")
    losses = [float(line.split(",")[columns.index("loss")]) for line in lines[1:]]
    assert len(losses) == 3 and losses[-1] < losses[0]
    assert (out / "model.keras").exists() and not (out / "soft").exists()
    picture = draw(COLOURS["red"], "circle", 1)
    picture.save(world / "red.png")
    done = run("-m", "img2prompt", "predict", "--preset", out, "--words", "3", world / "red.png")
    assert len(done.stdout.split(":")[-1].split(",")) == 3


def test_a_killed_run_resumes_where_it_stopped(world: Path) -> None:
    out = world / "runs" / "killed"
    command = ["scripts/train_model.py", "--preset", "original", "--data", world / READY,
               "--embedding", world / EMBEDDING, "--out", out, "--epochs", "40",
               "--images-per-epoch", "64"]  # fmt: skip
    go = world / "go"  # which never comes
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

    refused = run(*command, code=2)
    assert "--resume" in refused.stderr
    resumed = run(*command, "--resume")
    # The epoch under way at the kill is repeated; earlier ones are not.
    assert f"Epoch {done_before - 1}/40" not in resumed.stdout
    epochs = [int(line.split(",")[0]) for line in history.read_text().splitlines()[1:]]
    assert epochs == list(range(40))
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
    done = run("scripts/train_model.py", *(x for pair in command.items() for x in pair), code=2)
    assert_refused(done, expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--split", "holdout"], "Unknown split"),
        (["--data", "nowhere"], "no prepared shards"),
        (["--presets", "nonsense"], "nonsense"),
        (["--assets", "nowhere"], "no manifest.json"),
        (["--abroad", "nobody"], "Name the runs"),
    ],
)
def test_bad_evaluation_arguments_are_one_sentence(
    world: Path, shipped: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    command = {
        "--data": world / READY,
        "--assets": shipped,
        "--out": tmp_path / "report",
    }
    command |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    pairs = [x for pair in command.items() for x in pair]
    done = run("scripts/evaluate.py", *pairs, "--no-baselines", "--no-minilm", code=2)
    assert_refused(done, expected)
    assert not list(tmp_path.iterdir())


def test_an_embedding_of_another_run_is_refused(world: Path, shipped: Path, tmp_path: Path) -> None:
    run("scripts/train_embedding.py", "--prompts", world / "prompts.txt", "--out",
        tmp_path / "embedding.npz", "--min-count", "2", "--epochs", "1", "--seed", "7")  # fmt: skip
    (tmp_path / "model.keras").write_bytes((shipped / "gaze.keras").read_bytes())
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    done = run("-m", "img2prompt", "predict", "--preset", tmp_path, picture, code=2)
    assert "don't belong together" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_decoder_is_fitted_anew(world: Path, shipped: Path) -> None:
    out = world / "runs" / "original"
    before = (out / "model.decoder.npz").read_bytes()
    (out / "model.decoder.npz").unlink()
    done = run("scripts/fit_decoder.py", "--run", out, "--data", world / READY)
    assert "confidence" in done.stdout
    assert (out / "model.decoder.npz").read_bytes() == before
    assert "fit_decoder.py" in (out / "model.decoder.made.json").read_text()
    refused = run("scripts/fit_decoder.py", "--run", out, "--data", world / "nowhere", code=2)
    assert_refused(refused, "no prepared shards")


def test_a_decoder_fitted_anew_keeps_the_runs_prior(
    world: Path, shipped: Path, tmp_path: Path
) -> None:
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
    assert_refused(run(*fit, code=2), "--class-words")
    run(*fit, "--class-words", world / CLASS_WORDS)
    after = np.load(tmp_path / "gaze" / "model.decoder.npz")["prior"]
    np.testing.assert_array_equal(after, before)


@pytest.fixture(scope="module")
def two_sources(world: Path) -> Path:
    """The prepared pictures, the blue ones from a source of their own."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ready = world / "two-sources"
    shutil.copytree(world / READY, ready)
    for path in ready.glob("part-*.parquet"):
        table = pq.read_table(path)
        blue = ["elsewhere" if "blue" in p else "here" for p in table.column("prompt").to_pylist()]
        column = table.schema.get_field_index("source")
        pq.write_table(table.set_column(column, "source", pa.array(blue)), path)
    return ready


def test_what_was_left_out_is_measured_abroad(
    world: Path, two_sources: Path, tmp_path: Path
) -> None:
    """A run trained without a source is measured on it, one trained with it is refused."""
    ready = two_sources
    common = ("--preset", "original", "--data", ready, "--embedding", world / EMBEDDING,
              "--epochs", "1", "--images-per-epoch", "64")  # fmt: skip
    run("scripts/train_model.py", *common, "--out", tmp_path / "without", "--without", "elsewhere")
    run("scripts/train_model.py", *common, "--out", tmp_path / "with")
    measure = ("scripts/evaluate.py", "--data", ready, "--abroad", "elsewhere", "--no-minilm")
    out = tmp_path / "abroad"
    run(*measure, "--presets", tmp_path / "without", "--out", out)
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["split"] == "abroad" and report["pictures"] == 45
    constant = next(row for row in report["systems"] if row["name"] == "constant")
    assert set(constant["sources"]) == {"elsewhere"}
    assert "blue" not in report["examples"]["constant"]["best"][0]["answer"]
    refused = run(*measure, "--presets", tmp_path / "with", "--no-baselines", code=2)
    assert_refused(refused, "not a run trained without elsewhere")


def test_presets_of_two_sizes_are_measured_side_by_side(world: Path, tmp_path: Path) -> None:
    run("scripts/prepare_data.py", "--data", world / "data", "--out", tmp_path / "40", "--size",
        "40")  # fmt: skip
    for name, data in (("small", world / READY), ("large", tmp_path / "40")):
        run("scripts/train_model.py", "--preset", "original", "--data", data, "--embedding",
            world / EMBEDDING, "--out", tmp_path / name, "--epochs", "1",
            "--images-per-epoch", "64")  # fmt: skip
    both = ("scripts/evaluate.py", "--presets", tmp_path / "small", tmp_path / "large",
            "--no-baselines", "--no-minilm", "--data")  # fmt: skip
    done = run(*both, world / READY, tmp_path / "40")
    assert "| small |" in done.stdout and "| large |" in done.stdout
    assert_refused(run(*both, world / READY, code=2), "prepare them alike")


def test_ablations_train_measure_and_go_on(
    world: Path, two_sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ablate

    auxiliary = world / "auxiliary"
    run("scripts/prepare_data.py", "--data", world / "data", "--out", auxiliary, "--size", "32",
        "--train-only")  # fmt: skip
    rows = (ablate.LADDER[0], ablate.LADDER[-1])

    def measure() -> dict:
        plan = ablate.Plan(
            two_sources, auxiliary, world / EMBEDDING, tmp_path / "runs", epochs=1,
            images_per_epoch=256, held_out=("elsewhere",), rows=rows, seeds=(1, 2),
        )  # fmt: skip
        return ablate.run_ablations(plan)

    report = measure()
    names = [row["name"] for row in report["rows"]]
    assert names[:3] == ["constant", "ordered", "whole"]
    assert {"no-prior", "csls", "centred", "mirrored", "knn", "ensemble"} <= set(names)
    found = {row["name"]: row for row in report["rows"]}
    assert found["whole"]["runs"] == 2 and "deviation" in found["whole"]["home"]
    assert found["constant"]["home"]["gain"] == pytest.approx(0)
    assert report["settings"]["pictures"]["abroad"] == 45
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "ordered-1", "whole-1", "whole-2"]  # fmt: skip
    page = ablate.markdown(report)
    assert all(row["title"] in page for row in report["rows"])

    from img2prompt.training import trainer

    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("a finished row was trained again")

    monkeypatch.setattr(trainer, "train", never)
    assert measure() == report
    config = tmp_path / "runs" / "whole-1" / "config.json"
    config.write_text(config.read_text().replace('"prior": 0.01', '"prior": 0.02'))
    with pytest.raises(UserError, match="trained otherwise"):
        measure()
