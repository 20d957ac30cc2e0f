"""Where a word is seen: the overlay on the picture, its legend and its strength."""

import base64
from html import escape

from img2prompt.core.texts import Texts
from img2prompt.inference.occlusion import Explanation, describe, heat_png

# The overlay is a background of the picture's own frame, so that it lies exactly on it.
ON_LOAD = """
const picture = () => document.querySelector('#guess-picture');
const lay = () => {
    const found = element.querySelector('[data-heat]');
    picture()?.style.setProperty('--heat', found ? `url("${found.dataset.heat}")` : 'none');
    picture()?.classList.toggle('heated', Boolean(found));
    const slider = element.querySelector('input[type=range]');
    if (slider) {
        slider.value = window.img2promptHeat ?? slider.value;
        picture()?.style.setProperty('--heat-opacity', slider.value / 100);
    }
};
element.addEventListener('input', (event) => {
    if (event.target.type !== 'range') return;
    window.img2promptHeat = event.target.value;
    picture()?.style.setProperty('--heat-opacity', event.target.value / 100);
});
watch('value', lay);
lay();
element.setAttribute('aria-live', 'polite');
"""
FLAT = 0.005  # a cosine's drop that no reader of two decimals would see


def no_heat_html(text: Texts) -> str:
    """What stands there before a word is selected."""
    return (
        f'<section class="heat"><h2>{escape(text("heat.title_none"))}</h2>'
        f"<p>{escape(text('heat.waiting'))}</p></section>"
    )


def heat_html(explanation: Explanation, word: str, size: tuple[int, int], text: Texts) -> str:
    """One word's overlay and its sentence.

    Args:
        explanation: holds the word.
        word: which one.
        size: width and height of the overlay, in the picture's aspect.
        text: the language.
    """
    heat = explanation.heats[word]
    score = text.number(explanation.scores[word])
    safe = escape(word)
    if heat.max() < FLAT:
        return (
            f'<section class="heat"><h2>{escape(text("heat.title", word=word))}</h2>'
            f"<p>{escape(text('heat.nowhere', word=word, score=score))}</p></section>"
        )
    told = text(
        "heat.told",
        word=word,
        drop=text.number(float(heat.max())),
        score=score,
        place=text(f"heat.{describe(heat)}"),
    )
    data = base64.b64encode(heat_png(heat, size)).decode("ascii")
    return (
        f'<section class="heat" data-heat="data:image/png;base64,{data}" data-word="{safe}">'
        f"<h2>{escape(text('heat.title', word=word))}</h2><p>{escape(told)}</p>"
        f'<p class="legend" aria-hidden="true"><span>{escape(text("heat.weak"))}</span>'
        f'<span class="ramp"></span><span>{escape(text("heat.strong"))}</span></p>'
        f'<label class="opacity"><span>{escape(text("heat.opacity"))}</span>'
        f'<input type="range" min="0" max="100" value="75"></label></section>'
    )
