"""The gallery finds what resembles a picture, says whose it is, and serves one model."""

import dataclasses
import tracemalloc
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from small_gaze import small_gaze
from toy_gallery import MINE, PROMPTS, gallery_of

from img2prompt.__main__ import main
from img2prompt.core.errors import UserError
from img2prompt.core.executors import local
from img2prompt.core.files import sha256_of, write_json
from img2prompt.core.scaler import Scaler
from img2prompt.data.images import preprocess
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.gallery import (
    GALLERY_FILE,
    Credit,
    Gallery,
    Projection,
    credits_document,
    word_votes,
)
from img2prompt.inference.labelling import label_files
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import Predictor, load_model
from img2prompt.models.tower import tower_fingerprint, tower_of
from img2prompt.training.ship import write_half_precision


@pytest.fixture
def gallery() -> Gallery:
    return gallery_of(np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], np.float32))


@pytest.fixture(scope="module")
def model(vectors: WordVectors) -> keras.Model:
    return small_gaze(vectors)


@pytest.fixture
def pictures(make_picture: Any) -> list[Image.Image]:
    return [make_picture(seed) for seed in range(3)]


def seeing(model: keras.Model, pictures: list[Image.Image], vectors: WordVectors) -> Gallery:
    """The gallery of these pictures as a model sees them."""
    plain = Predictor(model, vectors, "gaze")
    look = plain.look(np.stack([preprocess(picture, 32) for picture in pictures]))
    assert look.features is not None
    features = look.features - look.features.mean(axis=0)
    scaler = Scaler(look.features.mean(axis=0), np.full(features.shape[1], 1, np.float32))
    same = gallery_of(features, tower_fingerprint(tower_of(model)))
    return Gallery(
        same.prompts, same.credits, same.credit, same.thumbnails, same.ends, same.vectors,
        Projection(scaler, same.projection.axes), same.tower,
    )  # fmt: skip


@pytest.fixture
def folder(model: Any, vectors: WordVectors, pictures: list, tmp_path: Path) -> Path:
    """Artifacts with a `gaze` and its gallery of three pictures."""
    folder = tmp_path / "assets"
    folder.mkdir()
    vectors.save(folder / EMBEDDING_FILE)
    model.save(folder / "gaze.keras")
    seeing(model, pictures, vectors).save(folder / GALLERY_FILE)
    listed(folder)
    return folder


def listed(folder: Path) -> None:
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size}
        for path in folder.iterdir()
        if path.suffix in (".npz", ".keras")
    }
    write_json(folder / "manifest.json", {"default": "gaze", "files": files})


def test_the_nearest_come_first_with_their_credits(gallery: Gallery) -> None:
    found = gallery.nearest(np.array([2, 0.5, 0], np.float32), 2, ["cat", "dog", "sea"])
    assert [picture.prompt for picture in found] == [PROMPTS[0], PROMPTS[2]]
    cosines = [2 / np.hypot(2, 0.5), 2.5 / np.hypot(2, 0.5) / np.sqrt(2)]
    np.testing.assert_allclose([picture.similarity for picture in found], cosines, atol=1e-6)
    assert [picture.words for picture in found] == [("dog",), ("cat", "dog")]
    assert (found[0].source, found[0].licence, found[0].address) == ("a/b", "MIT", MINE.address)
    assert found[0].image.size == (12, 8)
    assert found[1].image.convert("RGB").getpixel((0, 0)) == (0, 0, 255)
    assert "thumbnail" not in found[0].to_dict()
    assert len(gallery.nearest(np.ones(3, np.float32), 50)) == 3


def test_a_picture_that_is_like_none_has_a_similarity_of_none(gallery: Gallery) -> None:
    found = gallery.nearest(np.zeros(3, np.float32), 3)
    assert [picture.similarity for picture in found] == [0, 0, 0]
    far = gallery.nearest(np.array([-1, 0, 0], np.float32), 3)
    assert far[-1].similarity == -1


