"""The Map tab: the vocabulary to walk around in, search, word arithmetic, the picture upon it."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from img2prompt.core.printable import encodable
from img2prompt.embedding.analogy import MOST_CHARACTERS
from img2prompt.ui.context import QUIET, WATCH, Asked, Page, html_part, looked_at_now, one_of
from img2prompt.ui.map import card
from img2prompt.ui.map.handlers import (
    BY_KIND,
    BY_THEME,
    MAX_WORD,
    NEIGHBOURS,
    PLANE,
    SPACE,
    Endpoints,
    Handlers,
)

MOST_NEIGHBOURS = 50
_LIVE = "element.setAttribute('aria-live', 'polite');"


@dataclass(frozen=True)
class Parts:
    """The components of the tab."""

    lead: gr.HTML
    search: gr.Textbox
    dimension: gr.Radio
    colour: gr.Radio
    plot: gr.Plot
    word: gr.HTML
    sum: gr.Textbox
    summed: gr.HTML
    pictured: gr.HTML
    table: gr.Accordion
    whole: gr.DownloadButton


def build(page: Page, asked: Asked) -> None:
    """Lay the tab out and wire it; the figure is made when somebody looks."""
    if page.models.map is None:
        html_part(None, card.HTML.sentence(page.text("guess.no_map")))
        return
    handlers = Handlers(page)
    parts = _parts(handlers)
    _wire(handlers, asked, parts)
    page.linked("dims", parts.dimension, one_of((PLANE, SPACE)))
    page.linked("colour", parts.colour, one_of((BY_KIND, BY_THEME)))
    page.linked("word", parts.search, _short)
    page.linked("sum", parts.sum, _short)
    if page.published:
        _publish(handlers)


def _parts(handlers: Handlers) -> Parts:
    text, vocabulary, kinds = handlers.text, handlers.vocabulary, handlers.models.kinds
    words = text("map.lead", words=text.number(len(vocabulary), 0))
    watch = WATCH + "window.img2prompt.map.watch(trigger);"
    lead = html_part("map-intro", card.HTML.lead(words), js_on_load=watch)
    with gr.Row(elem_id="map-controls", equal_height=False):
        search = gr.Textbox(
            label=text("map.search"),
            placeholder=text("map.search_placeholder"),
            max_lines=1,
            max_length=MAX_WORD,
            scale=2,
            min_width=220,
            elem_id="map-search",
        )
        dimension = gr.Radio(
            [(text("map.plane"), PLANE), (text("map.space"), SPACE)],
            value=PLANE,
            label=text("map.dimension"),
            min_width=160,
            elem_id="map-dimension",
        )
        colour = gr.Radio(
            [(text("map.by_kind"), BY_KIND), (text("map.by_theme"), BY_THEME)],
            value=BY_KIND if kinds is not None else BY_THEME,
            label=text("map.colour"),
            visible=kinds is not None,
            min_width=160,
            elem_id="map-colour",
        )
    with gr.Row(elem_id="map-desk", equal_height=False):
        with gr.Column(scale=8, min_width=300, elem_id="map-left"):
            plot = gr.Plot(show_label=False, container=False, elem_id="map-plot")
            html_part("map-hint", card.HTML.hint(vocabulary.method, text))
        with gr.Column(scale=4, min_width=280, elem_id="map-right"):
            told = _told(handlers)
    carry = _carry("picture")
    pictured = html_part("map-picture", card.HTML.no_picture(text), js_on_load=carry)
    with gr.Accordion(text("map.table_title"), open=False, elem_id="map-table") as table:
        html_part(None, card.themes_html(vocabulary, text))
        whole = gr.DownloadButton(text("map.save_whole"), size="sm", elem_id="map-save")
    return Parts(lead, search, dimension, colour, plot, *told, pictured, table, whole)


def _told(handlers: Handlers) -> tuple[gr.HTML, gr.Textbox, gr.HTML]:
    """The word's card, the sum, and what it is near."""
    text = handlers.text
    beginning = card.beginnings_html("", (), text)
    word = html_part("map-word", beginning, js_on_load=_carry("word") + _LIVE)
    sum_ = gr.Textbox(
        label=text("map.sum"),
        placeholder=text("map.sum_placeholder"),
        info=text("map.sum_info"),
        max_lines=1,
        max_length=MOST_CHARACTERS,
        elem_id="map-sum",
    )
    html_part("map-sums", card.HTML.sums(card.SUMS, text))
    return word, sum_, html_part("map-sum-answer", js_on_load=_carry("sum") + _LIVE)


