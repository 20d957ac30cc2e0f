"""From a picture to words: which words, with which scores, for one picture and for many."""

import json
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.data import text
from img2prompt.data.images import ImageError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference import predictor as prediction
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.predictor import (
    Predictor,
    check_word_count,
    choose_words,
    load_model,
    predict_files,
)
from img2prompt.models import notebook


def cosine(a, b) -> float:
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def vectors_of(words: list[str], count: int = 40, width: int = 6) -> WordVectors:
    rng = np.random.default_rng(4)
    words = words + [f"word{number}" for number in range(count - len(words))]
    return WordVectors(words, rng.normal(size=(count, width)), np.ones(count))


# --- choosing words -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("words", [1, 10, 50])
def test_chosen_words_keep_every_promise(vectors: WordVectors, seed: int, words: int) -> None:
    predicted = np.random.default_rng(seed).normal(size=(10, 8)).astype(np.float32)
    chosen = choose_words(Decoder.plain(vectors), predicted, words, alternatives=5)
    answerable = [word for word in vectors.words if text.is_content_word(word)]
    names = [item.word for item in chosen]
    assert len(names) == min(words, len(answerable)) == len(set(names))
    assert not {"of", "a", "the", "2"} & set(names)
    scores = [item.score for item in chosen]
    assert scores == sorted(scores, reverse=True)
    for item in chosen:
        own = vectors[item.word]
        assert -1 <= item.score <= 1
        assert item.score == pytest.approx(cosine(predicted[item.step], own), abs=1e-5)
        assert item.vector == pytest.approx(predicted[item.step])
        assert item.score == pytest.approx(max(cosine(step, own) for step in predicted), abs=1e-5)
        for other, score in item.alternatives:
            assert other != item.word and text.is_content_word(other)
            assert score == pytest.approx(cosine(item.vector, vectors[other]), abs=1e-5)
        others = [score for _, score in item.alternatives]
        assert others == sorted(others, reverse=True)
        assert len({other for other, _ in item.alternatives}) == len(others) == 5


def test_chosen_words_are_the_nearest_over_all_steps(vectors: WordVectors) -> None:
    predicted = np.random.default_rng(9).normal(size=(3, 8)).astype(np.float32)
    table = {
        word: max(cosine(step, vectors[word]) for step in predicted)
        for word in vectors.words
        if text.is_content_word(word)
    }
    expected = sorted(table, key=table.get, reverse=True)[:7]
    assert [item.word for item in choose_words(Decoder.plain(vectors), predicted, 7)] == expected


def test_a_vector_at_a_word_gives_that_word_with_score_1(vectors: WordVectors) -> None:
    chosen = choose_words(
        Decoder.plain(vectors), np.stack([vectors["moon"] * 3, vectors["fox"]]), 2
    )
    assert {item.word: item.step for item in chosen} == {"moon": 0, "fox": 1}
    assert [item.score for item in chosen] == pytest.approx([1, 1], abs=1e-6)


def test_a_vector_at_a_stop_word_still_gives_a_content_word(vectors: WordVectors) -> None:
    chosen = choose_words(Decoder.plain(vectors), vectors["the"][None], 5, alternatives=5)
    assert len(chosen) == 5
    for item in chosen:
        assert "the" not in [item.word, *dict(item.alternatives)]


def test_alternatives_add_words_that_are_not_answers_already() -> None:
    vectors = vectors_of(["dog", "cat"])
    chosen = choose_words(Decoder.plain(vectors), vectors["dog"][None], 5, alternatives=5)
    names = {item.word for item in chosen}
    for item in chosen:  # forty words are enough for five other ones
        assert not names & set(dict(item.alternatives))


def test_a_tiny_vocabulary_gives_what_it_has() -> None:
    vectors = vectors_of(["the", "dog", "of", "cat"], count=4)
    chosen = choose_words(Decoder.plain(vectors), vectors["dog"][None], 10, alternatives=5)
    assert [item.word for item in chosen] == ["dog", "cat"]
    assert [other for other, _ in chosen[0].alternatives] == ["cat"]
    nothing = WordVectors(["the", "of"], np.eye(2), np.ones(2))
    assert choose_words(Decoder.plain(nothing), np.eye(2), 10, alternatives=5) == []


# --- predicting ---------------------------------------------------------------------------------


