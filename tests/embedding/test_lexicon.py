"""The lexicon: what is counted, generic words, forms of one word, pairs, and its file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from img2prompt.core.errors import UserError
from img2prompt.data.splits import split_of
from img2prompt.embedding import word_use
from img2prompt.embedding.kinds import KINDS, Kinds
from img2prompt.embedding.lexicon import Lexicon, build_lexicon, join_pairs
from img2prompt.embedding.vectors import WordVectors
from img2prompt.embedding.word_forms import lemmas, other_forms


def embedding(words: Sequence[str], near: dict[str, str] | None = None) -> WordVectors:
    """Words whose vectors are at right angles, but for those beside another one."""
    vectors = np.eye(len(words), dtype=np.float32)
    for word, other in (near or {}).items():
        vectors[words.index(word)] += 2 * vectors[words.index(other)]
    return WordVectors(words, vectors, np.arange(len(words), 0, -1) * 10)


def no_kinds(vectors: WordVectors, **known: str) -> Kinds:
    codes = np.zeros(len(vectors), np.uint8)
    for word, kind in known.items():
        codes[vectors.index[word]] = 1 + KINDS.index(kind)
    return Kinds(vectors, codes)


def write(path: Path, prompts: Sequence[str], sources: Sequence[str], written: bool = True) -> Path:
    rows = {
        "prompt": list(prompts),
        "source": list(sources),
        "prompt_exact": [written] * len(prompts),
    }
    pq.write_table(pa.table(rows), path)
    return path


def kept(prompt: str) -> str:
    """A prompt with a number behind it that keeps it out of the test split."""
    return next(f"{prompt} {n}" for n in range(100, 200) if split_of(f"{prompt} {n}") == "train")


def places(vectors: WordVectors, words: str) -> list[int]:
    return [vectors.index[word] for word in words.split()]


@pytest.fixture
def small() -> WordVectors:
    return embedding("the red fox snow forest greg rutkowski york new city foxes".split())


@pytest.fixture
def lexicon(small: WordVectors) -> Lexicon:
    pairs = [("greg", "rutkowski", 0.9), ("new", "york", 0.8), ("york", "city", 0.6)]
    lemma = np.arange(len(small), dtype=np.int32)
    lemma[small.index["foxes"]] = small.index["fox"]
    return Lexicon(
        small,
        base_rate=np.full(len(small), 0.1, np.float32),
        background=np.full(len(small), 0.2, np.float32),
        generic=np.arange(len(small)) == small.index["red"],
        lemma=lemma,
        first=np.array([small.index[first] for first, _, _ in pairs], np.int32),
        second=np.array([small.index[second] for _, second, _ in pairs], np.int32),
        strength=np.array([strength for *_, strength in pairs], np.float32),
    )


def test_base_rates_weigh_sources_by_the_root_of_their_size(
    small: WordVectors, tmp_path: Path
) -> None:
    large = [kept(f"fox snow {chr(97 + n)}x") for n in range(16)]
    path = write(tmp_path / "p.parquet", [*large, kept("forest snow")], ["a"] * 16 + ["b"])
    lexicon, counts = build_lexicon([path], small, no_kinds(small), [path])
    assert counts["prompts"] == counts["pair_prompts"] == 17
    fox, forest, snow = places(small, "fox forest snow")
    np.testing.assert_allclose(lexicon.background[[fox, forest, snow]], [0.5, 0.5, 1], rtol=1e-6)
    # Source a weighs 4, source b 1; the weights tell as much as 25 / 2 equal ones.
    prompts = 5**2 / (16 * 0.25**2 + 1)
    expected = (prompts * 0.8 + word_use.SMOOTHING * 0.5) / (prompts + word_use.SMOOTHING)
    assert lexicon.base_rate[fox] == pytest.approx(expected)
    assert lexicon.base_rate[places(small, "city")[0]] == pytest.approx(word_use.LEAST_RATE)
    without, _ = build_lexicon([path], small, no_kinds(small))
    np.testing.assert_allclose(without.base_rate[[fox, snow]], [0.5, 1], rtol=1e-6)


def test_prompts_of_the_test_split_repeated_and_rebuilt_ones_do_not_count(
    small: WordVectors, tmp_path: Path
) -> None:
    test = next(f"city {n}" for n in range(200) if split_of(f"city {n}") == "test")
    prompt = kept("red fox")
    counted = write(tmp_path / "a.parquet", [prompt, prompt.upper(), test], ["a"] * 3)
    template = write(tmp_path / "b.parquet", [kept("forest")], ["b"], written=False)
    lexicon, counts = build_lexicon([counted, template], small, no_kinds(small))
    assert counts["prompts"] == 2 and counts["sources"] == 1
    shares = lexicon.background[places(small, "red fox city forest")]
    np.testing.assert_array_equal(shares, [1, 1, 0, 0])
    with pytest.raises(UserError, match="somebody wrote"):
        build_lexicon([template], small, no_kinds(small))


def test_pairs_stand_side_by_side_in_one_order_and_in_one_phrase(
    small: WordVectors, tmp_path: Path
) -> None:
    filler = [kept(f"{word}, {n}a") for n in range(60) for word in ("red", "snow")]
    beside = [kept(f"fox by greg rutkowski {n}b") for n in range(8)]
    parted = [kept(f"new, york {n}c") for n in range(8)]
    both_ways = [kept(f"{pair} {n}d") for n in range(8) for pair in ("forest city", "city forest")]
    rare = [kept(f"york fox {n}e") for n in range(word_use.PAIR_USES - 1)]
    prompts = filler + beside + parted + both_ways + rare
    path = write(tmp_path / "p.parquet", prompts, ["a"] * len(prompts))
    lexicon, _ = build_lexicon([path], small, no_kinds(small))
    assert list(lexicon.pairs) == [tuple(places(small, "greg rutkowski"))]
    assert word_use.PAIR_STRENGTH <= lexicon.strength[0] <= 1


def crowd(subjects: Sequence[str], fillers: Sequence[str]) -> list[str]:
    """Prompts on several subjects, each with words of its own beside it; fillers beside all."""
    random = np.random.default_rng(3)
    prompts = []
    for number in range(word_use.MIN_PROMPTS + 400):
        subject = subjects[number % len(subjects)]
        own = [f"{subject}{letter}x" for letter in random.permutation(list("abcdefgh"))[:3]]
        used = [word for word in fillers if random.random() < 0.4]
        prompts.append(f"{subject} {' '.join(own + used)} {number}q")
    return prompts


def test_generic_words_keep_everybodys_company(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects, fillers = [f"sub{letter}" for letter in "abcd"], ["detailed", "style", "greg"]
    own = [f"{subject}{letter}x" for subject in subjects for letter in "abcdefgh"]
    vectors = embedding([*fillers, *subjects, *own])
    monkeypatch.setattr(word_use, "GENERIC", 2)
    monkeypatch.setattr(word_use, "COMPANY", (1e-4, 0.2))
    monkeypatch.setattr(word_use, "USED_EVERYWHERE", 0.2)
    prompts = crowd(subjects, fillers)
    path = write(tmp_path / "p.parquet", prompts, ["a"] * len(prompts))
    lexicon, counts = build_lexicon([path], vectors, no_kinds(vectors, greg="artist"))
    assert [vectors.words[place] for place in np.flatnonzero(lexicon.generic)] == fillers[:2]
    assert counts["generic"] == 2
    few = write(tmp_path / "few.parquet", prompts[:500], ["a"] * 500)
    assert not build_lexicon([few], vectors, no_kinds(vectors))[0].generic.any()


def test_a_subject_is_generic_only_if_it_is_more_so_than_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subjects, fillers = [f"sub{letter}" for letter in "abcd"], ["detailed", "style", "woman"]
    own = [f"{subject}{letter}x" for subject in subjects for letter in "abcdefgh"]
    vectors = embedding([*fillers, *subjects, *own])
    kinds = no_kinds(vectors, woman="subject", **dict.fromkeys(subjects, "subject"))
    monkeypatch.setattr(word_use, "COMPANY", (1e-4, 0.2))
    monkeypatch.setattr(word_use, "USED_EVERYWHERE", 0.2)
    prompts = crowd(subjects, fillers)
    # "style" now comes with one subject more often than with the others.
    prompts += [f"suba subaax style {n}r" for n in range(40)]
    path = write(tmp_path / "p.parquet", prompts, ["a"] * len(prompts))
    generic = build_lexicon([path], vectors, kinds)[0].generic
    assert generic[places(vectors, "detailed style woman")].all()
    assert not generic[places(vectors, "suba subb subc subd")].any()


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("flowers", "flower"),
        ("ladies", "lady"),
        ("wolves", "wolf"),
        ("knives", "knife"),
        ("torches", "torch"),
        ("women", "woman"),
        ("people", "person"),
        ("colours", "colors"),
        ("armour", "armor"),
        ("theatre", "theater"),
        ("grey", "gray"),
        ("stylised", "stylized"),
    ],
)
def test_endings_propose_another_form(word: str, form: str) -> None:
    assert form in list(other_forms(word))


@pytest.mark.parametrize("word", ["glass", "canvas", "iris", "cactus", "luminous", "gothic"])
def test_an_s_that_is_no_plural_stays(word: str) -> None:
    assert set(other_forms(word)) <= {"canva"}


def test_forms_are_one_word_where_they_lie_together() -> None:
    words = "flower flowers new news glass glasses armour armors armor the thes".split()
    near = {
        "flowers": "flower",
        "glasses": "glass",
        "thes": "the",
        "armors": "armor",
        "armour": "armor",
    }
    vectors = embedding(words, near)
    lemma = lemmas(vectors)
    told = {word: words[lemma[place]] for place, word in enumerate(words)}
    assert told["flowers"] == told["flower"] == "flower"
    assert told["news"] == "news"  # far from "new"
    assert told["glasses"] == "glasses"  # near, and another thing
    assert told["thes"] == "thes"  # a stop word has no forms
    # "armour" is the commonest here; its forms' forms follow it.
    assert told["armor"] == told["armors"] == "armour"


def test_phrases_join_pairs_at_the_better_word(lexicon: Lexicon) -> None:
    said = ["rutkowski", "york", "fox", "city", "greg", "new", "unknown"]
    pairs = lexicon.pairs_among(said)
    assert pairs == (("greg", "rutkowski"), ("new", "york"), ("york", "city"))
    assert join_pairs(said, pairs) == [
        ("greg", "rutkowski"),
        ("new", "york", "city"),
        ("fox",),
        ("unknown",),
    ]
    assert join_pairs([], pairs) == []
    assert join_pairs(["york", "new"], pairs) == [("new", "york")]  # the others are not said


def test_a_word_joins_the_stronger_neighbour(lexicon: Lexicon, small: WordVectors) -> None:
    """Here "forest york" is weaker than "new york", so "forest" stands alone."""
    more = {
        "first": np.append(lexicon.first, small.index["forest"]).astype(np.int32),
        "second": np.append(lexicon.second, small.index["york"]).astype(np.int32),
        "strength": np.append(lexicon.strength, np.float32(0.55)),
    }
    said = ["forest", "york", "new"]
    pairs = Lexicon(**{**lexicon.__dict__, **more}).pairs_among(said)
    assert join_pairs(said, pairs) == [("forest",), ("new", "york")]
    circle = (("new", "york"), ("york", "new"))
    assert join_pairs(["york", "new"], circle) == [("new", "york")]


def test_the_file_holds_it(lexicon: Lexicon, small: WordVectors, tmp_path: Path) -> None:
    lexicon.save(tmp_path / "lexicon.npz")
    loaded = Lexicon.load(tmp_path / "lexicon.npz", small)
    for name in ("base_rate", "background", "generic", "lemma", "first", "second", "strength"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(lexicon, name))
        assert getattr(loaded, name).dtype == getattr(lexicon, name).dtype
    first = (tmp_path / "lexicon.npz").read_bytes()
    loaded.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == first
    with pytest.raises(UserError):
        Lexicon.load(tmp_path / "lexicon.npz", embedding(small.words, {"fox": "foxes"}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_rate", np.zeros(11, np.float32)),
        ("generic", np.zeros(10, bool)),
        ("lemma", np.full(11, 11, np.int32)),
        ("lemma", np.roll(np.arange(11, dtype=np.int32), 1)),  # no representative is its own
        ("base_rate", np.full(11, 1.5, np.float32)),
        ("background", np.full(11, -0.5, np.float32)),
        ("first", np.array([0, -1, 2], np.int32)),
        ("first", np.array([6, 7, 9], np.int32)),  # the second of them, a word with itself
        ("second", np.array([0], np.int32)),
        ("strength", np.array([0.5, np.nan, 0.1], np.float32)),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    lexicon: Lexicon, small: WordVectors, tmp_path: Path, name: str, value: np.ndarray
) -> None:
    Lexicon(**{**lexicon.__dict__, name: value}).save(tmp_path / "lexicon.npz")
    with pytest.raises(UserError, match="build_lexicon"):
        Lexicon.load(tmp_path / "lexicon.npz", small)


def test_far_more_pairs_than_words_are_refused(
    lexicon: Lexicon, small: WordVectors, tmp_path: Path
) -> None:
    """A hundred kilobytes of pairs would be a gigabyte in a dictionary."""
    many = {
        "first": np.tile(np.int32(1), 10_000),
        "second": np.tile(np.int32(2), 10_000),
        "strength": np.full(10_000, 0.5, np.float32),
    }
    Lexicon(**{**lexicon.__dict__, **many}).save(tmp_path / "lexicon.npz")
    with pytest.raises(UserError, match="build_lexicon"):
        Lexicon.load(tmp_path / "lexicon.npz", small)