def _carry(name: str) -> str:
    """JavaScript that lays what some HTML tells of upon the figure."""
    return f"""
const lay = () => window.img2prompt.map.part('{name}', element); watch('value', lay); lay();
"""


def _wire(handlers: Handlers, asked: Asked, parts: Parts) -> None:
    private = handlers.page.private
    looked_at = gr.State(False)
    drawn = gr.State(())  # (dimensions, colour) of the figure that stands there
    live: dict[str, Any] = {**QUIET, "trigger_mode": "always_last"}
    dimension, colour = parts.dimension, parts.colour
    drawing: dict[str, Any] = {
        "fn": handlers.draw,
        "inputs": [dimension, colour, looked_at, drawn],
        "outputs": [parts.plot, drawn],
        "show_progress": "minimal",
        "show_progress_on": parts.plot,
        "trigger_mode": "always_last",
    }
    word: dict[str, Any] = {
        "fn": handlers.tell_word,
        "inputs": [parts.search, dimension],
        "outputs": parts.word,
    }
    sum_: dict[str, Any] = {
        "fn": handlers.tell_sum,
        "inputs": [parts.sum, dimension],
        "outputs": parts.summed,
    }
    picture: dict[str, Any] = {
        "fn": handlers.tell_picture,
        "inputs": [asked.picture, asked.preset, asked.count, asked.truth, dimension, looked_at],
        "outputs": parts.pictured,
    }
    looked = parts.lead.change(looked_at_now, outputs=looked_at, **private("map_look"), **QUIET)
    looked.then(**drawing, **private("map")).then(
        **picture, **private("map_looked"), show_progress="hidden"
    )
    picked = [parts.search, parts.sum]
    parts.lead.click(handlers.pick, outputs=picked, **private("map_pick"), **QUIET)
    parts.search.change(**word, **private("map_word"), **live)
    parts.sum.change(**sum_, **private("map_sum"), **live)
    gr.on([dimension.change, colour.change], **drawing, **private("map_draw"))
    # What lies on a plane does not lie in space.
    for teller, name in ((word, "word"), (sum_, "sum"), (picture, "picture")):
        dimension.change(**teller, **private(f"map_turn_{name}"), **live)
    gr.on(
        [component.change for component in (asked.picture, asked.preset, asked.count, asked.truth)],
        **picture,
        show_progress="hidden",
        trigger_mode="always_last",
        **private("map_picture"),
    )
    # The file is there when the button is pressed: a download button takes what it has.
    parts.table.expand(
        partial(handlers.save_whole, parts.whole.GRADIO_CACHE),
        outputs=parts.whole,
        **private("map_save"),
        **QUIET,
    )


def _publish(handlers: Handlers) -> None:
    endpoints, page = Endpoints(handlers), handlers.page
    word = gr.Textbox(visible=False, max_length=MAX_WORD)
    count = gr.Number(NEIGHBOURS, minimum=1, maximum=MOST_NEIGHBOURS, precision=0, visible=False)
    expression = gr.Textbox(visible=False, max_length=MOST_CHARACTERS)
    page.publish(endpoints.neighbours, [word, count])
    page.publish(endpoints.arithmetic, expression)


def _short(value: str) -> str:
    if len(value) > MAX_WORD:
        raise ValueError(value)
    return encodable(value)
