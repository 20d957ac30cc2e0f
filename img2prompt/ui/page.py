"""The page: its head, its tabs in every language, and what the address carries."""

import importlib.util
import ipaddress
import json
import os
import threading
from collections.abc import Collection
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.utils import get_space
from starlette.middleware import Middleware

from img2prompt.core.errors import UserError
from img2prompt.core.texts import ENGLISH, Texts, languages
from img2prompt.data import images
from img2prompt.inference.artifacts import Assets
from img2prompt.ui.context import Page
from img2prompt.ui.guess.examples import load_examples
from img2prompt.ui.server import faults, http_mistakes, mistakes
from img2prompt.ui.server.gate import LOCAL_NAMES, Gate, Rules, host_name
from img2prompt.ui.server.uploads import Uploads, private_folder
from img2prompt.ui.service import Guesser

TABS = ("guess", "map", "compare", "batch", "play", "learn")  # ids, and names of the modules
_HERE = Path(__file__).parent
_STYLES = [_HERE / "style.css", *sorted(_HERE.glob("*/*.css"))]
_SCRIPTS = [_HERE / "page.js", _HERE / "plain_http.js", _HERE / "map" / "map.js"]
SESSIONS = 1_000  # whose state is kept at a time; the longest idle goes first
# Sites of the hub that show a Space in a frame.
_HUB = ("https://huggingface.co", "https://*.hf.space")
# Names that every system has: a web font would be a request to somebody else's server.
_FONT = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
_MONO = ["ui-monospace", "Menlo", "Consolas", "Liberation Mono", "monospace"]


def build_app(
    assets: Assets,
    preset: str | None = None,
    language: str = ENGLISH,
    show_all: bool = False,
) -> gr.Blocks:
    """The page over one folder of artifacts; its default model is loaded and warm on return.

    Every language is a page of its own: `/` speaks the first one, `/de` German.

    Args:
        assets: models, embedding, map, and example pictures if it has any.
        preset: the model that is switched on at first; unset, the default one.
        language: the one that `/` speaks.
        show_all: also show words of the block list.

    Raises:
        UserError: unknown preset or language, or artifacts that are missing, changed or don't
            fit together.
    """
    texts = page_texts(language)
    private_folder()  # Gradio's components ask for it when they are made
    guesser = Guesser(assets, preset, show_all)
    app = mistakes.Blocks(
        title=texts[language]("page.title"),
        fill_width=True,
        analytics_enabled=False,
    )
    app.texts = texts
    with app:
        _build_page(
            Page(guesser, texts[language], True, load_examples(assets.folder, language)), texts
        )
    for code, text in texts.items():
        if code != language:
            with app.route(text("page.name"), code, show_in_navbar=False):
                _build_page(Page(guesser, text, False, load_examples(assets.folder, code)), texts)
    app.queue(default_concurrency_limit=2, max_size=64)
    return app


def launch(
    assets: Assets,
    preset: str | None = None,
    host: str | None = None,
    port: int | None = None,
    block: bool = True,
    language: str = ENGLISH,
    show_all: bool = False,
    allow_hosts: Collection[str] = (),
) -> gr.Blocks:
    """Build the page and serve it.

    Args:
        assets, preset, language, show_all: as `build_app`.
        host: unset, GRADIO_SERVER_NAME or this machine only.
        port: unset, GRADIO_SERVER_PORT or the first free one from 7860.
        block: serve until interrupted; else return at once.
        allow_hosts: names, beside this machine's own, under which a page that only this machine
            reaches answers: those of a proxy in front of it.

    Raises:
        UserError: as `build_app`, or the port is taken.
    """
    app = build_app(assets, preset, language, show_all)
    uploads = Uploads(private_folder())
    hosts = answered_hosts(host, allow_hosts)
    if block:
        faults.keep_visitors_out()
    try:
        app.launch(
            server_name=host,
            server_port=port,
            prevent_thread_lock=True,
            share=False,
            ssr_mode=False,
            enable_monitoring=False,
            quiet=True,
            # Language models may use the page too, where `gradio[mcp]` is installed.
            mcp_server=importlib.util.find_spec("mcp") is not None,
            max_file_size=images.MAX_BYTES,
            footer_links=["api", "settings"],
            app_kwargs=_behind_the_gate(uploads, app.texts, hosts),
            theme=theme(),
            css_paths=_STYLES,
            head=_scripts(app.texts),
            state_session_capacity=SESSIONS,
        )
    except OSError as error:
        if "port" not in str(error):
            raise
        raise UserError("ui.port_taken", port=port) from None
    mistakes.answer_models(app, uploads)
    print(f"{Texts(language)('page.title')}: {app.local_url}", flush=True)
    if block:
        _serve(app)
    return app


def _behind_the_gate(
    uploads: Uploads, texts: dict[str, Texts], hosts: Collection[str]
) -> dict[str, Any]:
    """What `launch(app_kwargs=…)` takes: the gate outermost, then the sentences, then Gradio."""
    space = get_space() is not None
    rules = Rules(uploads, texts, hosts, framed_by=_HUB if space else (), proxied=space)
    web = http_mistakes.app_kwargs(next(iter(texts.values())))
    web["middleware"].insert(0, Middleware(Gate, rules))
    return web | {"lifespan": uploads.lifespan}


def page_texts(language: str) -> dict[str, Texts]:
    """The texts of every language by code, that of `/` first.

    Raises:
        UserError: unknown language.
    """
    if language not in languages():
        raise UserError("ui.no_language", language=language, known=", ".join(languages()))
    return {language: Texts(language)} | {code: Texts(code) for code in languages()}


