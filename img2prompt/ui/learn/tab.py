"""The Learn tab: five short steps through the visitor's own picture, and what they teach."""

from functools import partial
from typing import Any

import gradio as gr

from img2prompt.core.errors import UserError
from img2prompt.ui.context import WATCH, Asked, Page, html_part, looked_at_now, shown
from img2prompt.ui.learn.steps import HTML, figures_of, steps_html
from img2prompt.ui.server.uploads import lend

CARD = ("what", "learned", "good", "bad", "not")  # questions of the model card, in order
LESSON = ("failed_same", "failed_middle", "failed_cosine", "failed_repair")


class Handlers:
    """What the tab's events do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.text = page.text
        self.models = page.models

    def tell(
        self, picture: str | None, preset: str, seen: bool, told: tuple[str | None, str]
    ) -> tuple[Any, Any, Any]:
        """The steps, if somebody looks and they are not there (`told`) yet."""
        if not seen or told == (picture, preset):
            return gr.skip(), gr.skip(), gr.skip()
        if picture is None:
            return "", gr.Button(visible=bool(self.page.examples)), (picture, preset)
        try:
            self.page.check_picture(picture)
            inside = self.models.activations(picture, preset)
            html = steps_html(inside, self.page.preset_name(preset), self.text)
        except UserError as error:
            html = HTML.paragraph(error.told(self.text), "sentence")
        return html, gr.Button(visible=False), (picture, preset)

    def compare(self, picture: str | None, seen: bool) -> Any:
        """What each model says of the picture."""
        if picture is None or not seen:
            return "" if picture is None else gr.skip()
        try:
            self.page.check_picture(picture)
            said = [
                (name, self.models(picture, preset, 10))
                for name, preset in self.page.preset_choices()
            ]
        except UserError:
            return ""  # told above, in place of the steps
        return HTML.answers(said, self.text)

    def example(self) -> str:
        """The first of the shipped pictures."""
        if not self.page.examples:
            raise shown(UserError("guess.no_example"), self.text)
        return lend(self.page.examples[0].path)


def build(page: Page, asked: Asked) -> None:
    """Lay the tab out and wire it; nothing is computed before somebody looks."""
    text, handlers = page.text, Handlers(page)
    lead = html_part("learn-lead", HTML.paragraph(text("learn.lead")), js_on_load=WATCH)
    take = gr.Button(
        text("learn.take"), visible=bool(page.examples), elem_id="learn-take", size="lg"
    )
    steps = html_part("learn-steps")
    with gr.Accordion(text("learn.failed_title"), open=True, elem_id="learn-failed"):
        html_part("learn-figures", _lesson(page))
        answers = html_part("learn-answers")
    with gr.Accordion(text("learn.card_title"), open=True, elem_id="learn-card"):
        html_part(None, _card(page))
    with gr.Accordion(text("learn.glossary_title"), open=True, elem_id="learn-glossary"):
        html_part(None, _glossary(page))
    looked_at = gr.State(False)
    told = gr.State(())  # (picture, preset) of the steps that stand there

    quiet: dict[str, Any] = {"show_progress": "hidden"}
    looked = lead.change(
        looked_at_now, outputs=looked_at, queue=False, **quiet, **page.private("learn")
    )
    taken = take.click(
        handlers.example, outputs=asked.picture, **quiet, **page.private("learn_example")
    )
    # The picture changes on another tab, but an upload may end after the tab was left.
    changed = partial(gr.on, [asked.picture.change, asked.preset.change])
    for event, name in ((looked.then, "looked"), (taken.then, "taken"), (changed, "changed")):
        event(
            handlers.tell,
            [asked.picture, asked.preset, looked_at, told],
            [steps, take, told],
            show_progress="minimal",
            show_progress_on=steps,
            **page.private(f"learn_{name}"),
        ).then(
            handlers.compare,
            [asked.picture, looked_at],
            answers,
            **quiet,
            **page.private(f"learn_{name}_compare"),
        )


def _lesson(page: Page) -> str:
    names = {preset: name for name, preset in page.preset_choices()}
    figures = figures_of(page.models.assets.manifest, names, page.text)
    return HTML.lesson([page.text(f"learn.{key}") for key in LESSON], figures, page.text)


def _card(page: Page) -> str:
    text = page.text
    rows = [(text(f"learn.card_{key}"), text(f"learn.card_{key}_text")) for key in CARD]
    rows.append((text("page.local_title"), text("page.local")))
    data = page.models.assets.manifest.get("data")
    named = data if isinstance(data, str) else ""
    return HTML.definitions(rows, text("learn.card_data"), named)


def _glossary(page: Page) -> str:
    text = page.text
    keys = [key for key in text.names("learn.word_") if not key.endswith("_text")]
    rows = ((text(key), text(f"{key}_text")) for key in keys)
    return HTML.definitions(sorted(rows, key=lambda row: row[0].lower()))
