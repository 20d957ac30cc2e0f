"""The map of words: the vocabulary in two dimensions, and where a prediction falls on it.

t-SNE (van der Maaten and Hinton 2008) lays the most frequent answerable words out once, offline;
the file keeps positions, never vectors. Serving needs numpy and plotly alone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from img2prompt.embedding import WordVectors, top_k
from img2prompt.errors import UserError
from img2prompt.files import atomic_path
from img2prompt.prediction import Prediction

if TYPE_CHECKING:
    import plotly.graph_objects as go

MAP_FILE = "map.npz"
MAP_WORDS = 4000  # enough for every theme of the prompts; few enough for a phone to draw
NEIGHBOURS = 6  # mapped words that decide where a vector falls
# Steep, because the nearest words can lie on different islands of the map, and the plain mean of
# two islands is a place in the sea between them that resembles neither.
STEEPNESS = 4.0

# Middle tones: each keeps its contrast on a white and on a near-black page.
VOCABULARY_COLOUR = "#8f98aa"
PREDICTED_COLOUR = "#f59e0b"
ANSWER_COLOUR = "#5b6cf0"
TEXT_COLOUR = "#7a8496"

# Pixels a unit of the map takes on a phone and on a desk. Labels keep their distance in pixels
# while the points spread out, so a layout is only good when it is free of collisions on both.
_SCALES = (155.0, 280.0)
_MARGIN = 0.08
_CHARACTER = 7.0  # mean width of a 12 px letter
_LABEL_HEIGHT = 18
_RADII = (15, 24, 34, 46, 60, 76, 94, 114)
_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_LANDMARKS = 14
_LANDMARK_DISTANCE = 0.34
_LANDMARK_RANK = 500  # only words that everybody writes may name a region


@dataclass(frozen=True)
class VocabularyMap:
    """The most frequent answerable words on a plane; near words have near vectors.

    Distances between far points mean little: t-SNE keeps neighbourhoods, not distances.

    Attributes:
        vectors: the embedding that the words come from.
        words: (n,) most frequent first.
        positions: float32 (n, 2), centred, in [−1, 1].
        counts: int64 (n,), how often the training prompts hold each word.
        method: how the positions were made, for a reader.
    """

    vectors: WordVectors = field(repr=False)
    words: tuple[str, ...] = field(repr=False)
    positions: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    method: str

    def __post_init__(self) -> None:
        n = len(self.words)
        if n < 1 or self.positions.shape != (n, 2) or self.counts.shape != (n,):
            raise UserError("A map needs one position and one count for each word; build it again.")
        if not np.isfinite(self.positions).all():
            raise UserError("The map holds positions that are not finite; build it again.")

    def __len__(self) -> int:
        return len(self.words)

    @cached_property
    def index(self) -> dict[str, int]:
        """Each mapped word's row."""
        return {word: row for row, word in enumerate(self.words)}

    @cached_property
    def unit(self) -> np.ndarray:
        """float32 (n, D): the mapped words' vectors, divided by their lengths."""
        return self.vectors.unit[[self.vectors.index[word] for word in self.words]]

    @cached_property
    def landmarks(self) -> tuple[int, ...]:
        """Rows of a few frequent words that lie far apart: the names of the map's regions."""
        chosen: list[int] = []
        for row, place in enumerate(self.positions[:_LANDMARK_RANK]):
            if len(chosen) == _LANDMARKS:
                break
            distances = np.linalg.norm(self.positions[chosen] - place, axis=1)
            near_edge = np.abs(place[0]) > 0.85  # its name would be cut off
            if not near_edge and not (distances < _LANDMARK_DISTANCE).any():
                chosen.append(row)
        return tuple(chosen)

    @cached_property
    def extent(self) -> np.ndarray:
        """float32 (2,): half the map's width and height, with a margin."""
        return np.abs(self.positions).max(axis=0) + np.float32(_MARGIN)

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Where word vectors fall on the map.

        t-SNE has no transform: it says nothing of a vector it was not given. So a vector falls on
        the mean of the positions of its nearest mapped words, weighted by cosine: steeply, so
        that a vector equal to a mapped word's own lands on that word.

        Args:
            vectors: float (n, D), of any length but zero.

        Returns:
            float32 (n, 2).
        """
        queries = np.atleast_2d(np.asarray(vectors, dtype=np.float32))
        lengths = np.linalg.norm(queries, axis=1, keepdims=True)
        cosines = queries / np.maximum(lengths, 1e-12) @ self.unit.T  # (n, words)
        rows, near = top_k(cosines, NEIGHBOURS)
        near = near.astype(np.float64)
        # The 1e-6 is float32's own error: a word's cosine to itself is not exactly 1.
        weights = np.maximum(near, 1e-6) / np.maximum(1.0 - near, 1e-6) ** STEEPNESS
        weights /= weights.sum(axis=1, keepdims=True)
        return np.einsum("nk,nkd->nd", weights, self.positions[rows]).astype(np.float32)

    def place_words(self, words: Sequence[str]) -> np.ndarray:
        """Where words lie, float32 (n, 2); one that is not on the map, by its own vector.

        Raises:
            UserError: the vocabulary lacks a word.
        """
        places = np.empty((len(words), 2), dtype=np.float32)
        for row, word in enumerate(words):
            if word in self.index:
                places[row] = self.positions[self.index[word]]
            elif word in self.vectors:
                places[row] = self.place(self.vectors[word])[0]
            else:
                raise UserError(f"The vocabulary lacks the word {word!r}; try another one.")
        return places

    def save(self, path: str | os.PathLike) -> None:
        """Write the `.npz`, atomically; the same contents give the same bytes."""
        with atomic_path(path) as temporary:
            np.savez(
                temporary,
                words=_to_bytes("\n".join(self.words)),
                positions=self.positions,
                counts=self.counts,
                method=_to_bytes(self.method),
                embedding=_to_bytes(self.vectors.fingerprint),
            )

    @classmethod
    def load(cls, path: str | os.PathLike, vectors: WordVectors) -> "VocabularyMap":
        """Read what `save` wrote.

        Args:
            path: the `.npz`.
            vectors: the embedding that the map was built from.

        Raises:
            UserError: missing, not a map of ours, or of another embedding.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"There is no map {path}; build one with scripts/build_map.py.")
        try:
            with np.load(path, allow_pickle=False) as arrays:
                words = tuple(_to_text(arrays["words"]).split("\n"))
                positions = arrays["positions"].astype(np.float32)
                counts = arrays["counts"].astype(np.int64)
                method, fingerprint = _to_text(arrays["method"]), _to_text(arrays["embedding"])
        except Exception:  # a damaged zip, a pickle or a missing array: numpy raises many types
            raise UserError(f"{path} is not a map; build one with scripts/build_map.py.") from None
        if fingerprint != vectors.fingerprint:
            raise UserError(
                f"{path} belongs to another embedding; build it again with scripts/build_map.py."
            )
        return cls(vectors, words, positions, counts, method)


