"""What predictions, predictors and model files promise at their edges; see test_prediction.py."""

from pathlib import Path

import keras
import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.data.images import ImageError
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.prediction import PredictedWord, Prediction
from img2prompt.inference.predictor import (
    BATCH,
    Look,
    Predictor,
    check_word_count,
    choose_words,
    load_model,
    predict_files,
)


def test_json_has_four_decimals_and_a_confidence_where_there_is_one() -> None:
    told = (0.123456, 0.654321, 0.98765432)
    word = PredictedWord("dog", told[0], told[1], (1.0,), 0, (("cat", told[2]),))
    unsure = PredictedWord("cat", 0.5, None, (1.0,), 0, ())
    rows = Prediction("gaze", (word, unsure), np.ones((1, 1), np.float32)).to_dict(False)["words"]
    assert rows[0] == {
        "word": "dog",
        "score": 0.1235,
        "confidence": 0.6543,
        "alternatives": [["cat", 0.9877]],
    }
    assert rows[1].keys() == {"word", "score", "alternatives"}


def test_a_predictor_keeps_what_it_was_given(tiny_model, vectors: WordVectors) -> None:
    decoder = Decoder.plain(vectors)
    predictor = Predictor(tiny_model, vectors, "gaze", decoder)
    assert (predictor.model, predictor.vectors, predictor.decoder, predictor.preset) == (
        tiny_model,
        vectors,
        decoder,
        "gaze",
    )
    assert Predictor(tiny_model, vectors, "gaze").decoder.vectors is vectors


def test_pixels_of_any_kind_of_number_are_taken(predictor: Predictor) -> None:
    pixels = np.random.default_rng(0).uniform(size=(2, 32, 32, 3))
    floats = predictor.predict_vectors(pixels.astype(np.float32))
    for kind in (np.float64, np.float16):
        other = predictor.predict_vectors(pixels.astype(kind))
        assert other.dtype == np.float32
        np.testing.assert_allclose(other, floats, atol=0.05)
    # One graph for every number of pictures: the model is not traced anew for each.
    assert predictor.predict_vectors(pixels[:1]).shape == (1, 10, 8)
    assert predictor._call.experimental_get_tracing_count() == 1


def test_the_model_is_called_as_in_serving(vectors: WordVectors) -> None:
    """Dropout is off: two calls give the same vectors, whatever Keras takes for the mode."""
    from img2prompt.models import original

    model = original.build(vectors, 32)
    seen = []
    plain = model.call

    def call(inputs, training=None, **rest):
        seen.append(training)
        return plain(inputs, training=training, **rest)

    model.call = call
    Predictor(model, vectors, "original").predict_vectors(np.zeros((1, 32, 32, 3)))
    assert seen and all(training is False for training in seen)


def test_ten_words_unless_one_asks_for_others(predictor: Predictor, make_picture) -> None:
    picture = make_picture()
    vectors = predictor(picture).vectors
    assert len(predictor.decode(vectors).words) == 10
    assert [len(item.words) for item in predictor.predict_many([picture])] == [10]


def test_files_get_ten_words_too(predictor: Predictor, make_picture, tmp_path: Path) -> None:
    make_picture().save(tmp_path / "a.png")
    assert [len(item.words) for _, item in predict_files(predictor, [tmp_path / "a.png"])] == [10]


def test_vectors_of_a_prediction_are_single_floats(predictor: Predictor) -> None:
    vectors = np.random.default_rng(1).normal(size=(10, 8))
    assert predictor.decode(vectors).vectors.dtype == np.float32
    np.testing.assert_allclose(predictor.decode(vectors).vectors, vectors, rtol=1e-6)


def test_a_batch_is_fitted_as_one_picture_is(vectors: WordVectors, make_picture) -> None:
    from img2prompt.models import original

    predictor = Predictor(original.build(vectors, 32, "pad"), vectors, "original")
    picture = make_picture(3, size=(64, 24))
    (many,) = predictor.predict_many([picture])
    np.testing.assert_allclose(many.vectors, predictor(picture).vectors, atol=1e-6)


