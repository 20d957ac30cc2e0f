"""What the Guess tab does: answers, compares with the truth, shows where a word is seen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.components.plot import PlotData

from img2prompt.core.errors import UserError
from img2prompt.data.block_list import mask
from img2prompt.data.file_prompts.reading import NOTHING, Reading, read_making
from img2prompt.data.file_prompts.records import MAX_PROMPT
from img2prompt.evaluation.score import score_words
from img2prompt.inference.prediction import Prediction
from img2prompt.ui.context import Page, shown
from img2prompt.ui.guess import answer, heat
from img2prompt.ui.guess.truth import file_html, no_comparison_html, truth_html
from img2prompt.ui.map.figures import map_figure, plot_data
from img2prompt.ui.server.uploads import lend

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


@dataclass(frozen=True)
class Question:
    """What the tab's components hold when an answer is asked for, in the order of `_inputs`."""

    picture: str | None
    preset: str
    count: float
    minimum: float
    order: str
    truth: str
    read: Read


class Handlers:
    """What the tab's events do."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.text = page.text
        self.models = page.models

    def answer(self, *values: Any) -> tuple[Any, ...]:
        """The answer to a `Question`; a picture that was not there before brings its own prompt.

        Returns:
            Values of the words, the prompt, the buttons to save, the comparison, what the file
            says, the map, the truth, `read`, and the heat.
        """
        asked, text = Question(*values), self.text
        if asked.picture is None:
            return *self.blank()[:-1], "", Read(), heat.no_heat_html(text)
        truth, read = asked.truth, asked.read
        with self.page.errors():
            self.page.check_picture(asked.picture)
            fresh = asked.picture != read.picture
            if fresh:
                read = self._read(asked.picture)
                truth = read.prompt
            prediction = self.models(asked.picture, asked.preset, round(asked.count))
        view = answer.View(float(asked.minimum), asked.order == BY_KIND)
        # What is copied, saved, compared and mapped is what is shown.
        kept = view.kept(prediction)
        return (
            answer.answer_html(prediction, text, view, self.models.kind, self.models.count),
            kept.prompt,
            answer.save_html(kept, text) if kept.words else "",
            # What is typed while the answer is under way stays, and is compared afterwards.
            self._compared(kept, truth, read) if fresh else gr.skip(),
            file_html(read.making, text, self.models.blocked),
            self.map(kept if kept.words else None),
            truth if fresh else gr.skip(),
            read,
            heat.no_heat_html(text),
        )

    def blank(self, sentence: str = "guess.waiting") -> tuple[Any, ...]:
        """An empty page with a sentence, by its key: what `answer` returns but truth and `read`."""
        waiting = answer.waiting_html(self.text(sentence), self.text)
        return waiting, "", "", "", "", self.map(), heat.no_heat_html(self.text)

    def compare(self, *values: Any) -> str:
        """The answer to a `Question` beside the truth that is typed."""
        asked = Question(*values)
        if asked.picture is None:
            return ""
        with self.page.errors():
            self.page.check_picture(asked.picture)
            prediction = self.models(asked.picture, asked.preset, round(asked.count))
        kept = answer.View(float(asked.minimum)).kept(prediction)
        return self._compared(kept, asked.truth, asked.read)

    def see(self, picture: str | None, preset: str, count: float, event: gr.EventData) -> str:
        """Where the word of an event is seen."""
        word = event._data.get("word") if isinstance(event._data, dict) else None
        if picture is None or not isinstance(word, str) or not word:
            return heat.no_heat_html(self.text)
        with self.page.errors():
            self.page.check_picture(picture)
            # All words of the answer at once: the next one selected is there at once.
            words = tuple(w.word for w in self.models(picture, preset, round(count)).words)
            if word not in words:
                raise UserError("guess.no_word")
            explanation = self.models.explain(picture, preset, words)
            size = self.models.seen(picture, preset).size
        scale = HEAT_SIDE / max(size)
        width, height = (max(1, round(side * scale)) for side in size)
        return heat.heat_html(explanation, word, (width, height), self.text)

    def take_example(self, event: gr.EventData) -> str:
        """A shipped picture, by its number."""
        number = event._data.get("example") if isinstance(event._data, dict) else None
        if not isinstance(number, int) or not 0 <= number < len(self.page.examples):
            raise shown(UserError("guess.no_example"), self.text)
        return lend(self.page.examples[number].path)

    def _read(self, picture: str) -> Read:
        making = read_making(picture)
        told = making.told
        if making.state != "found" or told is None:
            return Read(picture, making=making)
        hidden = self.models.blocked
        # Masked, a prompt may have grown beyond what its box takes.
        return Read(
            picture, mask(told.prompt, hidden)[:MAX_PROMPT], mask(told.tool, hidden), making
        )

    def _compared(self, prediction: Prediction, truth: str, read: Read) -> str:
        if not truth.strip():
            return ""
        carried = read.tool and truth.strip() == read.prompt.strip()
        note = self.text("truth.read", tool=read.tool) if carried else self.text("truth.typed")
        said = [word.word for word in prediction.words]
        try:
            score = score_words(said, truth, self.models.vectors, prediction.vectors)
        except UserError:
            return no_comparison_html(self.text("truth.no_words"))
        return truth_html(truth, score, note, self.text, self.models.blocked)

    def map(self, prediction: Prediction | None = None) -> PlotData | None:
        """The small map, with the answer upon it if there is one."""
        vocabulary = self.models.small_map
        if vocabulary is None:
            return None
        figure = map_figure(vocabulary, self.page.figure_names(), prediction)
        return plot_data(figure, _PLOT_CONFIG)


class Endpoints:
    """What programs can ask for: plain data in, plain data out."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.models = page.models

    def predict(self, image: str | None, preset: str, words: float) -> dict[str, Any]:
        """Predict which words of a Stable Diffusion prompt made a picture.

        The best word comes first; words that prompts of any picture use (generic is true) come
        last. The score is the cosine (−1 to 1) between a word's vector and the one that the model
        saw in the picture. Confidence (0 to 1) is the share of such answers that really
        stood in the prompt: where it is low, the word is a guess. Alternatives are the next
        nearest words with their scores. Parents, where the model is torn between classes of
        things, name what they all are.

        Args:
            image: the picture file (PNG, JPEG, WebP, GIF, BMP or TIFF, at most 50 MB).
            preset: the model: "gaze" (the best), "original" or "notebook" (a lesson in failing).
            words: how many words to answer, 1 to 20.

        Returns:
            {"preset", "words": [{"word", "score", "confidence", "alternatives": [[word, score]],
            "generic"}], "parents": [{"word", "chance", "children"}]}; confidence, generic and
            parents only where there is something to say
        """
        with self._picture(image) as picture:
            return self.models(picture, preset, round(words)).to_dict(vectors=False)

    def score(self, image: str | None, preset: str, words: float, truth: str) -> dict[str, Any]:
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
        with self._picture(image) as picture:
            if not (truth or "").strip():
                making = read_making(picture)
                if making.state != "found" or making.told is None:
                    raise UserError(f"truth.score_{making.state}")
                truth = making.told.prompt
            truth = mask(truth, self.models.blocked)
            prediction = self.models(picture, preset, round(words))
            said = [word.word for word in prediction.words]
            return score_words(said, truth, self.models.vectors, prediction.vectors).to_dict()

    @contextmanager
    def _picture(self, image: str | None) -> Iterator[str]:
        with self.page.errors():
            if image is None:
                raise UserError("guess.waiting")
            self.page.check_picture(image)
            yield image
