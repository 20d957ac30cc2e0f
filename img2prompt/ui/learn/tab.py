"""The Learn tab: five short steps through the visitor's own picture, and what they teach."""

import threading
from functools import partial
from html import escape

import gradio as gr

from img2prompt.core.errors import UserError
from img2prompt.inference.activations import anatomy
from img2prompt.ui.context import WATCH, Page, looked_at_now, shown
from img2prompt.ui.learn.steps import answers_html, figures_html, steps_html
from img2prompt.ui.server.uploads import lend

CARD = ("what", "learned", "good", "bad", "not")  # questions of the model card, in order
LESSON = ("failed_same", "failed_middle", "failed_cosine", "failed_repair")


def build(page: Page) -> None:
    """Lay the tab out and wire it; nothing is computed before somebody looks."""
    guesser, text = page.guesser, page.text
    one_at_a_time = threading.Lock()

    lead = gr.HTML(
        f"<p>{escape(text('learn.lead'))}</p>",
        js_on_load=WATCH,
        apply_default_css=False,
        elem_id="learn-lead",
    )
    take = gr.Button(
        text("learn.take"), visible=bool(page.examples), elem_id="learn-take", size="lg"
    )
    steps = gr.HTML("", apply_default_css=False, elem_id="learn-steps")
    with gr.Accordion(text("learn.failed_title"), open=True, elem_id="learn-failed"):
        gr.HTML(_failed(page), apply_default_css=False, elem_id="learn-figures")
        answers = gr.HTML("", apply_default_css=False, elem_id="learn-answers")
    with gr.Accordion(text("learn.card_title"), open=True, elem_id="learn-card"):
        gr.HTML(_card(page), apply_default_css=False)
    with gr.Accordion(text("learn.glossary_title"), open=True, elem_id="learn-glossary"):
        gr.HTML(_glossary(page), apply_default_css=False)
    looked_at = gr.State(False)
    told = gr.State(())  # (picture, preset) of the steps that stand there

    def tell(picture, preset, seen, told):
        """The steps, if somebody looks and they are not there yet."""
        if not seen or told == (picture, preset):
            return gr.skip(), gr.skip(), gr.skip()
        if picture is None:
            return "", gr.Button(visible=bool(page.examples)), (picture, preset)
        try:
            page.check_picture(picture)
            # Looking inside runs layer by layer; a class that does so at once would only queue up.
            with one_at_a_time:
                inside = anatomy(guesser.predictor(preset), picture)
        except UserError as error:
            html = f'<p class="sentence">{escape(error.told(text))}</p>'
        else:
            html = steps_html(inside, page.preset_name(preset), text)
        return html, gr.Button(visible=False), (picture, preset)

    def compare(picture, seen):
        if picture is None or not seen:
            return "" if picture is None else gr.skip()
        try:
            page.check_picture(picture)
            presets = [preset for _, preset in page.preset_choices()]
            said = [(page.preset_name(name), guesser(picture, name, 10)) for name in presets]
        except UserError:
            return ""  # told above, in place of the steps
        return answers_html(said, text)

    def example() -> str:
        if not page.examples:
            raise shown(UserError("guess.no_example"), text)
        return lend(page.examples[0].path)

    quiet = {"show_progress": "hidden"}
    looked = lead.change(
        looked_at_now, outputs=looked_at, queue=False, **quiet, **page.private("learn")
    )
    taken = take.click(example, outputs=page.picture, **quiet, **page.private("learn_example"))
    # The picture changes on another tab, but an upload may end after the tab was left.
    changed = partial(gr.on, [page.picture.change, page.preset.change])
    for event, name in ((looked.then, "looked"), (taken.then, "taken"), (changed, "changed")):
        event(
            tell,
            [page.picture, page.preset, looked_at, told],
            [steps, take, told],
            show_progress="minimal",
            show_progress_on=steps,
            **page.private(f"learn_{name}"),
        ).then(
            compare,
            [page.picture, looked_at],
            answers,
            **quiet,
            **page.private(f"learn_{name}_compare"),
        )


def _failed(page: Page) -> str:
    text = page.text
    names = {preset: name for name, preset in page.preset_choices()}
    paragraphs = "".join(f"<p>{escape(text(f'learn.{key}'))}</p>" for key in LESSON)
    return paragraphs + figures_html(page.guesser.assets.manifest, names, text)


def _card(page: Page) -> str:
    text = page.text
    rows = [(text(f"learn.card_{key}"), text(f"learn.card_{key}_text")) for key in CARD]
    rows.append((text("page.local_title"), text("page.local")))
    data = page.guesser.assets.manifest.get("data")
    named = (
        f'<div><dt>{escape(text("learn.card_data"))}</dt><dd lang="en">{escape(data)}</dd></div>'
        if isinstance(data, str)
        else ""
    )
    return f"<dl>{_definitions(rows)}{named}</dl>"


def _glossary(page: Page) -> str:
    text = page.text
    keys = [key for key in text.names("learn.word_") if not key.endswith("_text")]
    rows = sorted(((text(key), text(f"{key}_text")) for key in keys), key=lambda r: r[0].lower())
    return f"<dl>{_definitions(rows)}</dl>"


def _definitions(rows: list[tuple[str, str]]) -> str:
    return "".join(
        f"<div><dt>{escape(term)}</dt><dd>{escape(meaning)}</dd></div>" for term, meaning in rows
    )