def test_a_prediction_is_plain_data(predictor: Predictor, make_picture) -> None:
    result = predictor(make_picture(), words=6)
    assert result.preset == "original" and len(result.words) == 6
    assert result.vectors.shape == (10, 8) and result.vectors.dtype == np.float32
    assert result.prompt == ", ".join(item.word for item in result.words)
    for item in result.words:
        assert item.vector == pytest.approx(result.vectors[item.step])
        assert len(item.alternatives) == prediction.ALTERNATIVES


def test_a_prediction_becomes_json(predictor: Predictor, make_picture) -> None:
    result = predictor(make_picture(), words=3)
    whole = json.loads(json.dumps(result.to_dict()))
    assert whole["preset"] == "original"
    assert len(whole["words"][0]["vector"]) == 8 and whole["words"][0]["step"] in range(10)
    short = json.loads(json.dumps(result.to_dict(vectors=False)))
    assert short["words"][0].keys() == {"word", "score", "alternatives"}
    for row, item in zip(short["words"], result.words, strict=True):
        assert row["word"] == item.word and row["score"] == pytest.approx(item.score, abs=1e-4)
        assert [other for other, _ in row["alternatives"]] == [o for o, _ in item.alternatives]


def test_the_same_picture_gives_the_same_answer(
    predictor: Predictor, make_picture, tmp_path: Path
) -> None:
    picture = make_picture(3)
    picture.save(tmp_path / "a.png")
    one, two = predictor(picture), predictor(tmp_path / "a.png")
    assert one.words == two.words
    np.testing.assert_array_equal(one.vectors, two.vectors)


def test_different_pictures_give_different_vectors(predictor: Predictor, make_picture) -> None:
    one, two = predictor(make_picture(1)), predictor(make_picture(2))
    assert np.abs(one.vectors - two.vectors).max() > 1e-2


@pytest.mark.parametrize("count", [1, 5, prediction.BATCH, prediction.BATCH + 3])
def test_many_are_predicted_as_one_by_one(predictor: Predictor, make_picture, count: int) -> None:
    pictures = [make_picture(seed) for seed in range(count)]
    many = list(predictor.predict_many(pictures, words=4))
    assert len(many) == count
    for picture, result in zip(pictures, many, strict=True):
        single = predictor(picture, words=4)
        np.testing.assert_allclose(result.vectors, single.vectors, atol=1e-5)
        assert [item.score for item in result.words] == pytest.approx(
            [item.score for item in single.words], abs=1e-5
        )


def test_a_bad_file_yields_its_error_in_its_place(
    predictor: Predictor, make_picture, tmp_path: Path
) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    bad = {0: tmp_path / "none.png", 2: tmp_path / "text.png", 33: tmp_path, 35: b""}
    sources = [bad.get(i, make_picture(i)) for i in range(36)]
    results = list(predictor.predict_many(sources, words=2))
    assert [i for i, item in enumerate(results) if isinstance(item, ImageError)] == list(bad)
    assert "none.png" in str(results[0]) and "folder" in str(results[33])
    for i in (1, 3, 32, 34):
        np.testing.assert_allclose(
            results[i].vectors, predictor(make_picture(i)).vectors, atol=1e-5
        )


def test_only_bad_files_and_none_at_all(predictor: Predictor, tmp_path: Path) -> None:
    results = list(predictor.predict_many([tmp_path / "none.png"] * 3))
    assert all(isinstance(item, ImageError) for item in results) and len(results) == 3
    assert list(predictor.predict_many([])) == []


def test_many_holds_one_batch_at_a_time(predictor: Predictor, make_picture) -> None:
    taken = []

    def source() -> Iterator:
        for number in range(10 * prediction.BATCH):
            taken.append(number)
            yield make_picture(number % 3)

    results = predictor.predict_many(source())
    next(results)
    assert len(taken) <= prediction.BATCH
    results.close()


def test_files_come_with_their_names(predictor: Predictor, make_picture, tmp_path: Path) -> None:
    make_picture().save(tmp_path / "b.png")
    files = [tmp_path / "b.png", tmp_path / "none.png"]
    (name, good), (other, bad) = predict_files(predictor, files, words=1)
    assert [name, other] == [str(file) for file in files]
    assert len(good.words) == 1 and isinstance(bad, ImageError)


