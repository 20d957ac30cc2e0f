"""The truth beside the guess: the prompt with its words marked, and the picture's figures.

Below it stands what else the file says of its making.
"""

import re

from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.data import text as words_of
from img2prompt.data.block_list import mask
from img2prompt.data.file_prompts.reading import Reading
from img2prompt.evaluation.score import Score

_HTML = macros("ui/guess/truth")
MAX_SHOWN = 600  # characters of a negative prompt; whole lists of faults stand there


def truth_html(prompt: str, score: Score, note: str, text: Texts, hidden: frozenset[str]) -> str:
    """The true prompt, words found and missed in it marked, words invented below, and figures.

    Args:
        prompt: the true prompt.
        score: of the answer against it.
        note: where the prompt is from.
        text: the language.
        hidden: words that must not be shown.
    """
    marks = dict.fromkeys(score.found, "found") | dict.fromkeys(score.missed, "missed")
    guessed = len(score.found) + len(score.invented)
    true = len(score.found) + len(score.missed)
    figures = [
        ("f1", score.f1, text("truth.f1_text", hits=len(score.found), guessed=guessed, true=true)),
        ("soft", score.soft_recall, text("truth.soft_text")),
        ("cosine", score.cosine_per_word, text("truth.cosine_text")),
    ]
    unknown = mask(", ".join(score.unknown), hidden)
    pieces = _pieces(mask(prompt, hidden), marks)
    return _HTML.truth(note, pieces, score.invented, unknown, figures, text)


def no_comparison_html(sentence: str) -> str:
    """Why nothing is compared."""
    return _HTML.sentence(sentence)


def file_html(making: Reading, text: Texts, hidden: frozenset[str]) -> str:
    """Seed, steps, sampler, model and negative prompt, whichever the file tells; or why it tells no
    prompt. "" where there is nothing to say.

    Args:
        making: what was read of the file.
        text: the language.
        hidden: words that must not be shown.
    """
    told = making.told
    note, entries = "", {}
    if making.state in ("empty", "unreadable"):
        note = text(f"truth.{making.state}", tool=mask(told.tool, hidden) if told else "")
    for name in ("model", "sampler", "steps", "seed", "negative"):
        value = getattr(told, name, None)
        if value is None or value == "":
            continue
        shown = mask(str(value), hidden)
        if len(shown) > MAX_SHOWN:
            shown = f"{shown[:MAX_SHOWN].rstrip()} …"
        entries[name] = shown
    return _HTML.file(note, entries, text) if note or entries else ""


def _pieces(prompt: str, marks: dict[str, str]) -> list[tuple[str, str | None]]:
    """The prompt as it is written, in pieces, those that count with their mark."""
    pieces = []
    for piece in re.split(r"(\w+)", prompt):
        spoken = words_of.words(words_of.without_commands(piece))
        found = [marks[word] for word in spoken if word in marks]
        pieces.append((piece, found[0] if found else None))
    return pieces
