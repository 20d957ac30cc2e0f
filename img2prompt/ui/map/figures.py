"""The maps as figures: the small one beside an answer, and the whole one of the Map tab.

Figures are plain data for plotly's JavaScript; everything of a reader's language is handed in.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from img2prompt.embedding.analogy import Solution
from img2prompt.embedding.word_map import VocabularyMap
from img2prompt.inference.predictor import Prediction

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Middle tones: each keeps its contrast on a white and on a near-black page.
VOCABULARY_COLOUR = "#8f98aa"
PREDICTED_COLOUR = "#f59e0b"
ANSWER_COLOUR = "#5b6cf0"
TEXT_COLOUR = "#7a8496"
TRUTH_COLOUR = "#0f9d76"
NEAR_COLOUR = "#d6336c"
FOCUS_COLOUR = "#a61e4d"

# Pixels a unit of the map takes on a phone and on a desk. Labels keep their distance in pixels
# while the points spread out, so a layout is only good when it is free of collisions on both.
_SCALES = (155.0, 280.0)
_CHARACTER = 7.0  # mean width of a 12 px letter
_LABEL_HEIGHT = 18
_RADII = (15, 24, 34, 46, 60, 76, 94, 114)
_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)

# A word's view holds eight of its ten nearest: one that t-SNE put across the map would otherwise
# keep it from coming near. Lines lead out of the view to the others.
_SEEN = 0.8
_SPACE_SIDE = 1.05  # half a side of the cube
_NEAREST_VIEW = 0.06  # half a view's side, where the nearest all lie in one spot


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
    rows: np.ndarray
    listed: bool = True


def map_figure(
    vocabulary: VocabularyMap,
    names: Names,
    prediction: Prediction | None = None,
    vectors: np.ndarray | None = None,
) -> "go.Figure":
    """The map as a figure: the vocabulary, and on it the answer if there is one.

    The page behind shows through, and labels bring their own background, so one figure serves a
    light and a dark theme. It takes the size of its container; equal aspect, no axes.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        prediction: its words become labelled points, joined to the vectors they came from.
        vectors: float32 (steps, D), the predicted vectors; unset, the prediction's own.
    """
    import plotly.graph_objects as go

    everything = Group(names.vocabulary, VOCABULARY_COLOUR, np.arange(len(vocabulary)))
    traces = [_points(vocabulary, everything, 2, names)]
    annotations: list[dict] = []
    taken = [np.empty((0, 4)) for _ in _SCALES]
    if prediction is not None:
        steps = vocabulary.place(prediction.vectors if vectors is None else vectors)
        answers = vocabulary.place_words([word.word for word in prediction.words])
        labels = [word.word for word in prediction.words]
        marked = np.concatenate([answers, steps])
        annotations, taken = _labels(labels, answers, marked, vocabulary.extent)
        traces += _answer_traces(vocabulary, prediction, steps, answers, names)
    layout = _layout(names) | {
        "annotations": _landmarks(vocabulary, taken[-1]) + annotations,
        # Without a drag mode a finger on the map scrolls the page; the mode bar has pan and zoom.
        "dragmode": False,
        "uirevision": "map",  # a zoomed view stays where it is when the answer changes
    }
    layout["legend"] |= {"itemclick": False, "itemdoubleclick": False}
    return go.Figure(traces, layout | _plane(vocabulary.extent))


def vocabulary_figure(
    vocabulary: VocabularyMap,
    names: Names,
    groups: Sequence[Group],
    dimensions: int = 2,
    labelled: bool = True,
) -> "go.Figure":
    """The whole vocabulary, in colours, to be looked around in.

    What lies upon it comes as parts, see `picture_part`; `meta` tells a page which traces and
    labels are the vocabulary's own, and the ranges of the whole.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        groups: whose colours; together they hold every word once.
        dimensions: 2 or 3.
        labelled: with the names of the themes.
    """
    import plotly.graph_objects as go

    traces = [_points(vocabulary, group, dimensions, names) for group in groups]
    labels = _theme_labels(vocabulary, dimensions) if labelled else []
    layout = _layout(names)
    if dimensions == 2:
        layout |= _plane(vocabulary.extent) | {"annotations": labels, "dragmode": "pan"}
    else:
        hidden = {"visible": False, "showspikes": False, "range": [-_SPACE_SIDE, _SPACE_SIDE]}
        layout["scene"] = {
            "xaxis": hidden,
            "yaxis": hidden,
            "zaxis": hidden,
            "aspectmode": "cube",
            "annotations": labels,
            "dragmode": "orbit",
            "camera": {"eye": {"x": 0.75, "y": 0.75, "z": 0.5}},
        }
    half = [float(side) for side in vocabulary.extent] if dimensions == 2 else [_SPACE_SIDE] * 3
    layout["meta"] = {
        "dimensions": dimensions,
        "traces": len(traces),
        "labels": labels,
        "whole": [[-side, side] for side in half],
    }
    return go.Figure(traces, layout)


def picture_part(
    vocabulary: VocabularyMap,
    names: Names,
    prediction: Prediction,
    truth: Sequence[str] = (),
    dimensions: int = 2,
) -> dict[str, Any]:
    """What lies on the map of a picture: vectors, their words, lines between, true words.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        prediction: the picture's answer.
        truth: the words of the true prompt, where they are known.
        dimensions: 2 or 3.

    Returns:
        A part: plotly's `traces` and `labels`, the themes whose names it `hides`, and `view`,
        None for a part that asks for none.
    """
    said = [word.word for word in prediction.words]
    steps = vocabulary.place(prediction.vectors, dimensions)
    answers = vocabulary.place_words(said, dimensions)
    traces = _answer_traces(vocabulary, prediction, steps, answers, names)
    labels = said
    places, marked = answers, [answers, steps]
    if truth:
        true_places = vocabulary.place_words(truth, dimensions)
        # Under the answers: a ring around a dot is a word that was found.
        traces.insert(1, _truth_trace(truth, true_places, names))
        missed = [row for row, word in enumerate(truth) if word not in said]
        labels = [*said, *(truth[row] for row in missed)]
        places = np.concatenate([answers, true_places[missed]])
        marked.append(true_places)
    return _part(vocabulary, traces, labels, places, np.concatenate(marked), dimensions)


def word_part(
    vocabulary: VocabularyMap,
    names: Names,
    word: str,
    near: Sequence[tuple[str, float]],
    dimensions: int = 2,
) -> dict[str, Any]:
    """A word and its nearest words, lines between, and the view that has (nearly) all of them.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        word: in the vocabulary.
        near: (word, cosine) of the nearest ones.
        dimensions: 2 or 3.

    Returns:
        A part, as `picture_part`; its view is the half of the map's ranges to show, a list of
        (low, high) for each dimension.
    """
    words = [word, *(other for other, _ in near)]
    places = vocabulary.place_words(words, dimensions)
    told = [f"<b>{other}</b><br>{names.cosine} {cosine:.2f}" for other, cosine in near]
    traces = [
        _lines(np.repeat(places[:1], len(near), axis=0), places[1:], NEAR_COLOUR),
        _marks(places[1:], told, "circle", 10, NEAR_COLOUR),
        _marks(places[:1], [f"<b>{word}</b>"], "diamond", 15, FOCUS_COLOUR),
    ]
    view = _view(places[0], places)
    return _part(vocabulary, traces, words, places, places, dimensions, view)


def sum_part(
    vocabulary: VocabularyMap, names: Names, solution: Solution, dimensions: int = 2
) -> dict[str, Any]:
    """Word arithmetic on the map: its words, where the sum falls, and what is near it.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        solution: the sum.
        dimensions: 2 or 3.

    Returns:
        A part, as `word_part`.
    """
    terms = [word for _, word in solution.terms]
    term_places = vocabulary.place_words(terms, dimensions)
    near = [word for word, _ in solution.words]
    near_places = vocabulary.place_words(near, dimensions)
    at = vocabulary.place(solution.vector, dimensions)
    signed = [f"{'+' if sign > 0 else '−'} {word}" for sign, word in solution.terms]
    told = [f"<b>{word}</b><br>{names.cosine} {cosine:.2f}" for word, cosine in solution.words]
    traces = [
        _lines(term_places, np.repeat(at, len(terms), axis=0), FOCUS_COLOUR),
        _marks(near_places, told, "circle", 10, NEAR_COLOUR),
        _marks(term_places, [f"<b>{term}</b>" for term in signed], "square", 11, FOCUS_COLOUR),
        _marks(at, [f"<b>{solution.expression}</b>"], "diamond", 15, FOCUS_COLOUR),
    ]
    places = np.concatenate([term_places, near_places])
    marked = np.concatenate([places, at])
    view = _view(at[0], marked)
    return _part(vocabulary, traces, [*signed, *near], places, marked, dimensions, view)


def _layout(names: Names) -> dict[str, Any]:
    return {
        "autosize": True,
        "font": {
            "family": "ui-sans-serif, system-ui, sans-serif",
            "size": 12,
            "color": TEXT_COLOUR,
        },
        "hoverlabel": {"font_size": 13},
        "separators": names.separators,
        "legend": {
            "orientation": "h",
            "x": 0.5,
            "xanchor": "center",
            "y": 0,
            "yanchor": "top",
            "itemsizing": "constant",
            "font": {"size": 12, "color": TEXT_COLOUR},
        },
        "margin": {"l": 4, "r": 4, "t": 4, "b": 34},
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": TEXT_COLOUR,
            "activecolor": ANSWER_COLOUR,
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
    }


def _plane(extent: np.ndarray) -> dict[str, Any]:
    width, height = (float(half) for half in extent)
    return {
        "xaxis": {"visible": False, "range": [-width, width]},
        "yaxis": {
            "visible": False,
            "range": [-height, height],
            "scaleanchor": "x",
            "scaleratio": 1,
        },
    }


def _xyz(places: np.ndarray) -> dict[str, Any]:
    """Places (n, 2) or (n, 3) as a trace takes them, with the kind of trace that draws them."""
    axes = dict(zip("xyz", places.T, strict=False))
    # All on one canvas: the browser lays a WebGL canvas over every SVG trace.
    return {"type": "scattergl" if len(axes) == 2 else "scatter3d", **axes}


def _points(
    vocabulary: VocabularyMap, group: Group, dimensions: int, names: Names
) -> dict[str, Any]:
    """The trace of a group of words."""
    # Area by the logarithm of the count: frequent words stand out without hiding the rest.
    counts = vocabulary.counts[group.rows]
    share = np.log(np.maximum(counts, 1)) / max(np.log(vocabulary.counts.max()), 1.0)
    sizes = (3.0 + 6.0 * share**3) * (1.0 if dimensions == 2 else 0.8)
    return _xyz(vocabulary.places(dimensions)[group.rows]) | {
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


def _answer_traces(
    vocabulary: VocabularyMap,
    prediction: Prediction,
    steps: np.ndarray,
    answers: np.ndarray,
    names: Names,
) -> list[dict[str, Any]]:
    origins = steps[[word.step for word in prediction.words]]
    counts = [vocabulary.vectors.counts[vocabulary.vectors.index[w.word]] for w in prediction.words]
    said = [
        ", ".join(word.word for word in prediction.words if word.step == step) or names.nothing
        for step in range(len(steps))
    ]
    return [
        _lines(origins, answers, PREDICTED_COLOUR),
        _xyz(steps)
        | {
            "name": names.predicted,
            "mode": "markers",
            "marker": {
                "symbol": "diamond",
                "size": 13 if steps.shape[1] == 2 else 6,
                "color": PREDICTED_COLOUR,
                "opacity": 0.85,
                "line": {"width": 1.2, "color": "#ffffff"},
            },
            "text": said,
            "customdata": np.arange(1, len(steps) + 1),
            "hovertemplate": f"<b>{names.vector} %{{customdata}}</b><br>→ %{{text}}<extra></extra>",
        },
        _xyz(answers)
        | {
            "name": names.answers,
            "mode": "markers",
            "marker": {
                "size": 9 if steps.shape[1] == 2 else 5,
                "color": ANSWER_COLOUR,
                "line": {"width": 1.2, "color": "#ffffff"},
            },
            "text": [word.word for word in prediction.words],
            "customdata": [
                [word.score, int(n)] for word, n in zip(prediction.words, counts, strict=True)
            ],
            "hovertemplate": f"<b>%{{text}}</b><br>{names.cosine} %{{customdata[0]:.2f}}"
            f"<br>%{{customdata[1]:,}} {names.times}<extra></extra>",
        },
    ]


def _truth_trace(truth: Sequence[str], places: np.ndarray, names: Names) -> dict[str, Any]:
    plane = places.shape[1] == 2
    return _xyz(places) | {
        "name": names.truth,
        "mode": "markers",
        "marker": {
            "symbol": "circle-open",
            "size": 17 if plane else 9,
            "color": TRUTH_COLOUR,
            "line": {"width": 2.5, "color": TRUTH_COLOUR},
        },
        "text": list(truth),
        "hovertemplate": f"<b>%{{text}}</b><br>{names.truth}<extra></extra>",
    }


def _lines(starts: np.ndarray, ends: np.ndarray, colour: str) -> dict[str, Any]:
    gaps = np.full_like(starts, np.nan)
    joined = np.stack([starts, ends, gaps], axis=1).reshape(-1, starts.shape[1])
    return _xyz(joined.astype(np.float32)) | {
        "mode": "lines",
        "line": {"width": 1.2 if starts.shape[1] == 2 else 3, "color": colour},
        "opacity": 0.7,
        "hoverinfo": "skip",
        "showlegend": False,
        "name": "lines",
    }


def _marks(
    places: np.ndarray, told: Sequence[str], symbol: str, size: float, colour: str
) -> dict[str, Any]:
    plane = places.shape[1] == 2
    return _xyz(places) | {
        "mode": "markers",
        "marker": {
            "symbol": symbol,
            "size": size if plane else size / 2,
            "color": colour,
            "line": {"width": 1.2, "color": "#ffffff"},
        },
        "hovertext": list(told),
        "hovertemplate": "%{hovertext}<extra></extra>",
        "showlegend": False,
        "name": "marks",
    }


def _view(centre: np.ndarray, places: np.ndarray) -> list[list[float]]:
    """Ranges around a place that hold most of the others."""
    distances = np.abs(places - centre).max(axis=1)
    half = max(float(np.quantile(distances, _SEEN, method="higher")) * 1.25, _NEAREST_VIEW)
    return [[float(at - half), float(at + half)] for at in centre]


def _part(
    vocabulary: VocabularyMap,
    traces: list[dict[str, Any]],
    words: Sequence[str],
    places: np.ndarray,
    marked: np.ndarray,
    dimensions: int,
    view: list[list[float]] | None = None,
) -> dict[str, Any]:
    themes = _theme_labels(vocabulary, dimensions)
    if dimensions == 3:  # where a turn of the hand lays any label over any other
        labels = [_note(word, place) for word, place in zip(words, places, strict=True)]
        hides = [label["text"] for label in themes]
    elif view is None:
        labels, taken = _labels(words, places, marked, vocabulary.extent)
        hides = _covered(themes, taken[-1], np.zeros(2), _SCALES[-1])
    else:
        (left, right), (low, high) = view
        centre, half = np.array([left + right, low + high]) / 2, (right - left) / 2
        seen = (np.abs(places - centre) <= half).all(axis=1)
        zoom = float(vocabulary.extent.max()) / half
        scales = tuple(scale * zoom for scale in _SCALES)
        labels, taken = _labels(
            [word for word, inside in zip(words, seen, strict=True) if inside],
            places[seen] - centre,
            marked - centre,
            np.full(2, half),
            scales,
        )
        hides = _covered(themes, taken[-1], centre, scales[-1])
        for label in labels:
            label["x"] += float(centre[0])
            label["y"] += float(centre[1])
    return {
        "dimensions": dimensions,
        "traces": _plain(traces),
        "labels": labels,
        "hides": hides,
        "view": view,
    }


def _covered(labels: list[dict], taken: np.ndarray, centre: np.ndarray, scale: float) -> list[str]:
    """Which labels lie under boxes (k, 4), in pixels around a centre."""
    names = []
    for label in labels:
        at = (np.array([label["x"], label["y"]]) - centre) * scale
        half = (_CHARACTER * len(label["text"]) / 2, _LABEL_HEIGHT / 2)
        if _overlaps(_boxes(at, half), taken).any():
            names.append(label["text"])
    return names


def _plain(traces: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Traces as JSON takes them; plotly's JavaScript reads its base64 of arrays."""
    import plotly.graph_objects as go

    return json.loads(go.Figure(traces).to_json())["data"]


