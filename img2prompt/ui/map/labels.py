"""Names on the maps, placed so that they cover neither each other nor the points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.embedding.word_map import VocabularyMap

TEXT_COLOUR = "#7a8496"
ANSWER_COLOUR = "#5b6cf0"
Label = dict[str, Any]  # an annotation of plotly's
Floats = NDArray[np.floating[Any]]

# Pixels a unit of the map takes on a phone and on a desk. Labels keep their distance in pixels
# while the points spread out, so a layout is only good when it is free of collisions on both.
SCALES = (155.0, 280.0)
_CHARACTER = 7.0  # mean width of a 12 px letter
_LABEL_HEIGHT = 18
_RADII = (15, 24, 34, 46, 60, 76, 94, 114)
_ANGLES = np.linspace(0, 2 * np.pi, 16, endpoint=False)


def part_labels(
    vocabulary: VocabularyMap,
    words: Sequence[str],
    places: Floats,
    marked: Floats,
    view: list[list[float]] | None,
) -> tuple[list[Label], list[str]]:
    """Labels of what lies upon the whole map, and the themes whose names they would cover.

    Args:
        vocabulary: the map.
        words: (n,) texts.
        places: (n, 2) or (n, 3) their points.
        marked: (m, 2) or (m, 3) every point that no label should cover.
        view: (low, high) of x and of y that are shown; None for the whole plane.
    """
    themes = theme_labels(vocabulary, places.shape[1])
    if places.shape[1] == 3:  # where a turn of the hand lays any label over any other
        notes = [_note(word, place) for word, place in zip(words, places, strict=True)]
        return notes, [label["text"] for label in themes]
    extent = vocabulary.extent
    centre, half, zoom = np.zeros(2, places.dtype), extent, 1.0
    if view is not None:
        (left, right), (low, high) = view
        centre, side = np.array([left + right, low + high]) / 2, (right - left) / 2
        half, zoom = np.full(2, side), float(extent.max()) / side
        seen = np.flatnonzero((np.abs(places - centre) <= side).all(axis=1))
        words = [words[int(row)] for row in seen]
        places = places[seen]
    scales = tuple(scale * zoom for scale in SCALES)
    labels, taken = place_labels(words, places - centre, marked - centre, half, scales)
    for label in labels:
        label["x"] += float(centre[0])
        label["y"] += float(centre[1])
    return labels, _covered(themes, taken[-1], centre, scales[-1])


def theme_labels(vocabulary: VocabularyMap, dimensions: int) -> list[Label]:
    """The themes' names, each in the middle of its words."""
    places = vocabulary.places(dimensions)
    labels = []
    for theme, name in enumerate(vocabulary.labels):
        own = places[vocabulary.themes == theme]
        if len(own):
            labels.append(_note(name, np.median(own, axis=0)) | {"name": "theme"})
    return labels


def _covered(labels: list[Label], taken: Floats, centre: Floats, scale: float) -> list[str]:
    """Which labels lie under boxes (k, 4), in pixels around a centre."""
    names = []
    for label in labels:
        at = (np.array([label["x"], label["y"]]) - centre) * scale
        half = (_CHARACTER * len(label["text"]) / 2, _LABEL_HEIGHT / 2)
        if _overlaps(_boxes(at, half), taken).any():
            names.append(label["text"])
    return names


def _note(word: str, place: Floats) -> Label:
    """A label without a leader."""
    note: Label = {axis: float(at) for axis, at in zip("xyz", place, strict=False)}
    note |= {"text": word, "name": "answer", "showarrow": False}
    note |= {"font": {"size": 12, "color": "#1f2440"}}
    if len(place) == 3:
        return note | {"yshift": 12}  # the page draws a halo; a box would hide what lies behind
    return note | {"bgcolor": "rgba(255,255,255,0.8)", "borderpad": 1}


def place_labels(
    words: Sequence[str],
    places: Floats,
    marked: Floats,
    extent: Floats,
    scales: Sequence[float] = SCALES,
) -> tuple[list[Label], list[Floats]]:
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


def landmarks(vocabulary: VocabularyMap, taken: Floats) -> list[Label]:
    """The names of regions, but for those that lie under a label (boxes (k, 4) on a desk).

    On a phone there is no room for both; the page hides these where there are labels.
    """
    annotations = []
    for row in vocabulary.landmarks:
        word, place = vocabulary.words[row], vocabulary.positions[row]
        half = (_CHARACTER * len(word) / 2, 8)
        if _overlaps(_boxes(place * SCALES[-1], half), taken).any():
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


def _boxes(centres: Floats, half: Sequence[float] | Floats) -> Floats:
    """(n, 2) centres and half the width and height → (n, 4): left, bottom, right, top."""
    centres = np.atleast_2d(centres)
    return np.concatenate([centres - half, centres + half], axis=1)


def _overlaps(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Boxes (n, 4) and (m, 4) → (n, m)."""
    over = (a[:, None, :2] < b[None, :, 2:]) & (b[None, :, :2] < a[:, None, 2:])
    return np.asarray(over.all(axis=2))
