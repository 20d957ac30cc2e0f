"""What the browser tests share: the shipped app as a visitor's machine runs it, a real browser.

    pytest -m browser

Chromium is Debian's, or the one that CHROMIUM names. IMG2PROMPT_ASSETS names another folder of
artifacts than the shipped one. With IMG2PROMPT_SCREENSHOTS=docs/screenshots the run also takes the
pictures of the page that the documentation shows.
"""

import base64
import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from paths import ROOT
from PIL import Image

ASSETS = Path(os.environ.get("IMG2PROMPT_ASSETS", ROOT / "assets")).resolve()
EXAMPLES = ROOT / "assets" / "examples"
EXAMPLE = EXAMPLES / "01-dragon.jpg"
# How long things are waited for that happen sooner or later: seconds, milliseconds.
START_SECONDS = 900
WAIT = 300_000
NAME = "school.test"  # of this machine in Chromium, as another machine on the net would call it
FLAGS = [
    *"--no-sandbox --disable-gpu --disable-quic --no-first-run".split(),
    *"--disable-background-networking --disable-component-update --disable-sync".split(),
    f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
]
DESK = {"width": 1440, "height": 900}
TABLET = {"width": 820, "height": 1180}
PHONE = {"width": 390, "height": 844}


@contextlib.contextmanager
def served(
    arguments: Sequence[str] = (), environment: dict[str, str] | None = None
) -> Iterator[str]:
    """`python app.py` with arguments, while the block runs: its address.

    Afterwards its log holds no traceback.
    """
    if not (ASSETS / "manifest.json").is_file():
        skip_or_fail(f"{ASSETS.name}/ holds no manifest.json")
    port = free_port()
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--assets", str(ASSETS)]
    with running([*command, *arguments], port, ROOT, environment or {}) as url:
        yield url


@contextlib.contextmanager
def running(
    command: Sequence[str],
    port: int,
    folder: Path,
    environment: dict[str, str],
    log_path: Path | None = None,
) -> Iterator[str]:
    """A command that serves the page, run in a folder while the block runs: its address.

    What it prints goes to `log_path`, if given.
    """
    clean = {key: value for key, value in os.environ.items() if "GRADIO" not in key}
    with (
        log_path.open("w+", encoding="utf-8")
        if log_path is not None
        else tempfile.TemporaryFile("w+", encoding="utf-8")
    ) as log:

        def told() -> str:
            log.seek(0)
            return log.read()

        app = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=clean | environment
        )
        url = f"http://127.0.0.1:{port}/"
        try:
            deadline = time.monotonic() + START_SECONDS
            while not _answers(url):
                if app.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"app.py did not start:\n{told()}")
                time.sleep(0.3)
            yield url
            app.send_signal(signal.SIGINT)  # Ctrl+C
            assert app.wait(timeout=START_SECONDS) == 0, told()
            assert "Traceback" not in told(), told()
        finally:
            app.terminate()
            app.wait(timeout=START_SECONDS)


