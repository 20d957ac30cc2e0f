"""The lesson's figures: one picture's way through one model, as HTML with crisp little pictures."""

import base64
import io
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.inference.activations import Activations, FeatureMaps
from img2prompt.inference.occlusion import colours

PATCH = 8  # pixels a side, few enough to read their numbers
DEPTHS = ("early", "middle", "late")
STRIPE = 4  # rows of an LSTM step's stripes
# Orange, paper, blue: told apart by every kind of colour blindness, and by their lightness.
BELOW, ZERO, ABOVE = (179, 84, 10), (246, 246, 242), (36, 84, 168)
# Tints under dark text: the contrast stays above 7.
LOW_TINT, NO_TINT, HIGH_TINT = (242, 184, 140), (250, 250, 248), (140, 176, 240)
HTML = macros("ui/learn/steps")
_INKS = {"#000": (0, 0, 0), "#fff": (255, 255, 255)}
READABLE = 7.0  # contrast of the numbers on pixels (WCAG 2, level AAA)
NEAREST = 4  # words of each vector that step five shows


Colour = tuple[int, ...]  # red, green, blue, each in 0–255
Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]


class Png(NamedTuple):
    """A picture as the page carries it: a PNG in base64, its width and height in pixels."""

    data: str
    width: int
    height: int


def steps_html(activations: Activations, preset: str, text: Texts) -> Markup:
    """The five steps.

    Args:
        activations: the picture's way through the model.
        preset: the model's name to read.
        text: the language.
    """
    names = DEPTHS if len(activations.depths) == len(DEPTHS) else (DEPTHS[0], DEPTHS[-1])
    depths = zip(names, activations.depths, strict=False)
    said = activations.prediction
    return HTML.steps(
        text("learn.heading", preset=preset),
        _pixels(activations.pixels),
        [_maps(name, depth, text) for name, depth in depths],
        _steps(activations),
        _vectors(activations),
        {"prompt": said.prompt, "words": {word.word for word in said.words}},
        text,
    )


def figures_of(
    manifest: dict[str, Any], names: dict[str, str], text: Texts
) -> list[tuple[str, tuple[str, ...]]]:
    """The models' measured figures, as they are read: (name, cells); [] where there are none.

    Args:
        manifest: of the folder of artifacts.
        names: preset → name to read; only these, in this order.
        text: the language.
    """
    rows: list[tuple[str, tuple[str, ...]]] = []
    for preset, name in names.items():
        entry = manifest.get("files", {}).get(f"{preset}.keras", {})
        try:
            f1, gain, cosine, words = (
                float(entry["figures"][key])
                for key in ("f1", "gain", "cosine_per_word", "distinct_words")
            )
        except (KeyError, TypeError, ValueError):
            continue  # a model of one's own that nobody has evaluated
        shuffled = text.percent(max(gain, 0.0) / f1) if f1 > 0 else "–"
        rows.append((name, (text.number(words, 0), text.number(cosine), text.number(f1), shuffled)))
    return rows


def _pixels(values: Floats) -> dict[str, Any]:
    """The picture, and the numbers of its patch."""
    pixels = np.rint(values * 255).astype(np.uint8)
    side = len(pixels)
    top, left = _liveliest(pixels)
    patch = pixels[top : top + PATCH, left : left + PATCH]
    bright = np.rint(patch @ np.array([0.299, 0.587, 0.114])).astype(int)
    places = {"left": left, "top": top, "width": PATCH, "height": PATCH}
    return {
        "image": _png(pixels),
        "frame": ";".join(f"{name}:{100 * at / side:.2f}%" for name, at in places.items()),
        "cells": [
            _number(tuple(colour), value)
            for colour, value in zip(patch.reshape(-1, 3).tolist(), bright.ravel(), strict=True)
        ],
        "low": bright.min(),
        "high": bright.max(),
        "first": patch[0, 0].tolist(),
    }


