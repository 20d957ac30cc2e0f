"""Runs are measured by `evaluate.py`."""

import json
from pathlib import Path

import pytest
from commands import assert_refused, run_here
from toy_chain import EMBEDDING, READY, write_two_sources


def test_the_trained_model_looks_at_the_picture(world: Path, shipped: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    done = run_here("scripts/evaluate.py", "--data", world / READY, "--assets", shipped,
                    "--no-minilm", "--out", out)  # fmt: skip
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
    done = run_here("scripts/evaluate.py", *pairs, "--no-baselines", "--no-minilm", code=2)
    assert_refused(done, expected)
    assert not list(tmp_path.iterdir())


def train_original(world: Path, data: Path, out: Path, *more: str) -> None:
    run_here("scripts/train_model.py", "--preset", "original", "--data", data, "--embedding",
             world / EMBEDDING, "--out", out, "--epochs", "1", "--images-per-epoch", "64",
             *more)  # fmt: skip


def test_what_was_left_out_is_measured_abroad(world: Path, tmp_path: Path) -> None:
    """A run trained without a source is measured on it, one trained with it is refused."""
    ready = write_two_sources(world, tmp_path / "main-32")
    train_original(world, ready, tmp_path / "without", "--without", "elsewhere")
    measure = ("scripts/evaluate.py", "--data", ready, "--abroad", "elsewhere",
               "--no-minilm")  # fmt: skip
    out = tmp_path / "abroad"
    run_here(*measure, "--presets", tmp_path / "without", "--out", out)
    report = json.loads(out.with_suffix(".json").read_text())
    assert report["split"] == "abroad" and report["pictures"] == 45
    constant = next(row for row in report["systems"] if row["name"] == "constant")
    assert set(constant["sources"]) == {"elsewhere"}
    assert "blue" not in report["examples"]["constant"]["best"][0]["answer"]
    trained_with = ("--presets", world / "runs" / "original", "--no-baselines")
    refused = run_here(*measure, *trained_with, code=2)
    assert_refused(refused, "not a run trained without elsewhere")


def test_presets_of_two_sizes_are_measured_side_by_side(world: Path, tmp_path: Path) -> None:
    run_here("scripts/prepare_data.py", "--data", world / "data", "--out", tmp_path / "40",
             "--size", "40")  # fmt: skip
    train_original(world, tmp_path / "40", tmp_path / "large")
    both = ("scripts/evaluate.py", "--presets", world / "runs" / "original", tmp_path / "large",
            "--no-baselines", "--no-minilm", "--data")  # fmt: skip
    done = run_here(*both, world / READY, tmp_path / "40")
    assert "| original |" in done.stdout and "| large |" in done.stdout
    assert_refused(run_here(*both, world / READY, code=2), "prepare them alike")