def test_what_is_saved_is_found_again(gallery: Gallery, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        gallery.save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    loaded = Gallery.load(tmp_path / "a.npz")
    features = np.array([2, 0.5, 0], np.float32)
    for before, after in zip(
        gallery.nearest(features, 3), loaded.nearest(features, 3), strict=True
    ):
        assert before.to_dict() | {"similarity": 0} == after.to_dict() | {"similarity": 0}
        assert before.thumbnail == after.thumbnail
        assert abs(before.similarity - after.similarity) < 1e-3  # stored in half precision


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ends", lambda x: x[:2]),
        ("ends", lambda x: x + 1),
        ("ends", lambda x: x[::-1]),
        (
            "ends",
            lambda x: np.array([2**62, 2**63 + 1 + int(x[2]), x[2]], np.uint64),
        ),  # differences run over
        ("credit", lambda x: x + 1),
        ("prompts", lambda x: np.frombuffer(b"\n" * 30_000_000, np.uint8)),  # gigabytes, as texts
        ("credits", lambda x: np.frombuffer(b"\t\t\n" * 10_000_000, np.uint8)),
        ("prompts", lambda x: np.frombuffer(b"a " * 50_000 + b"\n\n", np.uint8)),
        ("projection", lambda x: x.astype(np.float32) * 3e38),  # a cosine of inf − inf
        ("vectors", lambda x: x.astype(np.float32) * 3e38),
        ("prompts", lambda x: np.frombuffer(b"one\ntwo", np.uint8)),
        ("credits", lambda x: np.frombuffer(b"a/b\tMIT", np.uint8)),
        ("spread", lambda x: x * 0),
        ("spread", lambda x: x * np.float32(1e-40)),
        ("centre", lambda x: x.astype(np.float64) + 1e300),
        ("vectors", lambda x: x * np.float16(np.nan)),
        ("projection", lambda x: x[:2]),
        ("projection", lambda x: x[:, :2]),
    ],
)
def test_a_file_that_does_not_fit_together_is_refused(
    gallery: Gallery, tmp_path: Path, name: str, change: Any
) -> None:
    gallery.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as stored:
        arrays = dict(stored)
    np.savez_compressed(tmp_path / "b.npz", **(arrays | {name: change(arrays[name])}))
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=r"is not a gallery \(its arrays don't fit together\)"):
            Gallery.load(tmp_path / "b.npz")
        assert tracemalloc.get_traced_memory()[1] < 160 * 2**20
    finally:
        tracemalloc.stop()


def test_a_thumbnail_is_checked_before_it_is_decoded(gallery: Gallery) -> None:
    """A WebP of 16,383 pixels a side, which is 1 GB of pixels; and what is no picture."""
    (picture,) = gallery.nearest(np.array([2, 0.5, 0], np.float32), 1)
    side = (16_383 - 1).to_bytes(3, "little")
    head = b"VP8X" + (10).to_bytes(4, "little") + bytes(4) + side + side
    huge = b"RIFF" + (len(head) + len(picture.thumbnail)).to_bytes(4, "little") + b"WEBP" + head
    for data in (huge + picture.thumbnail[12:], b"hello", picture.thumbnail[:20]):
        with pytest.raises(UserError):
            _ = dataclasses.replace(picture, thumbnail=data).image


def test_credits_stay_text(gallery: Gallery) -> None:
    hostile = Credit("a](javascript:x) | <b>", "MIT)(x", "https://x) [evil](https://y")
    told = credits_document(dataclasses.replace(gallery, credits=(hostile, hostile)))
    assert told.splitlines()[-1] == r"| a\](javascript:x) \| \<b\> | MIT)(x | 1 |"


def test_prompts_vote_with_the_weight_of_their_picture(
    gallery: Gallery, vectors: WordVectors
) -> None:
    features = np.array([[2, 0.5, 0], [0, -1, 0]], np.float32)
    votes = gallery.votes(features, vectors, neighbours=2)
    assert votes.shape == (2, len(vectors)) and votes.dtype == np.float32
    first, second = (picture.similarity for picture in gallery.nearest(features[0], 2))
    dog, cat, sunset = (vectors.index[word] for word in ("dog", "cat", "sunset"))
    assert votes[0, dog] == pytest.approx(1)
    assert votes[0, cat] == pytest.approx(second / (first + second))
    assert votes[0, sunset] == pytest.approx(first / (first + second))
    assert not votes[1].any()  # what is unlike says nothing


def test_votes_are_shares_of_similar_pictures() -> None:
    votes = word_votes(
        np.array([[0, 1]]), np.array([[0.6, 0.2]]), [np.array([0, 2]), np.array([2])], 4
    )
    np.testing.assert_allclose(votes, [[0.75, 0, 1, 0]])