def _maps(name: str, depth: FeatureMaps, text: Texts) -> tuple[str, list[tuple[Png, str]]]:
    """What is told of a depth, and its maps, each with its description."""
    height, width = depth.maps.shape[1:]
    total = text.number(depth.total, 0)
    images = []
    for channel, values in zip(depth.channels, depth.maps, strict=True):
        strength = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
        alt = text("learn.map_alt", number=channel + 1, total=total)
        images.append((_png(colours(strength)), alt))
    return text(f"learn.maps_{name}", total=total, height=height, width=width), images


def _steps(activations: Activations) -> list[dict[str, Any]]:
    """Of each step: what the LSTM says and the vector, as pictures, and the nearest words."""
    largest = max(float(np.abs(activations.vectors).max()), 1e-9)
    steps = []
    for step, vector in zip(activations.steps, activations.vectors, strict=True):
        units = len(step.output)
        # An LSTM's numbers lie in (−1, 1); few of them are far out.
        width = -(-units // STRIPE)
        stripes = np.zeros(STRIPE * width)
        stripes[:units] = step.output / max(float(np.abs(step.output).max()), 1e-9)
        steps.append(
            {
                "units": units,
                "output": _png(_diverging(stripes.reshape(STRIPE, width))),
                "vector": _png(_diverging(vector[None] / largest)),
                "nearest": step.nearest[:NEAREST],
            }
        )
    return steps


def _vectors(activations: Activations) -> dict[str, Any]:
    """The vectors' cosines, each with its tint, and their mean."""
    count, dimensions = activations.vectors.shape
    pairs = max(count * (count - 1), 1)
    return {
        "dimensions": dimensions,
        "rows": [[(value, _tint(value)) for value in row] for row in activations.cosines.tolist()],
        "mean": float((activations.cosines.sum() - count) / pairs),
    }


def _liveliest(pixels: Pixels) -> tuple[int, int]:
    """Top and left of the patch whose brightness varies most: a flat one says little."""
    side = len(pixels) // PATCH * PATCH
    grey = pixels[:side, :side].mean(axis=2)
    blocks = grey.reshape(side // PATCH, PATCH, side // PATCH, PATCH).std(axis=(1, 3))
    row, column = np.unravel_index(blocks.argmax(), blocks.shape)
    return int(row) * PATCH, int(column) * PATCH


def _diverging(values: Floats) -> Pixels:
    """Values (h, w) in [−1, 1] → uint8 (h, w, 3)."""
    stops = np.array([BELOW, ZERO, ABOVE], dtype=float)
    channels = [np.interp(values, (-1, 0, 1), stops[:, i]) for i in range(3)]
    pixels: Pixels = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
    return pixels


def _tint(cosine: float) -> Colour:
    stops = zip(LOW_TINT, NO_TINT, HIGH_TINT, strict=True)
    return tuple(round(float(np.interp(cosine, (-1, 0, 1), three))) for three in stops)


def _number(colour: Colour, value: int) -> str:
    """A pixel as a square of its colour, with a number that can be read on every colour.

    On middle tones neither black nor white reaches more than 4.6, which the slightest dimming
    spoils. So the number stands on a plate of the same hue, as far from the ink as `READABLE` asks.
    """
    ink = _ink(colour)
    plate, away = colour, 255 if ink == "#000" else 0
    share = 0.0
    while contrast(plate, _INKS[ink]) < READABLE:
        share += 1 / 32
        plate = tuple(round(c + (away - c) * share) for c in colour)
    return HTML.number(colour, plate, ink, value)


def _ink(colour: Colour) -> str:
    """Black or white, whichever is read more easily on a colour."""
    return max(_INKS, key=lambda ink: contrast(colour, _INKS[ink]))


def contrast(one: Colour, other: Colour) -> float:
    """WCAG 2's contrast of two colours, each channel in 0–255: 1 for none … 21 for black on white.

    Source: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: Colour) -> float:
    """Relative luminance, 0…1."""
    shares = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _png(pixels: Pixels) -> Png:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Png(data, pixels.shape[1], pixels.shape[0])
