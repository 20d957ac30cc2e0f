"""Which noun is offered where classes are torn, and that an answer carries it."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
from small_gaze import small_gaze

from img2prompt.core.errors import UserError
from img2prompt.embedding.class_names import ClassName
from img2prompt.embedding.taxonomy import TAXONOMY_FILE, Taxonomy
from img2prompt.embedding.vectors import WordVectors
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.export import json_line
from img2prompt.inference.hedging import Hedge, Hedger
from img2prompt.inference.predictor import Predictor
from img2prompt.models import gaze
from img2prompt.training.ship import build_manifest

NAMES = ["tabby", "collie", "pug", "pine", "oak", "castle"]


@pytest.fixture
def hedger(vectors: WordVectors) -> Hedger:
    """fox (above all animals, a stretch), dog (above two of them), forest (above the trees)."""
    words = vectors.positions(["fox", "dog", "forest"]).astype(np.int32)
    members = np.array([[1, 1, 1, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 0]], bool)
    one, half = np.array(1, np.float32), np.array(0.5, np.float32)
    offsets = np.zeros(3, np.float32)
    taxonomy = Taxonomy(words, members, one, offsets, half, vectors.fingerprint)
    return Hedger(taxonomy, vectors, [ClassName(name) for name in NAMES])


@pytest.mark.parametrize(
    ("probabilities", "word", "chance", "children"),
    [
        ([0.02, 0.4, 0.38, 0.1, 0.1, 0], "dog", 0.78, ("collie", "pug")),
        ([0.4, 0.2, 0.2, 0.1, 0.1, 0], "fox", 0.8, ("tabby", "collie", "pug")),
        ([0, 0.2, 0.1, 0.35, 0.35, 0], "forest", 0.7, ("pine", "oak")),
        ([0, 0.05, 0.75, 0.1, 0.1, 0], "dog", 0.8, ("pug",)),
        ([0, 0.1, 0.85, 0.05, 0, 0], None, 0, ()),  # sure of the pug
        ([0.2, 0.1, 0.1, 0.2, 0.2, 0.2], None, 0, ()),  # torn too widely
        ([0, 0.27, 0.25, 0.24, 0.24, 0], "dog", 0.52, ("collie", "pug")),
    ],
)
def test_of_the_nouns_that_are_sure_enough_the_one_that_tells_most(
    hedger: Hedger,
    probabilities: list[float],
    word: str | None,
    chance: float,
    children: tuple[str, ...],
) -> None:
    (found,) = hedger(np.array([probabilities], np.float32))
    if word is None:
        assert found == ()
    else:
        assert found == (Hedge(word, pytest.approx(chance, abs=1e-4), children),)


def test_a_threshold_and_an_offset_decide_what_is_offered(
    hedger: Hedger, vectors: WordVectors
) -> None:
    probabilities = np.array([[0.1, 0.35, 0.35, 0.1, 0.1, 0]], np.float32)
    assert hedger(probabilities)[0][0].word == "dog"
    names = [ClassName(name) for name in NAMES]

    def offered(**change: np.ndarray) -> tuple[Hedge, ...]:
        return Hedger(dataclasses.replace(hedger.taxonomy, **change), vectors, names)(
            probabilities
        )[0]

    assert offered(threshold=np.array(0.75, np.float32))[0].word == "fox"
    assert offered(threshold=np.array(0.9, np.float32)) == ()
    # The trees tell as much, but the dogs are likelier.
    assert offered(threshold=np.array(0.1, np.float32))[0].word == "dog"
    assert offered(offsets=np.array([0, -3, 0], np.float32))[0].word == "fox"


def test_a_hidden_word_is_neither_offered_nor_named(hedger: Hedger, vectors: WordVectors) -> None:
    names = [ClassName(name) for name in ("tabby", "wild cat", "pug", "pine", "oak", "castle")]
    probabilities = np.array([[0.02, 0.4, 0.38, 0.1, 0.1, 0]], np.float32)

    def offered(*hidden: str) -> Hedge:
        return Hedger(hedger.taxonomy, vectors.hiding(hidden), names)(probabilities)[0][0]

    assert (offered().word, offered().children) == ("dog", ("wild cat", "pug"))
    assert (offered("cat").word, offered("cat").children) == ("dog", ("pug",))
    assert offered("dog").word == "fox"


def test_no_nouns_no_hedge(hedger: Hedger, vectors: WordVectors) -> None:
    taxonomy = hedger.taxonomy
    empty = dataclasses.replace(
        taxonomy,
        words=taxonomy.words[:0],
        members=taxonomy.members[:0],
        offsets=taxonomy.offsets[:0],
    )
    names = [ClassName(name) for name in NAMES]
    assert Hedger(empty, vectors, names)(np.full((2, 6), 1 / 6, np.float32)) == [(), ()]


def with_classes(vectors: WordVectors, classes: int) -> keras.Model:
    """`small_gaze` with the evidence of a classifier of so many classes."""
    rng = np.random.default_rng(1)
    keras.utils.set_random_seed(1)
    plain = small_gaze(vectors)
    tower = keras.Model(plain.input, plain.get_layer("features").output)
    evidence = gaze.Evidence(
        0.1 * rng.normal(size=(9, classes)).astype(np.float32),  # torn, whatever it sees
        0.1 * rng.normal(size=classes).astype(np.float32),
        rng.normal(size=(classes, 16)).astype(np.float32),
    )
    statistics = tower(rng.random((4, 32, 32, 3), np.float32)).numpy()
    means, deviations = statistics.mean(axis=0), statistics.std(axis=0)
    return gaze.join(tower, gaze.build_head(means, deviations, vectors, evidence=evidence))


def test_an_answer_carries_the_noun(hedger: Hedger, vectors: WordVectors, tmp_path: Path) -> None:
    lenient = dataclasses.replace(hedger.taxonomy, threshold=np.array(0.01, np.float32))
    hedger = Hedger(lenient, vectors, [ClassName(name) for name in NAMES])
    predictor = Predictor(with_classes(vectors, 6), vectors, "gaze", hedger=hedger)
    pictures = np.random.default_rng(2).integers(0, 255, (3, 32, 32, 3)).astype(np.uint8)
    look = predictor.look(pictures.astype(np.float32) / 255)
    # What the head's own layers make of the features, in one pass.
    head = predictor.model.get_layer("head")
    layers = [head.get_layer(name) for name in ("statistics", "last_means", "means", "classes")]
    expected = look.features
    for layer in layers:
        expected = layer(expected)
    assert look.classes is not None and look.classes.shape == (3, 6)
    np.testing.assert_allclose(look.classes, np.asarray(expected), atol=1e-5)

    answers = list(predictor.predict_many(pictures))
    assert [answer.parents for answer in answers] == [
        predictor.parents(look, row) for row in range(3)
    ]
    assert all(answer.parents for answer in answers)
    (alone,), (batched,) = predictor(pictures[1]).parents, answers[1].parents
    assert alone == dataclasses.replace(batched, chance=pytest.approx(batched.chance, abs=1e-5))
    for answer in answers:
        told = json.loads(json_line("a.png", answer)).get("parents", [])
        assert told == [parent.to_dict() for parent in answer.parents]
        assert told == answer.to_dict().get("parents", [])


def test_a_folder_of_artifacts_brings_its_taxonomy(
    hedger: Hedger, vectors: WordVectors, assets_folder: Path
) -> None:
    assert Assets(assets_folder).hedger(vectors) is None
    hedger.taxonomy.save(assets_folder / TAXONOMY_FILE)
    build_manifest(assets_folder)
    found = Assets(assets_folder).hedger(vectors)
    assert found is not None and found.taxonomy.words.tolist() == hedger.taxonomy.words.tolist()
    other = WordVectors(vectors.words, vectors.vectors + 1, vectors.counts)
    with pytest.raises(UserError, match="another embedding"):
        Assets(assets_folder).hedger(other)


def test_a_model_of_other_classes_or_of_none_names_no_noun(
    hedger: Hedger, vectors: WordVectors, tiny_model: keras.Model
) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    for model in (with_classes(vectors, 5), small_gaze(vectors), tiny_model):
        answer = Predictor(model, vectors, "other", hedger=hedger)(picture)
        assert answer.parents == ()
        assert "parents" not in answer.to_dict()
    look = Predictor(tiny_model, vectors, "original").look(np.zeros((1, 32, 32, 3), np.float32))
    assert look.classes is None
