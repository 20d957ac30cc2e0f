"""The nouns above classes: which count, what bears them out, and their file."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.embedding.class_names import ClassName, read_class_names
from img2prompt.embedding.taxonomy import (
    MOST,
    NOT_SEEN,
    Noun,
    Taxonomy,
    build_taxonomy,
    read_nouns,
)
from img2prompt.embedding.vectors import WordVectors

# entity > animal > (bird > seabird > gull, albatross), (placental > lynx, ox); entity > tool > saw
WORDS = "animal bird seabird gull albatross lynx saw entity placental tool kestrel device".split()
NOUNS = {
    "n0": Noun((), ("entity",)),
    "n1": Noun(("n0",), ("beast", "animal"), ("bat",)),
    "n2": Noun(("n1",), ("bird",), ("kestrel", "finch", "animal")),
    "n3": Noun(("n2",), ("seabird",)),
    "n4": Noun(("n1",), ("placental",)),
    "n5": Noun(("n0",), ("device",)),
    "c0": Noun(("n3",), ("gull",)),
    "c1": Noun(("n3",)),
    "c2": Noun(("n4",), ("lynx",)),
    "c3": Noun(("n4",), ("ox",)),
    **{f"c{n}": Noun(("n5",)) for n in range(4, 12)},
}
CLASSES = [
    ClassName("herring gull", "bird", synset="c0"),
    ClassName("albatross", synset="c1"),
    ClassName("lynx", synset="c2"),
    ClassName("mountain animal", synset="c3"),
    *(ClassName(f"saw {n}", synset=f"c{n}") for n in range(4, 12)),
]


@pytest.fixture
def words() -> WordVectors:
    counts = np.full(len(WORDS), 100)
    counts[WORDS.index("placental")] = 3
    vectors = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)
    return WordVectors(WORDS, vectors, counts)


def test_only_everyday_nouns_count_the_widest_first(words: WordVectors) -> None:
    """Not "entity" for all, the rare "placental", nor "device", which is not seen."""
    taxonomy, _ = build_taxonomy(words, CLASSES, NOUNS)
    assert [words.words[word] for word in taxonomy.words] == ["animal", "bird", "seabird"]
    below = [set(np.flatnonzero(row)) for row in taxonomy.members]
    assert below == [{0, 1, 2, 3}, {0, 1}, {0, 1}]
    np.testing.assert_allclose(taxonomy.information, [np.log2(3), np.log2(6), np.log2(6)])
    rarer, _ = build_taxonomy(words, CLASSES, NOUNS, min_uses=3)
    assert "placental" in [words.words[word] for word in rarer.words]
    assert len(build_taxonomy(words, CLASSES, NOUNS, min_uses=101)[0].words) == 0


def test_a_noun_is_borne_out_by_words_below_it_but_by_none_above(words: WordVectors) -> None:
    _, (animal, bird, seabird) = build_taxonomy(words, CLASSES, NOUNS)
    assert {"animal", "animals", "beast", "bat", "kestrel", "gull", "lynx", "ox"} <= animal
    assert {"bird", "birds", "finches", "kestrel", "seabird", "albatross"} <= bird
    assert not {"animal", "bat", "lynx", "entity"} & bird  # though a file calls it one
    assert {"seabird", "gull", "gulls", "albatross"} <= seabird
    assert not {"bird", "kestrel", "herring"} & seabird


def test_sums_and_chances(words: WordVectors) -> None:
    taxonomy, _ = build_taxonomy(words, CLASSES, NOUNS)
    probabilities = np.zeros((2, 12), np.float32)
    probabilities[0, :4] = 0.5, 0.25, 0.125, 0.125
    probabilities[1, 11] = 1.0
    sums = taxonomy.sums(probabilities)
    np.testing.assert_allclose(sums, [[1.0, 0.75, 0.75], [0, 0, 0]])
    # Not fitted, the chance is the sum, within the log-odds' bounds.
    np.testing.assert_allclose(taxonomy.chances(sums), np.clip(sums, 0.001, 0.999), rtol=1e-5)
    offsets = np.array([0.0, 1.0, -1.0], np.float32)
    fitted = dataclasses.replace(taxonomy, slope=np.array(2, np.float32), offsets=offsets)
    steep = dataclasses.replace(taxonomy, slope=np.array(1e5, np.float32))
    with np.errstate(all="raise"):
        assert set(steep.chances(sums).round(3).ravel()) == {0, 1}
    odds = 9.0 * np.exp(offsets[1:])  # 0.75 is 3 to 1
    np.testing.assert_allclose(fitted.chances(sums)[0, 1:], odds / (1 + odds), rtol=1e-5)


def test_a_taxonomy_survives_its_file_and_belongs_to_an_embedding(
    words: WordVectors, tmp_path: Path
) -> None:
    taxonomy, _ = build_taxonomy(words, CLASSES, NOUNS)
    taxonomy.save(tmp_path / "t.npz")
    again = Taxonomy.load(tmp_path / "t.npz", words)
    for field in dataclasses.fields(Taxonomy):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(taxonomy, field.name))
    other = WordVectors(words.words, words.vectors + 1, words.counts)
    with pytest.raises(UserError, match="another embedding"):
        Taxonomy.load(tmp_path / "t.npz", other)
    with pytest.raises(UserError, match="build_taxonomy"):
        Taxonomy.load(tmp_path / "none.npz", words)
    for change in (
        {"words": taxonomy.words + len(words)},
        {"offsets": taxonomy.offsets[:1]},
        {"words": taxonomy.words[[0, 0, 0]]},
        {"slope": np.array(np.nan, np.float32)},
        {"slope": np.array(1e300)},
        {"members": np.zeros_like(taxonomy.members)},
    ):
        dataclasses.replace(taxonomy, **change).save(tmp_path / "bad.npz")
        with pytest.raises(UserError, match="fit one another"):
            Taxonomy.load(tmp_path / "bad.npz", words)


def test_the_nouns_above_imagenet_are_wordnets() -> None:
    nouns = read_nouns()
    classes = read_class_names()
    assert all(row.synset in nouns for row in classes)
    assert all(above in nouns for noun in nouns.values() for above in noun.above)
    named = {name: synset for synset, noun in nouns.items() for name in noun.names}
    assert len(named) == sum(len(noun.names) for noun in nouns.values())  # first senses: no twice

    def lies_below(synset: str, wider: str) -> bool:
        return synset == wider or any(lies_below(up, wider) for up in nouns[synset].above)

    dogs = [row for row in classes if lies_below(row.synset, named["dog"])]
    assert len(dogs) == 118  # of ILSVRC 2012
    assert [row.name for row in classes[8:10]] == ["hen", "ostrich"]
    assert all(lies_below(row.synset, named["bird"]) for row in classes[7:25])
    assert "puppy" in nouns[named["dog"]].words or "puppy" in named
    assert "bird" not in NOT_SEEN and 0 < MOST < 1