def free_port() -> int:
    """A port of this machine that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def chromium() -> Iterator[tuple[Any, dict]]:
    """Headless Chromium, and an empty dictionary for what `pages` keeps of it."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path or not Path(path).exists():
        skip_or_fail("Chromium is not installed (apt install chromium, or set CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser, {}
        browser.close()


@contextlib.contextmanager
def pages(started: tuple[Any, dict], address: str) -> Iterator[Callable[..., Any]]:
    """`open_page(query, viewport, scheme)`: the page in a window of its own.

    Windows of one size and scheme share what they fetched, or every one would compile plotly anew;
    the page itself keeps nothing there. Afterwards nothing was asked of another server, and the
    console holds no error.
    """
    browser, contexts = started
    foreign: list[str] = []
    errors: list[str] = []
    opened = []

    def request(sent: Any) -> None:
        url = urlparse(sent.url)
        if url.scheme not in ("data", "blob") and url.hostname not in ("127.0.0.1", "localhost"):
            foreign.append(sent.url)

    def wrong(text: str) -> None:
        # Gradio's client ends so what it still waits for when a page is left for another.
        if not text.startswith("AbortError"):
            errors.append(text)

    def console(message: Any) -> None:
        if message.type == "error":
            wrong(message.text)

    def open_page(query: str = "", viewport: dict = DESK, scheme: str = "light") -> Any:
        key = (address, viewport["width"], scheme)
        if key not in contexts:
            contexts[key] = browser.new_context(
                viewport=viewport, color_scheme=scheme, locale="en-GB"
            )
            contexts[key].grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        page = contexts[key].new_page()
        opened.append(page)
        page.set_default_timeout(WAIT)
        watch(page)
        page.on("request", request)
        page.on("console", console)
        page.on("pageerror", lambda error: wrong(str(error)))
        page.goto(address + query)
        page.wait_for_selector("#tabs button[role=tab]")
        return page

    yield open_page
    for page in opened:
        page.close()
    if foreign or errors:
        pytest.fail(f"asked of others: {foreign}; in the console: {errors}")


def drop(page: Any, path: Path, target: str = "#guess-picture") -> None:
    """Let go of a file over an upload box, as a hand with a mouse would, once it is there."""
    page.wait_for_selector(target + " input[type=file]", state="attached")
    page.evaluate(
        """([target, name, data]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: 'image/jpeg' }));
            const box = document.querySelector(target + ' input[type=file]').parentElement;
            for (const type of ['dragenter', 'dragover', 'drop']) {
                const options = { dataTransfer: carried, bubbles: true, cancelable: true };
                box.dispatchEvent(new DragEvent(type, options));
            }
        }""",
        [target, path.name, base64.b64encode(path.read_bytes()).decode("ascii")],
    )


def choose(page: Any, path: Path, target: str = "#guess-picture") -> None:
    """Choose a file in an upload box's dialogue."""
    page.set_input_files(f"{target} input[type=file]", str(path))


def words(page: Any, count: int) -> list[str]:
    """The answer's words, once there are so many of them."""
    page.wait_for_function(
        "(count) => document.querySelectorAll('#answer .row').length === count", arg=count
    )
    return page.locator("#answer .word").all_inner_texts()


def open_tab(page: Any, name: str) -> None:
    """Open a tab by the name a visitor reads."""
    page.get_by_role("tab", name=re.compile(f"^{name}$")).click()


def at_rest(page: Any) -> None:
    """Wait until nothing is worked out or moves any more, and 15 frames show the same.

    What the server works out keeps an answer open (`watch`), and what it shows is dimmed. Frames,
    and no time by the clock: where the machine is busy they take longer, as the page does.
    """
    page.evaluate(
        """() => {
            window.same_ = 0;
            if (window.watch_) return;
            window.watch_ = new MutationObserver(() => { window.same_ = 0; });
            window.watch_.observe(document.body, {
                subtree: true, childList: true, characterData: true, attributes: true,
            });
        }"""
    )
    ends = time.monotonic() + START_SECONDS
    while True:
        page.wait_for_function(
            """() => {
                const still = !document.querySelector('.pending, .generating')
                    && document.getAnimations().every((one) => one.playState !== 'running'
                        || one.effect.getTiming().iterations === Infinity);
                window.same_ = still ? window.same_ + 1 : 0;
                return window.same_ > 15;
            }"""
        )
        asked = _ASKED.get(page)
        if not asked:
            return
        assert time.monotonic() < ends, [request.url for request in asked]
        page.wait_for_timeout(20)


# Page → its questions to the server that are not wholly answered.
_ASKED: dict[Any, set[Any]] = {}


def watch(page: Any) -> None:
    """Note what a page asks the server, for `at_rest`."""
    asked = _ASKED[page] = set()

    def begun(request: Any) -> None:
        if re.search("/queue/|/upload|/run/", request.url):
            asked.add(request)

    page.on("request", begun)
    page.on("requestfinished", lambda request: asked.discard(request))
    page.on("requestfailed", lambda request: asked.discard(request))
    page.on("close", lambda: _ASKED.pop(page, None))


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def keep(page: Any, name: str) -> None:
    """Take a picture of the page where IMG2PROMPT_SCREENSHOTS asks for them."""
    folder = os.environ.get("IMG2PROMPT_SCREENSHOTS")
    if folder:
        page.evaluate("window.scrollTo(0, 0)")
        at_rest(page)
        (ROOT / folder).mkdir(parents=True, exist_ok=True)
        with Image.open(io.BytesIO(page.screenshot(full_page=True))) as shot:
            shot.convert("RGB").save(ROOT / folder / f"{name}.webp", quality=80, method=6)


def skip_or_fail(reason: str) -> None:
    """Skip a test that this machine cannot run; continuous integration must be able to."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; continuous integration needs it.")
    pytest.skip(reason)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False
