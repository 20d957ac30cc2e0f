"""The Compare tab: two pictures, or one picture and two models, and what their answers share."""

from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from img2prompt.core.errors import UserError
from img2prompt.core.texts import Texts
from img2prompt.inference.predictor import Prediction
from img2prompt.inference.similarity import Likeness, likeness
from img2prompt.ui.context import Page, shown
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


@dataclass(frozen=True)
class Comparison:
    """Two answers side by side.

    Attributes:
        first, second: the answers.
        alike: what they share.
        presets: with two pictures, preset → how alike its own answers to them are; else empty.
    """

    first: Prediction
    second: Prediction
    alike: Likeness
    presets: dict[str, Likeness]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "first": self.first.to_dict(vectors=False),
            "second": self.second.to_dict(vectors=False),
            "shared_words": list(self.alike.words),
            "share": round(self.alike.share, 4),
            "cosine": round(self.alike.cosine, 4),
            "presets": {
                preset: {"share": round(alike.share, 4), "cosine": round(alike.cosine, 4)}
                for preset, alike in self.presets.items()
            },
        }


def compare(
    guesser: ModelService, first: str, second: str | None, first_preset: str, second_preset: str
) -> Comparison:
    """Answer two pictures, or one picture twice where `second` is None.

    Raises:
        ImageError: a picture cannot be used.
        UserError: unknown preset.
    """
    answers = (
        guesser(first, first_preset, WORDS),
        guesser(second or first, second_preset, WORDS),
    )
    presets = {}
    if second is not None:
        presets = {
            preset: likeness(guesser(first, preset, WORDS), guesser(second, preset, WORDS))
            for preset in guesser.assets.presets
        }
    return Comparison(*answers, likeness(*answers), presets)


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    guesser, text = page.guesser, page.text
    presets = page.preset_choices()

    def other_than(preset: str) -> str:
        return next((name for _, name in presets if name != preset), preset)

    gr.HTML(
        f"<p>{escape(text('compare.lead'))}</p>", apply_default_css=False, elem_id="compare-lead"
    )
    with gr.Row(elem_id="compare-desk", equal_height=False):
        pictures, choices = [], []
        for side, preset in (
            ("first", guesser.preset),
            ("second", other_than(guesser.preset)),
        ):
            with gr.Column(min_width=260, elem_id=f"compare-{side}-side"):
                pictures.append(
                    Picture(
                        text,
                        label=text(f"compare.{side}"),
                        placeholder=text(f"compare.{side}_placeholder"),
                        height=260,
                        elem_id=f"compare-{side}",
                    )
                )
                choices.append(
                    gr.Radio(
                        presets,
                        value=preset,
                        label=text(f"compare.{side}_preset"),
                        elem_id=f"compare-{side}-preset",
                    )
                )
    lesson = _lesson(page)
    example = gr.Button(
        text("compare.example"), visible=bool(lesson), size="md", elem_id="compare-example"
    )
    told = gr.HTML(
        _sentence(text("compare.waiting")),
        js_on_load="element.setAttribute('aria-live', 'polite');",
        apply_default_css=False,
        elem_id="compare-answer",
    )
    paired = gr.State(False)  # whether there was a second picture
    brought = gr.State(None)  # the picture that came from the Guess tab, to be replaced by its next

    def answer(first: str | None, second: str | None, one: str, two: str) -> str:
        if first is None and second is None:
            return _sentence(text("compare.waiting"))
        with page.errors():
            for path in (first, second):
                page.check_picture(path)
            if first is None:
                first, second = second, None
            return comparison_html(compare(guesser, first, second, one, two), text, _usual(guesser))

    def pair(second: str | None, before: bool, one: str, two: str) -> tuple:
        """Two pictures are compared by one model, one picture by two, until a person chooses."""
        now = second is not None
        if now == before:
            return now, gr.skip()
        return now, one if now else (other_than(one) if one == two else two)

    def bring(
        event: gr.EventData, guessed: str | None, first: str | None, before: str | None
    ) -> tuple:
        """The Guess tab's picture, unless another one was put here."""
        data = event._data if isinstance(event._data, dict) else {}
        here = data.get("value") == text("page.tab_compare")
        if not here or guessed is None or first not in (None, before) or guessed == before:
            return gr.skip(), gr.skip()
        return guessed, guessed

    def show_lesson() -> tuple:
        if not lesson:
            raise shown(UserError("guess.no_example"), text)
        paths = [lend(picture) for picture in lesson]
        known = _LESSON_PRESET in guesser.assets.presets
        return (*paths, *([_LESSON_PRESET] * 2 if known else [gr.skip()] * 2))

    quiet = {"show_progress": "hidden", "queue": False}
    example.click(
        show_lesson, outputs=[*pictures, *choices], **page.private("compare_example"), **quiet
    )
    pictures[1].change(
        pair,
        [pictures[1], paired, *choices],
        [paired, choices[1]],
        **page.private("compare_pair"),
        **quiet,
    )
    page.tabs.select(
        bring,
        [page.picture, pictures[0], brought],
        [pictures[0], brought],
        **page.private("compare_bring"),
        **quiet,
    )
    asked = gr.on(
        [component.change for component in (*pictures, *choices)],
        answer,
        [*pictures, *choices],
        told,
        show_progress="minimal",
        show_progress_on=told,
        # While one answer is under way only the last change counts.
        trigger_mode="always_last",
        **page.private("compare_answer"),
    )
    # An answer to the pictures before must not stand beside one that could not be read.
    asked.failure(
        lambda: _sentence(text("compare.failed")),
        outputs=told,
        **page.private("compare_failed"),
        **quiet,
    )
    _api(page, pictures, choices)


