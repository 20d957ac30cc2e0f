"""What the Batch tab shows of a set: its bar, its table, its words, in HTML."""

import base64

from img2prompt.core.errors import UserError
from img2prompt.core.html import macros
from img2prompt.core.printable import one_line
from img2prompt.core.texts import Texts
from img2prompt.inference.batch import THUMBNAIL, Row, Run

SHOWN_ROWS = 500  # a browser draws them at once; the files to save hold all
SHOWN_COUNTS = 20
SHOWN_PROMPT = 300  # characters of a true prompt in the table; the files hold all of it
_HTML = macros("ui/batch/table")


def progress_html(run: Run, text: Texts) -> str:
    """How far a pass is and how long it will still take, as a bar and in words."""
    told = text("batch.progress", done=run.done, total=run.total)
    left = run.seconds_left()
    if left is not None:
        told += " · " + duration(left, text)
    return str(_HTML.bar(run, told, False, text))


def done_html(run: Run, text: Texts, note: str = "") -> str:
    """The result of a pass: whole or stopped, how many rows are reasons, and a note of ours."""
    if run.done < run.total:
        told = text("batch.stopped", done=run.done, total=run.total)
    elif run.total == 1:
        told = text("batch.done_one")
    else:
        told = text("batch.done", total=run.total)
    if run.failed:
        told += " " + text("batch.failed_some", failed=run.failed)
    f1, known = run.mean_f1()
    if known:
        told += " " + text("batch.compared", count=known, f1=text.number(f1))
    if run.unused:
        told += " " + text("batch.unused", count=run.unused)
    if run.done > SHOWN_ROWS:
        told += " " + text("batch.shown", shown=SHOWN_ROWS)
    if note:
        told += " " + note
    return str(_HTML.bar(run, told, True, text))


def duration(seconds: float, text: Texts) -> str:
    """A remaining time, no more exact than it can be."""
    if seconds < 1.5:
        return text("batch.left_moment")
    if seconds < 90:
        return text("batch.left_seconds", seconds=round(seconds))
    return text("batch.left_minutes", minutes=round(seconds / 60))


def counts_html(run: Run, text: Texts) -> str:
    """The set's most frequent words, each with a bar for how many pictures got it."""
    answered = run.done - run.failed
    if not answered:
        return ""
    heading = text("batch.counts", count=answered) if answered > 1 else text("batch.counts_one")
    note = text("batch.distinct", count=text.number(len(run.counts), 0))
    return str(_HTML.counts(run.most_common()[:SHOWN_COUNTS], answered, heading, note))


def table_head(text: Texts) -> str:
    """The table up to its first row."""
    return str(_HTML.head(text))


def row_html(row: Row, text: Texts) -> str:
    """A picture, its name, and its words or the reason why it has none."""
    picture = base64.b64encode(row.thumbnail or b"").decode("ascii")
    reason = row.result.told(text) if isinstance(row.result, UserError) else None
    return str(_HTML.row(row, picture, THUMBNAIL // 2, reason, _truth(row, text), text))


def sentence_html(told: str) -> str:
    """A sentence in the place of the bar."""
    return str(_HTML.sentence(told))


def _truth(row: Row, text: Texts) -> str:
    """The true prompt that lay beside the picture, and how the answer compares to it."""
    if row.truth is None:
        return ""
    prompt = one_line(row.truth.prompt)
    if len(prompt) > SHOWN_PROMPT:
        prompt = prompt[: SHOWN_PROMPT - 1] + "…"
    told = text("batch.truth", prompt=prompt)
    if row.truth.f1 is not None:
        told += " " + text(
            "batch.truth_score",
            f1=text.number(row.truth.f1),
            hits=len(row.truth.found),
            true=row.truth.true,
        )
        if row.truth.found:
            told += ": " + ", ".join(row.truth.found)
    return told
