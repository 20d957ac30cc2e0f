"""What is drawn on the maps, as traces of plotly's: words, vectors, lines between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.embedding.word_map import VocabularyMap
from img2prompt.inference.prediction import Prediction
from img2prompt.ui.map.labels import ANSWER_COLOUR, Floats

Trace = dict[str, Any]

# Middle tones: each keeps its contrast on a white and on a near-black page.
VOCABULARY_COLOUR = "#8f98aa"
PREDICTED_COLOUR = "#f59e0b"
TRUTH_COLOUR = "#0f9d76"
NEAR_COLOUR = "#d6336c"
FOCUS_COLOUR = "#a61e4d"


@dataclass(frozen=True)
class Names:
    """What a reader's language calls the parts of a figure.

    Attributes:
        vocabulary, predicted, answers, truth: of the groups of points, in the legend.
        vector: of one predicted vector.
        nothing: what stands for the words of a vector that has none.
        cosine: of the score.
        times: what follows a number of uses.
        separators: the decimal and the thousands separator.
    """

    vocabulary: str
    predicted: str
    answers: str
    truth: str
    vector: str
    nothing: str
    cosine: str
    times: str
    separators: str = ".,"


@dataclass(frozen=True)
class Group:
    """Words of one colour.

    Attributes:
        name: for the legend.
        colour: as CSS writes it.
        rows: int64 (m,), of the map.
        listed: in the legend, where a click hides or shows it.
    """

    name: str
    colour: str
    rows: NDArray[np.integer[Any]]
    listed: bool = True


def xyz(places: Floats) -> Trace:
    """Places (n, 2) or (n, 3) as a trace takes them, with the kind of trace that draws them."""
    axes = dict(zip("xyz", places.T, strict=False))
    # All on one canvas: the browser lays a WebGL canvas over every SVG trace.
    return {"type": "scattergl" if len(axes) == 2 else "scatter3d", **axes}


def points(vocabulary: VocabularyMap, group: Group, dimensions: int, names: Names) -> Trace:
    """The trace of a group of words."""
    # Area by the logarithm of the count: frequent words stand out without hiding the rest.
    counts = vocabulary.counts[group.rows]
    share = np.log(np.maximum(counts, 1)) / max(np.log(vocabulary.counts.max()), 1.0)
    sizes = (3.0 + 6.0 * share**3) * (1.0 if dimensions == 2 else 0.8)
    return xyz(vocabulary.places(dimensions)[group.rows]) | {
        "name": group.name,
        "mode": "markers",
        "showlegend": group.listed,
        "marker": {
            "size": np.round(sizes, 1).astype(np.float32),
            "color": group.colour,
            "opacity": 0.5,
            "line": {"width": 0},
        },
        "text": [vocabulary.words[row] for row in group.rows],
        "customdata": counts.astype(np.int32),
        "hovertemplate": f"<b>%{{text}}</b><br>%{{customdata:,}} {names.times}<extra></extra>",
    }


def answer_traces(
    vocabulary: VocabularyMap,
    prediction: Prediction,
    steps: Floats,
    answers: Floats,
    names: Names,
) -> list[Trace]:
    """The predicted vectors at `steps`, their words at `answers`, and lines between them."""
    origins = steps[[word.step for word in prediction.words]]
    counts = vocabulary.vectors.counts[[vocabulary.vectors.index[w.word] for w in prediction.words]]
    said = [
        ", ".join(word.word for word in prediction.words if word.step == step) or names.nothing
        for step in range(len(steps))
    ]
    vectors = {"color": PREDICTED_COLOUR, "symbol": "diamond", "opacity": 0.85}
    return [
        lines(origins, answers, PREDICTED_COLOUR),
        _markers(steps, (13, 6), vectors)
        | {
            "name": names.predicted,
            "text": said,
            "customdata": np.arange(1, len(steps) + 1),
            "hovertemplate": f"<b>{names.vector} %{{customdata}}</b><br>→ %{{text}}<extra></extra>",
        },
        _markers(answers, (9, 5), {"color": ANSWER_COLOUR})
        | {
            "name": names.answers,
            "text": [word.word for word in prediction.words],
            "customdata": [
                [word.score, int(n)] for word, n in zip(prediction.words, counts, strict=True)
            ],
            "hovertemplate": f"<b>%{{text}}</b><br>{names.cosine} %{{customdata[0]:.2f}}"
            f"<br>%{{customdata[1]:,}} {names.times}<extra></extra>",
        },
    ]


def truth_trace(truth: Sequence[str], places: Floats, names: Names) -> Trace:
    """Rings around the words of the true prompt."""
    edge = {"width": 2.5, "color": TRUTH_COLOUR}
    look = {"color": TRUTH_COLOUR, "symbol": "circle-open", "line": edge}
    return _markers(places, (17, 9), look) | {
        "name": names.truth,
        "text": list(truth),
        "hovertemplate": f"<b>%{{text}}</b><br>{names.truth}<extra></extra>",
    }


def lines(starts: Floats, ends: Floats, colour: str) -> Trace:
    """A line from each start to its end."""
    gaps = np.full_like(starts, np.nan)
    joined = np.stack([starts, ends, gaps], axis=1).reshape(-1, starts.shape[1])
    return xyz(joined.astype(np.float32)) | {
        "mode": "lines",
        "line": {"width": 1.2 if starts.shape[1] == 2 else 3, "color": colour},
        "opacity": 0.7,
        "hoverinfo": "skip",
        "showlegend": False,
        "name": "lines",
    }


def marks(places: Floats, told: Sequence[str], symbol: str, size: float, colour: str) -> Trace:
    """Points that tell something when they are pointed at."""
    return _markers(places, (size, size / 2), {"symbol": symbol, "color": colour}) | {
        "hovertext": list(told),
        "hovertemplate": "%{hovertext}<extra></extra>",
        "showlegend": False,
        "name": "marks",
    }


def _markers(places: Floats, sizes: tuple[float, float], look: dict[str, Any]) -> Trace:
    """Points with a white edge; `sizes` on a plane and in space."""
    size = sizes[0] if places.shape[1] == 2 else sizes[1]
    marker = {"size": size, "line": {"width": 1.2, "color": "#ffffff"}} | look
    return xyz(places) | {"mode": "markers", "marker": marker}
