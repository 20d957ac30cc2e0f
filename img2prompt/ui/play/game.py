"""The game "guess the prompt": rounds, points, and who wins; no page and no model in here."""

import dataclasses
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation.score import Score, score_words
from img2prompt.inference.prediction import Prediction

ROUNDS = 5
MOST_WORDS = 10  # a person's and the model's alike: ten words is what the evaluation counts

Winner = Literal["person", "model", "nobody"]


@dataclass(frozen=True)
class Puzzle:
    """A picture whose prompt is to be guessed.

    Attributes:
        name: tells one puzzle from another.
        picture: a file, or encoded bytes.
        prompt: the true one.
        alt: what the picture shows, for those who cannot see it; "" where nobody has described it.
        part: of DiffusionDB, 0 for a picture of ours.
    """

    name: str
    picture: Path | bytes
    prompt: str
    alt: str = ""
    part: int = 0


@dataclass(frozen=True)
class Round:
    """One puzzle played.

    Attributes:
        typed, said: the person's and the model's words.
        person, model: their scores, by the same measure.
        preset: the model's name.
        puzzle: without its picture.
    """

    puzzle: Puzzle
    typed: tuple[str, ...]
    said: tuple[str, ...]
    person: Score
    model: Score
    preset: str

    @property
    def points(self) -> tuple[int, int]:
        """The person's and the model's: F1 in hundredths."""
        return round(100 * self.person.f1), round(100 * self.model.f1)

    @property
    def winner(self) -> Winner:
        """Who has more points."""
        return _winner(*self.points)


@dataclass(frozen=True)
class Game:
    """One person's game, never changed: every move gives a new one.

    Attributes:
        rounds: those played.
        puzzle: the picture on the table; None before the first one.
        open: whether it still waits for words.
        used: names of the puzzles this person has seen, in earlier games too.
    """

    rounds: tuple[Round, ...] = ()
    puzzle: Puzzle | None = None
    open: bool = False
    used: frozenset[str] = frozenset()

    @property
    def number(self) -> int:
        """Which round it is, from 1."""
        return len(self.rounds) + self.open

    @property
    def over(self) -> bool:
        """Whether all rounds are played."""
        return len(self.rounds) >= ROUNDS

    @property
    def points(self) -> tuple[int, int]:
        """The person's and the model's over all rounds."""
        person, model = (sum(one.points[side] for one in self.rounds) for side in (0, 1))
        return person, model

    @property
    def winner(self) -> Winner:
        """Who has more points so far."""
        return _winner(*self.points)

    def deal(self, puzzle: Puzzle) -> "Game":
        """Lay a puzzle on the table, in place of one that still waits, if any.

        Raises:
            UserError: all rounds are played.
        """
        if self.over:
            raise UserError("ui.game_over")
        return dataclasses.replace(self, puzzle=puzzle, open=True, used=self.used | {puzzle.name})

    def to_play(self, typed: str) -> tuple[Puzzle, list[str]]:
        """The puzzle that waits and a person's words for it.

        Raises:
            UserError: no puzzle waits, or the number of words is not in 1…`MOST_WORDS`.
        """
        if self.puzzle is None or not self.open:
            raise UserError("play.not_open")
        words = typed_words(typed)
        if not words:
            raise UserError("play.none_typed")
        if len(words) > MOST_WORDS:
            raise UserError("play.too_many", count=len(words), most=MOST_WORDS)
        return self.puzzle, words

    def play(self, typed: str, prediction: Prediction, vectors: WordVectors) -> "Game":
        """Score a person's words and the model's, and close the round.

        Args:
            typed: as it was typed.
            prediction: of the puzzle's picture; its first `MOST_WORDS` words count.
            vectors: the embedding.

        Raises:
            UserError: as `to_play`.
        """
        puzzle, words = self.to_play(typed)
        said = [word.word for word in prediction.words[:MOST_WORDS]]
        played = Round(
            # Its picture stays on the table until the next one; five of them would be in memory as
            # long as the game.
            dataclasses.replace(puzzle, picture=b""),
            tuple(words),
            tuple(said),
            score_words(words, puzzle.prompt, vectors),
            score_words(said, puzzle.prompt, vectors, prediction.vectors),
            prediction.preset,
        )
        return dataclasses.replace(self, rounds=(*self.rounds, played), open=False)

    def again(self) -> "Game":
        """A new game of the same person's, with other puzzles first."""
        return Game(used=self.used)


def _winner(person: int, model: int) -> Winner:
    return "nobody" if person == model else "person" if person > model else "model"


def typed_words(typed: str) -> list[str]:
    """The words of a person's line that count: distinct, no stop words, lower case."""
    return text.content_words(typed)


def choose(
    puzzles: Sequence[Puzzle], used: frozenset[str], rng: random.Random | None = None
) -> Puzzle:
    """A random puzzle, one that was not used while there is one; `puzzles` must not be empty."""
    fresh = [puzzle for puzzle in puzzles if puzzle.name not in used]
    return (rng or random).choice(fresh or list(puzzles))
