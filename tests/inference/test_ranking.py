"""Which words answer, in what order: specific before generic, one form of a word, pairs joined."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from img2prompt.core.files import sha256_of, write_json
from img2prompt.embedding.lexicon import LEXICON_FILE, Lexicon
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.artifacts import Assets, load
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.predictor import Predictor
from img2prompt.inference.ranking import MARGIN, generic_floor, rank_words


def lexicon_of(
    vectors: WordVectors,
    generic: str = "",
    forms: dict[str, str] | None = None,
    pairs: tuple[tuple[str, str], ...] = (),
    base_rate: float = 0.1,
) -> Lexicon:
    lemma = np.arange(len(vectors), dtype=np.int32)
    for word, other in (forms or {}).items():
        lemma[vectors.index[word]] = vectors.index[other]
    first, second = (vectors.positions([pair[side] for pair in pairs]) for side in (0, 1))
    return Lexicon(
        vectors,
        base_rate=np.full(len(vectors), base_rate, np.float32),
        background=np.zeros(len(vectors), np.float32),
        generic=np.isin(np.arange(len(vectors)), vectors.positions(generic.split())),
        lemma=lemma,
        first=first.astype(np.int32),
        second=second.astype(np.int32),
        strength=np.linspace(0.9, 0.6, len(pairs), dtype=np.float32),
    )


def evidence_of(vectors: WordVectors, **values: float) -> np.ndarray:
    evidence = np.zeros((1, len(vectors)), np.float32)
    for word, value in values.items():
        evidence[0, vectors.index[word]] = value
    return evidence


def ranked(vectors: WordVectors, *arguments: Any) -> list[str]:
    evidence, k, *rest = arguments
    positions, values = rank_words(evidence, k, vectors, *rest)
    np.testing.assert_array_equal(values, np.take_along_axis(evidence, positions, axis=1))
    return [vectors.words[position] for position in positions[0]]


def test_generic_words_come_last_among_those_with_most_evidence(vectors: WordVectors) -> None:
    evidence = evidence_of(vectors, detailed=0.9, dog=0.8, dark=0.7, moon=0.6, cat=0.5)
    assert ranked(vectors, evidence, 4) == ["detailed", "dog", "dark", "moon"]
    lexicon = lexicon_of(vectors, "detailed dark")
    assert ranked(vectors, evidence, 4, lexicon) == ["dog", "moon", "detailed", "dark"]
    # Generic ones take no place from words with more evidence, nor give theirs up.
    assert ranked(vectors, evidence, 2, lexicon) == ["dog", "detailed"]


def test_a_generic_word_has_to_pass_its_base_rate_by_a_margin(vectors: WordVectors) -> None:
    lexicon = lexicon_of(vectors, "detailed dark", base_rate=0.4)
    evidence = evidence_of(
        vectors, detailed=0.4 * MARGIN + 0.01, dark=0.4 * MARGIN - 0.01, dog=0.3, moon=0.2
    )
    floor = generic_floor(lexicon)
    assert ranked(vectors, evidence, 3, lexicon, floor) == ["dog", "moon", "detailed"]
    # Where no floor is given, nothing is held against the word.
    assert ranked(vectors, evidence, 3, lexicon) == ["dog", "detailed", "dark"]
    # If no other word is left, all answer.
    everything = ranked(vectors, evidence, 50, lexicon, floor)
    assert len(everything) == int(vectors.answerable.sum()) and everything[-1] == "dark"


def test_the_better_form_of_a_word_answers(vectors: WordVectors) -> None:
    lexicon = lexicon_of(vectors, forms={"cat": "dog", "fox": "dog", "snow": "moon"})
    evidence = evidence_of(vectors, fox=0.9, dog=0.8, cat=0.7, moon=0.6, snow=0.5, castle=0.4)
    assert ranked(vectors, evidence, 3, lexicon) == ["fox", "moon", "castle"]
    everything = ranked(vectors, evidence, 50, lexicon)
    assert len(everything) == int(vectors.answerable.sum()) - 3
    assert not {"dog", "cat", "snow"} & set(everything)


def test_hidden_words_and_stop_words_never_answer(vectors: WordVectors) -> None:
    hiding = vectors.hiding(["dog"])
    evidence = evidence_of(vectors, the=0.9, dog=0.8, cat=0.7, moon=0.6)
    lexicon = lexicon_of(vectors, "moon", forms={"cat": "dog"})
    assert ranked(hiding, evidence, 2, lexicon) == ["cat", "moon"]


def test_several_pictures_have_answers_of_their_own(vectors: WordVectors) -> None:
    lexicon = lexicon_of(vectors, "detailed", forms={"cat": "dog"})
    both = np.concatenate(
        [
            evidence_of(vectors, dog=0.9, cat=0.8, moon=0.7),
            evidence_of(vectors, detailed=0.9, cat=0.8, moon=0.7),
        ]
    )
    positions, _ = rank_words(both, 2, vectors, lexicon)
    told = [[vectors.words[position] for position in row] for row in positions]
    assert told == [["dog", "moon"], ["cat", "detailed"]]


def test_a_prediction_marks_generic_words_and_says_pairs_together(
    vectors: WordVectors, tiny_model: Any
) -> None:
    pairs = (("oil", "painting"), ("neon", "light"))
    lexicon = lexicon_of(vectors, "painting detailed", pairs=pairs)
    decoder = dataclasses.replace(Decoder.plain(vectors), lexicon=lexicon)
    predictor = Predictor(tiny_model, vectors, "original", decoder)
    said = ["painting", "dog", "oil", "light"]
    predicted = np.stack([vectors[word] / np.linalg.norm(vectors[word]) for word in said])
    prediction = predictor.decode(predicted, words=4)
    words = [word.word for word in prediction.words]
    assert set(words) == set(said) and words[-1] == "painting"
    assert [word.generic for word in prediction.words] == [False] * 3 + [True]
    assert prediction.pairs == (("oil", "painting"),)  # "neon" is not said
    assert "oil painting" in prediction.prompt.split(", ") and len(prediction.prompt.split()) == 4
    rows = prediction.to_dict()["words"]
    assert rows[-1]["generic"] is True and all("generic" not in row for row in rows[:-1])
    fewer = dataclasses.replace(prediction, words=prediction.words[:-1])
    assert "oil" in fewer.prompt.split(", ")
    assert Predictor(tiny_model, vectors, "original").decode(predicted, 4).pairs == ()


@pytest.fixture
def sorting_assets(assets_folder: Path, vectors: WordVectors) -> Path:
    """Assets with a lexicon, whose `original` also lies there under the name of a preset of ours
    that sorts words."""
    (assets_folder / "gaze.keras").write_bytes((assets_folder / "original.keras").read_bytes())
    lexicon_of(vectors, "detailed").save(assets_folder / LEXICON_FILE)
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size}
        for path in assets_folder.iterdir()
        if path.suffix in (".keras", ".npz")
    }
    write_json(assets_folder / "manifest.json", {"default": "original", "files": files})
    return assets_folder


def test_the_historical_presets_know_no_lexicon(sorting_assets: Path, vectors: WordVectors) -> None:
    assets = Assets(sorting_assets)
    sorting = assets.decoder("gaze", vectors).lexicon
    assert sorting is not None and sorting.generic.sum() == 1
    assert assets.decoder("original", vectors).lexicon is None
    assert assets.decoder("notebook", vectors).lexicon is None


def test_without_a_lexicon_words_are_ranked_as_ever(
    assets_folder: Path, vectors: WordVectors
) -> None:
    assets = Assets(assets_folder)
    assert assets.lexicon(vectors) is None
    assert assets.decoder("original", vectors).lexicon is None


def test_a_run_brings_its_own_lexicon(
    assets_folder: Path, vectors: WordVectors, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.keras").write_bytes((assets_folder / "original.keras").read_bytes())
    vectors.save(run / EMBEDDING_FILE)
    assert load(run).decoder.lexicon is None
    lexicon_of(vectors, "detailed dark").save(run / LEXICON_FILE)
    found = load(run).decoder.lexicon
    assert found is not None and found.generic.sum() == 2
