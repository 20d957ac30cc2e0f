"""The Map tab: the vocabulary to walk around in, search, word arithmetic, the picture upon it."""

import json
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import gradio as gr
import numpy as np
from gradio import processing_utils
from gradio.components.plot import PlotData

from img2prompt.core.errors import UserError
from img2prompt.core.printable import encodable
from img2prompt.data.block_list import mask
from img2prompt.embedding.analogy import (
    MOST_CHARACTERS,
    ExpressionError,
    beginning,
    known_word,
    solve,
)
from img2prompt.embedding.kinds import KINDS
from img2prompt.evaluation import metrics as evaluation
from img2prompt.inference import export
from img2prompt.ui.context import WATCH, Page, looked_at_now, one_of
from img2prompt.ui.map import card as map_card
from img2prompt.ui.map.figures import Group, picture_part, sum_part, vocabulary_figure, word_part

NEIGHBOURS = 10
MOST_NEIGHBOURS = 50
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
_CARRY = (
    "const lay = () => window.img2prompt.map.part('{name}', element); watch('value', lay); lay();"
)


def build(page: Page) -> None:
    """Lay the tab out and wire it; the figure is made when somebody looks."""
    guesser, text = page.guesser, page.text
    if guesser.map is None:
        gr.HTML(map_card.sentence_html(text("guess.no_map")), apply_default_css=False)
        return
    vocabulary, vectors, names = guesser.map, guesser.vectors, page.figure_names()

    lead = gr.HTML(
        f"<p>{escape(text('map.lead', words=text.number(len(vocabulary), 0)))}</p>",
        js_on_load=WATCH + "window.img2prompt.map.watch(trigger);",
        apply_default_css=False,
        elem_id="map-intro",
    )
    with gr.Row(elem_id="map-controls", equal_height=False):
        search = gr.Textbox(
            label=text("map.search"),
            placeholder=text("map.search_placeholder"),
            max_lines=1,
            max_length=MAX_WORD,
            scale=2,
            min_width=220,
            elem_id="map-search",
        )
        dimension = gr.Radio(
            [(text("map.plane"), PLANE), (text("map.space"), SPACE)],
            value=PLANE,
            label=text("map.dimension"),
            min_width=160,
            elem_id="map-dimension",
        )
        colour = gr.Radio(
            [(text("map.by_kind"), BY_KIND), (text("map.by_theme"), BY_THEME)],
            value=BY_KIND if guesser.kinds is not None else BY_THEME,
            label=text("map.colour"),
            visible=guesser.kinds is not None,
            min_width=160,
            elem_id="map-colour",
        )
    with gr.Row(elem_id="map-desk", equal_height=False):
        with gr.Column(scale=8, min_width=300, elem_id="map-left"):
            plot = gr.Plot(show_label=False, container=False, elem_id="map-plot")
            gr.HTML(
                f'<p><button type="button" data-map-whole class="quiet-button">'
                f"{escape(text('map.whole'))}</button> <span>{escape(text('map.hint'))}</span></p>"
                f'<p class="method">{escape(text("map.method", method=vocabulary.method))}</p>',
                apply_default_css=False,
                elem_id="map-hint",
            )
        with gr.Column(scale=4, min_width=280, elem_id="map-right"):
            card = gr.HTML(
                map_card.beginnings_html("", (), text),
                js_on_load=_CARRY.format(name="word")
                + "element.setAttribute('aria-live', 'polite');",
                apply_default_css=False,
                elem_id="map-word",
            )
            sum_ = gr.Textbox(
                label=text("map.sum"),
                placeholder=text("map.sum_placeholder"),
                info=text("map.sum_info"),
                max_lines=1,
                max_length=MOST_CHARACTERS,
                elem_id="map-sum",
            )
            gr.HTML(map_card.sums_html(text), apply_default_css=False, elem_id="map-sums")
            summed = gr.HTML(
                "",
                js_on_load=_CARRY.format(name="sum")
                + "element.setAttribute('aria-live', 'polite');",
                apply_default_css=False,
                elem_id="map-sum-answer",
            )
    pictured = gr.HTML(
        map_card.no_picture_html(text),
        js_on_load=_CARRY.format(name="picture"),
        apply_default_css=False,
        elem_id="map-picture",
    )
    with gr.Accordion(text("map.table_title"), open=False, elem_id="map-table") as table:
        gr.HTML(map_card.themes_html(vocabulary, text), apply_default_css=False)
        whole = gr.DownloadButton(text("map.save_whole"), size="sm", elem_id="map-save")
    looked_at = gr.State(False)
    drawn = gr.State(())  # (dimensions, colour) of the figure that stands there

    def draw(dimension, colour, seen, drawn):
        if not seen or drawn == (dimension, colour):
            return gr.skip(), gr.skip()
        return _figure(page, _depth(dimension), colour), (dimension, colour)

    def tell_word(typed, dimension):
        word = known_word(typed, vectors)
        if word is None:
            safe = mask(typed, guesser.blocked)
            return map_card.beginnings_html(safe, beginning(typed, vocabulary.words), text)
        near = vectors.neighbours(word, NEIGHBOURS, answers_only=True)
        part = word_part(vocabulary, names, word, near, _depth(dimension))
        rows = [(other, score, guesser.count(other)) for other, score in near]
        return map_card.word_html(word, rows, guesser.count(word), _belongs(page, word), part, text)

    def tell_sum(written, dimension):
        if not written.strip():
            return ""
        try:
            solution = solve(written, vectors, NEIGHBOURS)
        except ExpressionError as error:
            return map_card.sentence_html(_told(error, page))
        part = sum_part(vocabulary, names, solution, _depth(dimension))
        return map_card.sum_html(solution, part, text)

    def tell_picture(picture, preset, count, truth, dimension, seen):
        if not seen:
            return gr.skip()
        if picture is None:
            return map_card.no_picture_html(text)
        try:
            page.check_picture(picture)
            prediction = guesser(picture, preset, round(count))
        except UserError as error:
            return map_card.sentence_html(error.told(text))
        rows = evaluation.true_words(truth, vectors)
        true = [vectors.words[row] for row in rows if vectors.shown[row]]
        part = picture_part(vocabulary, names, prediction, true, _depth(dimension))
        themes = {
            word.word: vocabulary.labels[vocabulary.themes[vocabulary.index[word.word]]]
            for word in prediction.words
            if word.word in vocabulary.index
        }
        return map_card.picture_html(prediction, true, themes, part, text)

    def pick(event: gr.EventData) -> tuple:
        data = event._data if isinstance(event._data, dict) else {}
        word, written = data.get("word"), data.get("sum")
        return (
            encodable(word)[:MAX_WORD] if isinstance(word, str) else gr.skip(),
            encodable(written)[:MOST_CHARACTERS] if isinstance(written, str) else gr.skip(),
        )

    def save_whole() -> str:
        with TemporaryDirectory() as folder:
            path = export.save(Path(folder) / "img2prompt-map.csv", _whole_csv(page))
            # gradio serves only what lies in its own cache.
            return processing_utils.save_file_to_cache(path, whole.GRADIO_CACHE)

    quiet = {"show_progress": "hidden", "queue": False}
    live = quiet | {"trigger_mode": "always_last"}
    pictures = [page.picture, page.preset, page.count, page.truth, dimension, looked_at]
    shown = {"show_progress": "minimal", "show_progress_on": plot, "trigger_mode": "always_last"}
    lead.change(looked_at_now, outputs=looked_at, **quiet, **page.private("map_look")).then(
        draw, [dimension, colour, looked_at, drawn], [plot, drawn], **page.private("map"), **shown
    ).then(tell_picture, pictures, pictured, **page.private("map_looked"), show_progress="hidden")
    lead.click(pick, outputs=[search, sum_], **page.private("map_pick"), **quiet)
    search.change(tell_word, [search, dimension], card, **page.private("map_word"), **live)
    sum_.change(tell_sum, [sum_, dimension], summed, **page.private("map_sum"), **live)
    gr.on(
        [dimension.change, colour.change],
        draw,
        [dimension, colour, looked_at, drawn],
        [plot, drawn],
        **page.private("map_draw"),
        **shown,
    )
    # What lies on a plane does not lie in space.
    for teller, inputs, output, name in (
        (tell_word, [search, dimension], card, "word"),
        (tell_sum, [sum_, dimension], summed, "sum"),
        (tell_picture, pictures, pictured, "picture"),
    ):
        dimension.change(teller, inputs, output, **page.private(f"map_turn_{name}"), **live)
    gr.on(
        [page.picture.change, page.preset.change, page.count.change, page.truth.change],
        tell_picture,
        pictures,
        pictured,
        show_progress="hidden",
        trigger_mode="always_last",
        **page.private("map_picture"),
    )
    # The file is there when the button is pressed: a download button takes what it has.
    table.expand(save_whole, outputs=whole, **page.private("map_save"), **quiet)

    page.linked("dims", dimension, one_of((PLANE, SPACE)))
    page.linked("colour", colour, one_of((BY_KIND, BY_THEME)))
    page.linked("word", search, _short)
    page.linked("sum", sum_, _short)
    _api(page)


