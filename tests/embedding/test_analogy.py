"""Word arithmetic: what is a sum, what it is near, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.embedding.analogy import (
    MOST_TERMS,
    UserError,
    beginning,
    known_word,
    parse,
    solve,
)
from img2prompt.embedding.vectors import WordVectors

ROYAL, MALE, FEMALE = np.eye(6, dtype=np.float32)[:3]
TOY = {
    "king": ROYAL + MALE,
    "queen": ROYAL + FEMALE,
    "man": MALE,
    "woman": FEMALE,
    "the": np.ones(6, np.float32),
    "throne": ROYAL + 0.2 * np.eye(6, dtype=np.float32)[4],
    "rude": ROYAL + FEMALE + 0.01,
    "opposite": -MALE,
}


@pytest.fixture(scope="module")
def toy() -> WordVectors:
    return WordVectors(list(TOY), np.array(list(TOY.values())), np.arange(80, 0, -10))


def test_a_sum_is_near_the_word_that_it_means(toy: WordVectors) -> None:
    solution = solve("king - man + woman", toy.hiding(["rude"]), k=3)
    assert solution.words[0][0] == "queen"
    assert solution.expression == "king − man + woman"
    assert {word for word, _ in solution.words}.isdisjoint({"king", "man", "woman", "the", "rude"})
    unit = [v / np.linalg.norm(v) for v in (TOY["king"], TOY["man"], TOY["woman"], TOY["queen"])]
    total = unit[0] - unit[1] + unit[2]
    expected = float(total @ unit[3] / np.linalg.norm(total))
    assert solution.words[0][1] == pytest.approx(expected, abs=1e-6)
    assert np.linalg.norm(solution.vector) == pytest.approx(1, abs=1e-6)
    told = solution.to_dict()
    assert told["results"][0] == {"word": "queen", "score": round(expected, 4), "count": 70}


def test_the_shipped_embedding_knows_photographs_from_paintings() -> None:
    from img2prompt.inference.artifacts import Assets

    vectors = Assets().embedding()
    added = [w for w, _ in solve("portrait - painting + photo", vectors).words]
    assert {"photograph", "photography", "closeup", "headshot"} & set(added), added


@pytest.mark.parametrize(
    ("written", "terms"),
    [
        ("king", [(1, "king")]),
        ("  KING-man ", [(1, "king"), (-1, "man")]),
        ("-man + king", [(-1, "man"), (1, "king")]),
        ("king − man – woman — queen", [(1, "king"), (-1, "man"), (-1, "woman"), (-1, "queen")]),
        ("king+king", [(1, "king"), (1, "king")]),
        ("king + “queen”", [(1, "king"), (1, "queen")]),
    ],
)
def test_what_people_write(toy: WordVectors, written: str, terms: list) -> None:
    assert parse(written, toy) == tuple(terms)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "empty"),
        ("   ", "empty"),
        ("+", "loose_sign"),
        ("king +", "loose_sign"),
        ("king + - man", "two_signs"),
        ("king man", "no_sign"),
        ("king + dragon", "unknown"),
        ("king + rude", "unknown"),
        ("king + !!!", "unknown"),
        ("king - king", "cancelled"),
        ("man + opposite", "cancelled"),
        ("king + " * MOST_TERMS + "king", "many"),
        ("k" * 500, "long"),
    ],
)
def test_what_is_no_sum_is_told_in_a_sentence(toy: WordVectors, written: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        solve(written, toy.hiding(["rude"]))
    assert caught.value.key == f"embedding.sum_{reason}"
    assert str(caught.value).endswith((".", "one."))


@given(
    st.lists(
        st.one_of(st.sampled_from([*TOY, "+", "-", "−", "dragon", " "]), st.text(max_size=6)),
        max_size=14,
    ).map(" ".join)
)
def test_any_text_is_a_sum_or_a_sentence(toy: WordVectors, written: str) -> None:
    try:
        solution = solve(written, toy)
    except UserError:
        return
    assert np.isfinite(solution.vector).all()
    assert not {word for word, _ in solution.words} & {word for _, word in solution.terms}
    # What it says it worked out is what it worked out.
    assert solve(solution.expression, toy).words == solution.words


def test_a_person_types_a_word_or_its_beginning(toy: WordVectors) -> None:
    hidden = toy.hiding(["rude"])
    assert known_word(" King! ", hidden) == "king"
    assert known_word("rude", hidden) is None
    assert known_word("king queen", hidden) is None
    assert known_word("", hidden) is None
    assert beginning("K", hidden.words) == ["king"]
    assert beginning("", hidden.words) == []
