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


def test_a_source_of_prompts_that_name_nothing_does_not_count(
    tree: tuple[Taxonomy, list[frozenset[str]]],
) -> None:
    _, evidence = tree
    prompts = ["style of Monet"] * 110 + ["a dog"] * 10 + ["oil"] * 3 + ["cat", "a moon"] * 60
    sources = ["styles"] * 120 + ["few"] * 3 + ["things"] * 120
    pairs = pairs_of(np.zeros((243, 5), np.float32), prompts, sources, evidence)
    counted = {name: pairs.weights[sources.index(name)] > 0 for name in ("styles", "few", "things")}
    assert counted == {"styles": False, "few": True, "things": True}
    alone = pairs_of(np.zeros((120, 5), np.float32), prompts[:120], sources[:120], evidence)
    assert alone.weights.all()  # better than none


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
    assert figures["chance"] == pytest.approx(figures["right"], abs=0.05)
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


def test_a_source_that_does_not_count_may_be_all_that_is_left(
    tree: tuple[Taxonomy, list[frozenset[str]]],
) -> None:
    """The only source that counts is left out in turn, and then the one that does not."""
    taxonomy, _ = tree
    probabilities = np.tile(np.array([0.5, 0.4, 0.1, 0, 0], np.float32), (40, 1))
    borne_out = np.zeros((40, 2), bool)
    borne_out[::3, 0] = borne_out[1:20:4, 1] = True
    weights = np.repeat([1.0, 0.0], 20)
    fitted, figures = fit(
        taxonomy, Pairs(probabilities, borne_out, weights, 1 - weights.astype(int))
    )
    assert np.isfinite(fitted.offsets).all() and np.isfinite(list(figures.values())).all()
    # Of sources that do not count nothing is told, whatever they are offered.
    probabilities[:20] = 0.2
    _, figures = fit(taxonomy, Pairs(probabilities, borne_out, weights, np.arange(40) % 2))
    assert (figures["offered"], figures["right"]) == (0, 0)


def test_a_vocabulary_without_everyday_nouns_offers_none(vectors: WordVectors) -> None:
    taxonomy, evidence = build_taxonomy(vectors, CLASSES, NOUNS, min_uses=10_000)
    probabilities = np.full((8, 5), 0.2, np.float32)
    pairs = pairs_of(probabilities, ["a face"] * 8, list("abcdefgh"), evidence)
    fitted, figures = fit(taxonomy, pairs)
    assert len(fitted.words) == 0 and figures["offered"] == 0
