"""What a trained model answers, here and in a fresh process."""

import json
from pathlib import Path

import numpy as np
from commands import assert_refused, run, run_here
from PIL import Image
from toy_chain import COLOURS, draw

import img2prompt


def test_a_fresh_process_predicts_the_same(shipped: Path, tmp_path: Path) -> None:
    """In Python and by the command line."""
    picture = tmp_path / "red.png"
    draw(COLOURS["red"], "circle", 999).save(picture)
    here = img2prompt.load(shipped)(picture)
    code = (
        "import sys, json, img2prompt;"
        "from img2prompt.__main__ import main;"
        "p = img2prompt.load(sys.argv[1])(sys.argv[2]);"
        "print(json.dumps([w.score for w in p.words] + p.vectors.ravel().tolist()));"
        "main(['predict', '--preset', sys.argv[1], '--json', sys.argv[2]])"
    )
    scores, line = run("-c", code, shipped, picture).stdout.splitlines()
    own = [word.score for word in here.words] + here.vectors.ravel().tolist()
    np.testing.assert_allclose(json.loads(scores), own, atol=1e-5)
    there = json.loads(line)
    assert there["file"] == str(picture)
    assert there["preset"] == "gaze"
    assert [row["word"] for row in there["words"]] == [word.word for word in here.words]


def test_half_precision_moves_no_answer(world: Path, shipped: Path, tmp_path: Path) -> None:
    picture = tmp_path / "blue.png"
    draw(COLOURS["blue"], "square", 998).save(picture)
    full = img2prompt.load(world / "runs" / "gaze")(picture)
    half = img2prompt.load(shipped)(picture)
    assert [word.word for word in full.words[:5]] == [word.word for word in half.words[:5]]
    np.testing.assert_allclose(full.vectors, half.vectors, atol=0.02)
    run_size = (world / "runs" / "gaze" / "model.keras").stat().st_size
    assert (shipped / "gaze.keras").stat().st_size < 0.6 * run_size


def test_an_embedding_of_another_run_is_refused(world: Path, shipped: Path, tmp_path: Path) -> None:
    run_here("scripts/train_embedding.py", "--prompts", world / "prompts.txt", "--out",
             tmp_path / "embedding.npz", "--min-count", "2", "--epochs", "1",
             "--seed", "7")  # fmt: skip
    (tmp_path / "model.keras").write_bytes((shipped / "gaze.keras").read_bytes())
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    done = run_here("-m", "img2prompt", "predict", "--preset", tmp_path, picture, code=2)
    assert_refused(done, "don't belong together")
