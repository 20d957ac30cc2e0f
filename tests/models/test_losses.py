"""The losses: what counts, what does not, and in which direction they pull."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.predictor import choose_words
from img2prompt.models.losses import (
    PROMPT_POSITIONS,
    AssignedCosineLoss,
    MaskedCosineLoss,
    PaddedCosineLoss,
    VocabularyLoss,
    VocabularySettings,
)


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / np.where(lengths > 0, lengths, 1)


def words_and_padding(real: int, positions: int, width: int = 6) -> np.ndarray:
    target = np.zeros((1, positions, width), np.float32)
    target[0, :real] = np.random.default_rng(3).normal(size=(real, width))
    return target


# --- cosine -------------------------------------------------------------------------------------


def test_the_masked_loss_ignores_padding() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.normal(size=(1, 10, 6)).astype(np.float32)
    target = words_and_padding(3, 10)
    expected = -cosines(target[:, :3], predicted[:, :3]).mean()
    assert float(MaskedCosineLoss()(target, predicted)) == pytest.approx(expected, abs=1e-6)
    predicted[:, 3:] = rng.normal(size=(1, 7, 6))  # what is said past the prompt's end
    assert float(MaskedCosineLoss()(target, predicted)) == pytest.approx(expected, abs=1e-6)


def test_the_padded_loss_counts_padding() -> None:
    predicted = words_and_padding(1, 1)
    real = np.repeat(predicted, PROMPT_POSITIONS, axis=1)
    assert float(PaddedCosineLoss()(real, predicted)) == pytest.approx(-1, abs=1e-6)
    half = real.copy()
    half[:, 20:] = 0  # twenty words, fifty-nine positions of padding
    expected = -20 / PROMPT_POSITIONS
    assert float(PaddedCosineLoss()(half, predicted)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("loss", [MaskedCosineLoss(), PaddedCosineLoss()])
def test_a_prompt_without_words_costs_nothing(loss) -> None:
    predicted = np.ones((2, 10, 6), np.float32)
    assert float(loss(np.zeros((2, 10, 6), np.float32), predicted)) == 0


def test_every_picture_counts_alike() -> None:
    rng = np.random.default_rng(1)
    target = np.concatenate([words_and_padding(9, 10), words_and_padding(2, 10)])
    predicted = rng.normal(size=target.shape).astype(np.float32)
    alone = [float(MaskedCosineLoss()(target[i : i + 1], predicted[i : i + 1])) for i in (0, 1)]
    together = float(MaskedCosineLoss()(target, predicted))
    assert together == pytest.approx(np.mean(alone), abs=1e-6)


# --- vocabulary ---------------------------------------------------------------------------------


def loss_over_all_words(vectors: WordVectors) -> VocabularyLoss:
    """So many negatives are drawn from so few words that every answerable word is among them."""
    return VocabularyLoss(vectors, np.flatnonzero(vectors.answerable))


def slow_reference(vectors: WordVectors, target: np.ndarray, predicted: np.ndarray) -> float:
    """The loss with every answerable word as a candidate, in loops."""
    candidates = np.flatnonzero(vectors.answerable).tolist()
    losses = []
    for truth, steps in zip(target, predicted, strict=True):
        logits = {}
        for word in candidates:
            similar = [float(cosines(step, vectors.vectors[word])) for step in steps]
            logits[word] = np.log(sum(np.exp(VocabularyLoss.SCALE * c) for c in similar))
        total = np.log(sum(np.exp(logit) for logit in logits.values()))
        real = [word for word in truth if word >= 0]
        pull = {w: max(float(cosines(step, vectors.vectors[w])) for step in steps) for w in real}
        own = sum(
            logits[word] - total + VocabularySettings.cosine_weight * pull[word] for word in real
        )
        losses.append(-own / np.sqrt(max(len(real), 1)))
    return float(np.mean(losses))


def positions(vectors: WordVectors, *prompts: str, length: int = 6) -> np.ndarray:
    table = np.full((len(prompts), length), -1, np.int32)
    for row, prompt in zip(table, prompts, strict=True):
        words = [vectors.index[word] for word in prompt.split()]
        row[: len(words)] = words
    return table


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16), counts=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_the_vocabulary_loss_is_what_loops_compute(
    vectors: WordVectors, seed: int, counts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    target = np.full((len(counts), 6), -1, np.int32)
    for row, count in zip(target, counts, strict=True):
        row[:count] = rng.choice(np.flatnonzero(vectors.answerable), count, replace=False)
    predicted = rng.normal(size=(len(counts), 5, vectors.dimensions)).astype(np.float32)
    expected = slow_reference(vectors, target, predicted)
    got = float(loss_over_all_words(vectors)(target, predicted))
    assert got == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_the_vocabulary_loss_falls_as_a_vector_moves_to_a_true_word(vectors: WordVectors) -> None:
    loss, target = loss_over_all_words(vectors), positions(vectors, "dog")
    start, goal = vectors["moon"], vectors["dog"]
    path = [(1 - share) * start + share * goal for share in np.linspace(0, 1, 6)]
    values = [float(loss(target, step[None, None])) for step in path]
    assert values == sorted(values, reverse=True) and values[0] > values[-1] + 1


@pytest.mark.parametrize("prompt", ["dog forest", "castle neon ocean 8k", "fox moon robot"])
def test_each_true_word_that_is_said_makes_the_loss_fall(vectors: WordVectors, prompt: str) -> None:
    loss, target = loss_over_all_words(vectors), positions(vectors, prompt)
    words = prompt.split()
    said = np.stack([vectors["sunset"]] * len(words))[None]
    values = [float(loss(target, said))]
    for step, word in enumerate(words):
        said[0, step] = vectors[word]
        values.append(float(loss(target, said)))
    assert all(later < earlier for earlier, later in itertools.pairwise(values))


def test_a_true_word_is_cheaper_than_a_wrong_one(vectors: WordVectors) -> None:
    loss = loss_over_all_words(vectors)
    said = np.tile(vectors["dog"], (1, 10, 1))
    right = float(loss(positions(vectors, "dog"), said))
    wrong = float(loss(positions(vectors, "moon"), said))
    assert right < wrong - 1


def test_the_order_of_vectors_and_of_words_does_not_matter(vectors: WordVectors) -> None:
    rng = np.random.default_rng(6)
    predicted = rng.normal(size=(2, 10, 8)).astype(np.float32)
    target = positions(vectors, "dog forest neon", "moon")
    value = float(loss_over_all_words(vectors)(target, predicted))
    steps = predicted[:, rng.permutation(10)]
    assert float(loss_over_all_words(vectors)(target, steps)) == pytest.approx(value, rel=1e-5)
    words = target[:, ::-1].copy()
    assert float(loss_over_all_words(vectors)(words, predicted)) == pytest.approx(value, rel=1e-5)


def test_the_length_of_a_vector_does_not_matter(vectors: WordVectors) -> None:
    predicted = np.random.default_rng(7).normal(size=(1, 10, 8)).astype(np.float32)
    target = positions(vectors, "dog")
    value = float(loss_over_all_words(vectors)(target, predicted))
    longer = float(loss_over_all_words(vectors)(target, predicted * 9))
    assert longer == pytest.approx(value, rel=1e-5)


def test_more_padding_changes_nothing(vectors: WordVectors) -> None:
    predicted = np.random.default_rng(8).normal(size=(1, 10, 8)).astype(np.float32)
    short, long = (positions(vectors, "dog moon", length=n) for n in (2, 20))
    value = float(loss_over_all_words(vectors)(short, predicted))
    assert float(loss_over_all_words(vectors)(long, predicted)) == pytest.approx(value, rel=1e-5)


def test_the_vocabulary_loss_trains_a_model_towards_the_prompt(vectors: WordVectors) -> None:
    import keras

    inputs = keras.Input((4,))
    outputs = keras.layers.Reshape((3, 8))(keras.layers.Dense(24)(inputs))
    model = keras.Model(inputs, outputs)
    loss = loss_over_all_words(vectors)
    model.compile(keras.optimizers.Adam(0.05), loss=loss, jit_compile=False)
    pictures = np.eye(4, dtype=np.float32)[:2]
    target = positions(vectors, "dog forest", "neon city")
    model.fit(pictures, target, epochs=60, verbose=0)
    for picture, prompt in zip(pictures, ("dog forest", "neon city"), strict=True):
        chosen = choose_words(Decoder.plain(vectors), model(picture[None])[0].numpy(), 2)
        assert {item.word for item in chosen} == set(prompt.split())


# --- the teacher's words ------------------------------------------------------------------------


def with_teacher(
    truth: np.ndarray, words: list[list[int]], shares: list[list[float]]
) -> np.ndarray:
    return np.hstack([truth, np.array(words), np.array(shares)]).astype(np.float32)


def test_soft_targets_of_no_weight_change_nothing(vectors: WordVectors) -> None:
    predicted = np.random.default_rng(4).normal(size=(2, 5, 8)).astype(np.float32)
    truth = positions(vectors, "dog moon", "castle")
    plain = float(loss_over_all_words(vectors)(truth, predicted))
    everything = np.flatnonzero(vectors.answerable)
    loss = VocabularyLoss(vectors, everything, VocabularySettings(soft_words=2, soft_weight=0.0))
    robot, fox = vectors.index["robot"], vectors.index["fox"]
    soft = with_teacher(truth, [[robot, fox]] * 2, [[0.7, 0.3]] * 2)
    assert float(loss(soft, predicted)) == pytest.approx(plain, rel=1e-4)


def test_soft_targets_pull_by_their_shares(vectors: WordVectors) -> None:
    everything = np.flatnonzero(vectors.answerable)
    loss = VocabularyLoss(vectors, everything, VocabularySettings(soft_words=2, soft_weight=1.0))
    robot, fox = vectors.index["robot"], vectors.index["fox"]
    nothing = np.full((1, 3), -1)
    target = with_teacher(nothing, [[robot, fox]], [[0.9, 0.1]])

    def cost(word: str) -> float:
        return float(loss(target, np.tile(vectors[word], (1, 4, 1))))

    assert cost("robot") < cost("fox") < cost("sunset")


def test_a_prior_takes_over_what_frequency_would_cost(vectors: WordVectors) -> None:
    everything = np.flatnonzero(vectors.answerable)
    prior = np.zeros(len(vectors), np.float32)
    prior[vectors.index["dog"]] = 0.5
    predicted = np.random.default_rng(9).normal(size=(1, 5, 8)).astype(np.float32)
    favoured = VocabularyLoss(vectors, everything, VocabularySettings(prior=prior))
    plain = loss_over_all_words(vectors)
    dog, moon = positions(vectors, "dog"), positions(vectors, "moon")
    assert float(favoured(dog, predicted)) < float(plain(dog, predicted))
    assert float(favoured(moon, predicted)) > float(plain(moon, predicted))


# --- the losses it is compared with -------------------------------------------------------------


def test_the_best_assignment_is_found(vectors: WordVectors) -> None:
    rng = np.random.default_rng(5)
    target = np.zeros((3, 4, 8), np.float32)
    for row, count in zip(target, (4, 2, 0), strict=True):
        row[:count] = rng.normal(size=(count, 8))
    predicted = rng.normal(size=(3, 5, 8)).astype(np.float32)
    expected = []
    for row, said in zip(target, predicted, strict=True):
        words = row[row.any(axis=1)]
        table = np.array([[cosines(w, s) for s in said] for w in words]).reshape(-1, 5)
        best = max(
            sum(table[i, step] for i, step in enumerate(order))
            for order in itertools.permutations(range(5), len(words))
        )
        expected.append(-best / max(len(words), 1))
    got = float(AssignedCosineLoss()(target, predicted))
    assert got == pytest.approx(np.mean(expected), abs=1e-5)


def test_the_assignment_does_not_ask_for_an_order() -> None:
    target = words_and_padding(3, 10)
    predicted = np.random.default_rng(6).normal(size=(1, 10, 6)).astype(np.float32)
    predicted[0, 4:7] = target[0, [2, 0, 1]]
    assert float(AssignedCosineLoss()(target, predicted)) == pytest.approx(-1, abs=1e-5)
    assert float(MaskedCosineLoss()(target, predicted)) > -0.9


def test_the_asymmetric_loss_tells_true_from_wrong_words(vectors: WordVectors) -> None:
    loss = VocabularyLoss(
        vectors, np.flatnonzero(vectors.answerable), VocabularySettings(asymmetric=True)
    )
    said = np.tile(vectors["dog"], (1, 10, 1))
    assert float(loss(positions(vectors, "dog"), said)) < float(
        loss(positions(vectors, "moon"), said)
    )


@pytest.mark.parametrize("kind", ["vocabulary", "asymmetric", "assigned"])
def test_every_loss_has_a_gradient(vectors: WordVectors, kind: str) -> None:
    import tensorflow as tf

    said = tf.Variable(np.random.default_rng(8).normal(size=(2, 5, 8)).astype(np.float32))
    if kind == "assigned":
        loss, target = AssignedCosineLoss(), np.tile(vectors.vectors[3:7], (2, 1, 1))
    else:
        everything = np.flatnonzero(vectors.answerable)
        loss = VocabularyLoss(
            vectors, everything, VocabularySettings(asymmetric=kind == "asymmetric")
        )
        target = positions(vectors, "dog moon", "castle")
    with tf.GradientTape() as tape:
        value = loss(target, said)
    gradient = tape.gradient(value, said).numpy()
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 1e-4
    said.assign_sub(0.05 * gradient / np.linalg.norm(gradient))
    assert float(loss(target, said)) < float(value)
