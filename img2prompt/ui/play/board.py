"""The Play tab's HTML: the picture, the points, and after a round the truth and both guesses."""

import base64
import io
import re

from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.data import text as words_of
from img2prompt.data.block_list import mask
from img2prompt.data.images import open_image
from img2prompt.evaluation.score import Score
from img2prompt.ui.play.game import MOST_WORDS, ROUNDS, Game, Round

SIDE = 768  # longer side of the shown picture; a data address keeps names and metadata away
WHO = ("person", "model")
_HTML = macros("ui/play/board")


def lead_html(text: Texts) -> str:
    """What the game is."""
    return str(_HTML.lead(ROUNDS, text))


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
    return str(_HTML.picture(puzzle, data, picture.size, text))


def board_html(game: Game, text: Texts, model: str) -> str:
    """Which round it is and the running score.

    Args:
        game: as it stands.
        text: the language.
        model: the name of the model that answered last; "" before.
    """
    names = (text("play.you"), model or text("play.model"))
    return str(_HTML.board(game, ROUNDS, zip(WHO, names, game.points, strict=True), text))


def counter_html(count: int, text: Texts) -> str:
    """How many words are typed; from the eleventh on, a sentence."""
    return str(_HTML.counter(count, MOST_WORDS, text))


def result_html(game: Game, text: Texts, model: str, hidden: frozenset[str]) -> str:
    """The round just played: who won it, the true prompt marked, both lists side by side.

    Args:
        game: after the round.
        text: the language.
        model: the model's name.
        hidden: words that must not be shown.
    """
    played = game.rounds[-1]
    sentence, final = text(f"play.won_{played.winner}", model=model), ""
    if game.over:
        you, other = game.points
        final = text(f"play.final_{game.winner}", you=you, other=other, model=model)
    unknown = mask(", ".join(played.person.unknown), hidden)
    names, scores = (text("play.you"), model), (played.person, played.model)
    marked = [
        [(mask(word, hidden), _mark(word, score)) for word in words]
        for words, score in zip((played.typed, played.said), scores, strict=True)
    ]
    sides = zip(WHO, names, played.points, scores, marked, strict=True)
    prompt = _prompt(played, hidden)
    return str(_HTML.result(played.winner, sentence, final, prompt, unknown, sides, text))


def _prompt(played: Round, hidden: frozenset[str]) -> list[tuple[str, str]]:
    """The prompt in pieces as it is written, each with who found it: "" for nobody."""
    finders = dict.fromkeys(played.person.found, "person")
    for word in played.model.found:
        finders[word] = "both" if word in finders else "model"
    pieces = re.split(r"(\w+)", mask(played.puzzle.prompt, hidden))
    return [
        (piece, next((finders[word] for word in words_of.words(piece) if word in finders), ""))
        for piece in pieces
    ]


def _mark(word: str, score: Score) -> str:
    if word in score.found:
        return "found"
    # True, but no model can say it: it counts for nobody.
    return "missed" if word in score.unknown else "invented"
