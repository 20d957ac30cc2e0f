"""The benchmark of preparation: it measures real runs, and its made parts are real parts."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from benchmark_preparation import make_parts, measure
from paths import ROOT

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.data.diffusiondb import Pair, find_parts, read_part


def test_made_parts_are_whole_and_as_heavy_as_photographs(tmp_path: Path) -> None:
    make_parts(tmp_path, 2, pictures=45, side=128)
    first, second = (list(read_part(part)) for part in find_parts(tmp_path))
    assert len(first) == len(second) == 45 and all(isinstance(item, Pair) for item in first)
    assert len({pair.data for pair in first}) == 40 and first[0].data != second[0].data
    assert images.open_image(first[0].data).size == (128, 128)
    # DiffusionDB's PNG have about 1.7 bytes a pixel.
    assert 1.2 < len(first[0].data) / 128**2 < 2.4


def test_both_sides_are_measured_on_the_same_pictures(tmp_path: Path) -> None:
    make_parts(tmp_path, 2, pictures=30, side=96)
    told = measure(tmp_path, 2, 32, workers=2)
    assert (told.parts, told.pictures, told.processes) == (2, 60, 2)
    assert told.seconds > 0 and told.pure_seconds > 0
    assert told.ratio == pytest.approx(told.pure_seconds / told.seconds)
    if sys.platform == "linux":
        assert 30 * 2**20 < told.peak_bytes < 2**30  # three Pythons with numpy and pyarrow
    with pytest.raises(UserError, match="2 parts"):
        measure(tmp_path, 3, 32)


@pytest.mark.parametrize(
    ("option", "value", "mention"),
    [("--workers", -1, "workers"), ("--workers", 0, "workers"), ("--size", 0, "size")],
)
def test_impossible_options_are_told_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    option: str,
    value: int,
    mention: str,
) -> None:
    script = ROOT / "scripts" / "dev" / "benchmark_preparation.py"
    main = runpy.run_path(str(script))["main"]
    monkeypatch.setattr(sys, "argv", ["benchmark", "--generate", "1", option, str(value)])
    assert run_command(main) == 2
    told = capsys.readouterr()
    assert mention in told.err and told.err.startswith("error: ") and told.out == ""


def test_the_command_prints_the_ratio_and_the_verdict(tmp_path: Path) -> None:
    make_parts(tmp_path, 1, pictures=20, side=96)
    script = ROOT / "scripts" / "dev" / "benchmark_preparation.py"
    arguments = ["--data", tmp_path, "--parts", "1", "--size", "32"]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "ratio" in lines[1] and "peak MB" in lines[1]
    assert lines[2].split()[:3] == ["1", "20", "1"]
    assert lines[-1].startswith("the target of 80% of pure decoding is ")
    arguments[1] = tmp_path / "none"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
