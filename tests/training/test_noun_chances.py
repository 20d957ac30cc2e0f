"""Chances of nouns, fitted to pictures whose prompts are known."""

import numpy as np
import pytest

from img2prompt.embedding.class_names import ClassName
from img2prompt.embedding.taxonomy import Noun, Taxonomy, build_taxonomy
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training.hedging import RIGHT, Pairs, fit, pairs_of

# face > dog, cat; light > sunset, moon; four classes each of their own word besides.
NOUNS = {
    "a": Noun((), ("face",), ("robot",)),
    "b": Noun((), ("light",)),
    "c0": Noun(("a",)),
    "c1": Noun(("a",)),
    "c2": Noun(("b",)),
    "c3": Noun(("b",)),
    "c4": Noun(),
}
CLASSES = [
    ClassName(name, synset=f"c{number}")
    for number, name in enumerate(("dog", "cat", "sunset", "moon", "castle"))
]


@pytest.fixture
def tree(vectors: WordVectors) -> tuple[Taxonomy, list[frozenset[str]]]:
    return build_taxonomy(vectors, CLASSES, NOUNS, min_uses=1)


def test_prompts_bear_nouns_out_and_sources_weigh_their_root(
    tree: tuple[Taxonomy, list[frozenset[str]]],
) -> None:
    _, evidence = tree
    prompts = ["Two DOGS", "a robot, moon", "castle", "faces"]
    pairs = pairs_of(np.zeros((4, 5), np.float32), prompts, ["a", "b/c", "a", "a"], evidence)
    assert pairs.borne_out.tolist() == [[True, False], [True, True], [False] * 2, [True, False]]
    np.testing.assert_allclose(pairs.weights, [3**-0.5, 1, 3**-0.5, 3**-0.5])
    assert pairs.folds[0] == pairs.folds[2] == pairs.folds[3]


def test_chances_become_the_shares_of_right_nouns(
    vectors: WordVectors, tree: tuple[Taxonomy, list[frozenset[str]]]
) -> None:
    """Prompts say "face" where the classifier is sure of it, and never "light"."""
    taxonomy, _ = tree
    rng = np.random.default_rng(0)
    count = 4_000
    probabilities = rng.dirichlet(np.full(5, 0.3), count).astype(np.float32)
    probabilities = np.minimum(probabilities, 0.7)  # of no class it is sure
    sums = taxonomy.sums(probabilities)
    borne_out = np.zeros((count, 2), bool)
    borne_out[:, 0] = rng.random(count) < 0.9 * sums[:, 0]
    pairs = Pairs(probabilities, borne_out, np.ones(count), np.arange(count) % 4)
    fitted, figures = fit(taxonomy, pairs)
    assert [vectors.words[word] for word in fitted.words] == ["face", "light"]
    chances = fitted.chances(sums)
    for low in (0.3, 0.5, 0.7):
        seen = (sums[:, 0] >= low) & (sums[:, 0] < low + 0.2)
        assert chances[seen, 0].mean() == pytest.approx(borne_out[seen, 0].mean(), abs=0.07)
    assert chances[:, 1].max() < 0.3
    assert RIGHT <= figures["right"] <= 1
    assert figures["chance"] == pytest.approx(figures["right"], abs=0.1)
    assert figures["calibration_error"] < 0.1
    assert 0 < figures["offered"] < 1 and figures["threshold"] == fitted.threshold


def test_pictures_that_bear_nothing_out_leave_the_sums_as_they_are(
    tree: tuple[Taxonomy, list[frozenset[str]]],
) -> None:
    taxonomy, _ = tree
    probabilities = np.full((8, 5), 0.2, np.float32)
    pairs = Pairs(probabilities, np.zeros((8, 2), bool), np.ones(8), np.arange(8) % 2)
    fitted, figures = fit(taxonomy, pairs)
    assert (fitted.slope, fitted.offsets.any()) == (1, False)
    assert fitted.threshold > 0.9 and figures["right"] == 0


def test_a_vocabulary_without_everyday_nouns_offers_none(vectors: WordVectors) -> None:
    taxonomy, evidence = build_taxonomy(vectors, CLASSES, NOUNS, min_uses=10_000)
    probabilities = np.full((8, 5), 0.2, np.float32)
    pairs = pairs_of(probabilities, ["a face"] * 8, list("abcdefgh"), evidence)
    fitted, figures = fit(taxonomy, pairs)
    assert len(fitted.words) == 0 and figures["offered"] == 0
