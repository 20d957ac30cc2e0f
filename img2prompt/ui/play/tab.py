"""The Play tab: guess the prompt of a picture against the model, five rounds a game."""

from html import escape
from typing import Any

import gradio as gr

from img2prompt.ui.context import QUIET, Asked, Page, html_part
from img2prompt.ui.play import board
from img2prompt.ui.play.game import MOST_WORDS, Game, Puzzle, choose, typed_words
from img2prompt.ui.play.random_picture import PairError
from img2prompt.ui.service import ModelService

OURS, REAL = "ours", "real"
MAX_TYPED = 400  # characters; ten words have a quarter of that

# Enter goes on: from the answer to the next round, and from there back to typing.
_FOCUS_NEXT = "() => { setTimeout(() => { document.querySelector('#play-next')?.focus(); }, 150); }"
_FOCUS_TYPING = (
    "() => { setTimeout(() => { document.querySelector('#play-guess textarea, #play-guess input')"
    "?.focus(); }, 150); }"
)
# A screen reader tells what changes there.
_LIVE = "element.setAttribute('aria-live', 'polite');"

Laid = tuple[Any, ...]  # values of components, or components with new properties


class Play:
    """The tab's components, and what its buttons do.

    Args:
        page: the page around it.

    Attributes:
        puzzles: the shipped pictures whose prompt is known.
        picture, source: what is on the table, and where the next one comes from.
        board, notice, counter, result: the HTML of a game.
        guess: the line that a person types.
        go, onward, anew: the buttons that show the prompt, go on, and start again.
        state: the visitor's `Game`.
        table: all that a new picture changes, in the order of `_laid`.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.puzzles = [
            Puzzle(example.path.name, example.path, example.prompt, example.alt)
            for example in page.examples
            if example.prompt
        ]
        text = page.text
        html_part("play-lead", board.lead_html(text))
        with gr.Row(elem_id="play-desk", equal_height=False):
            with gr.Column(scale=5, min_width=300, elem_id="play-ask"):
                self.picture = html_part("play-picture")
                self.source = gr.Radio(
                    [(text("play.source_ours"), OURS), (text("play.source_real"), REAL)],
                    value=OURS,
                    label=text("play.source"),
                    elem_id="play-source",
                )
            with gr.Column(scale=7, min_width=300, elem_id="play-tell"):
                self.board = html_part("play-board")
                self.notice = html_part(
                    "play-notice", js_on_load="element.setAttribute('role', 'status');"
                )
                self.guess = gr.Textbox(
                    label=text("play.guess"),
                    placeholder=text("play.placeholder"),
                    info=text("play.hint", most=MOST_WORDS),
                    lines=1,
                    max_lines=1,
                    max_length=MAX_TYPED,
                    elem_id="play-guess",
                )
                self.counter = html_part(
                    "play-counter", board.counter_html(0, text), js_on_load=_LIVE
                )
                self.go = gr.Button(text("play.reveal"), variant="primary", elem_id="play-go")
                self.result = html_part("play-result", js_on_load=_LIVE)
                self.onward = gr.Button(
                    text("play.next"), variant="primary", visible=False, elem_id="play-next"
                )
                self.anew = gr.Button(text("play.new"), elem_id="play-new")
        self.state = gr.State(Game())
        asked = [self.state, self.picture, self.source, self.board, self.notice]
        told = [self.guess, self.counter, self.go, self.result, self.onward, self.anew]
        self.table: list[Any] = [*asked, *told]

    def start(self) -> Laid:
        """The first picture."""
        return self.deal(Game(), OURS)

    def deal(self, game: Game, source: str) -> Laid:
        """The next picture; one of ours where the network fails, and a sentence."""
        text, sentence = self.page.text, ""
        if source == REAL:
            try:
                return self._laid(game.deal(_real_puzzle(self.page.models)), REAL)
            except PairError as error:
                sentence = text(f"play.error.{error.reason}")
        if not self.puzzles:
            return self._laid(game, OURS, sentence or text("play.no_pictures"))
        if sentence and game.open:
            return self._laid(game, OURS, sentence)  # the picture on the table is one of ours
        return self._laid(game.deal(choose(self.puzzles, game.used)), OURS, sentence)

    def again(self, game: Game, source: str) -> Laid:
        """The first picture of a new game."""
        return self.deal(game.again(), source)

    def switch(self, game: Game, source: str) -> Any:
        """Another kind of pictures; an answered round stays, and it counts from the next one on."""
        return self.deal(game, source) if game.open or game.puzzle is None else gr.skip()

    def count(self, typed: str) -> str:
        """How many words are typed."""
        return board.counter_html(len(typed_words(typed)), self.page.text)

    def reveal(self, game: Game, typed: str, preset: str) -> Laid:
        """Score the round."""
        page, text, models = self.page, self.page.text, self.page.models
        with page.errors():
            puzzle, _ = game.to_play(typed)
            prediction = models(puzzle.picture, preset, MOST_WORDS)
            game = game.play(typed, prediction, models.vectors)
        name = page.preset_name(preset)
        return (
            game,
            board.board_html(game, text, name),
            "",
            gr.Textbox(interactive=False),
            gr.Button(visible=False),
            board.result_html(game, text, name, models.blocked),
            gr.Button(visible=not game.over),
            gr.Button(variant="primary" if game.over else "secondary"),
        )

    def _laid(self, game: Game, source: str, notice: str = "") -> Laid:
        """What stands on the page before a round is played."""
        text, waiting = self.page.text, game.puzzle is not None and game.open
        return (
            game,
            board.picture_html(game, text),
            source,
            board.board_html(game, text, ""),
            notice and f"<p>{escape(notice)}</p>",
            gr.Textbox(value="", interactive=waiting),
            board.counter_html(0, text),
            gr.Button(visible=waiting),
            "",
            gr.Button(visible=False),
            gr.Button(variant="secondary"),
        )


def build(page: Page, asked: Asked) -> Play:
    """Lay the tab out and wire it."""
    tab = Play(page)
    _wire(tab, asked)
    return tab


def _wire(tab: Play, asked: Asked) -> None:
    private = tab.page.private
    dealt: dict[str, Any] = {
        "inputs": [tab.state, tab.source],
        "outputs": tab.table,
        "show_progress": "minimal",
        "show_progress_on": tab.picture,
        "concurrency_limit": 4,
    }
    gr.on(None, tab.start, outputs=tab.table, **private("play_start"), **QUIET)
    tab.guess.change(
        tab.count,
        tab.guess,
        tab.counter,
        trigger_mode="always_last",
        **private("play_count"),
        **QUIET,
    )
    shown = [tab.state, tab.board, tab.notice, tab.guess]
    gr.on(
        [tab.go.click, tab.guess.submit],
        tab.reveal,
        [tab.state, tab.guess, asked.preset],
        [*shown, tab.go, tab.result, tab.onward, tab.anew],
        show_progress="minimal",
        show_progress_on=tab.result,
        **private("play_reveal"),
    ).success(None, js=_FOCUS_NEXT, show_progress="hidden")
    tab.source.input(tab.switch, **private("play_switch"), **dealt)
    for button, deal, name in (
        (tab.onward, tab.deal, "play_next"),
        (tab.anew, tab.again, "play_new"),
    ):
        dealing = button.click(deal, **private(name), **dealt)
        dealing.success(None, js=_FOCUS_TYPING, show_progress="hidden")


def _real_puzzle(models: ModelService) -> Puzzle:
    pair = models.pairs.draw()
    return Puzzle(pair.name, pair.data, pair.prompt, part=pair.part)
