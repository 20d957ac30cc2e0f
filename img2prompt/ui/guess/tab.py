"""The Guess tab: drop a picture, read its words, see where they lie and where they are seen."""

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from img2prompt.core.html import macros
from img2prompt.data.file_prompts.records import MAX_PROMPT
from img2prompt.ui.context import MAX_WORDS, QUIET, Asked, Page, html_part, one_of
from img2prompt.ui.guess import answer, heat
from img2prompt.ui.guess.examples import ON_LOAD as EXAMPLES_ON_LOAD
from img2prompt.ui.guess.examples import examples_html
from img2prompt.ui.guess.handlers import BY_KIND, BY_SCORE, Endpoints, Handlers, Read
from img2prompt.ui.upload_boxes import Picture


@dataclass(frozen=True)
class Controls:
    """The components of the left column, from top to bottom."""

    picture: Picture
    heated: gr.HTML
    strip: gr.HTML
    preset: gr.Radio
    count: gr.Slider
    minimum: gr.Slider
    order: gr.Radio


@dataclass(frozen=True)
class Results:
    """The components of the right column, from top to bottom; `read` is what the file says."""

    words: gr.HTML
    prompt: gr.Textbox
    save: gr.HTML
    truth: gr.Textbox
    compared: gr.HTML
    says: gr.HTML
    plot: gr.Plot
    read: gr.State


def build(page: Page) -> Asked:
    """Lay the tab out and wire it."""
    handlers = Handlers(page)
    with gr.Row(elem_id="desk", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_id="ask"):
            controls = _controls(page)
        with gr.Column(scale=7, min_width=300, elem_id="tell"):
            results = _results(page, handlers)
    _wire(page, handlers, controls, results)
    page.linked("preset", controls.preset, one_of(page.models.assets.presets))
    page.linked("words", controls.count, _between(1, MAX_WORDS))
    asked = Asked(controls.picture, controls.preset, controls.count, results.truth)
    _publish(page, asked)
    return asked


def _controls(page: Page) -> Controls:
    text = page.text
    return Controls(
        picture=Picture(
            label=text("guess.picture"),
            placeholder=text("guess.placeholder"),
            height=380,
            elem_id="guess-picture",
        ),
        heated=html_part("guess-heat", heat.no_heat_html(text), js_on_load=heat.ON_LOAD),
        strip=html_part(
            "examples",
            examples_html(page.examples, text("guess.examples")),
            js_on_load=EXAMPLES_ON_LOAD,
            visible=bool(page.examples),
        ),
        preset=page.preset_switch("guess-preset", info=_description(page, page.models.preset)),
        count=page.word_slider("guess-count"),
        minimum=gr.Slider(
            0,
            1,
            value=0,
            step=0.05,
            label=text("guess.minimum"),
            info=text("guess.minimum_info"),
            buttons=[],
            elem_id="guess-minimum",
        ),
        order=gr.Radio(
            [(text("guess.sort_score"), BY_SCORE), (text("guess.sort_kind"), BY_KIND)],
            value=BY_SCORE,
            label=text("guess.sort"),
            visible=page.models.kinds is not None,
            elem_id="guess-order",
        ),
    )


def _results(page: Page, handlers: Handlers) -> Results:
    text = page.text
    words = html_part(
        "answer",
        answer.waiting_html(text("guess.waiting"), text),
        js_on_load=answer.ON_LOAD,
    )
    prompt = gr.Textbox(
        label=text("guess.prompt"),
        buttons=["copy"],
        interactive=False,
        lines=2,
        elem_id="prompt",
    )
    save = html_part("guess-save")
    truth = gr.Textbox(
        label=text("truth.label"),
        placeholder=text("truth.placeholder"),
        lines=1,
        max_lines=6,
        max_length=MAX_PROMPT,
        elem_id="guess-truth",
    )
    compared, says = html_part("truth"), html_part("file-says")
    mapped = page.models.map is not None
    hint = text("guess.map_hint" if mapped else "guess.no_map")
    html_part("map-lead", macros("ui/guess/answer").map_lead(text("guess.map"), hint))
    plot = gr.Plot(
        handlers.map(),
        show_label=False,
        container=False,
        visible=mapped,
        elem_id="map",
    )
    return Results(words, prompt, save, truth, compared, says, plot, gr.State(Read()))


def _wire(page: Page, handlers: Handlers, controls: Controls, results: Results) -> None:
    picture, preset, count = controls.picture, controls.preset, controls.count
    minimum, order, heated = controls.minimum, controls.order, controls.heated
    words, truth, read = results.words, results.truth, results.read
    inputs = [picture, preset, count, minimum, order, truth, read]
    answers = [words, results.prompt, results.save, results.compared, results.says, results.plot]
    compare = {
        "fn": handlers.compare,
        "inputs": inputs,
        "outputs": results.compared,
        "show_progress": "hidden",
    }
    controls.strip.click(handlers.take_example, outputs=picture, **page.private("example"), **QUIET)
    preset.change(
        lambda name: gr.Radio(info=_description(page, name)),
        preset,
        preset,
        **page.private("describe"),
        **QUIET,
    )
    # One event, so that an answer to the picture before never comes after this one's.
    answering = gr.on(
        [picture.change, preset.change, count.change, minimum.change, order.change],
        handlers.answer,
        inputs,
        [*answers, truth, read, heated],
        **page.private("answer"),
        show_progress="minimal",
        show_progress_on=words,
        # While one answer is under way only the last change counts.
        trigger_mode="always_last",
    )
    answering.success(**compare, **page.private("compare_answered"))
    # An answer to the picture before must not stand beside one that could not be read.
    answering.failure(
        lambda: handlers.blank("guess.failed"),
        outputs=[*answers, heated],
        **page.private("failed"),
        **QUIET,
    )
    words.select(
        handlers.see,
        [picture, preset, count],
        heated,
        **page.private("see"),
        show_progress="minimal",
        show_progress_on=heated,
        trigger_mode="always_last",
    )
    gr.on(
        [truth.submit, truth.blur],
        **compare,
        **page.private("compare_truth"),
        trigger_mode="always_last",
    )


def _publish(page: Page, asked: Asked) -> None:
    endpoints = Endpoints(page)
    inputs = [asked.picture, asked.preset, asked.count]
    page.publish(endpoints.predict, inputs)
    page.publish(endpoints.score, [*inputs, asked.truth])


def _description(page: Page, preset: str) -> str:
    return page.text.get(f"preset.{preset}.text", "")


def _between(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not low <= int(value) <= high:
            raise ValueError(value)
        return int(value)

    return parse
