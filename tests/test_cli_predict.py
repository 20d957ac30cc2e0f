"""`python -m img2prompt predict` as a person or a program calls it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import commands
import pytest

COMMAND = ("-m", "img2prompt", "predict")


def predict(*arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess:
    return commands.run_here(*COMMAND, *arguments, code=code)


@pytest.fixture
def pictures(tmp_path: Path, make_picture: Callable, encode: Callable) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encode(make_picture(number)))
    (folder / "broken.png").write_bytes(encode(make_picture(9))[:60])
    return folder


def test_one_line_of_words_a_picture(assets_folder: Path, pictures: Path) -> None:
    files = [pictures / f"{number}.png" for number in range(3)]
    done = commands.run(*COMMAND, "--preset", assets_folder, "--words", "4", *files)
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(len(set(line.split(", "))) == 4 for line in lines)


def test_json_lines_with_an_error_in_its_place(assets_folder: Path, pictures: Path) -> None:
    files = [pictures / "0.png", pictures / "broken.png", pictures / "gone.png", pictures / "1.png"]
    done = predict("--preset", assets_folder, "--json", *files, code=2)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["file"] for row in rows] == [str(file) for file in files]
    assert set(rows[0]) == {"file", "preset", "words"}
    assert rows[0]["preset"] == "original"
    assert len(rows[0]["words"]) == 10
    assert set(rows[0]["words"][0]) == {"word", "score", "alternatives"}
    assert isinstance(rows[0]["words"][0]["alternatives"][0][1], float)
    for row in rows[1:3]:
        assert set(row) == {"file", "error"}
        assert row["error"].endswith(".")
    assert "words" in rows[3]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "nonsense"], "nonsense"),
        (["--words", "0"], "number of words"),
        (["--words", "900"], "number of words"),
        (["--preset", "no/such/folder"], "no folder"),
    ],
)
def test_bad_options_are_one_sentence(pictures: Path, arguments: list[str], expected: str) -> None:
    done = predict(*arguments, pictures / "0.png", code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
    assert expected in done.stderr


def test_a_picture_that_cannot_be_used_is_named(assets_folder: Path, pictures: Path) -> None:
    done = predict("--preset", assets_folder, pictures / "broken.png", code=2)
    assert done.stdout == ""
    assert "broken.png" in done.stderr
    assert "cut off" in done.stderr


def test_a_files_name_never_reaches_the_terminal_raw(assets_folder: Path, pictures: Path) -> None:
    """Neither what it commands nor what turns reading round; in JSON it comes back whole."""
    names = ["0\x1b[2J.png", "\u202egnp.png", "1\x9b31m\r.png"]
    for name in names[:2]:
        (pictures / name).write_bytes((pictures / "0.png").read_bytes())
    files = [pictures / name for name in names]
    ours = ("--preset", assets_folder)
    done = predict(*ours, *files, pictures / "\x07broken\u2066.png", code=2)
    raw = predict(*ours, "--json", *files, code=2)
    told = done.stdout + done.stderr + raw.stdout + raw.stderr
    assert not set(told) & set("\x1b\u202e\x9b\x07\u2066") and "gnp" in told
    assert [json.loads(line)["file"] for line in raw.stdout.splitlines()] == [*map(str, files)]
