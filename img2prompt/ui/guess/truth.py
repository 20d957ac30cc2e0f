"""The truth beside the guess: the prompt with its words marked, and the picture's figures.

Below it stands what else the file says of its making.
"""

import re
from html import escape

from img2prompt.core.texts import Texts
from img2prompt.data import text as words_of
from img2prompt.data.block_list import mask
from img2prompt.data.file_prompts.reading import Reading
from img2prompt.evaluation.score import Score

# A sign beside the colour, for those who cannot tell the colours apart.
SIGNS = {"found": "✓", "missed": "○", "invented": "✗"}
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
    invented = "".join(f"<li>{_marked(word, 'invented', text)}</li>" for word in score.invented)
    guessed = len(score.found) + len(score.invented)
    true = len(score.found) + len(score.missed)
    figures = [
        ("f1", score.f1, text("truth.f1_text", hits=len(score.found), guessed=guessed, true=true)),
        ("soft", score.soft_recall, text("truth.soft_text")),
        ("cosine", score.cosine_per_word, text("truth.cosine_text")),
    ]
    numbers = "".join(
        f"<div><dt>{escape(text(f'truth.{key}'))}</dt><dd><b>{text.number(value)}</b> "
        f"<span>{escape(told)}</span></dd></div>"
        for key, value, told in figures
        if value is not None
    )
    unknown = ""
    if score.unknown:
        listed = escape(mask(", ".join(score.unknown), hidden))
        unknown = f'<p class="unknown">{escape(text("truth.unknown"))}: {listed}</p>'
    return (
        f'<section class="truth"><h3>{escape(text("truth.title"))}</h3>'
        f'<p class="note">{escape(note)}</p>'
        f'<p class="prompt">{_prompt(mask(prompt, hidden), marks, text)}</p>'
        f'<ul class="invented" aria-label="{escape(text("truth.invented"), quote=True)}">'
        f"{invented}</ul>{unknown}<dl>{numbers}</dl></section>"
    )


def file_html(making: Reading, text: Texts, hidden: frozenset[str]) -> str:
    """Seed, steps, sampler, model and negative prompt, whichever the file tells; or why it tells no
    prompt. "" where there is nothing to say.

    Args:
        making: what was read of the file.
        text: the language.
        hidden: words that must not be shown.
    """
    told = making.told
    note = ""
    if making.state in ("empty", "unreadable"):
        tool = mask(told.tool, hidden) if told else ""
        note = f'<p class="note">{escape(text(f"truth.{making.state}", tool=tool))}</p>'
    entries = []
    for name in ("model", "sampler", "steps", "seed", "negative"):
        value = getattr(told, name, None)
        if value is None or value == "":
            continue
        shown = mask(str(value), hidden)
        if len(shown) > MAX_SHOWN:
            shown = f"{shown[:MAX_SHOWN].rstrip()} …"
        entries.append(
            f'<div class="{name}"><dt>{escape(text(f"truth.{name}"))}</dt>'
            f"<dd>{escape(shown)}</dd></div>"
        )
    if not note and not entries:
        return ""
    listed = f"<dl>{''.join(entries)}</dl>" if entries else ""
    return f"<section><h3>{escape(text('truth.file'))}</h3>{note}{listed}</section>"


def _prompt(prompt: str, marks: dict[str, str], text: Texts) -> str:
    """The prompt as it is written, the words that count marked where they stand."""
    parts = []
    for piece in re.split(r"(\w+)", prompt):
        spoken = words_of.words(words_of.without_commands(piece))
        found = [word for word in spoken if word in marks]
        parts.append(_marked(piece, marks[found[0]], text) if found else escape(piece))
    return "".join(parts)


def _marked(word: str, mark: str, text: Texts) -> str:
    return (
        f'<span class="mark {mark}"><span class="sign" aria-hidden="true">{SIGNS[mark]}</span>'
        f'{escape(word)}<span class="aside"> ({escape(text(f"truth.{mark}"))})</span></span>'
    )
