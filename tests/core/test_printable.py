"""No file name and no prompt reaches a terminal as a control character, whoever prints it."""

import io
import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.printable import LAYOUT, CleanStream, json_text, one_line, visible

EVIL = "dog\x1b[2J\x07\u202egnp\x9b31m\u2028.png"
ANY = st.text(st.characters(exclude_categories=()), max_size=60)


def unsafe(text: str) -> set[str]:
    """The categories of what a terminal would obey, but for line ends and tabs."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {unicodedata.category(letter) for letter in text if letter not in LAYOUT} & bad


@given(ANY)
def test_what_is_shown_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    assert not unsafe(visible(text)) and not unsafe(one_line(text))
    assert len(one_line(text).splitlines()) <= 1
    stream = io.StringIO(newline="")
    assert CleanStream(stream).write(text) == len(text)
    assert not unsafe(stream.getvalue())


@given(ANY)
def test_json_comes_back_whole_and_holds_nothing_either(text: str) -> None:
    written = json_text({"file": text})
    assert json.loads(written) == {"file": text}
    assert unsafe(written) <= {"Cs"}  # which no stream can write


def test_letters_of_every_script_stay_as_they_are() -> None:
    for text in ("Schloß, 東京, 🦊, مدينة", "a dog, oil"):
        assert visible(text) == one_line(text) == text and text in json_text(text)


def test_a_commands_error_is_one_clean_line(capsys: pytest.CaptureFixture) -> None:
    def main() -> None:
        print(f"{EVIL}\t50 %\r", file=sys.stderr, end="")
        raise UserError(f"There is no file {EVIL}\nerror: all is well.")

    assert run_command(main) == 2
    told = capsys.readouterr().err
    assert not unsafe(told) and "\t50 %\r" in told
    assert told.rpartition("\r")[2].count("\n") == 1


def test_a_missing_files_name_is_clean_too(capsys: pytest.CaptureFixture) -> None:
    assert run_command(lambda: open(EVIL)) == 2  # noqa: SIM115
    assert not unsafe(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("prepare_data.py", ["--data", EVIL, "--out", "out"]),
        ("prepare_data.py", ["--data", "x", "--out", "out", f"--{EVIL}"]),  # argparse's own
        ("fetch_prompts.py", ["--data", EVIL, "--out", "out.parquet"]),
        ("train_embedding.py", ["--prompts", EVIL, "--out", "out.npz"]),
        ("count_class_words.py", ["--prompts", EVIL, "--embedding", EVIL, "--out", "x.npz"]),
    ],
)
def test_no_scripts_mistake_reaches_the_terminal_raw(
    tmp_path: Path, script: str, arguments: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *arguments],
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 2
    told = (done.stdout + done.stderr).decode()
    assert not unsafe(told) and "gnp" in told
