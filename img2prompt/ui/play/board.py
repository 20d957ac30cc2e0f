"""The Play tab's HTML: the picture, the points, and after a round the truth and both guesses."""

import base64
import io
import re
from html import escape

from img2prompt.core.texts import Texts
from img2prompt.data import text as words_of
from img2prompt.data.block_list import mask
from img2prompt.data.images import open_image
from img2prompt.evaluation.score import Score
from img2prompt.ui.play.game import MOST_WORDS, ROUNDS, Game, Round

SIDE = 768  # longer side of the shown picture; a data address keeps names and metadata away
WHO = ("person", "model")


def lead_html(text: Texts) -> str:
    """What the game is."""
    return f"<h2>{escape(text('play.title'))}</h2><p>{escape(text('play.lead', rounds=ROUNDS))}</p>"


def picture_html(game: Game, text: Texts) -> str:
    """The picture on the table with its credit; nothing that would tell its prompt."""
    puzzle = game.puzzle
    if puzzle is None:
        return ""
    picture = open_image(puzzle.picture)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    credit = text("play.credit_real", part=puzzle.part) if puzzle.part else text("play.credit_ours")
    alt = f'alt="{escape(puzzle.alt or text("play.alt_real"), quote=True)}"'
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" {alt} '
        f'width="{picture.width}" height="{picture.height}">'
        f"<figcaption>{escape(credit)}</figcaption></figure>"
    )


def board_html(game: Game, text: Texts, model: str) -> str:
    """Which round it is and the running score.

    Args:
        game: as it stands.
        text: the language.
        model: the name of the model that answered last; "" before.
    """
    names = _names(game, text, model)
    points = "".join(
        f'<div class="{who}"><dt>{escape(name)}</dt><dd>{total}</dd></div>'
        for who, name, total in zip(WHO, names, game.points, strict=True)
    )
    steps = "".join(
        f'<li class="{game.rounds[n].winner if n < len(game.rounds) else "ahead"}">'
        f'<span class="aside">{escape(_step(game, n, text))}</span>'
        f'<span aria-hidden="true">{_sign(game, n)}</span></li>'
        for n in range(ROUNDS)
    )
    title = text("play.round", number=max(1, game.number), rounds=ROUNDS)
    return (
        f"<h3>{escape(title)}</h3>"
        f'<ol class="steps" aria-label="{escape(text("play.rounds"), quote=True)}">{steps}</ol>'
        f'<dl class="points">{points}</dl>'
    )


def counter_html(count: int, text: Texts) -> str:
    """How many words are typed; from the eleventh on, a sentence."""
    if count > MOST_WORDS:
        told = text("play.too_many", count=count, most=MOST_WORDS)
        return f'<p class="too-many">⚠ {escape(told)}</p>'
    return f"<p>{escape(text('play.counted', count=count, most=MOST_WORDS))}</p>"


def notice_html(sentence: str) -> str:
    """A sentence beside the game, or nothing."""
    return f"<p>{escape(sentence)}</p>" if sentence else ""


def result_html(game: Game, text: Texts, model: str, hidden: frozenset[str]) -> str:
    """The round just played: who won it, the true prompt marked, both lists side by side.

    Args:
        game: after the round.
        text: the language.
        model: the model's name.
        hidden: words that must not be shown.
    """
    played = game.rounds[-1]
    names = _names(game, text, model)
    sentence = text(f"play.won_{played.winner}", model=model)
    final = ""
    if game.over:
        you, other = game.points
        told = text(f"play.final_{game.winner}", you=you, other=other, model=model)
        final = f'<p class="final">{escape(told)}</p>'
    sides = "".join(
        _side(name, who, words, score, points, text, hidden)
        for name, who, words, score, points in zip(
            names,
            WHO,
            (played.typed, played.said),
            (played.person, played.model),
            played.points,
            strict=True,
        )
    )
    unknown = ""
    if played.person.unknown:
        listed = mask(", ".join(played.person.unknown), hidden)
        unknown = f'<p class="unknown">{escape(text("play.unknown", words=listed))}</p>'
    return (
        f'<p class="won {played.winner}">{escape(sentence)}</p>{final}'
        f"<h3>{escape(text('play.truth'))}</h3>"
        f'<p class="prompt" lang="en">{_prompt(played, text, hidden)}</p>{unknown}'
        f'<div class="sides">{sides}</div>'
    )


def _prompt(played: Round, text: Texts, hidden: frozenset[str]) -> str:
    """The prompt as it is written; under every word found stands who found it."""
    finders = dict.fromkeys(played.person.found, "person")
    for word in played.model.found:
        finders[word] = "both" if word in finders else "model"
    parts = []
    for piece in re.split(r"(\w+)", mask(played.puzzle.prompt, hidden)):
        found = [word for word in words_of.words(piece) if word in finders]
        if not found:
            parts.append(escape(piece))
            continue
        who = finders[found[0]]
        parts.append(
            f'<span class="by {who}">{escape(piece)}'
            f"<small>{escape(text(f'play.by_{who}'))}</small></span>"
        )
    return "".join(parts)


def _side(
    name: str,
    who: str,
    words: tuple[str, ...],
    score: Score,
    points: int,
    text: Texts,
    hidden: frozenset[str],
) -> str:
    rows = "".join(_word(word, score, text, hidden) for word in words)
    hits, said = len(score.found), len(score.found) + len(score.invented)
    true = len(score.found) + len(score.missed)
    told = text("play.f1_text", f1=text.number(score.f1), hits=hits, said=said, true=true)
    return (
        f'<section class="side {who}"><h4>{escape(name)}</h4>'
        f"<p><b>{escape(text('play.points', points=points))}</b> <span>{escape(told)}</span></p>"
        f'<ul lang="en">{rows}</ul></section>'
    )


def _word(word: str, score: Score, text: Texts, hidden: frozenset[str]) -> str:
    mark, sign = ("invented", "✗")
    if word in score.found:
        mark, sign = ("found", "✓")
    elif word in score.unknown:
        mark, sign = ("missed", "○")  # true, but no model can say it: it counts for nobody
    return (
        f'<li class="mark {mark}"><span class="sign" aria-hidden="true">{sign}</span>'
        f"{escape(mask(word, hidden))}"
        f'<span class="aside"> ({escape(text(f"play.{mark}"))})</span></li>'
    )


def _names(game: Game, text: Texts, model: str) -> tuple[str, str]:
    return text("play.you"), model or text("play.model")


def _step(game: Game, n: int, text: Texts) -> str:
    label = text("play.round", number=n + 1, rounds=ROUNDS)
    if n >= len(game.rounds):
        return label
    return f"{label}: {text(f'play.step_{game.rounds[n].winner}')}"


def _sign(game: Game, n: int) -> str:
    if n >= len(game.rounds):
        return "·"
    return {"person": "✓", "model": "✗", "nobody": "="}[game.rounds[n].winner]
