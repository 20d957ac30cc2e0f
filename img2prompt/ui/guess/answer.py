"""The answer as HTML: words with bar, cosine and chance; each opens to what is known of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby

from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.embedding.kinds import KINDS
from img2prompt.inference.export import as_csv, as_json, as_text
from img2prompt.inference.prediction import PredictedWord, Prediction

_HTML = macros("ui/guess/answer")
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
        by_kind: in groups by kind of word, rather than best first.
    """

    minimum: float = 0.0
    by_kind: bool = False

    def keeps(self, score: float) -> bool:
        """Whether a word of this cosine is shown."""
        return self.minimum <= 0 or score >= self.minimum

    def kept(self, prediction: Prediction) -> Prediction:
        """The prediction with those of its words that are shown."""
        words = tuple(word for word in prediction.words if self.keeps(word.score))
        return replace(prediction, words=words)


@dataclass(frozen=True)
class Row:
    """One word of a list.

    Attributes:
        word: with its score, chance and alternatives.
        kind: what kind it is, None where that is not to be shown.
        bar: where its bar lies, as CSS.
        sure: its chance in plain words, "" where it is not known.
        facts: what else is known of it.
    """

    word: PredictedWord
    kind: str | None
    bar: str
    sure: str
    facts: list[str]


def answer_html(
    prediction: Prediction,
    text: Texts,
    view: View = View(),
    kind: Callable[[str], str | None] = lambda _: None,
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
    one = len(shown) == 1
    heading = text("guess.heading_one" if one else "guess.heading", preset=name, count=len(shown))
    lowest = min([0.0, *(word.score for word in shown)])
    steps = len(prediction.vectors)

    def row(word: PredictedWord) -> Row:
        facts = [text("guess.vector_of", step=word.step + 1, steps=steps)] if steps > 1 else []
        if word.generic:
            facts.append(text("guess.generic_word"))
        if count is not None:
            facts.append(text("guess.times", count=text.number(count(word.word), 0)))
        # Under a heading that names the kind it need not stand beside each word as well.
        label = None if view.by_kind else kind(word.word)
        sure = "" if word.confidence is None else sureness(word.confidence, text)
        return Row(word, label, _bar(word.score, lowest), sure, facts)

    specific = [row(word) for word in shown if not word.generic]
    generic = [row(word) for word in shown if word.generic]
    named: list[tuple[str | None, list[Row]]] = [(None, specific), (text("guess.generic"), generic)]
    groups = [group for group in named if group[1]]
    if view.by_kind:
        order = {name: rank for rank, name in enumerate((*KINDS, None))}
        shown.sort(key=lambda word: order[kind(word.word)])  # stable: best first within a kind
        groups = [
            (text(f"kind.{name or 'none'}"), [row(word) for word in words])
            for name, words in groupby(shown, key=lambda word: kind(word.word))
        ]
    limit, below = text.number(view.minimum), len(prediction.words) - len(shown)
    sentence = text("guess.hidden_some", count=below, minimum=limit) if below else ""
    if not shown:
        groups, sentence = [], text("guess.none_left", minimum=limit)
    return _HTML.answer(prediction.preset, heading, groups, sentence, text)


def waiting_html(sentence: str, text: Texts) -> str:
    """What stands there before there is an answer: pale bars and one sentence."""
    return _HTML.waiting(sentence, text)


def save_html(prediction: Prediction, text: Texts) -> str:
    """Buttons that save the answer; the files are made in the browser, of what is in the page."""
    files = (
        ("save_text", "img2prompt.txt", "text/plain", as_text(prediction)),
        ("save_json", "img2prompt.json", "application/json", as_json(prediction)),
        ("save_csv", "img2prompt.csv", "text/csv", as_csv(prediction)),
    )
    return _HTML.save(files, text)


def sureness(confidence: float, text: Texts) -> str:
    """A chance in plain words."""
    return text(f"guess.sure_{1 + sum(confidence >= limit for limit in SURE)}")


def _bar(score: float, lowest: float) -> str:
    span = 1.0 - lowest
    left = (min(score, 0.0) - lowest) / span
    return f"left:{left * 100:.2f}%;width:{abs(score) / span * 100:.2f}%"
