"""What the Batch tab shows of a set: its bar, its table, its words, in HTML."""

import base64
from html import escape

from img2prompt.core.errors import UserError
from img2prompt.core.printable import one_line
from img2prompt.core.texts import Texts
from img2prompt.inference.batch import THUMBNAIL, Row, Run

SHOWN_ROWS = 500  # a browser draws them at once; the files to save hold all
SHOWN_COUNTS = 20
SHOWN_PROMPT = 300  # characters of a true prompt in the table; the files hold all of it


def progress_html(run: Run, text: Texts) -> str:
    """How far a pass is and how long it will still take, as a bar and in words."""
    told = text("batch.progress", done=run.done, total=run.total)
    left = run.seconds_left()
    if left is not None:
        told += " · " + duration(left, text)
    return (
        f'<progress max="{run.total}" value="{run.done}" '
        f'aria-label="{escape(text("batch.progress_label"), quote=True)}"></progress>'
        f'<p class="left">{escape(told)}</p>'
    )


def done_html(run: Run, text: Texts, note: str = "") -> str:
    """What a pass came to: whole or stopped, how many rows are reasons, and a note of ours."""
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
    return (
        f'<progress max="{run.total}" value="{run.done}" '
        f'aria-label="{escape(text("batch.progress_label"), quote=True)}"></progress>'
        f'<p class="left" role="status">{escape(told)}</p>'
    )


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
    rows = "".join(
        f'<li><span class="word">{escape(word)}</span>'
        f'<span class="track" aria-hidden="true"><span class="bar" '
        f'style="width:{100 * pictures / answered:.1f}%"></span></span>'
        f'<span class="times">{pictures}</span></li>'
        for word, pictures in run.most_common()[:SHOWN_COUNTS]
    )
    heading = text("batch.counts", count=answered) if answered > 1 else text("batch.counts_one")
    note = text("batch.distinct", count=text.number(len(run.counts), 0))
    return (
        f"<details open><summary><h2>{escape(heading)}</h2></summary>"
        f'<p class="note">{escape(note)}</p><ol class="counts">{rows}</ol></details>'
    )


def table_head(text: Texts) -> str:
    """The table up to its first row."""
    heads = "".join(
        f'<th scope="col">{escape(text(f"batch.column_{name}"))}</th>'
        for name in ("picture", "file", "words")
    )
    # No end tags of the table and its body: the parser adds them, and a text that only grows is
    # sent as what was added to it.
    return (
        f"<table><caption>{escape(text('batch.table'))}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>"
    )


def row_html(row: Row, text: Texts) -> str:
    """A picture, its name, and its words or the reason why it has none."""
    name = escape(row.name)
    picture = ""
    if row.thumbnail is not None:
        data = base64.b64encode(row.thumbnail).decode("ascii")
        # The name stands beside it: read twice, it would only be in the way.
        picture = (
            f'<img src="data:image/jpeg;base64,{data}" alt="" '
            f'width="{THUMBNAIL // 2}" height="{THUMBNAIL // 2}">'
        )
    if isinstance(row.result, UserError):
        told = (
            f'<td class="reason"><b>{escape(text("batch.not_used"))}</b> '
            f"{escape(row.result.told(text))}</td>"
        )
    else:
        told = f'<td class="words">{escape(row.result.prompt)}{_truth(row, text)}</td>'
    return f'<tr><td class="picture">{picture}</td><th scope="row">{name}</th>{told}</tr>'


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
    return f'<p class="truth">{escape(told)}</p>'


def sentence_html(told: str) -> str:
    """A sentence in the place of the bar."""
    return f'<p class="sentence" role="status">{escape(told)}</p>'