def build_map(vectors: WordVectors, words: int = MAP_WORDS, seed: int = 1) -> VocabularyMap:
    """Lay out the most frequent answerable words; a minute for 4,000 words on one CPU core.

    t-SNE over cosine distances, then centred and scaled into [−1, 1] by one factor, so that the
    aspect stays. The same embedding, number and seed give the same map on the same libraries.

    Args:
        vectors: the embedding.
        words: how many, at most; an embedding with fewer answerable words gives them all.
        seed: of t-SNE.

    Raises:
        UserError: too few words, or scikit-learn is not installed.
    """
    try:
        import sklearn
        from sklearn.manifold import TSNE
    except ImportError:
        raise UserError(
            "Building a map needs scikit-learn; install requirements-train.txt."
        ) from None

    rows = np.flatnonzero(vectors.answerable)[: max(words, 0)]  # most frequent first
    if len(rows) < 4:
        raise UserError(f"A map of {len(rows)} words shows nothing; take at least 4.")
    perplexity = min(30.0, (len(rows) - 1) / 3)
    layout = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=seed)
    positions = layout.fit_transform(vectors.unit[rows]).astype(np.float64)
    positions -= (positions.max(axis=0) + positions.min(axis=0)) / 2
    positions /= np.abs(positions).max()
    return VocabularyMap(
        vectors,
        tuple(vectors.words[row] for row in rows),
        positions.astype(np.float32),
        vectors.counts[rows],
        f"t-SNE over cosine distances, perplexity {perplexity:g}, seed {seed}, "
        f"scikit-learn {sklearn.__version__}",
    )