@pytest.mark.parametrize("words", [0, -1, 51])
def test_the_number_of_words_has_limits(predictor: Predictor, make_picture, words: int) -> None:
    for ask in (
        lambda: check_word_count(words),
        lambda: predictor(make_picture(), words=words),
        lambda: list(predictor.predict_many([make_picture()], words=words)),
    ):
        with pytest.raises(UserError, match="1…50"):
            ask()


def test_one_vector_is_enough_for_ten_words(vectors: WordVectors, make_picture) -> None:
    single = Predictor(notebook.build(vectors, side=32), vectors, "notebook")
    result = single(make_picture())
    assert len(result.words) == 10 and result.vectors.shape == (1, 8)


# --- models that must not be used ---------------------------------------------------------------


def test_a_model_of_another_embedding_is_refused(tiny_model, vectors: WordVectors) -> None:
    moved = WordVectors(vectors.words, vectors.vectors * 1.01, vectors.counts)
    fewer = WordVectors(vectors.words[:-1], vectors.vectors[:-1], vectors.counts[:-1])
    narrow = WordVectors(vectors.words, vectors.vectors[:, :4], vectors.counts)
    for other in (moved, fewer, narrow):
        with pytest.raises(UserError, match="belong together"):
            Predictor(tiny_model, other, "original")


def test_a_model_without_our_last_layer_is_refused(vectors: WordVectors) -> None:
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Dense(vectors.dimensions)(keras.layers.Flatten()(inputs))
    stranger = keras.Model(inputs, keras.layers.Reshape((1, vectors.dimensions))(x))
    with pytest.raises(UserError, match="no scaled tanh"):
        Predictor(stranger, vectors, "stranger")


@pytest.mark.parametrize(
    "shape", [(10,), (32, 32, 1), (32, 48, 3), (None, None, 3)], ids=lambda shape: str(shape)
)
def test_a_model_that_takes_no_square_picture_is_refused(
    vectors: WordVectors, shape: tuple
) -> None:
    inputs = keras.Input(shape)
    x = inputs if len(shape) == 1 else keras.layers.GlobalAveragePooling2D()(inputs)
    x = keras.layers.Dense(vectors.dimensions)(x)
    model = keras.Model(inputs, keras.layers.Reshape((1, vectors.dimensions))(x))
    with pytest.raises(UserError, match="not an image-to-words model"):
        Predictor(model, vectors, "stranger")


@pytest.mark.parametrize("name", ["model.h5", "model.pkl", "model.hdf5", "model"])
def test_older_formats_are_refused_unopened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(UserError, match=r"not a \.keras file"):
        load_model(tmp_path / name)


def test_a_missing_or_damaged_model_is_a_sentence(tiny_model, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.keras"):
        load_model(tmp_path / "none.keras")
    tiny_model.save(tmp_path / "good.keras")
    data = (tmp_path / "good.keras").read_bytes()
    for name, content in (("cut", data[:-500]), ("text", b"hello"), ("empty", b"")):
        path = tmp_path / f"{name}.keras"
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{name}\.keras"):
            load_model(path)


def test_an_hdf5_model_under_another_name_is_refused(tiny_model, tmp_path: Path) -> None:
    tiny_model.save(tmp_path / "old.h5")
    (tmp_path / "old.h5").rename(tmp_path / "old.keras")
    with pytest.raises(UserError, match=r"old\.keras"):
        load_model(tmp_path / "old.keras")


def test_a_model_with_code_inside_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((32, 32, 3))
    trap = tmp_path / "trap"
    code = f"__import__('pathlib').Path({str(trap)!r}).touch() or x"
    # A lambda, which Keras stores as byte code.
    outputs = keras.layers.Lambda(eval(f"lambda x: {code}"), output_shape=(32, 32, 3))(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "evil.keras")
    trap.unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"evil\.keras"):
        load_model(tmp_path / "evil.keras")
    assert not trap.exists()


def test_pictures_are_fitted_as_in_training(vectors: WordVectors, make_picture) -> None:
    from img2prompt.data.images import preprocess
    from img2prompt.models import original

    picture = make_picture(3, size=(64, 24))
    for fit in ("stretch", "crop", "pad"):
        predictor = Predictor(original.build(vectors, 32, fit), vectors, "original")
        assert predictor.fit == fit
        expected = predictor.predict_vectors(preprocess(picture, 32, fit)[None])[0]
        np.testing.assert_allclose(predictor(picture).vectors, expected, atol=1e-6)
