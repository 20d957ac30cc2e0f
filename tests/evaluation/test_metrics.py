"""Metrics against figures worked out by hand."""

import dataclasses

import numpy as np
import pytest

from img2prompt.data.shards import Texts
from img2prompt.embedding.vectors import WordVectors
from img2prompt.evaluation import metrics as ev
from img2prompt.evaluation import tables
from img2prompt.evaluation.baselines import constant_answers
from img2prompt.inference.decoder import Decoder


def texts(prompts: list[str], sources: list[str] | None = None) -> Texts:
    return Texts([""] * len(prompts), prompts, sources or ["s"] * len(prompts))


def test_f1_by_hand() -> None:
    answers = np.array([[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]])
    true = [np.array([0, 9]), np.array([8]), np.array([], int)]
    # One of four answers right, two true words: 2·1 / (4 + 2).
    np.testing.assert_allclose(ev.f1_scores(answers, true), [1 / 3, 0, 0])


def test_answers_are_the_nearest_words_of_all_vectors_together(axes: WordVectors) -> None:
    predicted = np.zeros((1, 2, 12), np.float32)
    predicted[0, 0, 4] = 5.0  # "bee" exactly
    predicted[0, 1, [0, 1]] = 1.0, 0.5
    answer = Decoder.plain(axes).rank_vectors(predicted, 3)[0]
    assert [axes.words[i] for i in answer[0]] == ["bee", "dog", "cat"]


def test_evaluation_and_prediction_choose_the_same_words(vectors: WordVectors) -> None:
    from img2prompt.inference.predictor import choose_words

    predicted = np.random.default_rng(3).normal(size=(5, 10, vectors.dimensions))
    predicted = predicted.astype(np.float32)
    for row, answer in zip(
        predicted, Decoder.plain(vectors).rank_vectors(predicted, 10)[0], strict=True
    ):
        assert [w.word for w in choose_words(Decoder.plain(vectors), row, 10)] == [
            vectors.words[i] for i in answer
        ]


def test_soft_recall_counts_words_and_cosine_counts_vectors(axes: WordVectors) -> None:
    between = np.zeros((1, 1, 12), np.float32)
    between[0, 0, :2] = 1.0  # 45° between "dog" and "cat"
    answers = ev.Answers("x", np.array([[0, 2]]), between)
    true = [np.array([0, 1])]
    assert ev.soft_recall(answers, true, axes)[0] == pytest.approx(0.5)  # dog 1, cat 0
    assert ev.cosine_per_word(answers, true, axes)[0] == pytest.approx(np.sqrt(0.5))


def test_gain_is_zero_without_looking_and_large_with(axes: WordVectors) -> None:
    test = texts(["dog", "cat", "fox", "owl"] * 5)
    true = [axes.prompt_positions(p) for p in test.prompts]
    blind = constant_answers(true, len(test), axes)
    assert ev.measure(blind, test, axes)["gain"] == pytest.approx(0)
    assert ev.measure(blind, test, axes)["same_words"] == 1
    filler = np.arange(11, 1, -1)
    seeing = np.array([[t[0], *[f for f in filler if f != t[0]][:9]] for t in true])
    seen = ev.measure(ev.Answers("eye", seeing, axes.vectors[seeing]), test, axes)
    assert seen["f1"] == pytest.approx(2 / 11)
    assert seen["gain"] > 0.02


def test_shuffling_never_gives_a_picture_its_own_prompt() -> None:
    for n in (2, 3, 50):
        order = ev._derangement(n, np.random.default_rng(n))
        assert sorted(order) == list(range(n))
        assert not (order == np.arange(n)).any()


def test_bootstrap_resamples_prompts_not_pictures() -> None:
    values = np.array([0.0, 1.0] * 200)
    alone = ev.bootstrap_interval(values, [f"p{i}" for i in range(400)])
    together = ev.bootstrap_interval(values, [f"p{i % 2}" for i in range(400)])
    assert alone[0] < 0.5 < alone[1]
    assert alone[1] - alone[0] < 0.15
    assert together == (0.0, 1.0)  # two prompts only: anything may be drawn


def test_macro_average_gives_every_source_one_voice(axes: WordVectors) -> None:
    test = texts(["dog"] * 9 + ["cow"], ["big"] * 9 + ["small"])
    words = np.tile(np.arange(10), (10, 1))  # knows "dog" (0), not "cow" (11)
    figures = ev.measure(ev.Answers("x", words, axes.vectors[words]), test, axes)
    assert figures["f1"] == pytest.approx(0.9 * 2 / 11)
    assert figures["f1_macro"] == pytest.approx(0.5 * 2 / 11)