def test_pictures_go_through_the_model_a_batch_at_a_time(
    predictor: Predictor, make_picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    plain = predictor.look

    def counted(pixels: np.ndarray) -> Look:
        sizes.append(len(pixels))
        return plain(pixels)

    monkeypatch.setattr(predictor, "look", counted)
    pictures = [make_picture(seed) for seed in range(3)]
    results = list(predictor.predict_many([pictures[n % 3] for n in range(2 * BATCH + 1)]))
    assert len(results) == 2 * BATCH + 1 and sizes == [BATCH, BATCH, 1]
    assert not any(isinstance(result, ImageError) for result in results)


def test_without_alternatives_none_are_given(vectors: WordVectors) -> None:
    chosen = choose_words(Decoder.plain(vectors), vectors["dog"][None], 3)
    assert [item.alternatives for item in chosen] == [(), (), ()]


@pytest.mark.parametrize("words", [1, 50])
def test_the_limits_of_the_number_of_words_are_allowed(words: int) -> None:
    check_word_count(words)


def stranger(shape: tuple[int, ...], outputs: tuple[int, ...]) -> keras.Model:
    """A model of ordinary layers."""
    inputs = keras.Input(shape)
    x = keras.layers.Dense(int(np.prod(outputs)))(keras.layers.Flatten()(inputs))
    return keras.Model(inputs, keras.layers.Reshape(outputs)(x))


@pytest.mark.parametrize(
    "shape, outputs",
    [((32, 48, 3), (1, 8)), ((32, 32, 4), (1, 8)), ((32, 32, 3), (8,)), ((32, 32, 4), (8,))],
)
def test_a_model_of_another_form_is_told_so(
    vectors: WordVectors, shape: tuple[int, ...], outputs: tuple[int, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        Predictor(stranger(shape, outputs), vectors, "stranger")
    assert str(caught.value) == (
        "This is not an image-to-words model: it must map a picture to vectors."
    )


def test_the_other_refusals_are_sentences_too(tiny_model, vectors: WordVectors) -> None:
    with pytest.raises(UserError) as caught:
        Predictor(stranger((32, 32, 3), (1, 8)), vectors, "stranger")
    assert str(caught.value) == "This is not an image-to-words model: it has no scaled tanh."
    moved = WordVectors(vectors.words, vectors.vectors * 1.01, vectors.counts)
    with pytest.raises(UserError) as caught:
        Predictor(tiny_model, moved, "original")
    assert str(caught.value) == (
        "This model and this embedding don't belong together; "
        "use the embedding that the model was trained with."
    )


def test_the_last_layer_is_found_inside_a_model_in_a_model(
    tiny_model, vectors: WordVectors, make_picture
) -> None:
    inputs = keras.Input((32, 32, 3))
    nested = keras.Model(inputs, tiny_model(inputs))
    whole, inner = Predictor(nested, vectors, "a"), Predictor(tiny_model, vectors, "b")
    picture = make_picture(1)
    np.testing.assert_allclose(whole(picture).vectors, inner(picture).vectors, atol=1e-6)


def test_a_saved_model_answers_as_before_and_is_not_compiled(
    tiny_model, vectors: WordVectors, make_picture, tmp_path: Path
) -> None:
    model = keras.models.clone_model(tiny_model)
    model.set_weights(tiny_model.get_weights())
    model.compile("adam", "mse")
    model.save(tmp_path / "a.keras")
    loaded = load_model(str(tmp_path / "a.keras"))
    # Compiled, it would bring its optimizer's state, and on another machine its XLA.
    assert not loaded.compiled
    picture = make_picture(2)
    one, two = (Predictor(each, vectors, "original")(picture) for each in (tiny_model, loaded))
    np.testing.assert_allclose(one.vectors, two.vectors, atol=1e-6)


def test_models_are_loaded_in_safe_mode(
    tiny_model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said in the call and not left to Keras' default, which a program may switch off."""
    told = {}

    def load(path: Path, **options: object) -> str:
        told.update(options, path=path)
        return "a model"

    monkeypatch.setattr(keras.saving, "load_model", load)
    tiny_model.save(tmp_path / "a.keras")
    assert load_model(tmp_path / "a.keras") == "a model"
    assert told == {"path": tmp_path / "a.keras", "compile": False, "safe_mode": True}
