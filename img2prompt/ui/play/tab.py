"""The Play tab: guess the prompt of a picture against the model, five rounds a game."""

from typing import Any

import gradio as gr

from img2prompt.core.errors import UserError
from img2prompt.ui.context import Page
from img2prompt.ui.play import board as play_board
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


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    text, guesser = page.text, page.guesser
    puzzles = [
        Puzzle(example.path.name, example.path, example.prompt, example.alt)
        for example in page.examples
        if example.prompt
    ]

    gr.HTML(play_board.lead_html(text), apply_default_css=False, elem_id="play-lead")
    with gr.Row(elem_id="play-desk", equal_height=False):
        with gr.Column(scale=5, min_width=300, elem_id="play-ask"):
            picture = gr.HTML("", apply_default_css=False, elem_id="play-picture")
            source = gr.Radio(
                [(text("play.source_ours"), OURS), (text("play.source_real"), REAL)],
                value=OURS,
                label=text("play.source"),
                elem_id="play-source",
            )
        with gr.Column(scale=7, min_width=300, elem_id="play-tell"):
            board = gr.HTML("", apply_default_css=False, elem_id="play-board")
            notice = gr.HTML(
                "",
                js_on_load="element.setAttribute('role', 'status');",
                apply_default_css=False,
                elem_id="play-notice",
            )
            guess = gr.Textbox(
                label=text("play.guess"),
                placeholder=text("play.placeholder"),
                info=text("play.hint", most=MOST_WORDS),
                lines=1,
                max_lines=1,
                max_length=MAX_TYPED,
                elem_id="play-guess",
            )
            counter = gr.HTML(
                play_board.counter_html(0, text),
                js_on_load="element.setAttribute('aria-live', 'polite');",
                apply_default_css=False,
                elem_id="play-counter",
            )
            go = gr.Button(text("play.reveal"), variant="primary", elem_id="play-go")
            result = gr.HTML(
                "",
                js_on_load="element.setAttribute('aria-live', 'polite');",
                apply_default_css=False,
                elem_id="play-result",
            )
            onward = gr.Button(
                text("play.next"), variant="primary", visible=False, elem_id="play-next"
            )
            anew = gr.Button(text("play.new"), elem_id="play-new")
    state = gr.State(Game())
    table = [state, picture, source, board, notice, guess, counter, go, result, onward, anew]

    def laid(game: Game, source: str, notice: str = "") -> tuple:
        """What stands on the page before a round is played."""
        waiting = game.puzzle is not None and game.open
        return (
            game,
            play_board.picture_html(game, text),
            source,
            play_board.board_html(game, text, ""),
            play_board.notice_html(notice),
            gr.Textbox(value="", interactive=waiting),
            play_board.counter_html(0, text),
            gr.Button(visible=waiting),
            "",
            gr.Button(visible=False),
            gr.Button(variant="secondary"),
        )

    def deal(game: Game, source: str) -> tuple:
        """The next picture; one of ours where the network fails, and a sentence."""
        sentence = ""
        if source == REAL:
            try:
                return laid(game.deal(_real_puzzle(guesser)), REAL)
            except PairError as error:
                sentence = text(f"play.error.{error.reason}")
        if not puzzles:
            return laid(game, OURS, sentence or text("play.no_pictures"))
        if sentence and game.open:
            return laid(game, OURS, sentence)  # the picture on the table is one of ours already
        return laid(game.deal(choose(puzzles, game.used)), OURS, sentence)

    def switch(game: Game, source: str) -> Any:
        # An answered round stays on the page; the switch then counts from the next one on.
        return deal(game, source) if game.open or game.puzzle is None else gr.skip()

    def reveal(game: Game, typed: str, preset: str) -> tuple:
        count = len(typed_words(typed))
        with page.errors():
            if game.puzzle is None or not game.open:
                raise UserError("play.not_open")
            if count == 0:
                raise UserError("play.none_typed")
            if count > MOST_WORDS:
                raise UserError("play.too_many", count=count, most=MOST_WORDS)
            prediction = guesser(game.puzzle.picture, preset, MOST_WORDS)
            game = game.play(typed, prediction, guesser.vectors)
        name = page.preset_name(preset)
        return (
            game,
            play_board.board_html(game, text, name),
            play_board.notice_html(""),
            gr.Textbox(interactive=False),
            gr.Button(visible=False),
            play_board.result_html(game, text, name, guesser.blocked),
            gr.Button(visible=not game.over),
            gr.Button(variant="primary" if game.over else "secondary"),
        )

    quiet = {"show_progress": "hidden", "queue": False}
    dealt = {"show_progress": "minimal", "show_progress_on": picture, "concurrency_limit": 4}
    gr.on(None, lambda: deal(Game(), OURS), outputs=table, **page.private("play_start"), **quiet)
    guess.change(
        lambda typed: play_board.counter_html(len(typed_words(typed)), text),
        guess,
        counter,
        trigger_mode="always_last",
        **page.private("play_count"),
        **quiet,
    )
    gr.on(
        [go.click, guess.submit],
        reveal,
        [state, guess, page.preset],
        [state, board, notice, guess, go, result, onward, anew],
        show_progress="minimal",
        show_progress_on=result,
        **page.private("play_reveal"),
    ).success(None, js=_FOCUS_NEXT, show_progress="hidden")
    source.input(switch, [state, source], table, **page.private("play_switch"), **dealt)
    onward.click(deal, [state, source], table, **page.private("play_next"), **dealt).success(
        None, js=_FOCUS_TYPING, show_progress="hidden"
    )
    anew.click(
        lambda game, source: deal(game.again(), source),
        [state, source],
        table,
        **page.private("play_new"),
        **dealt,
    ).success(None, js=_FOCUS_TYPING, show_progress="hidden")


def _real_puzzle(guesser: ModelService) -> Puzzle:
    pair = guesser.pairs.draw()
    return Puzzle(pair.name, pair.data, pair.prompt, part=pair.part)
