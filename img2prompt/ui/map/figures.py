"""The maps as figures: the small one beside an answer, and the whole one of the Map tab.

Figures are plain data for plotly's JavaScript; everything of a reader's language is handed in.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gradio.components.plot import PlotData

from img2prompt.embedding.analogy import Solution
from img2prompt.embedding.word_map import VocabularyMap
from img2prompt.inference.prediction import Prediction
from img2prompt.ui.map.labels import (
    ANSWER_COLOUR,
    SCALES,
    TEXT_COLOUR,
    Floats,
    Label,
    landmarks,
    part_labels,
    place_labels,
    theme_labels,
)
from img2prompt.ui.map.traces import (
    FOCUS_COLOUR,
    NEAR_COLOUR,
    VOCABULARY_COLOUR,
    Group,
    Names,
    Trace,
    answer_traces,
    lines,
    marks,
    points,
    truth_trace,
)

if TYPE_CHECKING:
    import plotly.graph_objects as go

# A word's view holds eight of its ten nearest: one that t-SNE put across the map would otherwise
# keep it from coming near. Lines lead out of the view to the others.
_SEEN = 0.8
_SPACE_SIDE = 1.05  # half a side of the cube
_NEAREST_VIEW = 0.06  # half a view's side, where the nearest all lie in one spot


def plot_data(figure: "go.Figure", config: dict[str, Any]) -> PlotData:
    """A figure as gradio's plot takes it; gradio hands plotly's `config` on with its JSON."""
    plot = json.loads(figure.to_json()) | {"config": config}
    return PlotData(type="plotly", plot=json.dumps(plot))


def map_figure(
    vocabulary: VocabularyMap,
    names: Names,
    prediction: Prediction | None = None,
) -> "go.Figure":
    """The map as a figure: the vocabulary, and on it the answer if there is one.

    The page behind shows through, and labels bring their own background, so one figure serves a
    light and a dark theme. It takes the size of its container; equal aspect, no axes.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        prediction: its words become labelled points, joined to the vectors they came from.
    """
    import plotly.graph_objects as go

    everything = Group(names.vocabulary, VOCABULARY_COLOUR, np.arange(len(vocabulary)))
    traces = [points(vocabulary, everything, 2, names)]
    annotations: list[Label] = []
    taken: list[Floats] = [np.empty((0, 4)) for _ in SCALES]
    if prediction is not None:
        steps = vocabulary.place(prediction.vectors)
        answers = vocabulary.place_words([word.word for word in prediction.words])
        labels = [word.word for word in prediction.words]
        marked = np.concatenate([answers, steps])
        annotations, taken = place_labels(labels, answers, marked, vocabulary.extent)
        traces += answer_traces(vocabulary, prediction, steps, answers, names)
    layout = _layout(names) | {
        "annotations": landmarks(vocabulary, taken[-1]) + annotations,
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
) -> "go.Figure":
    """The whole vocabulary, in colours, to be looked around in.

    What lies upon it comes as parts, see `picture_part`; `meta` tells a page which traces and
    labels are the vocabulary's own, and the ranges of the whole.

    Args:
        vocabulary: the map.
        names: of the reader's language.
        groups: whose colours; together they hold every word once.
        dimensions: 2 or 3.
    """
    import plotly.graph_objects as go

    traces = [points(vocabulary, group, dimensions, names) for group in groups]
    labels = theme_labels(vocabulary, dimensions)
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
    traces = answer_traces(vocabulary, prediction, steps, answers, names)
    labels = said
    places, marked = answers, [answers, steps]
    if truth:
        true_places = vocabulary.place_words(truth, dimensions)
        # Under the answers: a ring around a dot is a word that was found.
        traces.insert(1, truth_trace(truth, true_places, names))
        missed = [row for row, word in enumerate(truth) if word not in said]
        labels = [*said, *(truth[row] for row in missed)]
        places = np.concatenate([answers, true_places[missed]])
        marked.append(true_places)
    return _part(vocabulary, traces, labels, places, np.concatenate(marked))


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
        lines(np.repeat(places[:1], len(near), axis=0), places[1:], NEAR_COLOUR),
        marks(places[1:], told, "circle", 10, NEAR_COLOUR),
        marks(places[:1], [f"<b>{word}</b>"], "diamond", 15, FOCUS_COLOUR),
    ]
    view = _view(places[0], places)
    return _part(vocabulary, traces, words, places, places, view)


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
        lines(term_places, np.repeat(at, len(terms), axis=0), FOCUS_COLOUR),
        marks(near_places, told, "circle", 10, NEAR_COLOUR),
        marks(term_places, [f"<b>{term}</b>" for term in signed], "square", 11, FOCUS_COLOUR),
        marks(at, [f"<b>{solution.expression}</b>"], "diamond", 15, FOCUS_COLOUR),
    ]
    places = np.concatenate([term_places, near_places])
    marked = np.concatenate([places, at])
    view = _view(at[0], marked)
    return _part(vocabulary, traces, [*signed, *near], places, marked, view)


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


def _plane(extent: Floats) -> dict[str, Any]:
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


def _view(centre: Floats, places: Floats) -> list[list[float]]:
    """Ranges around a place that hold most of the others."""
    distances = np.abs(places - centre).max(axis=1)
    half = max(float(np.quantile(distances, _SEEN, method="higher")) * 1.25, _NEAREST_VIEW)
    return [[float(at - half), float(at + half)] for at in centre]


def _part(
    vocabulary: VocabularyMap,
    traces: list[Trace],
    words: Sequence[str],
    places: Floats,
    marked: Floats,
    view: list[list[float]] | None = None,
) -> dict[str, Any]:
    """A part; see `picture_part` and `part_labels`."""
    labels, hides = part_labels(vocabulary, words, places, marked, view)
    return {
        "dimensions": places.shape[1],
        "traces": _plain(traces),
        "labels": labels,
        "hides": hides,
        "view": view,
    }


def _plain(traces: list[Trace]) -> list[Trace]:
    """Traces as JSON takes them; plotly's JavaScript reads its base64 of arrays."""
    import plotly.graph_objects as go

    plain: list[Trace] = json.loads(go.Figure(traces).to_json())["data"]
    return plain
