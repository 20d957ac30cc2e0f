"""Predictions, one or a set of them, as plain text, JSON and CSV.

The JSON of a picture is the command line's, from the same function. Texts are returned as str;
`save` and `encoded` give them the encoding that the readers of each format expect.
"""

import csv
import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.core.printable import json_text, one_line
from img2prompt.inference.prediction import Prediction

# A file's name (None where it has none) and its answer, or why there is none.
Result = tuple[str | None, Prediction | UserError]

# Spreadsheets run a cell that starts with one of these as a formula, the full-width ones as well
# (OWASP, "CSV Injection"). No word of the vocabulary does, but a file's name may.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_WORD_COLUMNS = ("rank", "word", "score", "confidence", "alternatives")


@dataclass(frozen=True)
class Truth:
    """How an answer compares to the picture's true prompt; `evaluation.score.compare` makes it.

    Attributes:
        prompt: for display, hidden words masked.
        found: words of the answer that stand in it.
        true: how many of its content words the vocabulary knows.
        f1: of the answer, in [0, 1]; None where the vocabulary knows none of its words.
    """

    prompt: str
    found: tuple[str, ...] = ()
    true: int = 0
    f1: float | None = None

    def to_dict(self) -> dict[str, object]:
        """JSON-ready: `truth`, and where the vocabulary knows a word of it `found` and `f1`."""
        row: dict[str, object] = {"truth": self.prompt}
        return row if self.f1 is None else row | {"found": [*self.found], "f1": round(self.f1, 4)}


def as_text(prediction: Prediction) -> str:
    """The words as a prompt on one line, what `predict` prints and caption files hold."""
    return prediction.prompt + "\n"


def as_json(prediction: Prediction) -> str:
    """One JSON object on one line: `{"preset": …, "words": […]}`, see `json_row`."""
    return json_text(json_row(None, prediction)) + "\n"


def as_csv(prediction: Prediction) -> str:
    """A word a line, with a head: rank, word, score, confidence, alternatives.

    Confidence is empty where the model has none; alternatives are separated by spaces.
    """
    return _csv([_WORD_COLUMNS, *_word_rows(prediction)])


def json_row(
    file: str | None, result: Prediction | UserError, truth: Truth | None = None
) -> dict[str, Any]:
    """A picture's JSON object, the form of `python -m img2prompt predict --json`.

    Returns:
        `{"file": …, "preset": …, "words": […]}`, or `{"file": …, "error": "one sentence"}`;
        without `file` where it is None. Where the true prompt is known, `Truth.to_dict` too.
    """
    row: dict[str, Any] = {} if file is None else {"file": file}
    if isinstance(result, UserError):
        return row | {"error": str(result)}
    return row | result.to_dict(vectors=False) | (truth.to_dict() if truth is not None else {})


def json_line(file: str | None, result: Prediction | UserError, truth: Truth | None = None) -> str:
    """`json_row` as text, without the end of the line."""
    return json_text(json_row(file, result, truth))


def set_as_text(results: Iterable[Result]) -> str:
    """A picture a line: its name, a tab, the prompt; of one without an answer, the reason."""
    lines = (
        f"{one_line(name or '')}\t{result if isinstance(result, UserError) else result.prompt}\n"
        for name, result in results
    )
    return "".join(lines)


def set_as_json(results: Iterable[Result], truths: Iterable[Truth | None] = ()) -> str:
    """A JSON array of `json_row`s, one a line.

    Args:
        results: of the set.
        truths: of the same pictures in the same order, as far as there are any.
    """
    rows = _with_truths(results, truths)
    return "[\n" + ",\n".join(json_line(*row) for row in rows) + "\n]\n"


def set_as_csv(results: Iterable[Result], truths: Iterable[Truth | None] = ()) -> str:
    """A word a line, as `as_csv`, after the picture's name and the preset; then the error.

    Where the true prompt is known, `found` says whether the word stands in it (yes or no), and
    `f1` and `truth` follow. A picture without an answer is one line with its reason.

    Args:
        results: of the set.
        truths: as for `set_as_json`.
    """
    rows: list[Sequence[Any]] = [
        ("file", "preset", *_WORD_COLUMNS, "error", "found", "f1", "truth")
    ]
    for name, result, truth in _with_truths(results, truths):
        if isinstance(result, UserError):
            rows.append((name, "", *[""] * len(_WORD_COLUMNS), str(result), "", "", ""))
            continue
        for row in _word_rows(result):
            rows.append((name, result.preset, *row, "", *_truth_cells(row[1], truth)))
    return _csv(rows)


def _with_truths(
    results: Iterable[Result], truths: Iterable[Truth | None]
) -> Iterator[tuple[str | None, Prediction | UserError, Truth | None]]:
    """(name, result, truth); the truths may be fewer."""
    for (name, result), truth in zip(results, itertools.chain(truths, itertools.repeat(None))):  # noqa: B905
        yield name, result, truth


def _truth_cells(word: str, truth: Truth | None) -> tuple[str, str, str]:
    if truth is None:
        return "", "", ""
    if truth.f1 is None:
        return "", "", truth.prompt
    return "yes" if word in truth.found else "no", f"{truth.f1:.4f}", truth.prompt


def counts_as_csv(counts: Iterable[tuple[str, int]]) -> str:
    """Words and how many pictures of a set got them."""
    return _csv([("word", "pictures"), *counts])


def table_as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Any table: a head and its rows."""
    return _csv([columns, *rows])


def save(path: str | os.PathLike[str], content: str) -> Path:
    """Write an export under its final name, whole or not at all, as `encoded` says."""
    path = Path(path)
    with atomic_path(path) as temporary:
        # Bytes, because a text file would turn CSV's line ends into \r\r\n on Windows.
        temporary.write_bytes(encoded(path.name, content))
    return path


def encoded(name: str, content: str) -> bytes:
    """An export as the bytes of a file of that name.

    A `.csv` begins with a byte order mark: without it Excel reads UTF-8 as the local code page and
    spoils every umlaut; LibreOffice and pandas skip it. Other files have none, JSON must not
    (RFC 8259).
    """
    encoding = "utf-8-sig" if name.endswith(".csv") else "utf-8"
    return content.encode(encoding, errors="backslashreplace")  # names need not be valid Unicode


def _word_rows(prediction: Prediction) -> list[tuple[int, str, str, str, str]]:
    return [
        (
            rank,
            word.word,
            f"{word.score:.4f}",
            "" if word.confidence is None else f"{word.confidence:.4f}",
            " ".join(other for other, _ in word.alternatives),
        )
        for rank, word in enumerate(prediction.words, start=1)
    ]


def _csv(rows: Iterable[Sequence[Any]]) -> str:
    """RFC 4180: commas, quotes where needed, \\r\\n at the ends."""
    out = io.StringIO(newline="")
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would run gets an apostrophe before it; numbers stay numbers."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    # Leading spaces are skipped by some importers, so they don't protect.
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA) else value