def _api(page: Page) -> None:
    """The endpoints for programs: plain data in, plain data out."""
    if not page.published:
        return
    guesser = page.guesser

    def neighbours(word: str, count: int = NEIGHBOURS) -> dict:
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
        with page.errors():
            known = known_word(word, guesser.vectors)
            if known is None:
                typed = mask(word.strip()[:40], guesser.blocked)
                raise UserError("map.unknown", word=typed)
            near = guesser.vectors.neighbours(known, count, answers_only=True)
            return {
                "word": known,
                "count": guesser.count(known),
                "kind": guesser.kind(known),
                "neighbours": [
                    {"word": other, "score": round(score, 4), "count": guesser.count(other)}
                    for other, score in near
                ],
            }

    def arithmetic(expression: str) -> dict:
        """Add and subtract words of Stable Diffusion prompts, and name the words nearest to that.

        The words' vectors are added; the ten nearest words come by falling score, the cosine (−1
        to 1) to the sum, without the words that were typed.

        Args:
            expression: 1 to 10 words with + and - between them: "portrait - painting + photo".

        Returns:
            {"expression", "results": [{"word", "score", "count"}]}
        """
        with page.errors():
            try:
                return solve(expression, guesser.vectors, NEIGHBOURS).to_dict()
            except ExpressionError as error:
                raise UserError(_told(error, page)) from None

    found, worked = gr.JSON(visible=False), gr.JSON(visible=False)
    word = gr.Textbox(visible=False, max_length=MAX_WORD)
    count = gr.Number(NEIGHBOURS, minimum=1, maximum=MOST_NEIGHBOURS, precision=0, visible=False)
    expression = gr.Textbox(visible=False, max_length=MOST_CHARACTERS)
    gr.Button(visible=False).click(neighbours, [word, count], found, **page.api("neighbours"))
    gr.Button(visible=False).click(arithmetic, expression, worked, **page.api("arithmetic"))