def map_figure(
    vocabulary: VocabularyMap,
    prediction: Prediction | None = None,
    vectors: np.ndarray | None = None,
) -> "go.Figure":
    """The map as a figure: the vocabulary, and on it the answer if there is one.

    The page behind shows through, and labels bring their own background, so one figure serves a
    light and a dark theme. It takes the size of its container; equal aspect, no axes.

    Args:
        vocabulary: the map.
        prediction: its words become labelled points, joined to the vectors they came from.
        vectors: float32 (steps, D), the predicted vectors; unset, the prediction's own.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    figure.add_trace(_vocabulary_trace(vocabulary))
    annotations: list[dict] = []
    taken = [np.empty((0, 4)) for _ in _SCALES]
    if prediction is not None:
        steps = vocabulary.place(prediction.vectors if vectors is None else vectors)
        answers = vocabulary.place_words([word.word for word in prediction.words])
        labels = [word.word for word in prediction.words]
        marked = np.concatenate([answers, steps])
        annotations, taken = _labels(labels, answers, marked, vocabulary.extent)
        for trace in _answer_traces(vocabulary, prediction, steps, answers):
            figure.add_trace(trace)
    figure.update_layout(
        annotations=_landmarks(vocabulary, taken[-1]) + annotations,
        autosize=True,
        # Without a drag mode a finger on the map scrolls the page; the mode bar has pan and zoom.
        dragmode=False,
        font={"family": "ui-sans-serif, system-ui, sans-serif", "size": 12, "color": TEXT_COLOUR},
        hoverlabel={"font_size": 13},
        legend={
            "orientation": "h",
            "x": 0.5,
            "xanchor": "center",
            "y": 0,
            "yanchor": "top",
            "itemsizing": "constant",
            "font": {"size": 12, "color": TEXT_COLOUR},
            "itemclick": False,
            "itemdoubleclick": False,
        },
        margin={"l": 4, "r": 4, "t": 4, "b": 34},
        modebar={
            "bgcolor": "rgba(0,0,0,0)",
            "color": TEXT_COLOUR,
            "activecolor": ANSWER_COLOUR,
        },
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        uirevision="map",  # a zoomed view stays where it is when the answer changes
    )
    width, height = (float(half) for half in vocabulary.extent)
    figure.update_xaxes(visible=False, range=[-width, width])
    figure.update_yaxes(visible=False, range=[-height, height], scaleanchor="x", scaleratio=1)
    return figure


def _vocabulary_trace(vocabulary: VocabularyMap) -> "go.Scattergl":
    import plotly.graph_objects as go

    # Area by the logarithm of the count: frequent words stand out without hiding the rest.
    share = np.log(np.maximum(vocabulary.counts, 1)) / max(np.log(vocabulary.counts.max()), 1.0)
    return go.Scattergl(
        name="vocabulary",
        x=vocabulary.positions[:, 0],
        y=vocabulary.positions[:, 1],
        mode="markers",
        marker={
            "size": np.round(3.0 + 6.0 * share**3, 1).astype(np.float32),
            "color": VOCABULARY_COLOUR,
            "opacity": 0.5,
            "line": {"width": 0},
        },
        text=vocabulary.words,
        customdata=vocabulary.counts.astype(np.int32),
        hovertemplate="<b>%{text}</b><br>%{customdata:,} times in the prompts<extra></extra>",
    )


def _answer_traces(
    vocabulary: VocabularyMap, prediction: Prediction, steps: np.ndarray, answers: np.ndarray
) -> list["go.Scattergl"]:
    import plotly.graph_objects as go

    # All on one canvas: the browser lays a WebGL canvas over every SVG trace.
    gap = np.full(2, np.nan, dtype=np.float32)
    ends = [
        row
        for word, answer in zip(prediction.words, answers, strict=True)
        for row in (steps[word.step], answer, gap)
    ]
    lines = np.array(ends, dtype=np.float32).reshape(-1, 2)
    counts = [vocabulary.vectors.counts[vocabulary.vectors.index[w.word]] for w in prediction.words]
    said = [
        ", ".join(word.word for word in prediction.words if word.step == step) or "no answer"
        for step in range(len(steps))
    ]
    return [
        go.Scattergl(
            x=lines[:, 0],
            y=lines[:, 1],
            mode="lines",
            line={"width": 1.2, "color": PREDICTED_COLOUR},
            opacity=0.7,
            hoverinfo="skip",
            showlegend=False,
            name="from vector to word",
        ),
        go.Scattergl(
            name="predicted",
            x=steps[:, 0],
            y=steps[:, 1],
            mode="markers",
            marker={
                "symbol": "diamond",
                "size": 13,
                "color": PREDICTED_COLOUR,
                "opacity": 0.85,
                "line": {"width": 1.2, "color": "#ffffff"},
            },
            text=said,
            customdata=np.arange(1, len(steps) + 1),
            hovertemplate="<b>predicted vector %{customdata}</b><br>→ %{text}<extra></extra>",
        ),
        go.Scattergl(
            name="answers",
            x=answers[:, 0],
            y=answers[:, 1],
            mode="markers",
            marker={
                "size": 9,
                "color": ANSWER_COLOUR,
                "line": {"width": 1.2, "color": "#ffffff"},
            },
            text=[word.word for word in prediction.words],
            customdata=[
                [word.score, int(n)] for word, n in zip(prediction.words, counts, strict=True)
            ],
            hovertemplate="<b>%{text}</b><br>cosine %{customdata[0]:.2f}"
            "<br>%{customdata[1]:,} times in the prompts<extra></extra>",
        ),
    ]


def _labels(
    words: Sequence[str], places: np.ndarray, marked: np.ndarray, extent: np.ndarray
) -> tuple[list[dict], list[np.ndarray]]:
    """Place labels greedily, best word first, each at the nearest spot that covers nothing.

    Args:
        words: (n,) texts.
        places: (n, 2) their points.
        marked: (m, 2) every point that no label should cover.
        extent: (2,) half the map's width and height, which no label should leave.

    Returns:
        Annotations, and for each of `_SCALES` the boxes (k, 4) that are taken.
    """
    taken = [_boxes(marked * scale, (7, 7)) for scale in _SCALES]
    centre = places.mean(axis=0)
    annotations = []
    for word, place in zip(words, places, strict=True):
        half = np.array([_CHARACTER * len(word) / 2 + 5, _LABEL_HEIGHT / 2])
        # Away from the middle of the answers first: there the leaders don't cross.
        outward = np.arctan2(place[1] - centre[1], place[0] - centre[0])
        angles = _ANGLES[np.argsort(-np.cos(_ANGLES - outward), kind="stable")]
        offsets = np.stack(
            [
                np.outer(np.add(_RADII, half[0]), np.cos(angles)).ravel(),
                np.outer(np.add(_RADII, 2), np.sin(angles)).ravel(),
            ],
            axis=1,
        )
        hits = np.zeros(len(offsets))
        for scale, boxes in zip(_SCALES, taken, strict=True):
            spots = _boxes(place * scale + offsets, half)
            hits += _overlaps(spots, boxes).sum(axis=1)
            hits += 3 * (np.abs(spots) > np.tile(extent * scale, 2)).sum(axis=1)
        offset = offsets[hits.argmin()]  # the nearest of the equally good
        taken = [
            np.concatenate([boxes, _boxes(place * scale + offset, half + 1)])
            for scale, boxes in zip(_SCALES, taken, strict=True)
        ]
        annotations.append(
            {
                "x": float(place[0]),
                "y": float(place[1]),
                "ax": round(float(offset[0]), 1),
                "ay": round(float(-offset[1]), 1),  # pixels down the screen
                "text": word,
                "name": "answer",
                "showarrow": True,
                "arrowhead": 0,
                "arrowwidth": 1,
                "arrowcolor": ANSWER_COLOUR,
                "standoff": 5,
                "font": {"size": 12, "color": "#1f2440"},
                "bgcolor": "rgba(255,255,255,0.92)",
                "bordercolor": ANSWER_COLOUR,
                "borderwidth": 1,
                "borderpad": 1,
            }
        )
    return annotations, taken


def _landmarks(vocabulary: VocabularyMap, taken: np.ndarray) -> list[dict]:
    """The names of regions, but for those that lie under a label (boxes (k, 4) on a desk).

    On a phone there is no room for both; the page hides these where there are labels.
    """
    annotations = []
    for row in vocabulary.landmarks:
        word, place = vocabulary.words[row], vocabulary.positions[row]
        half = (_CHARACTER * len(word) / 2, 8)
        if _overlaps(_boxes(place * _SCALES[-1], half), taken).any():
            continue
        annotations.append(
            {
                "x": float(place[0]),
                "y": float(place[1]),
                "text": word,
                "name": "region",
                "showarrow": False,
                "font": {"size": 13, "color": TEXT_COLOUR},
            }
        )
    return annotations


def _boxes(centres: np.ndarray, half: Sequence[float] | np.ndarray) -> np.ndarray:
    """(n, 2) centres and half the width and height → (n, 4): left, bottom, right, top."""
    centres = np.atleast_2d(centres)
    return np.concatenate([centres - half, centres + half], axis=1)


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) and (m, 4) → bool (n, m)."""
    return (a[:, None, :2] < b[None, :, 2:]).all(axis=2) & (b[None, :, :2] < a[:, None, 2:]).all(
        axis=2
    )


def _to_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8"), dtype=np.uint8)


def _to_text(array: np.ndarray) -> str:
    return array.tobytes().decode("utf-8")