def answered_hosts(host: str | None, more: Collection[str]) -> frozenset[str]:
    """The names under which the page answers: this machine's own and `more`; empty for any.

    Only a page that other machines cannot reach is so strict: there, a foreign name is a page of
    another site that had its name pointed at this machine.

    Args:
        host: what the page listens on; unset, GRADIO_SERVER_NAME or this machine only.
        more: names that are allowed beside this machine's own.
    """
    bound = (host or os.environ.get("GRADIO_SERVER_NAME") or LOCAL_NAMES[1]).strip("[]")
    try:
        local = ipaddress.ip_address(bound).is_loopback
    except ValueError:
        local = bound == LOCAL_NAMES[0]
    if not local:
        return frozenset()
    proxy = urlsplit(os.environ.get("GRADIO_ROOT_PATH", "")).netloc
    names = map(host_name, (*more, proxy))
    return frozenset({*LOCAL_NAMES, bound, *names} - {""})


def _serve(app: gr.Blocks) -> None:
    """Serve until a signal ends the page."""
    try:
        threading.Event().wait()
    finally:
        app.close(verbose=False)


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
        # Gradio's own greys, and its indigo behind white letters, are too pale to read (WCAG asks
        # for a contrast of 4.5).
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
    )


def _scripts(texts: dict[str, Texts]) -> str:
    """The page's own scripts, and what its upload boxes say instead over plain http."""
    plain = {
        text(key): {way: text(f"guess.placeholder_{way}") for way in ("keys", "touch")}
        for text in texts.values()
        for key in ("guess.placeholder", "compare.first_placeholder")
    }
    # "<" would let a text end the script.
    told = json.dumps(plain).replace("<", "\\u003c")
    code = "".join(path.read_text("utf-8") for path in _SCRIPTS)
    return f"<script>window.img2promptPlaceholders = {told};\n{code}</script>"


def _build_page(page: Page, texts: dict[str, Texts]) -> None:
    text = page.text
    gr.Navbar(visible=False)  # our own head has the languages
    gr.HTML(
        _head(page, texts),
        js_on_load=f"document.documentElement.lang = {page.language!r};"
        "window.img2prompt.arrive();"
        "if (window.img2prompt.query().get('present') === '1') window.img2prompt.present(true);",
        apply_default_css=False,
        elem_id="lead",
    )
    built: dict[str, Any] = {}
    with gr.Tabs(elem_id="tabs") as page.tabs:
        for name in TABS:
            with gr.Tab(text(f"page.tab_{name}"), id=name, elem_id=f"tab-{name}") as tab:
                import_module(f"img2prompt.ui.{name}.tab").build(page)
            built[name] = tab
    gr.HTML(_foot(text), apply_default_css=False, elem_id="foot")

    for name, tab in built.items():
        _remember_on(tab.select, "tab", TABS[0], value=name)
    for name, component, _ in page.links:
        _remember_on(component.change, name, component.value, component)
    _restore(page)


def _restore(page: Page) -> None:
    """On arrival, what the address says; what it says wrongly is passed over."""

    def restore(request: gr.Request) -> list:
        query = dict(request.query_params)
        updates = []
        for name, _, parse in page.links:
            try:
                value = parse(query[name])
            except (KeyError, ValueError):
                updates.append(gr.skip())
                continue
            updates.append(gr.update(value=value))
        return updates if len(updates) != 1 else updates[0]

    gr.on(
        None,
        restore,
        outputs=[component for _, component, _ in page.links],
        show_progress="hidden",
        queue=False,
        **page.private("restore"),
    )


def _remember_on(
    event: Any, name: str, usual: Any, component: Any = None, value: str | None = None
) -> None:
    """Write a state to the address, in the browser alone."""
    usual = json.dumps(usual)
    if component is None:
        script = f"() => {{ window.img2prompt.remember('{name}', {json.dumps(value)}, {usual}); }}"
        event(None, js=script, show_progress="hidden")
    else:
        script = f"(value) => {{ window.img2prompt.remember('{name}', value, {usual}); }}"
        event(None, component, js=script, show_progress="hidden")


def _head(page: Page, texts: dict[str, Texts]) -> str:
    text = page.text
    first = next(iter(texts))
    links = "".join(
        f'<a href="{"." if code == first else code}" data-language="'
        f'{"." if code == first else code}" hreflang="{code}" lang="{code}">'
        f"{escape(other('page.name'))}</a>"
        for code, other in texts.items()
        if code != page.language
    )
    return (
        f"<header><div><h1>{escape(text('page.title'))}</h1><p>{escape(text('page.lead'))}</p></div>"
        f'<nav aria-label="{escape(text("page.also_in"), quote=True)}">{links}'
        f'<button type="button" data-present aria-pressed="false" title="'
        f'{escape(text("page.present_hint"), quote=True)}">{escape(text("page.present"))}</button>'
        "</nav></header>"
    )


def _foot(text: Texts) -> str:
    parts = (
        (
            text("page.local_title"),
            f"{escape(text('page.local'))} {escape(text('page.local_play'))}",
        ),
        (text("page.share"), escape(text("page.share_text"))),
        (text("page.more"), text("page.more_text")),
    )
    body = "".join(f"<div><h2>{escape(title)}</h2><p>{told}</p></div>" for title, told in parts)
    return f"<footer>{body}</footer>"