def _told(error: ExpressionError, page: Page) -> str:
    """Why a sum cannot be worked out, in the page's language."""
    return mask(page.text(f"map.error_{error.reason}", **error.values), page.guesser.blocked)


def _figure(page: Page, dimensions: int, colour: str) -> PlotData:
    vocabulary = page.guesser.map
    names = page.figure_names()
    groups = _kind_groups(page) if colour == BY_KIND else _theme_groups(page)
    figure = vocabulary_figure(vocabulary, names, groups, dimensions)
    config = _CONFIG if dimensions == 2 else _SPACE_CONFIG
    # gradio hands `config` on, but plotly's own JSON has none.
    plot = json.loads(figure.to_json()) | {"config": config}
    return PlotData(type="plotly", plot=json.dumps(plot))


def _kind_groups(page: Page) -> list[Group]:
    kinds = np.array([page.guesser.kind(word) or "" for word in page.guesser.map.words])
    other = Group(page.text("kind.none"), OTHER_COLOUR, np.flatnonzero(kinds == ""))
    return [other] + [
        Group(page.text(f"kind.{kind}"), KIND_COLOURS[kind], np.flatnonzero(kinds == kind))
        for kind in KINDS
    ]


def _theme_groups(page: Page) -> list[Group]:
    vocabulary = page.guesser.map
    return [
        Group(
            name,
            THEME_COLOURS[theme % len(THEME_COLOURS)],
            np.flatnonzero(vocabulary.themes == theme),
            listed=False,
        )
        for theme, name in enumerate(vocabulary.labels)
    ]


def _belongs(page: Page, word: str) -> list[str]:
    """A word's kind and theme, as the card tells them."""
    told = []
    if kind := page.guesser.kind(word):
        told.append(page.text(f"kind.{kind}"))
    vocabulary = page.guesser.map
    if word in vocabulary.index:
        theme = vocabulary.labels[vocabulary.themes[vocabulary.index[word]]]
        told.append(page.text("map.in_theme", theme=theme))
    return told


def _whole_csv(page: Page) -> str:
    """Every word of the map with all that the map knows of it."""
    vocabulary = page.guesser.map
    columns = ("word", "count", "kind", "theme", "x", "y", "x3", "y3", "z3")
    rows = (
        (
            word,
            int(vocabulary.counts[row]),
            page.guesser.kind(word) or "",
            vocabulary.labels[vocabulary.themes[row]],
            *(f"{at:.4f}" for at in (*vocabulary.positions[row], *vocabulary.space[row])),
        )
        for row, word in enumerate(vocabulary.words)
    )
    return export.table_as_csv(columns, rows)


def _depth(dimension: str) -> int:
    return 3 if dimension == SPACE else 2


def _short(value: str) -> str:
    if len(value) > MAX_WORD:
        raise ValueError(value)
    return encodable(value)
