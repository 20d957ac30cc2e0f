"""From vectors to ranked words and confidences."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.decoder import Decoder, nearest_cosines, prior_of_background
from img2prompt.inference.predictor import choose_words


def calibrated(vectors: WordVectors, prior: np.ndarray | None = None) -> Decoder:
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, 4000)
    plain = Decoder.plain(vectors)
    decoder = plain if prior is None else Decoder(vectors, prior, plain.knots, plain.confidences)
    return decoder.calibrate(values, rng.uniform(0, 1, 4000) < values**2)


def test_without_a_prior_words_are_ranked_by_cosine(vectors: WordVectors) -> None:
    predicted = np.random.default_rng(1).normal(size=(3, 10, 8)).astype(np.float32)
    words, values = Decoder.plain(vectors).rank_vectors(predicted, 6)
    cosines = np.where(vectors.answerable, nearest_cosines(predicted, vectors), -2)
    np.testing.assert_array_equal(words, np.argsort(-cosines, axis=1)[:, :6])
    np.testing.assert_allclose(values, -np.sort(-cosines, axis=1)[:, :6], rtol=1e-6)


def test_a_prior_lets_a_frequent_word_pass_a_slightly_nearer_one(vectors: WordVectors) -> None:
    dog, moon = vectors.index["dog"], vectors.index["moon"]
    cosines = np.zeros((1, len(vectors)), np.float32)
    cosines[0, [dog, moon]] = 0.5, 0.52
    prior = np.zeros(len(vectors), np.float32)
    prior[dog] = 0.05
    plain = Decoder.plain(vectors)
    favoured = Decoder(vectors, prior, plain.knots, plain.confidences)
    assert plain.rank(cosines, 2)[0].tolist() == [[moon, dog]]
    assert favoured.rank(cosines, 2)[0].tolist() == [[dog, moon]]


def test_the_prior_chooses_the_words_and_the_score_stays_the_cosine(vectors: WordVectors) -> None:
    prior = np.random.default_rng(2).normal(scale=0.3, size=len(vectors)).astype(np.float32)
    decoder = calibrated(vectors, prior)
    predicted = np.random.default_rng(3).normal(size=(10, 8)).astype(np.float32)
    chosen = choose_words(decoder, predicted, 7)
    positions, values = decoder.rank_vectors(predicted[None], 7)
    assert {item.word for item in chosen} == {vectors.words[p] for p in positions[0]}
    assert [item.score for item in chosen] == sorted((i.score for i in chosen), reverse=True)
    confidence = dict(zip(positions[0], decoder.confidence(values[0]), strict=True))
    for item in chosen:
        own = vectors.similarities(predicted)[:, vectors.index[item.word]].max()
        assert item.score == pytest.approx(own, abs=1e-6)
        assert item.confidence == pytest.approx(confidence[vectors.index[item.word]], abs=1e-6)


def test_confidence_is_the_share_of_words_that_were_right(vectors: WordVectors) -> None:
    decoder = calibrated(vectors)
    for value in (0.3, 0.5, 0.7, 0.9):
        assert decoder.confidence(np.array([value]))[0] == pytest.approx(value**2, abs=0.08)
    assert Decoder.plain(vectors).confidence(np.array([0.5])) is None


@given(values=st.lists(st.floats(-2, 2), min_size=2, max_size=20))
def test_a_higher_rank_never_means_less_confidence(
    vectors: WordVectors, values: list[float]
) -> None:
    confidences = calibrated(vectors).confidence(np.sort(np.array(values)))
    assert (np.diff(confidences) >= -1e-7).all()
    assert confidences.min() >= 0 and confidences.max() <= 1


def test_the_prior_of_a_background_is_its_logarithm(vectors: WordVectors) -> None:
    background = np.array([0.1, 0.01, 0.001, 0.0])
    prior = prior_of_background(background, 0.02)
    assert prior.max() == 0 and np.isfinite(prior).all()
    np.testing.assert_allclose(np.diff(prior[:3]), -0.02 * np.log(10), rtol=0.01)


def test_a_decoder_survives_its_file(vectors: WordVectors, tmp_path: Path) -> None:
    prior = np.random.default_rng(5).normal(scale=0.1, size=len(vectors)).astype(np.float32)
    decoder = calibrated(vectors, prior)
    decoder.save(tmp_path / "a.decoder.npz")
    again = Decoder.load(tmp_path / "a.decoder.npz", vectors)
    np.testing.assert_allclose(again.prior, decoder.prior, atol=2e-4)
    np.testing.assert_array_equal(again.knots, decoder.knots)
    np.testing.assert_array_equal(again.confidences, decoder.confidences)


def test_a_wrong_decoder_is_one_sentence(vectors: WordVectors, tmp_path: Path) -> None:
    path = tmp_path / "a.decoder.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(UserError, match="not a decoder"):
        Decoder.load(path, vectors)
    calibrated(vectors).save(path)
    other = WordVectors(vectors.words, vectors.vectors + 1, vectors.counts)
    with pytest.raises(UserError, match="another embedding"):
        Decoder.load(path, other)


def test_a_decoder_belongs_to_one_model(vectors: WordVectors, tmp_path: Path) -> None:
    path = tmp_path / "a.decoder.npz"
    calibrated(vectors).save(path, model="a" * 64)
    assert Decoder.load(path, vectors, "a" * 64).calibrated
    assert Decoder.load(path, vectors).calibrated  # nobody asked whose it is
    assert Decoder.model_of(path) == "a" * 64
    with pytest.raises(UserError, match="another model"):
        Decoder.load(path, vectors, "b" * 64)
    calibrated(vectors).save(path)
    assert Decoder.model_of(path) is None
    with pytest.raises(UserError, match=r"does not say which model.*--bind"):
        Decoder.load(path, vectors, "a" * 64)


@pytest.mark.parametrize(
    ("knots", "confidences"),
    [([1, 0], [0, 1]), ([0, 1], [1, 0]), ([0, 1], [0, 2]), ([0, 1], [0]), ([0, np.nan], [0, 1])],
)
def test_numbers_that_make_no_decoder_are_refused(
    vectors: WordVectors, tmp_path: Path, knots: list, confidences: list
) -> None:
    prior = np.zeros(len(vectors), np.float32)
    wrong = Decoder(vectors, prior, np.float32(knots), np.float32(confidences))
    wrong.save(tmp_path / "a.decoder.npz")
    with pytest.raises(UserError, match="not a decoder"):
        Decoder.load(tmp_path / "a.decoder.npz", vectors)
