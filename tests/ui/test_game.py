"""Guess the prompt: five rounds, one measure for person and model, a running score."""

import pickle
import random

import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation.score import score_words
from img2prompt.inference.predictor import Predictor
from img2prompt.ui.play import game
from img2prompt.ui.play.game import Game, Puzzle, choose, typed_words

PROMPT = "portrait of a red fox, oil painting"
PUZZLE = Puzzle("fox", b"", PROMPT)


@pytest.fixture
def prediction(predictor: Predictor, make_picture):
    return predictor(np.asarray(make_picture(0)), 10)


def test_a_round_scores_both_by_the_same_measure(prediction, vectors: WordVectors) -> None:
    played = Game().deal(PUZZLE).play("A red FOX, castle", prediction, vectors).rounds[0]
    assert played.typed == ("red", "fox", "castle")
    assert played.person == score_words(["red", "fox", "castle"], PROMPT, vectors)
    said = [word.word for word in prediction.words]
    assert list(played.said) == said
    assert played.model == score_words(said, PROMPT, vectors, prediction.vectors)
    assert played.points == (round(100 * 4 / 8), round(100 * played.model.f1))


def test_a_game_holds_the_picture_on_the_table_alone(prediction, vectors: WordVectors) -> None:
    played = Game()
    for number in range(3):
        puzzle = Puzzle(str(number), bytes([number]) * 100_000, PROMPT, part=number)
        played = played.deal(puzzle).play("fox", prediction, vectors)
        assert played.puzzle == puzzle  # shown beside its answer
    assert len(pickle.dumps(played)) < 150_000
    assert [one.puzzle.prompt for one in played.rounds] == [PROMPT] * 3


def test_the_model_gets_as_many_words_as_a_person_may_type(
    predictor: Predictor, make_picture, vectors: WordVectors
) -> None:
    prediction = predictor(np.asarray(make_picture(0)), 15)
    played = Game().deal(PUZZLE).play("fox", prediction, vectors).rounds[0]
    assert len(prediction.words) == 15 and len(played.said) == game.MOST_WORDS


def test_who_has_more_points_wins(prediction, vectors: WordVectors) -> None:
    perfect = Game().deal(PUZZLE).play("portrait red fox oil painting", prediction, vectors)
    assert perfect.rounds[0].winner == perfect.winner == "person"
    assert perfect.rounds[0].points[0] == 100
    said = " ".join(word.word for word in prediction.words)
    tie = Game().deal(PUZZLE).play(said, prediction, vectors)
    assert tie.rounds[0].winner == tie.winner == "nobody"
    hit = next(word.word for word in prediction.words)
    lost = Game().deal(Puzzle("x", b"", hit)).play("nonsense", prediction, vectors)
    assert lost.rounds[0].winner == lost.winner == "model"


def test_points_add_up_until_five_rounds_are_played(prediction, vectors: WordVectors) -> None:
    played = Game()
    for number in range(1, game.ROUNDS + 1):
        assert not played.over
        played = played.deal(PUZZLE)
        assert played.number == number and played.open
        played = played.play("fox", prediction, vectors)
        assert played.number == number and not played.open
    assert played.over
    assert played.points == tuple(map(sum, zip(*(r.points for r in played.rounds), strict=True)))
    with pytest.raises(UserError, match="new game"):
        played.deal(PUZZLE)
    fresh = played.again()
    assert fresh.rounds == () and not fresh.over and fresh.used == {"fox"}


@pytest.mark.parametrize("typed", ["", "  ", "of the a", ", ".join(map(chr, range(945, 956)))])
def test_none_or_too_many_words_are_told(typed: str, prediction, vectors: WordVectors) -> None:
    waiting = Game().deal(PUZZLE)
    with pytest.raises(UserError, match=r"at least one word|only 10 are allowed"):
        waiting.play(typed, prediction, vectors)
    assert waiting.open and waiting.rounds == ()


def test_words_that_do_not_count_are_not_counted() -> None:
    assert typed_words("A red fox, the RED fox; in of") == ["red", "fox"]


def test_nothing_is_played_twice(prediction, vectors: WordVectors) -> None:
    with pytest.raises(UserError, match="round is over"):
        Game().play("fox", prediction, vectors)
    played = Game().deal(PUZZLE).play("fox", prediction, vectors)
    with pytest.raises(UserError, match="round is over"):
        played.play("fox", prediction, vectors)


def test_a_puzzle_laid_on_another_replaces_it() -> None:
    other = Game().deal(PUZZLE).deal(Puzzle("cat", b"", "a cat"))
    assert other.number == 1 and other.puzzle.name == "cat" and other.used == {"fox", "cat"}


def test_seen_puzzles_come_last() -> None:
    puzzles = [Puzzle(str(n), b"", "a fox") for n in range(6)]
    rng = random.Random(0)
    used: frozenset[str] = frozenset()
    for _ in range(6):
        used |= {choose(puzzles, used, rng).name}
    assert used == {str(n) for n in range(6)}
    assert choose(puzzles, used, rng) in puzzles