def test_sources_of_single_repositories_are_reported_together(axes: WordVectors) -> None:
    test = texts(["dog", "cat", "fox"], ["a/one", "b/two", "gptimage2-x"])
    words = np.tile(np.arange(10), (3, 1))
    sources = ev.measure(ev.Answers("x", words, axes.vectors[words]), test, axes)["sources"]
    assert {name: row["pictures"] for name, row in sources.items()} == {
        "gptimage2": 1,
        "small-repositories": 2,
    }


def test_table_has_a_row_a_system(axes: WordVectors) -> None:
    test = texts(["dog", "cat"])
    words = np.tile(np.arange(10), (2, 1))
    row = ev.measure(ev.Answers("mine", words, axes.vectors[words]), test, axes)
    lines = tables.table([row, row | {"name": "other"}]).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith("| mine |")
    assert len({line.count("|") for line in lines}) == 1


def test_reliability_is_the_gap_between_promise_and_hits() -> None:
    confidences = np.array([0.05, 0.05, 0.95, 0.95, 0.95, 1.0])
    hits = np.array([False, True, True, True, False, True])
    found = ev.reliability(confidences, hits)
    low, high = found["bins"]
    assert (low["words"], low["right"]) == (2, 0.5)
    assert (high["words"], high["right"]) == (4, 0.75)
    assert high["confidence"] == pytest.approx(0.9625)
    assert found["ece"] == pytest.approx((2 * 0.45 + 4 * 0.2125) / 6)
    honest = np.random.default_rng(0).uniform(size=50_000)
    kept = np.random.default_rng(1).uniform(size=50_000) < honest
    assert ev.reliability(honest, kept)["ece"] < 0.01
    assert ev.reliability(honest, ~kept)["ece"] > 0.4


def test_hubs_are_the_words_said_most() -> None:
    constant = np.tile(np.arange(10), (50, 1))
    assert ev.hubness(constant) == 1
    varied = np.arange(500).reshape(50, 10)
    assert ev.hubness(varied) == pytest.approx(10 / 500)


def test_an_artist_is_the_name_behind_by(vectors: WordVectors) -> None:
    def name(prompt: str) -> list[str]:
        return [vectors.words[p] for p in ev.artist_name(prompt, vectors)]

    assert name("a dog by Moon Garden") == ["moon", "garden"]
    assert name("style of Unknown Castle, woman") == ["castle"]
    assert name("a dog by Moon Unknown") == []  # the name's last word is not known
    assert name("a dog in the garden") == []
    assert name("by night, painting by Neon Fox") == ["neon", "fox"]


def test_names_are_counted_by_their_words(vectors: WordVectors) -> None:
    prompts = ["a dog by Moon Garden", "a cat by Moon Garden", "a fox"]
    said = np.array([[vectors.index[w] for w in line.split()] for line in
                     ("moon garden dog", "garden red cat", "moon garden fox")])  # fmt: skip
    assert ev.names_said(said, prompts, vectors) == {
        "pictures": 2, "last": 1.0, "any": 1.0, "all": 0.5}  # fmt: skip


def test_specific_words_are_counted_apart_from_generic_ones(axes: WordVectors) -> None:
    generic = np.zeros(12, bool)
    generic[[0, 1]] = True
    words = np.array([[0, 2, 3, 4, 1, 5], [2, 3, 0, 1, 4, 5], [0, 1, 0, 1, 0, 1]])
    true = [np.array([0, 2, 5]), np.array([4, 5]), np.array([0])]
    # Of 2, 3, 4 one is right; of 2, 3, 4 one again; the third answer has no specific word.
    found = ev.specific_precision(words, true, generic, 3)
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0])
    # Fewer than five are there: those count.
    np.testing.assert_allclose(ev.specific_precision(words, true, generic, 5), [2 / 4, 2 / 4, 0])


def test_columns_that_nothing_was_measured_for_are_left_out(axes: WordVectors) -> None:
    test = texts(["dog cat", "fox owl"])
    answers = ev.Answers("model", np.tile(np.arange(10), (2, 1)), np.ones((2, 1, 12), np.float32))
    plain = ev.measure(answers, test, axes)
    assert "generic" not in plain and "P@3 specific" not in tables.table([plain])
    generic = np.arange(12) < 5
    asked = dataclasses.replace(answers, subjects={"named": 6, "pictures": 17})
    row = ev.measure(asked, test, axes, generic=generic)
    assert row["generic"] == pytest.approx(0.5)
    assert row["specific_3"] == row["specific_5"] == 0  # the five true words are generic
    assert row["sources"]["s"]["generic"] == pytest.approx(0.5)
    head, _, measured, unasked = tables.table([row, plain | {"name": "other"}]).splitlines()
    assert head.endswith("| P@3 specific | P@5 specific | generic | subject in 3 |")
    assert measured.endswith("| 0.000 | 0.000 | 0.500 | 6 of 17 |")
    assert unasked.endswith("| – | – | – | – |")
