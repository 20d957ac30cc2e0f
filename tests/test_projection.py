"""The map of words: layout, placing of vectors, the file, and the figure."""

import numpy as np
import pytest

from img2prompt.decoding import Decoder
from img2prompt.embedding import WordVectors
from img2prompt.errors import UserError
from img2prompt.prediction import Prediction, choose_words
from img2prompt.projection import VocabularyMap, build_map, map_figure

CLUSTERS, EACH, DIMENSIONS = 6, 25, 100
SCALES = (155.0, 280.0)  # pixels a unit takes on a phone and on a desk


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    """150 words in 6 clusters, with two stop words that no map may show."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS))
    points = np.repeat(centres, EACH, axis=0) + 0.35 * random.normal(
        size=(CLUSTERS * EACH, DIMENSIONS)
    )
    words = [f"word{c}{chr(97 + i)}" for c in range(CLUSTERS) for i in range(EACH)]
    order = random.permutation(len(words))  # frequency has nothing to do with the cluster
    words = ["the", "of", *(words[i] for i in order)]
    points = np.concatenate([random.normal(size=(2, DIMENSIONS)), points[order]])
    counts = np.arange(len(words), 0, -1) * 10
    return WordVectors(words, points.astype(np.float32), counts)


@pytest.fixture(scope="module")
def small(vectors: WordVectors) -> VocabularyMap:
    """A map of the 100 most frequent answerable words, laid out without scikit-learn."""
    rows = np.flatnonzero(vectors.answerable)[:100]
    plane = np.linalg.svd(vectors.vectors[rows], full_matrices=False)[0][:, :2]
    positions = (plane / np.abs(plane).max()).astype(np.float32)
    words = tuple(vectors.words[row] for row in rows)
    return VocabularyMap(vectors, words, positions, vectors.counts[rows], "two axes of an SVD")


@pytest.fixture(scope="module")
def prediction(vectors: WordVectors) -> Prediction:
    """Ten predicted vectors, one near each of ten words of all clusters."""
    random = np.random.default_rng(5)
    near = [vectors[f"word{c}{letter}"] for c in range(5) for letter in "ad"]
    predicted = np.array(near) + 0.1 * random.normal(size=(10, DIMENSIONS))
    predicted = predicted.astype(np.float32)
    return Prediction(
        "test", tuple(choose_words(Decoder.plain(vectors), predicted, 10, 5)), predicted
    )


def test_a_built_map_keeps_neighbourhoods(vectors: WordVectors) -> None:
    pytest.importorskip("sklearn", reason="only building a map needs scikit-learn")
    built = build_map(vectors, words=120)
    assert len(built) == 120
    assert built.words == tuple(w for w in vectors.words if w not in ("the", "of"))[:120]
    assert built.positions.dtype == np.float32
    assert np.abs(built.positions).max() == pytest.approx(1.0)
    assert built.positions.max(axis=0) == pytest.approx(-built.positions.min(axis=0), abs=1e-6)
    assert list(built.counts) == [vectors.counts[vectors.index[w]] for w in built.words]
    cluster = np.array([word[4] for word in built.words])
    distances = np.linalg.norm(built.positions[:, None] - built.positions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (cluster[distances.argmin(axis=1)] == cluster).mean() > 0.95
    again = build_map(vectors, words=120)
    assert np.array_equal(built.positions, again.positions)


def test_a_map_of_three_words_is_refused(vectors: WordVectors) -> None:
    pytest.importorskip("sklearn", reason="only building a map needs scikit-learn")
    with pytest.raises(UserError, match="at least 4"):
        build_map(vectors, words=3)


def test_a_words_own_vector_lands_on_the_word(small: VocabularyMap) -> None:
    own = np.array([small.vectors[word] for word in small.words])
    for scale in (1.0, 0.01, 300.0):  # only the direction counts
        assert small.place(scale * own) == pytest.approx(small.positions, abs=1e-4)


def test_other_vectors_land_among_their_nearest_words(small: VocabularyMap) -> None:
    random = np.random.default_rng(8)
    queries = random.normal(size=(20, DIMENSIONS))
    places = small.place(queries)
    assert places.shape == (20, 2) and places.dtype == np.float32
    assert (places >= small.positions.min(axis=0)).all()
    assert (places <= small.positions.max(axis=0)).all()
    # Vectors that resemble nothing still get a place: all cosines are negative here.
    assert np.isfinite(small.place(-small.unit.sum(axis=0))).all()
    assert np.isfinite(small.place(np.zeros(DIMENSIONS))).all()


def test_words_off_the_map_are_placed_by_their_vectors(small: VocabularyMap) -> None:
    on, off = small.words[7], small.vectors.words[-1]
    assert off not in small.index
    places = small.place_words([on, off])
    assert places[0] == pytest.approx(small.positions[7])
    assert places[1] == pytest.approx(small.place(small.vectors[off])[0])
    assert small.place_words([]).shape == (0, 2)
    with pytest.raises(UserError, match="lacks the word 'unheard'"):
        small.place_words(["unheard"])


def test_a_saved_map_comes_back_the_same(small: VocabularyMap, tmp_path) -> None:
    small.save(tmp_path / "map.npz")
    loaded = VocabularyMap.load(tmp_path / "map.npz", small.vectors)
    assert loaded.words == small.words
    assert np.array_equal(loaded.positions, small.positions)
    assert np.array_equal(loaded.counts, small.counts)
    assert loaded.method == small.method
    first = (tmp_path / "map.npz").read_bytes()
    loaded.save(tmp_path / "map.npz")
    assert (tmp_path / "map.npz").read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["map.npz"]


def test_a_map_of_another_embedding_is_refused(small: VocabularyMap, tmp_path) -> None:
    small.save(tmp_path / "map.npz")
    vectors = small.vectors
    other = WordVectors(vectors.words, vectors.vectors + np.float32(0.1), vectors.counts)
    with pytest.raises(UserError, match="belongs to another embedding"):
        VocabularyMap.load(tmp_path / "map.npz", other)


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_files_that_are_no_map_are_refused(small: VocabularyMap, tmp_path, content) -> None:
    path = tmp_path / "map.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"not a map|no map"):
        VocabularyMap.load(path, small.vectors)


def test_pickled_arrays_are_never_read(small: VocabularyMap, tmp_path) -> None:
    path = tmp_path / "map.npz"
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(path, words=objects, positions=objects, counts=objects, method=objects)
    with pytest.raises(UserError, match="is not a map"):
        VocabularyMap.load(path, small.vectors)


def test_positions_must_fit_the_words(small: VocabularyMap) -> None:
    with pytest.raises(UserError, match="one position and one count"):
        VocabularyMap(small.vectors, small.words, small.positions[:5], small.counts, "")
    with pytest.raises(UserError, match="not finite"):
        VocabularyMap(small.vectors, small.words, small.positions * np.nan, small.counts, "")


def test_the_bare_map_shows_the_vocabulary(small: VocabularyMap) -> None:
    figure = map_figure(small)
    assert [trace.name for trace in figure.data] == ["vocabulary"]
    trace = figure.data[0]
    assert trace.type == "scattergl" and len(trace.x) == len(small)
    assert tuple(trace.text) == small.words and list(trace.customdata) == list(small.counts)
    assert all(note.name == "region" for note in figure.layout.annotations)
    assert figure.layout.height is None and figure.layout.yaxis.scaleanchor == "x"
    assert not figure.layout.xaxis.visible and not figure.layout.yaxis.visible
    assert figure.layout.title.text is None


def test_the_answer_is_drawn_where_it_falls(small: VocabularyMap, prediction: Prediction) -> None:
    figure = map_figure(small, prediction)
    vocabulary, lines, predicted, answers = figure.data
    assert len(vocabulary.x) == len(small)
    places = small.place_words([word.word for word in prediction.words])
    steps = small.place(prediction.vectors)
    assert np.column_stack([answers.x, answers.y]) == pytest.approx(places)
    assert np.column_stack([predicted.x, predicted.y]) == pytest.approx(steps)
    assert predicted.marker.symbol != answers.marker.symbol
    for number, word in enumerate(prediction.words):  # vector, word, gap
        start, end, gap = (
            (lines.x[row], lines.y[row]) for row in range(3 * number, 3 * number + 3)
        )
        assert start == pytest.approx(tuple(steps[word.step]))
        assert end == pytest.approx(tuple(places[number]))
        assert np.isnan(gap).all()
    labels = [note for note in figure.layout.annotations if note.name == "answer"]
    assert [note.text for note in labels] == [word.word for word in prediction.words]


def test_vectors_may_be_given_apart(small: VocabularyMap, prediction: Prediction) -> None:
    moved = prediction.vectors[::-1].copy()
    predicted = map_figure(small, prediction, moved).data[2]
    assert np.column_stack([predicted.x, predicted.y]) == pytest.approx(small.place(moved))


@pytest.mark.parametrize("scale", SCALES)
def test_labels_don_t_cover_each_other(
    small: VocabularyMap, prediction: Prediction, scale: float
) -> None:
    notes = [n for n in map_figure(small, prediction).layout.annotations if n.name == "answer"]
    boxes = []
    for note in notes:
        x, y = note.x * scale + note.ax, note.y * scale - note.ay
        half = 3.3 * len(note.text) + 2  # 12 px letters, a little narrower than planned for
        boxes.append((x - half, y - 8, x + half, y + 8))
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_one_word_and_one_vector_are_enough(small: VocabularyMap) -> None:
    vectors = small.vectors
    predicted = vectors[small.words[0]][None]
    prediction = Prediction(
        "test", tuple(choose_words(Decoder.plain(vectors), predicted, 1)), predicted
    )
    figure = map_figure(small, prediction)
    assert figure.data[3].text == (small.words[0],)
    assert figure.to_json()
