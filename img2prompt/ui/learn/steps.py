"""The lesson's figures: one picture's way through one model, as HTML with crisp little pictures."""

import base64
import io
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from img2prompt.core.texts import Texts
from img2prompt.inference.activations import Anatomy, FeatureMaps
from img2prompt.inference.occlusion import colours
from img2prompt.inference.predictor import Prediction

PATCH = 8  # pixels a side, few enough to read their numbers
DEPTHS = ("early", "middle", "late")
STRIPE = 4  # rows of an LSTM step's stripes
# Orange, paper, blue: told apart by every kind of colour blindness, and by their lightness.
BELOW, ZERO, ABOVE = (179, 84, 10), (246, 246, 242), (36, 84, 168)
# Tints under dark text: the contrast stays above 7.
LOW_TINT, NO_TINT, HIGH_TINT = (242, 184, 140), (250, 250, 248), (140, 176, 240)
_INKS = {"#000": (0, 0, 0), "#fff": (255, 255, 255)}
READABLE = 7.0  # contrast of the numbers on pixels (WCAG 2, level AAA)
NEAREST = 4  # words of each vector that step five shows


def steps_html(anatomy: Anatomy, preset: str, text: Texts) -> str:
    """The five steps.

    Args:
        anatomy: the picture's way through the model.
        preset: the model's name to read.
        text: the language.
    """
    parts = (_pixels, _maps, _steps, _vectors, _words)
    sections = "".join(part(number, anatomy, text) for number, part in enumerate(parts, start=1))
    return f"<h2>{escape(text('learn.heading', preset=preset))}</h2>{sections}"


def answers_html(answers: list[tuple[str, Prediction]], text: Texts) -> str:
    """What each model says of the same picture.

    Args:
        answers: (the model's name to read, its answer).
        text: the language.
    """
    rows = "".join(
        f'<div><dt>{escape(name)}</dt><dd lang="en">{escape(answer.prompt)}</dd></div>'
        for name, answer in answers
    )
    return f"<h3>{escape(text('learn.failed_yours'))}</h3><dl>{rows}</dl>"


