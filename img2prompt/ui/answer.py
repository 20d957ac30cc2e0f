"""The answer as HTML: words by falling score, each with bar, cosine, chance and neighbours."""

from html import escape

from img2prompt.prediction import PredictedWord, Prediction
from img2prompt.ui import text

NEIGHBOURS = 3  # a fourth one wraps on a phone


def answer_html(prediction: Prediction) -> str:
    """The list of words; numbers are text, bars only repeat them for the eye.

    The scale runs from 0 to 1. Where a score is negative, zero moves to the right to make room
    for bars that grow to the left.
    """
    lowest = min([0.0, *(word.score for word in prediction.words)])
    # Words of one vector share their neighbours: told once, with the first of them.
    steps: set[int] = set()
    rows = ""
    for word in prediction.words:
        rows += _row(word, lowest, near=word.step not in steps)
        steps.add(word.step)
    return (
        f'<section class="answer" data-preset="{escape(prediction.preset, quote=True)}">'
        f"<h2>{escape(text.answer_heading(len(prediction.words), prediction.preset))}"
        f' <span class="hint">{text.ANSWER_HINT}</span></h2>'
        f'{_head(prediction)}<ol class="words">{rows}</ol></section>'
    )


def waiting_html(sentence: str = text.WAITING) -> str:
    """What stands there before there is an answer: pale bars and one sentence."""
    ghosts = "".join(
        f'<li aria-hidden="true"><span class="ghost" style="width:{width}%"></span></li>'
        for width in (92, 81, 73, 66, 60, 55, 51, 48, 45, 43)
    )
    return (
        f'<section class="answer waiting"><h2>{text.ANSWER}</h2>'
        f'<p class="sentence">{escape(sentence)}</p><ul class="ghosts">{ghosts}</ul></section>'
    )


def _head(prediction: Prediction) -> str:
    """What the two columns of numbers are; nothing where there is one column only."""
    if not prediction.words or prediction.words[0].confidence is None:
        return ""
    return (
        f'<p class="columns"><span class="over-score">{text.SCORE}</span>'
        f'<span class="over-chance">{text.CHANCE}</span></p>'
    )


def _row(word: PredictedWord, lowest: float, near: bool) -> str:
    span = 1.0 - lowest
    zero = (0.0 - lowest) / span
    left = zero if word.score >= 0 else (word.score - lowest) / span
    width = abs(word.score) / span
    sign = " negative" if word.score < 0 else ""
    others = "".join(
        f" <span><b>{escape(other)}</b> {_number(score)}</span>"
        for other, score in word.alternatives[:NEIGHBOURS]
    )
    chance = (
        f'<span class="chance">{_percent(word.confidence)}</span>'
        if word.confidence is not None
        else ""
    )
    line = f'<p class="near">{text.NEAR}:{others}</p>' if near and others else ""
    return (
        f'<li class="row{sign}"><span class="word">{escape(word.word)}</span>'
        f'<span class="track" aria-hidden="true"><span class="bar" '
        f'style="left:{left * 100:.2f}%;width:{width * 100:.2f}%"></span></span>'
        f'<span class="score">{_number(word.score)}</span>{chance}{line}</li>'
    )


def _number(score: float) -> str:
    """Two decimals and a true minus sign."""
    return f"{score:.2f}".replace("-", "−")


def _percent(share: float) -> str:
    """Whole per cent as HTML; nothing is certain, and what rounds to nothing is not nothing."""
    if share >= 0.995:
        return "&gt; 99 %"
    return f"{share * 100:.0f} %" if share > 0.005 else "&lt; 1 %"
