"""The answer as HTML: words with bar, cosine and chance; each opens to what is known of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from img2prompt.core.texts import Texts
from img2prompt.embedding.kinds import KINDS
from img2prompt.inference.export import as_csv, as_json, as_text
from img2prompt.inference.predictor import PredictedWord, Prediction

# From how much chance on the plain words say more: sure_2 … sure_5 of the texts.
SURE = (0.1, 0.25, 0.5, 0.8)

# One word is open at a time, and the page is told which.
ON_LOAD = """
element.addEventListener('click', (event) => {
    const button = event.target.closest('button.pick');
    if (!button) return;
    const open = button.getAttribute('aria-expanded') !== 'true';
    element.querySelectorAll('button.pick').forEach((other) => {
        other.setAttribute('aria-expanded', other === button && open ? 'true' : 'false');
    });
    trigger('select', { word: open ? button.dataset.word : '' });
});
element.setAttribute('aria-live', 'polite');
"""


@dataclass(frozen=True)
class View:
    """How an answer is shown.

    Attributes:
        minimum: words with a lower cosine are left out; 0 also keeps those below it.
        by_kind: in groups by kind of word, rather than by score.
    """

    minimum: float = 0.0
    by_kind: bool = False

    def keeps(self, score: float) -> bool:
        """Whether a word of this cosine is shown."""
        return self.minimum <= 0 or score >= self.minimum


def answer_html(
    prediction: Prediction,
    text: Texts,
    view: View = View(),
    kind: Callable[[str], str | None] = lambda word: None,
    count: Callable[[str], int] | None = None,
) -> str:
    """The list of words; numbers are text, bars only repeat them for the eye.

    The scale runs from 0 to 1. Where a score is negative, zero moves to the right to make room
    for bars that grow to the left.

    Args:
        prediction: what to show.
        text: the language.
        view: which words, in what order.
        kind: what kind a word is.
        count: how often prompts use a word; None: not said.
    """
    shown = [word for word in prediction.words if view.keeps(word.score)]
    name = text.get(f"preset.{prediction.preset}.name", prediction.preset)
    heading = (
        text("guess.heading_one", preset=name)
        if len(shown) == 1
        else text("guess.heading", preset=name, count=len(shown))
    )
    lowest = min([0.0, *(word.score for word in shown)])
    rows = {
        word.word: _row(
            word,
            lowest,
            # Under a heading that names the kind it need not stand beside each word as well.
            None if view.by_kind else kind(word.word),
            count,
            len(prediction.vectors),
            text,
        )
        for word in shown
    }
    limit = text.number(view.minimum)
    below = len(prediction.words) - len(shown)
    if not shown:
        body = f'<p class="sentence">{text("guess.none_left", minimum=limit)}</p>'
    elif view.by_kind:
        body = _groups(shown, rows, kind, text)
    else:
        body = f'<ol class="words">{"".join(rows.values())}</ol>'
    if shown and below:
        note = text("guess.hidden_some", count=below, minimum=limit)
        body += f'<p class="below">{escape(note)}</p>'
    return (
        f'<section class="answer" data-preset="{escape(prediction.preset, quote=True)}">'
        f'<h2>{escape(heading)} <span class="hint">{escape(text("guess.hint"))}</span></h2>'
        f"{_head(prediction, text) if shown else ''}{body}</section>"
    )


def waiting_html(sentence: str, text: Texts) -> str:
    """What stands there before there is an answer: pale bars and one sentence."""
    ghosts = "".join(
        f'<li aria-hidden="true"><span class="ghost" style="width:{width}%"></span></li>'
        for width in (92, 81, 73, 66, 60, 55, 51, 48, 45, 43)
    )
    return (
        f'<section class="answer waiting"><h2>{escape(text("guess.words"))}</h2>'
        f'<p class="sentence">{escape(sentence)}</p><ul class="ghosts">{ghosts}</ul></section>'
    )


def save_html(prediction: Prediction, text: Texts) -> str:
    """Buttons that save the answer; the files are made in the browser, of what is in the page."""
    files = (
        ("save_text", "img2prompt.txt", "text/plain", as_text(prediction)),
        ("save_json", "img2prompt.json", "application/json", as_json(prediction)),
        ("save_csv", "img2prompt.csv", "text/csv", as_csv(prediction)),
    )
    buttons = "".join(
        f'<button type="button" data-save="{name}" data-type="{kind};charset=utf-8" '
        f'data-content="{escape(content, quote=True)}">{escape(text(f"guess.{key}"))}</button>'
        for key, name, kind, content in files
    )
    return f'<p class="save"><span>{escape(text("guess.save"))}</span> {buttons}</p>'


def sureness(confidence: float, text: Texts) -> str:
    """A chance in plain words."""
    return text(f"guess.sure_{1 + sum(confidence >= limit for limit in SURE)}")


def _groups(
    shown: Sequence[PredictedWord],
    rows: dict[str, str],
    kind: Callable[[str], str | None],
    text: Texts,
) -> str:
    order = {name: rank for rank, name in enumerate((*KINDS, None))}
    by_kind = sorted(shown, key=lambda word: order[kind(word.word)])  # stable: by score within
    return "".join(
        f'<h3 class="kind">{escape(text("kind." + (name or "none")))}</h3>'
        f'<ol class="words">{"".join(rows[word.word] for word in words)}</ol>'
        for name, words in groupby(by_kind, key=lambda word: kind(word.word))
    )


def _head(prediction: Prediction, text: Texts) -> str:
    """What the two columns of numbers are; nothing where there is one column only."""
    if prediction.words[0].confidence is None:
        return ""
    return (
        f'<p class="columns" aria-hidden="true">'
        f'<span class="over-score">{escape(text("guess.score"))}</span>'
        f'<span class="over-chance">{escape(text("guess.chance"))}</span></p>'
    )


def _row(
    word: PredictedWord,
    lowest: float,
    kind: str | None,
    count: Callable[[str], int] | None,
    steps: int,
    text: Texts,
) -> str:
    span = 1.0 - lowest
    zero = (0.0 - lowest) / span
    left = zero if word.score >= 0 else (word.score - lowest) / span
    width = abs(word.score) / span
    sign = " negative" if word.score < 0 else ""
    chance = ""
    if word.confidence is not None:
        chance = (
            f'<span class="chance">{escape(text.percent(word.confidence))}'
            f' <span class="sure">{escape(sureness(word.confidence, text))}</span></span>'
        )
    label = ""
    if kind is not None:
        label = f' <span class="of-kind {kind}">{escape(text(f"kind.{kind}"))}</span>'
    safe = escape(word.word, quote=True)
    return (
        f'<li class="row{sign}"><button type="button" class="pick" aria-expanded="false" '
        f'data-word="{safe}"><span class="name"><span class="word">{safe}</span>{label}</span>'
        f'<span class="track" aria-hidden="true"><span class="bar" '
        f'style="left:{left * 100:.2f}%;width:{width * 100:.2f}%"></span></span>'
        f'<span class="score"><span class="aside">{escape(text("guess.score"))} </span>'
        f"{text.number(word.score)}</span>{chance}</button>"
        f'<div class="more">{_more(word, count, steps, text)}</div></li>'
    )


def _more(word: PredictedWord, count: Callable[[str], int] | None, steps: int, text: Texts) -> str:
    others = ", ".join(
        f"<b>{escape(other)}</b> {text.number(score)}" for other, score in word.alternatives
    )
    lines = []
    if others:
        lines.append(f"{escape(text('guess.near'))}: {others}.")
    if word.confidence is not None:
        share = text.percent(word.confidence)
        lines.append(escape(text("guess.often_right", share=share)))
    facts = [text("guess.vector_of", step=word.step + 1, steps=steps)] if steps > 1 else []
    if count is not None:
        facts.append(text("guess.times", count=text.number(count(word.word), 0)))
    if facts:
        lines.append(escape(" · ".join(facts)))
    return "".join(f"<p>{line}</p>" for line in lines)
