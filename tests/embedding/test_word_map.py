"""The map of words: layout, placing of vectors, the file, the figures and what lies on them."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from img2prompt.core.errors import UserError
from img2prompt.embedding.analogy import solve
from img2prompt.embedding.vectors import WordVectors
from img2prompt.embedding.word_map import VocabularyMap, build_map, neighbourhood_recall
from img2prompt.inference.decoder import Decoder
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import choose_words
from img2prompt.ui.map.figures import (
    map_figure,
    picture_part,
    sum_part,
    vocabulary_figure,
    word_part,
)
from img2prompt.ui.map.traces import Group, Names

CLUSTERS, EACH, DIMENSIONS = 6, 25, 100
SCALES = (155.0, 280.0)  # pixels a unit takes on a phone and on a desk
NAMES = Names(
    "Wortschatz", "Vektoren", "Antworten", "Wahrheit", "Vektor", "nichts", "Kosinus", "Mal", ",."
)


@pytest.fixture(scope="module")
def vectors() -> WordVectors:
    """150 words in 6 clusters, with two stop words that no map may show.

    Within its cluster a word differs along three directions: as many as a map can show. Were it
    all of them, rounding would decide how many neighbours a map can keep.
    """
    random = np.random.default_rng(3)
    centres = random.normal(size=(CLUSTERS, DIMENSIONS))
    directions = random.normal(size=(CLUSTERS, 3, DIMENSIONS))
    inside = random.normal(size=(CLUSTERS, EACH, 3)) @ directions
    points = np.repeat(centres, EACH, axis=0) + 0.2 * inside.reshape(-1, DIMENSIONS)
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
    axes = np.linalg.svd(vectors.vectors[rows], full_matrices=False)[0][:, :3]
    space = (axes / np.abs(axes).max()).astype(np.float32)
    plane = space[:, :2] / np.abs(space[:, :2]).max()
    words = tuple(vectors.words[row] for row in rows)
    themes = np.array([int(word[4]) for word in words])
    labels = tuple(f"theme {letter}" for letter in "abcdef")
    return VocabularyMap(
        vectors, words, plane, space, themes, labels, vectors.counts[rows], "axes of an SVD"
    )


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
    for places in (built.positions, built.space):
        distances = np.linalg.norm(places[:, None] - places[None], axis=2)
        np.fill_diagonal(distances, np.inf)
        assert (cluster[distances.argmin(axis=1)] == cluster).mean() > 0.95
    for dimensions in (2, 3):  # 9 of 119 words are near by chance in 8 % of the cases
        assert neighbourhood_recall(built, dimensions, k=9) > 0.4
    # A theme is one of the clusters (or a part of one), and is named by its own words.
    for theme, name in enumerate(built.labels):
        assert len(set(cluster[built.themes == theme])) == 1
        assert {built.themes[built.index[word]] for word in name.split(", ")} == {theme}
    again = build_map(vectors, words=120)
    assert np.array_equal(built.positions, again.positions)
    assert np.array_equal(built.space, again.space)


def test_a_nameless_word_names_no_theme(vectors: WordVectors) -> None:
    pytest.importorskip("sklearn", reason="only building a map needs scikit-learn")
    named = {w for name in build_map(vectors, words=60).labels for w in name.split(", ")}
    nameless = build_map(vectors, words=60, nameless=frozenset(named))
    assert not named & {w for name in nameless.labels for w in name.split(", ")}
    assert named <= set(nameless.words)


def test_recall_is_one_for_a_map_that_is_the_vectors() -> None:
    points = np.random.default_rng(2).normal(size=(40, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    words = [f"word{chr(97 + n // 8)}{chr(97 + n % 8)}" for n in range(40)]
    vectors = WordVectors(words, points, np.arange(40, 0, -1))
    shuffled = points[np.random.default_rng(3).permutation(40)]
    rest = (np.zeros(40, int), ("all",), vectors.counts, "")
    kept = VocabularyMap(vectors, tuple(words), points[:, :2], points, *rest)
    lost = VocabularyMap(vectors, tuple(words), points[:, :2], shuffled, *rest)
    assert neighbourhood_recall(kept, 3) == 1.0
    assert neighbourhood_recall(kept, 2) < 1.0
    assert neighbourhood_recall(lost, 3) < 0.5


def test_a_map_of_three_words_is_refused(vectors: WordVectors) -> None:
    pytest.importorskip("sklearn", reason="only building a map needs scikit-learn")
    with pytest.raises(UserError, match="at least 4"):
        build_map(vectors, words=3)


def test_a_words_own_vector_lands_on_the_word(small: VocabularyMap) -> None:
    own = np.array([small.vectors[word] for word in small.words])
    for scale in (1.0, 0.01, 300.0):  # only the direction counts
        assert small.place(scale * own) == pytest.approx(small.positions, abs=1e-4)
        assert small.place(scale * own, 3) == pytest.approx(small.space, abs=1e-4)


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
    for name in ("positions", "space", "themes", "counts"):
        assert np.array_equal(getattr(loaded, name), getattr(small, name))
    assert (loaded.method, loaded.labels) == (small.method, small.labels)
    first = (tmp_path / "map.npz").read_bytes()
    loaded.save(tmp_path / "map.npz")
    assert (tmp_path / "map.npz").read_bytes() == first
    assert [file.name for file in tmp_path.iterdir()] == ["map.npz"]


def test_hidden_words_are_not_on_a_loaded_map(small: VocabularyMap, tmp_path) -> None:
    small.save(tmp_path / "map.npz")
    hidden = small.words[3]
    loaded = VocabularyMap.load(tmp_path / "map.npz", small.vectors.hiding([hidden]))
    assert hidden not in loaded.words and len(loaded) == len(small) - 1
    other = small.words[4]
    assert loaded.place_words([other]) == pytest.approx(small.place_words([other]))
    assert loaded.themes[loaded.index[other]] == small.themes[small.index[other]]


def test_the_top_of_a_map_is_its_most_frequent_words(small: VocabularyMap) -> None:
    top = small.top(10)
    assert top.words == small.words[:10] and np.array_equal(top.space, small.space[:10])
    assert small.top(10**6).words == small.words


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
    with pytest.raises(UserError, match="places, a theme and a count"):
        replace(small, positions=small.positions[:5])
    with pytest.raises(UserError, match="places, a theme and a count"):
        replace(small, space=small.positions)
    with pytest.raises(UserError, match="not finite"):
        replace(small, space=small.space * np.nan)
    with pytest.raises(UserError, match="without a name"):
        replace(small, labels=small.labels[:3])


def test_the_bare_map_shows_the_vocabulary(small: VocabularyMap) -> None:
    figure = map_figure(small, NAMES)
    assert [trace.name for trace in figure.data] == ["Wortschatz"]
    trace = figure.data[0]
    assert trace.type == "scattergl" and len(trace.x) == len(small)
    assert tuple(trace.text) == small.words and list(trace.customdata) == list(small.counts)
    assert all(note.name == "region" for note in figure.layout.annotations)
    assert figure.layout.height is None and figure.layout.yaxis.scaleanchor == "x"
    assert not figure.layout.xaxis.visible and not figure.layout.yaxis.visible
    assert figure.layout.title.text is None and figure.layout.separators == ",."
    assert "Mal" in trace.hovertemplate


def test_the_answer_is_drawn_where_it_falls(small: VocabularyMap, prediction: Prediction) -> None:
    figure = map_figure(small, NAMES, prediction)
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


@pytest.mark.parametrize("scale", SCALES)
def test_labels_don_t_cover_each_other(
    small: VocabularyMap, prediction: Prediction, scale: float
) -> None:
    notes = [
        n for n in map_figure(small, NAMES, prediction).layout.annotations if n.name == "answer"
    ]
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
    figure = map_figure(small, NAMES, prediction)
    assert figure.data[3].text == (small.words[0],)
    assert figure.to_json()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_whole_vocabulary_in_colours(small: VocabularyMap, dimensions: int) -> None:
    even = np.flatnonzero(small.themes % 2 == 0)
    odd = np.flatnonzero(small.themes % 2 == 1)
    groups = [Group("even", "#0072b2", even), Group("odd", "#d55e00", odd, listed=False)]
    figure = vocabulary_figure(small, NAMES, groups, dimensions)
    assert [(t.name, t.marker.color) for t in figure.data] == [
        ("even", "#0072b2"),
        ("odd", "#d55e00"),
    ]
    assert [trace.showlegend for trace in figure.data] == [True, False]
    drawn = {}
    for trace in figure.data:
        axes = [getattr(trace, axis) for axis in "xyz"[:dimensions]]
        drawn |= dict(zip(trace.text, np.stack(axes, axis=1), strict=True))
    assert len(drawn) == len(small)
    for word, place in drawn.items():
        assert place == pytest.approx(small.place_words([word], dimensions)[0])
    meta = figure.layout.meta
    assert meta["traces"] == 2 and meta["dimensions"] == dimensions
    assert sorted(label["text"] for label in meta["labels"]) == list(small.labels)
    assert np.abs(small.places(dimensions)).max(axis=0) == pytest.approx(
        np.minimum(np.abs(small.places(dimensions)).max(axis=0), np.array(meta["whole"])[:, 1])
    )
    assert json.loads(figure.to_json())


def _places(trace: dict, dimensions: int) -> np.ndarray:
    axes = []
    for axis in "xyz"[:dimensions]:
        packed = trace[axis]
        axes.append(np.frombuffer(base64.b64decode(packed["bdata"]), packed["dtype"]))
    return np.stack(axes, axis=1)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_picture_lies_on_the_map(
    small: VocabularyMap, prediction: Prediction, dimensions: int
) -> None:
    said = [word.word for word in prediction.words]
    missed = next(word for word in small.words[50:] if word not in said)
    truth = [said[1], missed]
    part = json.loads(json.dumps(picture_part(small, NAMES, prediction, truth, dimensions)))
    assert part["dimensions"] == dimensions and part["view"] is None
    by_name = {trace["name"]: trace for trace in part["traces"]}
    assert _places(by_name["Antworten"], dimensions) == pytest.approx(
        small.place_words(said, dimensions)
    )
    assert _places(by_name["Vektoren"], dimensions) == pytest.approx(
        small.place(prediction.vectors, dimensions)
    )
    assert _places(by_name["Wahrheit"], dimensions) == pytest.approx(
        small.place_words(truth, dimensions)
    )
    # A true word that was said is labelled once.
    assert [label["text"] for label in part["labels"]] == [*said, missed]
    assert "Wahrheit" not in {
        trace["name"] for trace in picture_part(small, NAMES, prediction)["traces"]
    }


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_words_view_holds_the_word_and_most_of_its_neighbours(
    small: VocabularyMap, dimensions: int
) -> None:
    word = small.words[20]
    near = small.vectors.neighbours(word, 10, answers_only=True)
    part = word_part(small, NAMES, word, near, dimensions)
    low, high = np.array(part["view"]).T
    assert (low + high) / 2 == pytest.approx(small.place_words([word], dimensions)[0], abs=1e-6)
    places = small.place_words([other for other, _ in near], dimensions)
    inside = ((places >= low) & (places <= high)).all(axis=1)
    assert inside.sum() >= 8
    labels = {label["text"] for label in part["labels"]}
    assert word in labels
    assert labels - {word} <= {other for other, _ in near}
    assert labels >= {other for (other, _), seen in zip(near, inside, strict=True) if seen}
    lines = _places(part["traces"][0], dimensions)
    assert lines[1::3] == pytest.approx(places)  # every neighbour has its line, seen or not


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_sum_leads_from_its_words_to_where_it_falls(
    small: VocabularyMap, dimensions: int
) -> None:
    first, second = small.words[2], small.words[30]
    solution = solve(f"{first} - {second}", small.vectors)
    part = sum_part(small, NAMES, solution, dimensions)
    lines = _places(part["traces"][0], dimensions)
    assert lines[0::3] == pytest.approx(small.place_words([first, second], dimensions))
    at = small.place(solution.vector, dimensions)
    assert lines[1::3] == pytest.approx(np.repeat(at, 2, axis=0))
    low, high = np.array(part["view"]).T
    assert (at[0] > low).all() and (at[0] < high).all()


def test_themes_under_a_label_are_hidden(small: VocabularyMap) -> None:
    middle = int(np.linalg.norm(small.positions, axis=1).argmin())
    word = small.words[middle]
    part = word_part(small, NAMES, word, small.vectors.neighbours(word, 10, answers_only=True))
    assert set(part["hides"]) <= set(small.labels)
    in_space = word_part(
        small, NAMES, word, small.vectors.neighbours(word, 10, answers_only=True), 3
    )
    assert set(in_space["hides"]) == set(small.labels)
