"""The Compare tab: two pictures, or one picture and two models, and what their answers share."""

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from img2prompt.core.errors import UserError
from img2prompt.core.html import macros
from img2prompt.core.texts import Texts
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.similarity import Similarity, similarity
from img2prompt.ui.context import QUIET, Asked, Page, html_part, shown
from img2prompt.ui.server.uploads import lend
from img2prompt.ui.service import ModelService
from img2prompt.ui.upload_boxes import Picture

WORDS = 10  # as many as the evaluation compares
# From which share of common words on the plain words say more: alike_2 … alike_5 of the texts.
ALIKE = (0.1, 0.25, 0.5, 0.7)
# Two of the shipped pictures that have nothing in common, on which the lesson is plain; beside
# them stand the figures over all test pictures.
_LESSON = ("06-sushi.jpg", "12-moon.jpg")
_LESSON_PRESET = "original"
_HTML = macros("ui/compare/comparison")


@dataclass(frozen=True)
class Comparison:
    """Two answers side by side.

    Attributes:
        first, second: the answers.
        similarity: what they share.
        presets: with two pictures, preset → how alike its own answers to them are; else empty.
    """

    first: Prediction
    second: Prediction
    similarity: Similarity
    presets: dict[str, Similarity]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "first": self.first.to_dict(vectors=False),
            "second": self.second.to_dict(vectors=False),
            "shared_words": list(self.similarity.words),
            "share": round(self.similarity.share, 4),
            "cosine": round(self.similarity.cosine, 4),
            "presets": {
                preset: {"share": round(own.share, 4), "cosine": round(own.cosine, 4)}
                for preset, own in self.presets.items()
            },
        }


def compare(
    models: ModelService, first: str, second: str | None, first_preset: str, second_preset: str
) -> Comparison:
    """Answer two pictures, or one picture twice where `second` is None.

    Raises:
        ImageError: a picture cannot be used.
        UserError: unknown preset.
    """
    answers = (
        models(first, first_preset, WORDS),
        models(second or first, second_preset, WORDS),
    )
    presets = {}
    if second is not None:
        presets = {
            preset: similarity(models(first, preset, WORDS), models(second, preset, WORDS))
            for preset in models.assets.presets
        }
    return Comparison(*answers, similarity(*answers), presets)


class Compare:
    """The tab's components, and what happens when they change.

    Args:
        page: the page around it.

    Attributes:
        pictures, choices: of the first and the second side.
        example: the button of the lesson, whose pictures are `lesson`.
        told: the HTML of the comparison.
        paired: whether there was a second picture.
        brought: the picture that came from the Guess tab, to be replaced by its next.
    """

    def __init__(self, page: Page) -> None:
        self.page, self.presets = page, page.preset_choices()
        text, first = page.text, page.models.preset
        lead = f"<p>{escape(text('compare.lead'))}</p>"
        html_part("compare-lead", lead)
        self.pictures, self.choices = [], []
        with gr.Row(elem_id="compare-desk", equal_height=False):
            for side, preset in (("first", first), ("second", self._other_than(first))):
                with gr.Column(min_width=260, elem_id=f"compare-{side}-side"):
                    picture = Picture(
                        label=text(f"compare.{side}"),
                        placeholder=text(f"compare.{side}_placeholder"),
                        height=260,
                        elem_id=f"compare-{side}",
                    )
                    label = text(f"compare.{side}_preset")
                    choice = page.preset_switch(f"compare-{side}-preset", preset, label=label)
                self.pictures.append(picture)
                self.choices.append(choice)
        self.lesson = _lesson(page)
        shown = bool(self.lesson)
        label = text("compare.example")
        self.example = gr.Button(label, visible=shown, size="md", elem_id="compare-example")
        live = "element.setAttribute('aria-live', 'polite');"
        self.told = html_part("compare-answer", self.sentence("compare.waiting"), js_on_load=live)
        self.paired = gr.State(False)
        self.brought = gr.State(None)

    def answer(self, first: str | None, second: str | None, one: str, two: str) -> str:
        """The comparison as HTML; a single picture may lie on either side."""
        if first is None:
            first, second = second, None
        if first is None:
            return self.sentence("compare.waiting")
        page = self.page
        with page.errors():
            for path in (first, second):
                page.check_picture(path)
            found = compare(page.models, first, second, one, two)
            return comparison_html(found, page.text, _usual(page.models))

    def pair(self, second: str | None, before: bool, one: str, two: str) -> tuple[bool, Any]:
        """Two pictures are compared by one model, one picture by two, until a person chooses."""
        now = second is not None
        if now == before:
            return now, gr.skip()
        return now, one if now else (self._other_than(one) if one == two else two)

    def bring(
        self, event: gr.EventData, guessed: str | None, first: str | None, before: str | None
    ) -> tuple[Any, Any]:
        """The Guess tab's picture, unless another one was put here."""
        data = event._data if isinstance(event._data, dict) else {}
        here = data.get("value") == self.page.text("page.tab_compare")
        if not here or guessed is None or first not in (None, before) or guessed == before:
            return gr.skip(), gr.skip()
        return guessed, guessed

    def show_lesson(self) -> tuple[Any, ...]:
        """Two pictures, and the model on both sides that hardly looks at them."""
        page = self.page
        if not self.lesson:
            raise shown(UserError("guess.no_example"), page.text)
        known = _LESSON_PRESET in page.models.assets.presets
        return *map(lend, self.lesson), *([_LESSON_PRESET if known else gr.skip()] * 2)

    def sentence(self, key: str) -> str:
        """A sentence in the place of the comparison."""
        return str(_HTML.sentence(self.page.text(key)))

    def fail(self) -> str:
        """An answer to the pictures before must not stand beside one that could not be read."""
        return self.sentence("compare.failed")

    def _other_than(self, preset: str) -> str:
        return next((name for _, name in self.presets if name != preset), preset)


