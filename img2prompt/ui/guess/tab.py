"""The Guess tab: drop a picture, read its words, see where they lie and where they are seen."""

import json
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from img2prompt.core.errors import UserError
from img2prompt.data.block_list import mask
from img2prompt.data.file_prompts.reading import NOTHING, Reading, read_making
from img2prompt.data.file_prompts.records import MAX_PROMPT
from img2prompt.data.images import open_image
from img2prompt.evaluation.score import score_words
from img2prompt.inference.predictor import Prediction
from img2prompt.ui.context import Page, one_of, shown
from img2prompt.ui.guess import answer, heat
from img2prompt.ui.guess.examples import ON_LOAD as EXAMPLES_ON_LOAD
from img2prompt.ui.guess.examples import examples_html
from img2prompt.ui.guess.truth import file_html, truth_html
from img2prompt.ui.map.figures import map_figure
from img2prompt.ui.server.uploads import lend
from img2prompt.ui.upload_boxes import Picture

MAX_WORDS = 20
DEFAULT_WORDS = 10
HEAT_SIDE = 320  # longer side of the overlay: it is smooth, the browser scales it up
BY_SCORE, BY_KIND = "score", "kind"
_PLOT_CONFIG = {
    "displaylogo": False,
    "displayModeBar": True,
    "modeBarButtons": [["pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
}


@dataclass(frozen=True)
class Read:
    """What a picture's file says of itself.

    Attributes:
        picture: the file; None before there is one.
        prompt: the prompt that it carries, "" for none.
        tool: the program that wrote it there.
        making: all that could be read of it, or why it could not.
    """

    picture: str | None = None
    prompt: str = ""
    tool: str = ""
    making: Reading = NOTHING


def build(page: Page) -> None:
    """Lay the tab out and wire it; sets `page.picture`, `preset`, `count` and `truth`."""
    guesser, text = page.guesser, page.text

    with gr.Row(elem_id="desk", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_id="ask"):
            page.picture = picture = Picture(
                text,
                label=text("guess.picture"),
                placeholder=text("guess.placeholder"),
                height=380,
                elem_id="guess-picture",
            )
            heated = gr.HTML(
                heat.no_heat_html(text),
                js_on_load=heat.ON_LOAD,
                apply_default_css=False,
                elem_id="guess-heat",
            )
            strip = gr.HTML(
                examples_html(page.examples, text("guess.examples")),
                js_on_load=EXAMPLES_ON_LOAD,
                visible=bool(page.examples),
                apply_default_css=False,
                elem_id="examples",
            )
            page.preset = preset = gr.Radio(
                page.preset_choices(),
                value=guesser.preset,
                label=text("guess.preset"),
                info=_description(page, guesser.preset),
                elem_id="guess-preset",
            )
            page.count = count = gr.Slider(
                1,
                MAX_WORDS,
                value=DEFAULT_WORDS,
                step=1,
                label=text("guess.count"),
                buttons=[],
                elem_id="guess-count",
            )
            minimum = gr.Slider(
                0,
                1,
                value=0,
                step=0.05,
                label=text("guess.minimum"),
                info=text("guess.minimum_info"),
                buttons=[],
                elem_id="guess-minimum",
            )
            order = gr.Radio(
                [(text("guess.sort_score"), BY_SCORE), (text("guess.sort_kind"), BY_KIND)],
                value=BY_SCORE,
                label=text("guess.sort"),
                visible=guesser.kinds is not None,
                elem_id="guess-order",
            )
        with gr.Column(scale=7, min_width=300, elem_id="tell"):
            words = gr.HTML(
                answer.waiting_html(text("guess.waiting"), text),
                js_on_load=answer.ON_LOAD,
                apply_default_css=False,
                elem_id="answer",
            )
            prompt = gr.Textbox(
                label=text("guess.prompt"),
                buttons=["copy"],
                interactive=False,
                lines=2,
                elem_id="prompt",
            )
            save = gr.HTML("", apply_default_css=False, elem_id="guess-save")
            page.truth = truth = gr.Textbox(
                label=text("truth.label"),
                placeholder=text("truth.placeholder"),
                lines=1,
                max_lines=6,
                max_length=MAX_PROMPT,
                elem_id="guess-truth",
            )
            compared = gr.HTML("", apply_default_css=False, elem_id="truth")
            says = gr.HTML("", apply_default_css=False, elem_id="file-says")
            gr.HTML(
                f"<h2>{escape(text('guess.map'))}</h2><p>"
                f"{escape(text('guess.map_hint' if guesser.map is not None else 'guess.no_map'))}"
                "</p>",
                apply_default_css=False,
                elem_id="map-lead",
            )
            plot = gr.Plot(
                _plot(page, None),
                show_label=False,
                container=False,
                visible=guesser.map is not None,
                elem_id="map",
            )
            read = gr.State(Read())

    def answer_picture(image, preset, count, minimum, order, truth, read):
        """The answer; a picture that was not there before also brings its own prompt."""
        if image is None:
            return (*_blank(page), "", Read(), heat.no_heat_html(text))
        with page.errors():
            page.check_picture(image)
            fresh = image != read.picture
            if fresh:
                read = _read(page, image)
                truth = read.prompt
            prediction = guesser(image, preset, round(count))
        view = answer.View(float(minimum), order == BY_KIND)
        # What is copied, saved, compared and mapped is what is shown.
        kept = replace(prediction, words=tuple(w for w in prediction.words if view.keeps(w.score)))
        return (
            answer.answer_html(prediction, text, view, guesser.kind, guesser.count),
            kept.prompt,
            answer.save_html(kept, text) if kept.words else "",
            # What is typed while the answer is under way stays, and is compared afterwards.
            _compare(page, kept, truth, read) if fresh else gr.skip(),
            file_html(read.making, text, guesser.blocked),
            _plot(page, kept if kept.words else None),
            truth if fresh else gr.skip(),
            read,
            heat.no_heat_html(text),
        )

    def compare_again(image, preset, count, minimum, truth, read):
        if image is None:
            return ""
        with page.errors():
            page.check_picture(image)
            prediction = guesser(image, preset, round(count))
        view = answer.View(float(minimum))
        kept = tuple(word for word in prediction.words if view.keeps(word.score))
        return _compare(page, replace(prediction, words=kept), truth, read)

    def see(image, preset, count, event: gr.EventData):
        word = event._data.get("word") if isinstance(event._data, dict) else None
        if image is None or not isinstance(word, str) or not word:
            return heat.no_heat_html(text)
        with page.errors():
            page.check_picture(image)
            # All words of the answer at once: the next one selected is there at once.
            answered = tuple(w.word for w in guesser(image, preset, round(count)).words)
            if word not in answered:
                raise UserError("guess.no_word")
            explanation = guesser.explain(image, preset, answered)
            size = open_image(image).size
        scale = HEAT_SIDE / max(size)
        small = tuple(max(1, round(side * scale)) for side in size)
        return heat.heat_html(explanation, word, small, text)

    def take_example(event: gr.EventData) -> str:
        number = event._data.get("example") if isinstance(event._data, dict) else None
        if not isinstance(number, int) or not 0 <= number < len(page.examples):
            raise shown(UserError("guess.no_example"), text)
        return lend(page.examples[number].path)

    quiet = {"show_progress": "hidden", "queue": False}
    strip.click(take_example, outputs=picture, **page.private("example"), **quiet)
    preset.change(
        lambda name: gr.Radio(info=_description(page, name)),
        preset,
        preset,
        **page.private("describe"),
        **quiet,
    )
    answers = [words, prompt, save, compared, says, plot]
    compare = {
        "fn": compare_again,
        "inputs": [picture, preset, count, minimum, truth, read],
        "outputs": compared,
        "show_progress": "hidden",
    }
    # One event, so that an answer to the picture before never comes after this one's.
    answering = gr.on(
        [picture.change, preset.change, count.change, minimum.change, order.change],
        answer_picture,
        [picture, preset, count, minimum, order, truth, read],
        [*answers, truth, read, heated],
        **page.private("answer"),
        show_progress="minimal",
        show_progress_on=words,
        # While one answer is under way only the last change counts.
        trigger_mode="always_last",
    )
    answering.success(**compare, **page.private("compare_answered"))
    answering.failure(
        # An answer to the picture before must not stand beside one that could not be read.
        lambda: (*_blank(page, text("guess.failed")), heat.no_heat_html(text)),
        outputs=[*answers, heated],
        **page.private("failed"),
        show_progress="hidden",
        queue=False,
    )
    words.select(
        see,
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

    page.linked("preset", preset, one_of(guesser.assets.presets))
    page.linked("words", count, _between(1, MAX_WORDS))
    _api(page)


def _api(page: Page) -> None:
    """The endpoints for programs: plain data in, plain data out."""
    if not page.published:
        return
    guesser = page.guesser

    def predict(image, preset: str, words: float) -> dict:
        """Predict which words of a Stable Diffusion prompt made a picture.

        Words come by falling score, the cosine (−1 to 1) between a word's vector and the one that
        the model saw in the picture. Confidence (0 to 1) is the share of such answers that really
        stood in the prompt: where it is low, the word is a guess. Alternatives are the next
        nearest words with their scores.

        Args:
            image: the picture file (PNG, JPEG, WebP, GIF, BMP or TIFF, at most 50 MB).
            preset: the model: "gaze" (the best), "original" or "notebook" (a lesson in failing).
            words: how many words to answer, 1 to 20.

        Returns:
            {"preset", "words": [{"word", "score", "confidence", "alternatives": [[word, score]]}]}
        """
        with page.errors():
            if image is None:
                raise UserError("guess.waiting")
            page.check_picture(image)
            return guesser(image, preset, round(words)).to_dict(vectors=False)

    def score(image, preset: str, words: float, truth: str) -> dict:
        """Predict the words of a picture and score them against its true prompt.

        Found, invented and missed are lists of words, unknown those of the prompt that the
        vocabulary lacks. Precision, recall, F1 and soft recall lie in 0 to 1, the cosine per word
        in −1 to 1; higher is better.

        Args:
            image: the picture file (PNG, JPEG, WebP, GIF, BMP or TIFF, at most 50 MB).
            preset: the model: "gaze" (the best), "original" or "notebook" (a lesson in failing).
            words: how many words to answer, 1 to 20.
            truth: the true prompt in English; empty text: the one that the file carries.

        Returns:
            {"found", "invented", "missed", "unknown", "precision", "recall", "f1", …}
        """
        with page.errors():
            if image is None:
                raise UserError("guess.waiting")
            page.check_picture(image)
            if not (truth or "").strip():
                making = read_making(image)
                if making.state != "found":
                    raise UserError(f"truth.score_{making.state}")
                truth = making.told.prompt
            truth = mask(truth, guesser.blocked)
            prediction = guesser(image, preset, round(words))
            said = [word.word for word in prediction.words]
            return score_words(said, truth, guesser.vectors, prediction.vectors).to_dict()

    answered = gr.JSON(visible=False)
    gr.Button(visible=False).click(
        predict, [page.picture, page.preset, page.count], answered, **page.api("predict")
    )
    gr.Button(visible=False).click(
        score, [page.picture, page.preset, page.count, page.truth], answered, **page.api("score")
    )


def _blank(page: Page, sentence: str | None = None) -> tuple:
    sentence = sentence if sentence is not None else page.text("guess.waiting")
    return answer.waiting_html(sentence, page.text), "", "", "", "", _plot(page, None)


def _read(page: Page, image: str) -> Read:
    making = read_making(image)
    if making.state != "found":
        return Read(image, making=making)
    hidden = page.guesser.blocked
    # Masked, a prompt may have grown beyond what its box takes.
    prompt = mask(making.told.prompt, hidden)[:MAX_PROMPT]
    return Read(image, prompt, mask(making.told.tool, hidden), making)


def _compare(page: Page, prediction: Prediction, truth: str, read: Read) -> str:
    if not truth.strip():
        return ""
    text = page.text
    carried = read.tool and truth.strip() == read.prompt.strip()
    note = text("truth.read", tool=read.tool) if carried else text("truth.typed")
    said = [word.word for word in prediction.words]
    vectors = page.guesser.vectors
    try:
        score = score_words(said, truth, vectors, prediction.vectors)
    except UserError:
        return (
            f'<section class="truth"><p class="note">{escape(text("truth.no_words"))}</p></section>'
        )
    return truth_html(truth, score, note, text, page.guesser.blocked)


def _description(page: Page, preset: str) -> str:
    return page.text.get(f"preset.{preset}.text", "")


def _plot(page: Page, prediction: Prediction | None) -> PlotData | None:
    """The map, with its mode bar: gradio hands `config` on, but plotly's own JSON has none."""
    if page.guesser.small_map is None:
        return None
    figure = map_figure(page.guesser.small_map, page.figure_names(), prediction)
    return PlotData(
        type="plotly", plot=json.dumps(json.loads(figure.to_json()) | {"config": _PLOT_CONFIG})
    )


def _between(low: int, high: int) -> Any:
    def parse(value: str) -> int:
        if not low <= int(value) <= high:
            raise ValueError(value)
        return int(value)

    return parse
