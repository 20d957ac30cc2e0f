"""Where a word is seen: the overlay on the picture, its legend and its strength."""

import base64

from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.inference.occlusion import OcclusionMaps, describe, heat_png

_HTML = macros("ui/guess/heat")

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
    return _HTML.heat(text("heat.title_none"), text("heat.waiting"), text)


def heat_html(explanation: OcclusionMaps, word: str, size: tuple[int, int], text: Texts) -> str:
    """One word's overlay and its sentence.

    Args:
        explanation: holds the word.
        word: which one.
        size: width and height of the overlay, in the picture's aspect.
        text: the language.
    """
    heat = explanation.heats[word]
    score = text.number(explanation.scores[word])
    title = text("heat.title", word=word)
    drop = float(heat.max())
    if drop < FLAT:
        return _HTML.heat(title, text("heat.nowhere", word=word, score=score), text)
    place = text(f"heat.{describe(heat)}")
    told = text("heat.told", word=word, drop=text.number(drop), score=score, place=place)
    overlay = base64.b64encode(heat_png(heat, size)).decode("ascii")
    return _HTML.heat(title, told, text, word, overlay)
