"""The page: its head, its tabs in every language, and what the address carries."""

import importlib.util
import ipaddress
import json
import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio.components.navbar import Navbar
from gradio.utils import get_space
from starlette.middleware import Middleware

from img2prompt.core.errors import UserError
from img2prompt.core.html import macros
from img2prompt.core.texts import ENGLISH, Texts, languages
from img2prompt.core.transfers import keep_quiet
from img2prompt.data import images
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.examples import load_examples
from img2prompt.ui.batch import tab as batch
from img2prompt.ui.compare import tab as compare
from img2prompt.ui.context import Page, html_part
from img2prompt.ui.guess import tab as guess
from img2prompt.ui.learn import tab as learn
from img2prompt.ui.map import tab as map_tab
from img2prompt.ui.play import tab as play
from img2prompt.ui.server import faults, mistakes, sessions
from img2prompt.ui.server.gate import LOCAL_NAMES, Gate, Rules, host_name
from img2prompt.ui.server.uploads import Uploads, private_folder
from img2prompt.ui.service import ModelService
from img2prompt.ui.theme import theme

_HERE = Path(__file__).parent
_STYLES = [_HERE / "style.css", *sorted(_HERE.glob("*/*.css"))]
_SCRIPTS = [_HERE / "page.js", _HERE / "plain_http.js", _HERE / "map" / "map.js"]
SESSIONS = 1_000  # whose state is kept at a time; the longest idle goes first
# Sites of the hub that show a Space in a frame.
_HUB = ("https://huggingface.co", "https://*.hf.space")
_HTML = macros("ui/page")


@dataclass(frozen=True)
class Options:
    """How a page starts.

    Attributes:
        preset: the model that is switched on at first; unset, the default one.
        language: the one that `/` speaks.
        show_all: also show words of the block list.
    """

    preset: str | None = None
    language: str = ENGLISH
    show_all: bool = False


def build_app(assets: Assets, options: Options = Options()) -> mistakes.Blocks:
    """The page over one folder of artifacts; its default model is loaded and warm on return.

    Every language is a page of its own: `/` speaks the first one, `/de` German.

    Args:
        assets: models, embedding, map, and example pictures if it has any.
        options: how it starts.

    Raises:
        UserError: unknown preset or language, or artifacts that are missing, changed or don't
            fit together.
    """
    language = options.language
    texts = page_texts(language)
    keep_quiet()  # Gradio asks the hub for names of programs otherwise
    private_folder()  # Gradio's components ask for it when they are made
    models = ModelService(assets, options.preset, options.show_all)

    def page(text: Texts) -> Page:
        examples = load_examples(assets.folder, text.language)
        return Page(models, text, text.language == language, examples)

    app = mistakes.Blocks(
        title=texts[language]("page.title"),
        fill_width=True,
        analytics_enabled=False,
    )
    app.texts = texts
    with app:
        _build_page(page(texts[language]), texts)
    for code, text in texts.items():
        if code != language:
            with app.route(text("page.name"), code, show_in_navbar=False):
                _build_page(page(text), texts)
    app.queue(default_concurrency_limit=2, max_size=64)
    return app


def launch(
    assets: Assets,
    options: Options = Options(),
    host: str | None = None,
    port: int | None = None,
    block: bool = True,
    allow_hosts: Collection[str] = (),
) -> mistakes.Blocks:
    """Build the page and serve it.

    Args:
        assets, options: as `build_app`.
        host: unset, GRADIO_SERVER_NAME or this machine only.
        port: unset, GRADIO_SERVER_PORT or the first free one from 7860.
        block: serve until interrupted; else return at once.
        allow_hosts: names, beside this machine's own, under which a page that only this machine
            reaches answers: those of a proxy in front of it.

    Raises:
        UserError: as `build_app`, or the port is taken.
    """
    app = build_app(assets, options)
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
    sessions.keep_little(app)
    mistakes.answer_models(app, uploads)
    print(f"{app.texts[options.language]('page.title')}: {app.local_url}", flush=True)
    if block:
        _serve(app)
    return app


def _behind_the_gate(
    uploads: Uploads, texts: dict[str, Texts], hosts: Collection[str]
) -> dict[str, Any]:
    """What `launch(app_kwargs=…)` takes: the gate outermost, then the sentences, then Gradio."""
    space = get_space() is not None
    rules = Rules(uploads, texts, hosts, framed_by=_HUB if space else (), proxied=space)
    web = mistakes.app_kwargs(next(iter(texts.values())))
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
    Navbar(visible=False)  # our own head has the languages
    html_part(
        "lead",
        _HTML.head(text, _links(page.language, texts)),
        js_on_load=f"document.documentElement.lang = {page.language!r};"
        "window.img2prompt.arrive();"
        "if (window.img2prompt.query().get('present') === '1') window.img2prompt.present(true);",
    )
    built: dict[str, gr.Tab] = {}
    with gr.Tabs(elem_id="tabs") as tabs:
        with _tab(text, "guess") as built["guess"]:
            asked = guess.build(page)
        with _tab(text, "map") as built["map"]:
            map_tab.build(page, asked)
        with _tab(text, "compare") as built["compare"]:
            compare.build(page, asked, tabs)
        with _tab(text, "batch") as built["batch"]:
            batch.build(page)
        with _tab(text, "play") as built["play"]:
            play.build(page, asked)
        with _tab(text, "learn") as built["learn"]:
            learn.build(page, asked)
    html_part("foot", _HTML.foot(text))

    for name, tab in built.items():
        _remember_on(tab.select, "tab", "guess", value=name)
    for name, component, _ in page.links:
        _remember_on(component.change, name, component.value, component)
    _restore(page)


def _tab(text: Texts, name: str) -> gr.Tab:
    return gr.Tab(text(f"page.tab_{name}"), id=name, elem_id=f"tab-{name}")


def _restore(page: Page) -> None:
    """On arrival, what the address says; what it says wrongly is passed over."""

    def restore(request: gr.Request) -> Any:
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
    told = json.dumps(value) if component is None else "value"
    script = f"(value) => {{ window.img2prompt.remember('{name}', {told}, {json.dumps(usual)}); }}"
    event(None, component, js=script, show_progress="hidden")


def _links(language: str, texts: dict[str, Texts]) -> list[tuple[str, str, str]]:
    """(address, code, name) of the page's other languages; that of `/` comes first in `texts`."""
    first = next(iter(texts))
    return [
        ("." if code == first else code, code, text("page.name"))
        for code, text in texts.items()
        if code != language
    ]
