"""What the Map tab does: tells of a word, a sum, the picture's answer; draws the vocabulary."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
import numpy as np
from gradio import processing_utils

from img2prompt.core.errors import UserError
from img2prompt.core.printable import encodable
from img2prompt.data.block_list import mask
from img2prompt.embedding.analogy import (
    MOST_CHARACTERS,
    beginning,
    known_word,
    solve,
)
from img2prompt.embedding.kinds import KINDS
from img2prompt.inference import export
from img2prompt.ui.context import Page, toast
from img2prompt.ui.map import card
from img2prompt.ui.map.figures import (
    picture_part,
    plot_data,
    sum_part,
    vocabulary_figure,
    word_part,
)
from img2prompt.ui.map.traces import Group

NEIGHBOURS = 10
MAX_WORD = 200  # characters of a search
PLANE, SPACE = "2-D", "3-D"
BY_KIND, BY_THEME = "kind", "theme"
# Okabe and Ito's colours, told apart by the colour-blind; their yellow darker, to show on white.
KIND_COLOURS = dict(
    zip(
        KINDS,
        ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b59b00", "#56b4e9"),
        strict=True,
    )
)
OTHER_COLOUR = "#8f98aa"
# Neighbouring themes need not differ in colour alone: each has its name on the map.
THEME_COLOURS = (*KIND_COLOURS.values(), "#7a5cc7", "#8a8f3c")
_CONFIG = {
    "displaylogo": False,
    "scrollZoom": True,
    "displayModeBar": True,
    "modeBarButtons": [["zoomIn2d", "zoomOut2d", "resetScale2d"]],
}
_SPACE_CONFIG = _CONFIG | {"modeBarButtons": [["orbitRotation", "pan3d", "resetCameraDefault3d"]]}


class Handlers:
    """What the tab's events do.

    Args:
        page: of a folder of artifacts that has a map.
    """

    def __init__(self, page: Page) -> None:
        assert page.models.map is not None
        self.page = page
        self.text = page.text
        self.models = page.models
        self.vocabulary = page.models.map
        self.names = page.figure_names()

    def draw(
        self, dimension: str, colour: str, seen: bool, drawn: tuple[str, ...]
    ) -> tuple[Any, Any]:
        """The vocabulary's figure, where somebody looks and it is not `drawn` yet."""
        if not seen or drawn == (dimension, colour):
            return gr.skip(), gr.skip()
        groups = self._kinds() if colour == BY_KIND else self._themes()
        dimensions = _depth(dimension)
        figure = vocabulary_figure(self.vocabulary, self.names, groups, dimensions)
        plot = plot_data(figure, _CONFIG if dimensions == 2 else _SPACE_CONFIG)
        return plot, (dimension, colour)

    def tell_word(self, typed: str, dimension: str) -> str:
        """A word's card, or the words that begin like it."""
        vectors, text = self.models.vectors, self.text
        word = known_word(typed, vectors)
        if word is None:
            safe = mask(typed, self.models.blocked)
            return card.beginnings_html(safe, beginning(typed, self.vocabulary.words), text)
        near = vectors.neighbours(word, NEIGHBOURS, answers_only=True)
        part = word_part(self.vocabulary, self.names, word, near, _depth(dimension))
        rows = [(other, score, self.models.count(other)) for other, score in near]
        facts = [text("map.times", count=text.number(self.models.count(word), 0))]
        if word in self.vocabulary.index:
            facts.insert(0, text("map.in_theme", theme=self._theme(word)))
        if kind := self.models.kind(word):
            facts.insert(0, text(f"kind.{kind}"))
        return card.word_html(word, rows, facts, part, text)

    def tell_sum(self, written: str, dimension: str) -> str:
        """What a sum of words is near, or why it cannot be worked out."""
        if not written.strip():
            return ""
        try:
            solution = solve(written, self.models.vectors, NEIGHBOURS)
        except UserError as error:
            return card.HTML.sentence(self.told(error))
        part = sum_part(self.vocabulary, self.names, solution, _depth(dimension))
        return card.sum_html(solution, part, self.text)

    def tell_picture(
        self,
        picture: str | None,
        preset: str,
        count: float,
        truth: str,
        dimension: str,
        seen: bool,
    ) -> Any:
        """The answer to the Guess tab's picture, on the map and as a table."""
        if not seen:
            return gr.skip()
        if picture is None:
            return card.HTML.no_picture(self.text)
        vectors = self.models.vectors
        try:
            self.page.check_picture(picture)
            prediction = self.models(picture, preset, round(count))
        except UserError as error:
            return card.HTML.sentence(error.told(self.text))
        rows = vectors.prompt_positions(truth)
        true = [vectors.words[row] for row in rows if vectors.shown[row]]
        part = picture_part(self.vocabulary, self.names, prediction, true, _depth(dimension))
        said = [word.word for word in prediction.words]
        themes = {word: self._theme(word) for word in said if word in self.vocabulary.index}
        return card.picture_html(prediction, true, themes, part, self.text)

    def pick(self, event: gr.EventData) -> tuple[Any, Any]:
        """The word or the sum of a click."""
        data = event._data if isinstance(event._data, dict) else {}
        word, written = data.get("word"), data.get("sum")
        return (
            encodable(word)[:MAX_WORD] if isinstance(word, str) else gr.skip(),
            encodable(written)[:MOST_CHARACTERS] if isinstance(written, str) else gr.skip(),
        )

    def save_whole(self, cache: str) -> str:
        """A file, in a folder of gradio's, of every word with all that the map knows of it."""
        vocabulary = self.vocabulary
        columns = ("word", "count", "kind", "theme", "x", "y", "x3", "y3", "z3")
        rows = (
            (
                word,
                int(vocabulary.counts[row]),
                self.models.kind(word) or "",
                vocabulary.labels[vocabulary.themes[row]],
                *(f"{at:.4f}" for at in (*vocabulary.positions[row], *vocabulary.space[row])),
            )
            for row, word in enumerate(vocabulary.words)
        )
        with TemporaryDirectory() as folder:
            path = Path(folder) / "img2prompt-map.csv"
            export.save(path, export.table_as_csv(columns, rows))
            # gradio serves only what lies in its own cache.
            return str(processing_utils.save_file_to_cache(path, cache))

    def told(self, error: UserError) -> str:
        """Why a sum cannot be worked out, in the page's language."""
        return mask(error.told(self.text), self.models.blocked)

    def _theme(self, word: str) -> str:
        vocabulary = self.vocabulary
        return str(vocabulary.labels[vocabulary.themes[vocabulary.index[word]]])

    def _kinds(self) -> list[Group]:
        kinds = np.array([self.models.kind(word) or "" for word in self.vocabulary.words])
        other = Group(self.text("kind.none"), OTHER_COLOUR, np.flatnonzero(kinds == ""))
        return [other] + [
            Group(self.text(f"kind.{kind}"), KIND_COLOURS[kind], np.flatnonzero(kinds == kind))
            for kind in KINDS
        ]

    def _themes(self) -> list[Group]:
        return [
            Group(
                name,
                THEME_COLOURS[theme % len(THEME_COLOURS)],
                np.flatnonzero(self.vocabulary.themes == theme),
                listed=False,
            )
            for theme, name in enumerate(self.vocabulary.labels)
        ]


