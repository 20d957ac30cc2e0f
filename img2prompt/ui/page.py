"""The page: what stands where, and which event asks for what."""

import json
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils
from gradio.components.plot import PlotData

from img2prompt import images
from img2prompt.artifacts import Assets
from img2prompt.errors import UserError
from img2prompt.ui import text
from img2prompt.ui.answer import answer_html, waiting_html
from img2prompt.ui.examples import ON_LOAD, examples_html, load_examples
from img2prompt.ui.guess import Guesser

MAX_WORDS = 20
DEFAULT_WORDS = 10
_STYLE = Path(__file__).with_name("style.css")
_HOUR = 3600
# Names that every system has: a web font would be a request to somebody else's server.
_FONT = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "Menlo", "Consolas", "Liberation Mono", "monospace"]
_PLOT_CONFIG = {
    "displaylogo": False,
    "displayModeBar": True,
    "modeBarButtons": [["pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
}


def build_app(assets: Assets, preset: str | None = None) -> gr.Blocks:
    """The page over one folder of artifacts; its default model is loaded and warm on return.

    Args:
        assets: models, embedding, map, and example pictures if it has any.
        preset: the model that is switched on at first; unset, the default one.

    Raises:
        UserError: unknown preset, or artifacts that are missing, changed or don't fit together.
    """
    guesser = Guesser(assets, preset)
    examples = load_examples(assets.folder)

    def predict(image: str | None, preset: str, words: float) -> tuple:
        if image is None:
            return _blank(guesser)
        try:
            if not Path(image).is_file():  # uploads are deleted after an hour
                raise UserError(text.PICTURE_GONE)
            guess = guesser(image, preset, round(words))
        except UserError as error:
            raise _shown(error) from None
        prediction = guess.prediction
        return (
            answer_html(prediction),
            prediction.prompt,
            _plot(guess.figure),
            prediction.to_dict(vectors=False),
        )

    def take_example(event: gr.EventData) -> str:
        number = event._data.get("example") if isinstance(event._data, dict) else None
        if not isinstance(number, int) or not 0 <= number < len(examples):
            raise _shown(UserError(text.NO_EXAMPLE))
        # gradio serves only what lies in its own cache.
        return processing_utils.save_file_to_cache(examples[number].path, picture.GRADIO_CACHE)

    with gr.Blocks(
        title=text.TITLE, fill_width=True, analytics_enabled=False, delete_cache=(_HOUR, _HOUR)
    ) as app:
        gr.HTML(f"<h1>{text.TITLE}</h1><p>{text.LEAD}</p>", elem_id="lead", apply_default_css=False)
        with gr.Row(elem_id="desk", equal_height=False):
            with gr.Column(scale=5, min_width=300, elem_id="ask"):
                picture = gr.Image(
                    label=text.PICTURE,
                    type="filepath",
                    image_mode=None,
                    sources=["upload", "webcam", "clipboard"],
                    placeholder=text.PICTURE_PLACEHOLDER,
                    buttons=["fullscreen"],
                    height=380,
                    elem_id="picture",
                )
                # gradio's own reading opens the file before we can say what is wrong with it.
                picture.preprocess = _path_of
                strip = gr.HTML(
                    examples_html(examples),
                    js_on_load=ON_LOAD,
                    visible=bool(examples),
                    apply_default_css=False,
                    elem_id="examples",
                )
                choice = gr.Radio(
                    [(text.preset_label(name), name) for name in _ordered(assets.presets)],
                    value=guesser.preset,
                    label=text.PRESET,
                    elem_id="preset",
                )
                description = gr.HTML(
                    _description(guesser.preset), apply_default_css=False, elem_id="description"
                )
                count = gr.Slider(
                    1,
                    MAX_WORDS,
                    value=DEFAULT_WORDS,
                    step=1,
                    label=text.WORD_COUNT,
                    buttons=[],
                    elem_id="count",
                )
            with gr.Column(scale=7, min_width=300, elem_id="tell"):
                answer = gr.HTML(
                    waiting_html(),
                    js_on_load="element.setAttribute('aria-live', 'polite');",
                    apply_default_css=False,
                    elem_id="answer",
                )
                prompt = gr.Textbox(
                    label=text.PROMPT,
                    buttons=["copy"],
                    interactive=False,
                    lines=2,
                    elem_id="prompt",
                )
                gr.HTML(
                    f"<h2>{text.MAP}</h2>"
                    f"<p>{text.MAP_HINT if guesser.map is not None else text.NO_MAP}</p>",
                    apply_default_css=False,
                    elem_id="map-lead",
                )
                plot = gr.Plot(
                    _plot(guesser.figure()),
                    show_label=False,
                    container=False,
                    visible=guesser.map is not None,
                    elem_id="map",
                )
                data = gr.JSON(visible=False)
        gr.HTML(_footer(), apply_default_css=False, elem_id="foot")

        answers = [answer, prompt, plot, data]
        strip.click(
            take_example,
            outputs=picture,
            api_name="example",
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
        choice.change(
            _description,
            choice,
            description,
            api_name="describe",
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
        asked = gr.on(
            [picture.change, choice.change, count.change],
            predict,
            [picture, choice, count],
            answers,
            api_name="predict",
            api_description=text.ANSWER_API,
            show_progress="minimal",
            show_progress_on=answer,
            # While one answer is under way only the last change counts.
            trigger_mode="always_last",
        )
        # An answer to the picture before must not stand beside one that could not be read.
        asked.failure(
            lambda: _blank(guesser, text.FAILED),
            outputs=answers,
            api_name="failed",
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
    app.queue(default_concurrency_limit=2, max_size=64)
    return app


def launch(
    assets: Assets,
    preset: str | None = None,
    host: str | None = None,
    port: int | None = None,
    block: bool = True,
) -> gr.Blocks:
    """Build the page and serve it.

    Args:
        assets, preset: as `build_app`.
        host: unset, GRADIO_SERVER_NAME or this machine only.
        port: unset, GRADIO_SERVER_PORT or the first free one from 7860.
        block: serve until interrupted; else return at once.

    Raises:
        UserError: as `build_app`, or the port is taken.
    """
    app = build_app(assets, preset)
    try:
        app.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            quiet=True,
            max_file_size=images.MAX_BYTES,
            footer_links=["api", "settings"],
            theme=theme(),
            css_paths=[_STYLE],
        )
    except OSError as error:
        if "port" not in str(error):
            raise
        raise UserError(f"Port {port} is taken; choose another one with --port.") from None
    print(f"{text.TITLE}: {app.local_url}", flush=True)
    if block:
        app.block_thread()
    return app


def theme() -> gr.Theme:
    """Quiet surfaces, one accent, system fonts."""
    return gr.themes.Base(
        primary_hue="indigo",
        secondary_hue="indigo",
        neutral_hue="slate",
        font=_FONT,
        font_mono=_MONO,
        text_size="lg",
        radius_size="lg",
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="#0d1018",
        block_background_fill="#ffffff",
        block_background_fill_dark="#161a26",
        block_border_color_dark="#272d3d",
        block_label_text_size="*text_sm",
        block_title_text_weight="600",
        block_shadow="none",
    )


def _path_of(payload: Any) -> str | None:
    """What stands for `gr.Image.preprocess`: the uploaded file's path, unopened."""
    if payload is None:
        return None
    if payload.path is None:
        raise _shown(UserError(text.NO_PICTURE_FILE))
    return payload.path


def _blank(guesser: Guesser, sentence: str = text.WAITING) -> tuple:
    return waiting_html(sentence), "", _plot(guesser.figure()), None


def _plot(figure: Any) -> PlotData | None:
    """A figure with its mode bar: gradio hands `config` on, but plotly's own JSON has none."""
    if figure is None:
        return None
    return PlotData(
        type="plotly", plot=json.dumps(json.loads(figure.to_json()) | {"config": _PLOT_CONFIG})
    )


def _shown(error: UserError) -> gr.Error:
    # gradio shows the message as HTML, and ours may quote a file's name.
    return gr.Error(escape(str(error)), duration=15, print_exception=False)


def _ordered(presets: list[str]) -> list[str]:
    """The presets in the order that the texts tell of them, unknown ones last."""
    told = list(text.PRESETS)
    return sorted(presets, key=lambda p: (told.index(p) if p in told else len(told), p))


def _description(preset: str) -> str:
    return f"<p>{escape(text.preset_description(preset))}</p>"


def _footer() -> str:
    parts = "".join(f"<div><h3>{title}</h3><p>{body}</p></div>" for title, body in text.FOOTER)
    return f"<footer>{parts}</footer>"