def build(page: Page, asked: Asked, tabs: gr.Tabs) -> Compare:
    """Lay the tab out and wire it; when it is selected among `tabs`, the guessed picture comes."""
    tab = Compare(page)
    _wire(tab, asked, tabs)
    _publish(tab)
    return tab


def _wire(tab: Compare, asked: Asked, tabs: gr.Tabs) -> None:
    private = tab.page.private
    asking: list[Any] = [*tab.pictures, *tab.choices]
    tab.example.click(tab.show_lesson, None, asking, **private("compare_example"), **QUIET)
    tab.pictures[1].change(
        tab.pair,
        [tab.pictures[1], tab.paired, *tab.choices],
        [tab.paired, tab.choices[1]],
        **private("compare_pair"),
        **QUIET,
    )
    tabs.select(
        tab.bring,
        [asked.picture, tab.pictures[0], tab.brought],
        [tab.pictures[0], tab.brought],
        **private("compare_bring"),
        **QUIET,
    )
    answered = gr.on(
        [component.change for component in asking],
        tab.answer,
        asking,
        tab.told,
        show_progress="minimal",
        show_progress_on=tab.told,
        # While one answer is under way only the last change counts.
        trigger_mode="always_last",
        **private("compare_answer"),
    )
    answered.failure(tab.fail, None, tab.told, **private("compare_failed"), **QUIET)


def comparison_html(comparison: Comparison, text: Texts, usual: dict[str, float]) -> str:
    """The similarity in figures and words, both lists with what they share, and the lesson.

    Args:
        comparison: what to show.
        text: the language.
        usual: preset → mean share of common words over the pictures of the test split; may lack
            any.
    """
    answers = (comparison.first, comparison.second)
    most = max(len(answer.words) for answer in answers)
    level = 1 + sum(comparison.similarity.share >= limit for limit in ALIKE)
    names = ("first", "second") if comparison.presets else ("same", "same")
    sides = [(answer, text(f"compare.{name}")) for answer, name in zip(answers, names, strict=True)]
    presets = sorted(comparison.presets.items(), key=lambda item: item[1].share)
    return str(_HTML.comparison(comparison, most, level, sides, presets, usual, text))


def _lesson(page: Page) -> list[Any]:
    """The two example pictures of the lesson, or the first two; [] where there are none."""
    by_name = {example.path.name: example.path for example in page.examples}
    if set(_LESSON) <= by_name.keys():
        return [by_name[name] for name in _LESSON]
    paths = list(by_name.values())[:2]
    return paths if len(paths) == 2 else []


def _usual(models: ModelService) -> dict[str, float]:
    """Preset → its answer overlap in the evaluation, as the manifest has it."""
    figures = {
        preset: models.assets.files[f"{preset}.keras"].get("figures", {}).get("same_words")
        for preset in models.assets.presets
    }
    return {preset: share for preset, share in figures.items() if share is not None}


def _publish(tab: Compare) -> None:
    page = tab.page

    def compare_pictures(
        first: str | None, second: str | None, first_preset: str, second_preset: str
    ) -> dict[str, Any]:
        """Compare the words predicted for two pictures, or by two models for one picture.

        Each side gets ten words. Share (0 to 1) is the part of them that both have, cosine (−1 to
        1) how alike the vectors are. "presets" tells for each model how alike its own answers to
        two different pictures are: near 1 for a model that hardly looks at the picture.

        Args:
            first: a picture file (PNG, JPEG, WebP, GIF, BMP or TIFF, at most 50 MB).
            second: another one; the same again (or none) to compare two models on one picture.
            first_preset: the model that answers first: "gaze", "original" or "notebook".
            second_preset: the model that answers second: "gaze", "original" or "notebook".

        Returns:
            {"first", "second" (as predict's), "shared_words", "share", "cosine", "presets"}
        """
        with page.errors():
            if first is None:
                raise UserError("compare.waiting")
            for path in (first, second):
                page.check_picture(path)
            return compare(page.models, first, second, first_preset, second_preset).to_dict()

    compare_pictures.__name__ = "compare"  # a tool of language models goes by its function's name
    page.publish(compare_pictures, [*tab.pictures, *tab.choices])