def _theme_labels(vocabulary: VocabularyMap, dimensions: int) -> list[dict]:
    """The themes' names, each in the middle of its words."""
    places = vocabulary.places(dimensions)
    labels = []
    for theme, name in enumerate(vocabulary.labels):
        own = places[vocabulary.themes == theme]
        if len(own):
            labels.append(_note(name, np.median(own, axis=0)) | {"name": "theme"})
    return labels


def _note(word: str, place: np.ndarray) -> dict[str, Any]:
    """A label without a leader."""
    note = {axis: float(at) for axis, at in zip("xyz", place, strict=False)}
    note |= {"text": word, "name": "answer", "showarrow": False}
    note |= {"font": {"size": 12, "color": "#1f2440"}}
    if len(place) == 3:
        return note | {"yshift": 12}  # the page draws a halo; a box would hide what lies behind
    return note | {"bgcolor": "rgba(255,255,255,0.8)", "borderpad": 1}


def _labels(
    words: Sequence[str],
    places: np.ndarray,
    marked: np.ndarray,
    extent: np.ndarray,
    scales: Sequence[float] = _SCALES,
) -> tuple[list[dict], list[np.ndarray]]:
    """Place labels greedily, best word first, each at the nearest spot that covers nothing.

    Args:
        words: (n,) texts.
        places: (n, 2) their points.
        marked: (m, 2) every point that no label should cover.
        extent: (2,) half the map's width and height, which no label should leave.
        scales: pixels a unit takes, on each screen that is to be served.

    Returns:
        Annotations, and for each of `scales` the boxes (k, 4) that are taken.
    """
    taken = [_boxes(marked * scale, (7, 7)) for scale in scales]
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
        for scale, boxes in zip(scales, taken, strict=True):
            spots = _boxes(place * scale + offsets, half)
            hits += _overlaps(spots, boxes).sum(axis=1)
            hits += 3 * (np.abs(spots) > np.tile(extent * scale, 2)).sum(axis=1)
        offset = offsets[hits.argmin()]  # the nearest of the equally good
        taken = [
            np.concatenate([boxes, _boxes(place * scale + offset, half + 1)])
            for scale, boxes in zip(scales, taken, strict=True)
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
