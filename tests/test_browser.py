"""The page as a visitor meets it: the shipped app, its shipped models, a real browser.

    pytest -m browser tests/test_browser.py

Chromium is Debian's, or the one that CHROMIUM names. IMG2PROMPT_ASSETS names another folder of
artifacts than the shipped one. With IMG2PROMPT_SCREENSHOTS=docs/screenshots the run also takes the
pictures of the page that the documentation shows.
"""

import base64
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parent.parent
ASSETS = Path(os.environ.get("IMG2PROMPT_ASSETS", ROOT / "assets")).resolve()
EXAMPLE = ROOT / "assets" / "examples" / "06-dog.jpg"
START_SECONDS = 180  # a busy machine loads TensorFlow slowly
WAIT = 60_000
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
).split()
DESK = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`python app.py`, as a visitor's machine would run it."""
    if not (ASSETS / "manifest.json").is_file():
        _skip_or_fail(f"{ASSETS.name}/ holds no manifest.json")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("app") / "log.txt"
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--assets", str(ASSETS)]
    environment = {key: value for key, value in os.environ.items() if "GRADIO" not in key}
    with open(log, "w", encoding="utf-8") as output:
        app = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=environment
        )
    url = f"http://127.0.0.1:{port}/"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            if app.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"app.py did not start:\n{log.read_text(encoding='utf-8')}")
            time.sleep(0.3)
        yield url
        assert "Traceback" not in log.read_text(encoding="utf-8")
    finally:
        app.terminate()
        app.wait(timeout=30)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """Headless Chromium."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not path or not Path(path).exists():
        _skip_or_fail("Chromium is not installed (apt install chromium, or set CHROMIUM)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser, address: str) -> Iterator:
    """Open the page in a window of a size; afterwards nothing was asked of another server, and
    the console holds no error."""
    foreign: list[str] = []
    errors: list[str] = []
    contexts = []

    def request(sent) -> None:
        url = urlparse(sent.url)
        if url.scheme not in ("data", "blob") and url.hostname not in ("127.0.0.1", "localhost"):
            foreign.append(sent.url)

    def console(message) -> None:
        if message.type == "error":
            errors.append(message.text)

    def open_it(viewport: dict = DESK, scheme: str = "light"):
        context = browser.new_context(viewport=viewport, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=address)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("request", request)
        page.on("console", console)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("#map .js-plotly-plot .main-svg")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert foreign == []
    assert errors == []


def test_a_dropped_picture_gets_words_scores_a_prompt_and_a_map(open_page) -> None:
    page = open_page()
    assert page.inner_text("h1") == "img2prompt"
    assert _traces(page) == ["vocabulary"]
    _drop(page, EXAMPLE)
    words = _words(page, 10)
    assert len(set(words)) == 10 and all(words)
    scores = [float(s.replace("−", "-")) for s in page.locator("#answer .score").all_inner_texts()]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    assert re.fullmatch(r"−?\d\.\d\d", page.locator("#answer .score").first.inner_text())
    chances = page.locator("#answer .chance").all_inner_texts()
    assert len(chances) == 10
    assert all(re.fullmatch(r"(< 1|> 99|\d{1,2}) %", chance) for chance in chances)
    assert page.locator("#answer .near").count() >= 1

    prompt = _prompt(page)
    assert prompt == ", ".join(words)
    page.locator("#prompt button").first.click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.length > 0)")
    assert page.evaluate("navigator.clipboard.readText()") == prompt

    page.wait_for_function("document.querySelector('#map .js-plotly-plot').data.length === 4")
    assert _traces(page) == ["vocabulary", "from vector to word", "predicted", "answers"]
    # What a visitor sees, not what the page meant to draw: WebGL can fail without an error.
    assert _grey_pixels(page) > 3000
    labels = page.locator("#map .annotation-text").all_text_contents()
    assert set(words) <= set(labels)
    _keep(page, "desk-light")


def test_models_and_the_number_of_words_change_the_answer(open_page) -> None:
    page = open_page()
    page.set_input_files("#picture input[type=file]", str(EXAMPLE))
    first = _words(page, 10)
    page.get_by_role("radio", name="Original").check()
    page.wait_for_selector("#answer [data-preset=original]")
    assert _words(page, 10) != first
    assert "three convolutions" in page.inner_text("#description")
    field = page.locator("#count input[type=number]")
    field.fill("3")
    field.press("Enter")
    assert len(_words(page, 3)) == 3


def test_an_example_answers_from_the_keyboard_and_can_be_cleared(open_page) -> None:
    page = open_page()
    button = page.locator("#examples button").first
    assert button.locator("img").get_attribute("alt")
    button.focus()
    page.keyboard.press("Enter")
    _words(page, 10)
    page.get_by_role("button", name=re.compile("clear|remove", re.I)).first.click()
    page.wait_for_selector("#answer .waiting")
    assert _prompt(page) == ""
    page.wait_for_function("document.querySelector('#map .js-plotly-plot').data.length === 1")


def test_a_broken_file_gets_one_sentence_and_no_answer(open_page, tmp_path: Path) -> None:
    page = open_page()
    page.locator("#examples button").first.click()
    _words(page, 10)
    page.get_by_role("button", name=re.compile("clear|remove", re.I)).first.click()
    page.wait_for_selector("#answer .waiting")
    broken = tmp_path / "broken.png"
    broken.write_bytes(EXAMPLE.read_bytes()[:4000])
    page.set_input_files("#picture input[type=file]", str(broken))
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert "The picture is damaged or cut off; save or download it again." in toast.inner_text()
    assert "Traceback" not in page.inner_text("body")
    page.wait_for_function(
        "document.querySelector('#answer .sentence')?.innerText.includes('no answer')"
    )
    assert page.locator("#answer .row").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_in_one_direction_only(open_page, scheme: str) -> None:
    page = open_page(PHONE, scheme)
    assert _overflow(page) == 0
    page.locator("#examples button").nth(1).click()
    _words(page, 10)
    page.wait_for_function("document.querySelector('#map .js-plotly-plot').data.length === 4")
    assert _overflow(page) == 0
    map_box = page.locator("#map .main-svg").first.bounding_box()
    _keep(page, f"phone-{scheme}")
    assert map_box is not None and 300 < map_box["width"] <= 390
    assert page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")


def _drop(page, path: Path) -> None:
    """Let go of a file over the picture, as a hand with a mouse would."""
    page.evaluate(
        """([name, data]) => {
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: 'image/jpeg' }));
            const target = document.querySelector('#picture input[type=file]').parentElement;
            for (const type of ['dragenter', 'dragover', 'drop']) {
                const options = { dataTransfer: carried, bubbles: true, cancelable: true };
                target.dispatchEvent(new DragEvent(type, options));
            }
        }""",
        [path.name, base64.b64encode(path.read_bytes()).decode("ascii")],
    )


def _keep(page, name: str) -> None:
    folder = os.environ.get("IMG2PROMPT_SCREENSHOTS")
    if folder:
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(1000)  # the bars have grown
        page.screenshot(path=ROOT / folder / f"{name}.png", full_page=True)


def _words(page, count: int) -> list[str]:
    page.wait_for_function(
        "(count) => document.querySelectorAll('#answer .row').length === count", arg=count
    )
    return page.locator("#answer .word").all_inner_texts()


def _prompt(page) -> str:
    return page.input_value("#prompt textarea")


def _traces(page) -> list[str]:
    return page.evaluate(
        "document.querySelector('#map .js-plotly-plot').data.map((trace) => trace.name)"
    )


def _grey_pixels(page) -> int:
    """How many pixels of the map the vocabulary's dots cover."""
    map_ = Image.open(io.BytesIO(page.locator("#map").screenshot())).convert("RGB")
    pixels = np.asarray(map_, dtype=int)
    middle = (pixels.min(axis=2) > 100) & (pixels.max(axis=2) < 235)
    return int((middle & (np.ptp(pixels, axis=2) < 40)).sum())


def _overflow(page) -> int:
    return page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _skip_or_fail(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; continuous integration needs it.")
    pytest.skip(reason)