def test_credits_say_how_many_of_whom(gallery: Gallery) -> None:
    told = credits_document(gallery)
    mit, cc0 = (f"[{n}](https://spdx.org/licenses/{n}.html)" for n in ("MIT", "CC0-1.0"))
    assert told.splitlines()[-2:] == [
        f"| [a/b](https://github.com/a/b) | {mit} | 2 |",
        f"| stock | {cc0} | 1 |",
    ]
    assert "thumbnails of 3 pictures" in told
    vague = (MINE, Credit("stock", "BSD", ""))  # several licences are called so: none to link to
    assert credits_document(dataclasses.replace(gallery, credits=vague)).endswith("| BSD | 1 |\n")


def test_a_fingerprint_is_of_what_sees(model: Any, vectors: WordVectors, tmp_path: Path) -> None:
    """Of the CNN alone, and in half precision as it ships."""
    own = tower_fingerprint(tower_of(model))
    model.save(tmp_path / "whole.keras")
    write_half_precision(tmp_path / "whole.keras", tmp_path / "half.keras")
    half = load_model(tmp_path / "half.keras")
    assert tower_fingerprint(tower_of(half)) == own
    head = half.get_layer("head")
    head.set_weights([weight + 1 for weight in head.get_weights()])
    assert tower_fingerprint(tower_of(half)) == own
    first = next(layer for layer in half.layers if layer.weights)
    first.set_weights([weight + 1 for weight in first.get_weights()])
    assert tower_fingerprint(tower_of(half)) != own


def test_answers_come_with_similar_pictures(
    folder: Path, pictures: list, predictor: Predictor, tmp_path: Path
) -> None:
    gaze = Assets(folder).predictor("gaze")
    plain = gaze(pictures[1], words=3)
    assert plain.similar == () and "similar" not in plain.to_dict()
    answer = gaze(pictures[1], words=3, similar=2)
    assert answer.words == plain.words
    assert len(answer.similar) == 2 and answer.similar[0].prompt == PROMPTS[1]
    assert answer.similar[0].similarity > 0.99 > answer.similar[1].similarity
    told = answer.to_dict()["similar"]
    assert told == [picture.to_dict() for picture in answer.similar]
    many = list(gaze.predict_many([pictures[2], tmp_path / "none.png", pictures[0]], 3, similar=1))
    assert not isinstance(many[1], Prediction)
    firsts = [item.similar[0].prompt for item in many if isinstance(item, Prediction)]
    assert firsts == [PROMPTS[2], PROMPTS[0]]


def test_files_are_labelled_with_them_by_workers(
    folder: Path, pictures: list, tmp_path: Path
) -> None:

    pictures[1].save(tmp_path / "a.png")
    with local(1) as executor:
        ((_, answer),) = label_files(executor, [tmp_path / "a.png"], str(folder), similar=1)
    assert isinstance(answer, Prediction) and answer.similar[0].prompt == PROMPTS[1]


def test_the_command_line_prints_them_below_the_words(
    folder: Path, pictures: list, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pictures[1].save(tmp_path / "a.png")
    # The test's stdout, too, says how it encodes.
    assert (
        main(["predict", "--preset", str(folder), "--similar", "1", str(tmp_path / "a.png")]) == 0
    )
    words, similar = capsys.readouterr().out.splitlines()
    assert len(words.split(", ")) == 10
    assert similar == "1.00 a castle, oil painting (stock, CC0-1.0)"


def test_a_model_without_features_or_gallery_has_none(
    predictor: Predictor, model: Any, vectors: WordVectors, pictures: list
) -> None:
    without = Predictor(model, vectors, "gaze")
    blind = Predictor(predictor.model, vectors, "original", gallery=lambda: pytest.fail("loaded"))
    for one in (predictor, without, blind):
        assert one.gallery is None
        with pytest.raises(UserError, match="There is no gallery of similar pictures for"):
            one(pictures[0], similar=1)
    for number in (-1, 51):
        with pytest.raises(UserError, match=r"must lie in 0…50"):
            without(pictures[0], similar=number)


def test_a_gallery_of_another_model_is_refused(
    folder: Path, pictures: list, gallery: Gallery
) -> None:
    gallery.save(folder / GALLERY_FILE)
    listed(folder)
    gaze = Assets(folder).predictor("gaze")
    assert gaze(pictures[0], words=3).words  # words need no gallery
    with pytest.raises(UserError, match="what another model saw"):
        gaze(pictures[0], similar=1)
