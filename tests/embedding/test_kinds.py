"""Kinds of words: the shipped ones, learning them, their file, and bad input."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from img2prompt.core.errors import UserError
from img2prompt.embedding.kinds import (
    KINDS,
    KINDS_FILE,
    NONE,
    Kinds,
    count_contexts,
    coverage,
    fit_kinds,
    read_seeds,
    word_features,
)
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.artifacts import Assets

EACH = 30


@pytest.fixture(scope="module")
def shipped() -> Kinds:
    assets = Assets()
    return Kinds.load(assets.path(KINDS_FILE), assets.embedding())


@pytest.fixture(scope="module")
def world() -> tuple[WordVectors, dict[str, str]]:
    """Words of seven groups of vectors, and the group of each; every group frequent enough.

    The vectors are long, so that the regularised regression is sure of the rarest kinds as well.
    """
    random = np.random.default_rng(4)
    names = (NONE, *KINDS)
    centres = random.normal(size=(len(names), 200))
    words = [f"{name}{chr(97 + i)}x" for name in names for i in range(EACH)]
    points = np.repeat(centres, EACH, axis=0) + 0.3 * random.normal(size=(len(words), 200))
    truth = {word: names[i // EACH] for i, word in enumerate(words)}
    return WordVectors(words, points.astype(np.float32), np.full(len(words), 50)), truth


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("castle", "subject"),
        ("dog", "subject"),
        ("rutkowski", "artist"),
        ("watercolor", "medium"),
        ("cyberpunk", "style"),
        ("volumetric", "light"),
        ("8k", "quality"),
        ("red", None),
        ("the", None),
        ("zzunheardof", None),
    ],
)
def test_obvious_words_have_their_kind(shipped: Kinds, word: str, kind: str | None) -> None:
    assert shipped.of(word) == kind


def test_more_is_known_than_was_written_down(shipped: Kinds) -> None:
    seeds = read_seeds()
    learned = [
        word
        for word, code, good in zip(
            shipped.vectors.words, shipped.codes, shipped.vectors.answerable, strict=True
        )
        if code and good and word not in seeds
    ]
    assert len(learned) > 2000
    assert {shipped.of(word) for word in learned} == set(KINDS)
    words, uses = coverage(shipped)
    assert 0.25 < words < 0.8 and 0.25 < uses < 0.9  # "else ungrouped": many words are


def test_the_manifest_tells_how_sure_each_kind_is() -> None:
    figures = Assets().files[KINDS_FILE]["figures"]
    assert list(figures) == list(KINDS)
    assert all(row["precision"] >= 0.85 for row in figures.values())


def test_hidden_words_have_no_kind(shipped: Kinds) -> None:
    view = Kinds(shipped.vectors.hiding(["castle"]), shipped.codes)
    assert view.of("castle") is None and view.of("dog") == "subject"


def test_kinds_are_learned_from_a_few_seeds(world: tuple[WordVectors, dict[str, str]]) -> None:
    pytest.importorskip("sklearn", reason="only learning kinds needs scikit-learn")
    vectors, truth = world
    learned = {word: kind for i, (word, kind) in enumerate(truth.items()) if i % 3}
    seeds = learned | {"notaword": "light"}
    kinds, reports = fit_kinds(vectors, np.full((len(vectors), 16), 0.1, np.float32), seeds)
    unseen = {word: kinds.of(word) for word in truth if word not in seeds and truth[word] != NONE}
    given = [word for word, kind in unseen.items() if kind]
    assert all(unseen[word] == truth[word] for word in given)
    assert len(given) > 0.5 * len(unseen)
    assert not any(kinds.of(word) for word in truth if truth[word] == NONE)
    assert [row.kind for row in reports] == list(KINDS)
    for row in reports:
        assert row.seeds == 20 and row.precision > 0.9 and row.recall > 0.3 and row.words <= EACH
        assert row.threshold <= 1


def test_a_column_without_information_is_nothing(world: tuple[WordVectors, dict[str, str]]) -> None:
    vectors, _ = world
    # Alike for every word, but no number that binary can hold: its deviation is a rounding error.
    table = word_features(vectors, np.full((len(vectors), 1 + len(KINDS)), 0.1, np.float32))
    constant = np.ptp(table, axis=0) == 0
    assert constant.any() and not table[:, constant].any()
    varying = table[:, ~constant]
    np.testing.assert_allclose(varying.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(varying.std(axis=0), 1, atol=1e-3)


def test_kinds_that_cannot_be_told_apart_are_not_given() -> None:
    pytest.importorskip("sklearn", reason="only learning kinds needs scikit-learn")
    random = np.random.default_rng(0)
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(420)]
    vectors = WordVectors(words, random.normal(size=(420, 30)).astype(np.float32), [50] * 420)
    names = (NONE, *KINDS)
    seeds = {word: names[i % 7] for i, word in enumerate(words[:210])}
    kinds, _ = fit_kinds(vectors, random.random((420, 16)).astype(np.float32), seeds)
    given = [word for word in words[210:] if kinds.of(word)]
    assert len(given) < 15  # seed words keep what a person said; of the rest we know nothing
    assert all((kinds.of(word) or NONE) == kind for word, kind in seeds.items())


@pytest.mark.parametrize("precision", ["7", "-0.1", "nan"])
def test_an_impossible_precision_is_refused(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = runpy.run_path(str(ROOT / "scripts" / "build_kinds.py"))["main"]
    nowhere = str(tmp_path / "nowhere")
    files = ["--prompts", nowhere, "--embedding", nowhere, "--out", nowhere]
    monkeypatch.setattr(sys, "argv", ["build_kinds.py", *files, "--precision", precision])
    with pytest.raises(UserError, match=f"--precision must lie in 0…1, not {float(precision)}"):
        main()


def test_too_few_seeds_are_refused(world: tuple[WordVectors, dict[str, str]]) -> None:
    pytest.importorskip("sklearn", reason="only learning kinds needs scikit-learn")
    vectors, truth = world
    some = {word: kind for word, kind in truth.items() if kind != "light"}
    with pytest.raises(UserError, match="too few seeds of light"):
        fit_kinds(vectors, np.ones((len(vectors), 16), np.float32), some)


def test_contexts_are_shares_of_uses(vectors: WordVectors, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    dog = "a dog in the forest, oil painting by Fox Mountain"
    file.write_text("\n".join([dog] * 400 + ["snow"] * 400), "utf-8")
    table = count_contexts([file], vectors)
    assert table.dtype == np.float32 and table.shape[0] == len(vectors)
    row = {word: table[vectors.index[word]] for word in vectors.words}
    assert row["dog"][0] == 400 and row["fox"][0] == 400 and row["castle"][0] == 0
    assert (table[:, 1:] >= 0).all() and (table[:, 1:] <= 1).all()
    after_by, right_after_by, first = 1, 2, 3
    assert row["fox"][after_by] > 0.9 and row["mountain"][after_by] > 0.9
    assert row["fox"][right_after_by] > 0.9 > 0.1 > row["mountain"][right_after_by]
    assert row["dog"][first] > 0.9 > 0.1 > row["oil"][first]
    assert row["snow"][6] > 0.9 > 0.1 > row["dog"][6]  # alone in its phrase


def test_the_file_comes_back_the_same(world: tuple, tmp_path: Path) -> None:
    vectors, truth = world
    codes = np.array([(NONE, *KINDS).index(truth[word]) for word in vectors.words], np.uint8)
    Kinds(vectors, codes, "by hand").save(tmp_path / KINDS_FILE)
    loaded = Kinds.load(tmp_path / KINDS_FILE, vectors)
    assert loaded.method == "by hand" and (loaded.codes == codes).all()
    assert all((loaded.of(word) or NONE) == kind for word, kind in truth.items())


@pytest.mark.parametrize("damage", ["missing", "empty", "other", "pickle", "short"])
def test_files_that_are_no_kinds_are_refused(world: tuple, tmp_path: Path, damage: str) -> None:
    vectors, _ = world
    path = tmp_path / KINDS_FILE
    if damage == "empty":
        path.touch()
    elif damage == "other":
        random = np.random.default_rng(0).normal(size=vectors.vectors.shape)
        other = WordVectors(vectors.words, random, vectors.counts)
        Kinds(other, np.zeros(len(other), np.uint8)).save(path)
    elif damage == "pickle":
        np.savez(path, codes=np.array([{}], dtype=object), kinds="", method="", embedding="")
    elif damage == "short":
        with pytest.raises(UserError, match="one number for each word"):
            Kinds(vectors, np.zeros(3, np.uint8))
        return
    with pytest.raises(UserError, match=r"build_kinds\.py"):
        Kinds.load(path, vectors)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('subject = "dog"\nlight = "dog"', "both subject and light"),
        ('colour = "red"', "names 'colour'"),
        ("subject = 3", "names 'subject'"),
        ("subject", "not a TOML file"),
    ],
)
def test_seed_lists_must_make_sense(tmp_path: Path, content: str, sentence: str) -> None:
    file = tmp_path / "seeds.toml"
    file.write_text(content, "utf-8")
    with pytest.raises(UserError, match=sentence):
        read_seeds(file)