class Endpoints:
    """What programs can ask for: plain data in, plain data out."""

    def __init__(self, handlers: Handlers) -> None:
        self.handlers = handlers
        self.page = handlers.page
        self.models = handlers.models

    def neighbours(self, word: str, count: int = NEIGHBOURS) -> dict[str, Any]:
        """List the words of Stable Diffusion prompts that are used most like a word.

        Neighbours come by falling score, the cosine (−1 to 1) between the words' vectors; words
        are near when prompts use them in like places. A count is how often prompts use the word.
        Kind is subject, artist, medium, style, light or quality, or null where nobody can say.

        Args:
            word: one English word, such as "castle".
            count: how many neighbours, 1 to 50.

        Returns:
            {"word", "count", "kind", "neighbours": [{"word", "score", "count"}]}
        """
        models = self.models
        with self.page.errors():
            known = known_word(word, models.vectors)
            if known is None:
                typed = mask(word.strip()[:40], models.blocked)
                raise UserError("map.unknown", word=typed)
            near = models.vectors.neighbours(known, count, answers_only=True)
            return {
                "word": known,
                "count": models.count(known),
                "kind": models.kind(known),
                "neighbours": [
                    {"word": other, "score": round(score, 4), "count": models.count(other)}
                    for other, score in near
                ],
            }

    def arithmetic(self, expression: str) -> dict[str, Any]:
        """Add and subtract words of Stable Diffusion prompts, and name the words nearest to that.

        The words' vectors are added; the ten nearest words come by falling score, the cosine (−1
        to 1) to the sum, without the words that were typed.

        Args:
            expression: 1 to 10 words with + and - between them: "portrait - painting + photo".

        Returns:
            {"expression", "results": [{"word", "score", "count"}]}
        """
        try:
            return solve(expression, self.models.vectors, NEIGHBOURS).to_dict()
        except UserError as error:
            raise toast(self.handlers.told(error)) from None


def _depth(dimension: str) -> int:
    return 3 if dimension == SPACE else 2