def figures_html(manifest: dict[str, Any], names: dict[str, str], text: Texts) -> str:
    """The table of the models' measured figures; empty where the manifest has none.

    Args:
        manifest: of the folder of artifacts.
        names: preset → name to read; only these, in this order.
        text: the language.
    """
    rows = ""
    for preset, name in names.items():
        entry = manifest.get("files", {}).get(f"{preset}.keras", {})
        try:
            f1, gain, cosine, words = (
                float(entry["figures"][key])
                for key in ("f1", "gain", "cosine_per_word", "distinct_words")
            )
        except (KeyError, TypeError, ValueError):
            continue  # a model of one's own that nobody has evaluated
        cells = (
            text.number(words, 0),
            text.number(cosine),
            text.number(f1),
            text.percent(max(gain, 0.0) / f1) if f1 > 0 else "–",
        )
        rows += f'<tr><th scope="row">{escape(name)}</th>'
        rows += "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col">{escape(text(f"learn.figures_{key}"))}</th>'
        for key in ("model", "distinct", "cosine", "f1", "shuffled")
    )
    return (
        f"<table><caption>{escape(text('learn.figures'))}</caption>"
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _section(number: int, title: str, sentences: str, figure: str) -> str:
    return (
        f'<section class="step" data-step="{number}"><div class="tell"><h3><span class="number" '
        f'aria-hidden="true">{number}</span>{escape(title)}</h3><p>{escape(sentences)}</p></div>'
        f'<div class="show">{figure}</div></section>'
    )


def _pixels(number: int, anatomy: Anatomy, text: Texts) -> str:
    pixels = np.rint(anatomy.pixels * 255).astype(np.uint8)
    side = len(pixels)
    top, left = _liveliest(pixels)
    patch = pixels[top : top + PATCH, left : left + PATCH]
    bright = np.rint(patch @ np.array([0.299, 0.587, 0.114])).astype(int)
    cells = "".join(
        _number(tuple(colour), value)
        for colour, value in zip(patch.reshape(-1, 3).tolist(), bright.ravel(), strict=True)
    )
    frame = (
        f"left:{100 * left / side:.2f}%;top:{100 * top / side:.2f}%;"
        f"width:{100 * PATCH / side:.2f}%;height:{100 * PATCH / side:.2f}%"
    )
    red, green, blue = patch[0, 0].tolist()
    figure = (
        f'<div class="pair"><div class="seen">{_image(pixels, text("learn.pixels_alt", side=side))}'
        f'<span class="frame" style="{frame}"></span></div>'
        f'<div class="patch" role="img" aria-label="'
        f'{escape(text("learn.patch_alt", low=bright.min(), high=bright.max()), quote=True)}">'
        f"{cells}</div></div>"
        f"<p>{escape(text('learn.pixels_first', red=red, green=green, blue=blue))}</p>"
    )
    return _section(number, text("learn.pixels_title"), text("learn.pixels", side=side), figure)


def _maps(number: int, anatomy: Anatomy, text: Texts) -> str:
    names = DEPTHS if len(anatomy.depths) == len(DEPTHS) else (DEPTHS[0], DEPTHS[-1])
    figure = "".join(
        _depth(name, depth, text) for name, depth in zip(names, anatomy.depths, strict=False)
    )
    return _section(number, text("learn.maps_title"), text("learn.maps"), figure)


def _depth(name: str, depth: FeatureMaps, text: Texts) -> str:
    height, width = depth.maps.shape[1:]
    told = text(f"learn.maps_{name}", total=text.number(depth.total, 0), height=height, width=width)
    drawn = ""
    for channel, values in zip(depth.channels, depth.maps, strict=True):
        strength = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
        alt = text("learn.map_alt", number=channel + 1, total=text.number(depth.total, 0))
        drawn += _image(colours(strength), alt)
    return f'<h4>{escape(told)}</h4><div class="maps">{drawn}</div>'


def _steps(number: int, anatomy: Anatomy, text: Texts) -> str:
    rows = ""
    for place, step in enumerate(anatomy.steps, start=1):
        word, cosine = step.nearest[0]
        # An LSTM's numbers lie in (−1, 1); few of them are far out.
        width = -(-len(step.output) // STRIPE)
        stripes = np.zeros(STRIPE * width)
        stripes[: len(step.output)] = step.output / max(float(np.abs(step.output).max()), 1e-9)
        alt = text("learn.step_alt", step=place, count=len(step.output))
        rows += (
            f'<li><span class="place">{place}</span>'
            f"{_image(_diverging(stripes.reshape(STRIPE, width)), alt)}"
            f'<b lang="en">{escape(word)}</b><span class="cosine">{text.number(cosine)}</span></li>'
        )
    one = len(anatomy.steps) == 1
    told = text("learn.steps_one" if one else "learn.steps", count=len(anatomy.steps))
    title = text("learn.steps_title_one" if one else "learn.steps_title", count=len(anatomy.steps))
    return _section(number, title, told, f'<ol class="lstm">{rows}</ol>')


def _vectors(number: int, anatomy: Anatomy, text: Texts) -> str:
    count, dimensions = anatomy.vectors.shape
    largest = max(float(np.abs(anatomy.vectors).max()), 1e-9)
    bars = "".join(
        f'<li><span class="place">{place}</span>'
        f"{_image(_diverging(vector[None] / largest), text('learn.vector_alt', step=place))}</li>"
        for place, vector in enumerate(anatomy.vectors, start=1)
    )
    figure = f'<ol class="vectors">{bars}</ol>'
    if count > 1:
        mean = (anatomy.cosines.sum() - count) / (count * (count - 1))
        figure += _matrix(anatomy.cosines, text)
        figure += f"<p>{escape(text('learn.vectors_mean', mean=text.number(float(mean))))}</p>"
    told = text("learn.vectors" if count > 1 else "learn.vectors_one", dimensions=dimensions)
    return _section(number, text("learn.vectors_title"), told, figure)


def _matrix(cosines: np.ndarray, text: Texts) -> str:
    places = range(1, len(cosines) + 1)
    heads = "".join(f'<th scope="col">{place}</th>' for place in places)
    rows = ""
    for place, row in zip(places, cosines.tolist(), strict=True):
        cells = "".join(
            f'<td style="background:rgb{_tint(value)}">{text.number(value, 1)}</td>'
            for value in row
        )
        rows += f'<tr><th scope="row">{place}</th>{cells}</tr>'
    return (
        f'<table class="matrix"><caption>{escape(text("learn.matrix"))}</caption>'
        f"<thead><tr><td></td>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _words(number: int, anatomy: Anatomy, text: Texts) -> str:
    taken = {word.word for word in anatomy.prediction.words}
    cards = ""
    for place, step in enumerate(anatomy.steps, start=1):
        rows = "".join(
            f'<li{" class=taken" if word in taken else ""}><span lang="en">{escape(word)}</span>'
            f'<span class="track" aria-hidden="true"><span style="width:'
            f'{100 * max(cosine, 0.0):.1f}%"></span></span>'
            f'<span class="cosine">{text.number(cosine)}</span></li>'
            for word, cosine in step.nearest[:NEAREST]
        )
        title = text("learn.words_of", step=place)
        cards += f"<div><h4>{escape(title)}</h4><ul>{rows}</ul></div>"
    answer = (
        f'<p class="answer">{escape(text("learn.words_answer"))} '
        f'<b lang="en">{escape(anatomy.prediction.prompt)}</b></p>'
    )
    return _section(
        number,
        text("learn.words_title"),
        text("learn.words"),
        f'<div class="near">{cards}</div>{answer}',
    )


def _liveliest(pixels: np.ndarray) -> tuple[int, int]:
    """Top and left of the patch whose brightness varies most: a flat one says little."""
    side = len(pixels) // PATCH * PATCH
    grey = pixels[:side, :side].mean(axis=2)
    blocks = grey.reshape(side // PATCH, PATCH, side // PATCH, PATCH).std(axis=(1, 3))
    row, column = np.unravel_index(blocks.argmax(), blocks.shape)
    return int(row) * PATCH, int(column) * PATCH


def _diverging(values: np.ndarray) -> np.ndarray:
    """Values (h, w) in [−1, 1] → uint8 (h, w, 3)."""
    stops = np.array([BELOW, ZERO, ABOVE], dtype=float)
    channels = [np.interp(values, (-1, 0, 1), stops[:, i]) for i in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def _tint(cosine: float) -> tuple[int, int, int]:
    stops = zip(LOW_TINT, NO_TINT, HIGH_TINT, strict=True)
    return tuple(round(float(np.interp(cosine, (-1, 0, 1), three))) for three in stops)


def _number(colour: tuple[int, int, int], value: int) -> str:
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
    return (
        f'<span style="background:rgb{colour}">'
        f'<b style="background:rgb{plate};color:{ink}">{value}</b></span>'
    )


def _ink(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever is read more easily on a colour."""
    return max(_INKS, key=lambda ink: contrast(colour, _INKS[ink]))


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """WCAG 2's contrast of two colours, each channel in 0–255: 1 for none … 21 for black on white.

    Source: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
    """
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance, 0…1."""
    shares = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _image(pixels: np.ndarray, alt: str) -> str:
    """A small lossless picture that the browser enlarges without smoothing."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img class="pixels" src="data:image/png;base64,{data}" alt="{escape(alt, quote=True)}" '
        f'width="{pixels.shape[1]}" height="{pixels.shape[0]}">'
    )