def comparison_html(comparison: Comparison, text: Texts, usual: dict[str, float]) -> str:
    """The likeness in figures and words, both lists with what they share, and the lesson.

    Args:
        comparison: what to show.
        text: the language.
        usual: preset → mean share of common words over the pictures of the test split; may lack
            any.
    """
    alike = comparison.alike
    most = max(len(comparison.first.words), len(comparison.second.words))
    level = 1 + sum(alike.share >= limit for limit in ALIKE)
    two = bool(comparison.presets)
    same_preset = comparison.first.preset == comparison.second.preset
    names = ("first", "second") if two else ("same", "same")
    sides = "".join(
        _side(prediction, text(f"compare.{name}"), set(alike.words), text)
        for prediction, name in zip((comparison.first, comparison.second), names, strict=True)
    )
    note = ""
    if not two and same_preset:
        note = f'<p class="note">{escape(text("compare.same_twice"))}</p>'
    return (
        f'<section class="alike" data-share="{alike.share:.4f}">'
        f"<h2>{escape(text('compare.share', shared=len(alike.words), of=most))}</h2>"
        f'<p class="level">{escape(text(f"compare.alike_{level}"))} '
        f"{escape(text('compare.cosine', cosine=text.number(alike.cosine)))}</p>{note}</section>"
        f'<div class="sides">{sides}</div>'
        f"{_presets_html(comparison.presets, text, usual) if two else ''}"
    )


def _side(prediction: Prediction, title: str, shared: set[str], text: Texts) -> str:
    name = text.get(f"preset.{prediction.preset}.name", prediction.preset)
    rows = ""
    for word in prediction.words:
        both = word.word in shared
        mark = f' <span class="both">{escape(text("compare.both"))}</span>' if both else ""
        rows += (
            f'<li class="{"shared" if both else "own"}"><span class="word">{escape(word.word)}'
            f'</span>{mark}<span class="score">{text.number(word.score)}</span></li>'
        )
    return (
        f'<section class="side" data-preset="{escape(prediction.preset, quote=True)}">'
        f"<h3>{escape(name)} <span>{escape(title)}</span></h3><ol>{rows}</ol></section>"
    )


def _presets_html(presets: dict[str, Likeness], text: Texts, usual: dict[str, float]) -> str:
    """How alike each model's own answers to the two pictures are: the lesson."""
    columns = ["model", "in_common", "angle", *(["usual"] if usual else [])]
    heads = "".join(
        f'<th scope="col">{escape(text(f"compare.column_{name}"))}</th>' for name in columns
    )
    rows = ""
    for preset, alike in sorted(presets.items(), key=lambda item: item[1].share):
        shared = escape(text("compare.of", shared=len(alike.words), of=WORDS))
        cells = f"<td>{shared}</td><td>{text.number(alike.cosine)}</td>"
        if usual:
            cells += f"<td>{escape(text.percent(usual[preset])) if preset in usual else '–'}</td>"
        name = text.get(f"preset.{preset}.name", preset)
        rows += f'<tr data-preset="{escape(preset, quote=True)}"><th scope="row">'
        rows += f"{escape(name)}</th>{cells}</tr>"
    note = f'<p class="note">{escape(text("compare.usual"))}</p>' if usual else ""
    return (
        f'<section class="lesson"><h2>{escape(text("compare.lesson_title"))}</h2>'
        f"<p>{escape(text('compare.lesson'))}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{note}</section>"
    )


def _sentence(told: str) -> str:
    return f'<p class="sentence">{escape(told)}</p>'


def _lesson(page: Page) -> list[Any]:
    """The two example pictures of the lesson, or the first two; [] where there are none."""
    by_name = {example.path.name: example.path for example in page.examples}
    if set(_LESSON) <= by_name.keys():
        return [by_name[name] for name in _LESSON]
    paths = list(by_name.values())[:2]
    return paths if len(paths) == 2 else []


def _usual(guesser: ModelService) -> dict[str, float]:
    """Preset → the evaluation's *alike*, as the manifest has it."""
    figures = {
        preset: guesser.assets.files[f"{preset}.keras"].get("figures", {}).get("same_words")
        for preset in guesser.assets.presets
    }
    return {preset: share for preset, share in figures.items() if share is not None}


def _api(page: Page, pictures: list[Any], choices: list[Any]) -> None:
    """The endpoint for programs."""
    if not page.published:
        return

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
            return compare(page.guesser, first, second, first_preset, second_preset).to_dict()

    compare_pictures.__name__ = "compare"  # a tool of language models goes by its function's name
    gr.Button(visible=False).click(
        compare_pictures,
        [*pictures, *choices],
        gr.JSON(visible=False),
        **page.api("compare"),
    )
