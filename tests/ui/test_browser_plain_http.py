"""The page over plain http from another machine: no clipboard, no camera, and no dead buttons."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_kit import (
    DESK,
    EXAMPLE,
    EXAMPLES,
    NAME,
    PHONE,
    WAIT,
    at_rest,
    keep,
    open_tab,
    watch,
    words,
)

pytestmark = pytest.mark.browser


@pytest.fixture
def open_plain(browser: Any, address: str) -> Iterator[Any]:
    """(path, **context) → the page under a name that a browser does not take for its own machine.

    Afterwards its console holds no error.
    """
    plain_address = address.replace("127.0.0.1", NAME)
    errors: list[str] = []
    contexts = []

    def open_it(path: str = "", **options: Any) -> Any:
        contexts.append(browser[0].new_context(locale="en-GB", **({"viewport": DESK} | options)))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        watch(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.goto(plain_address + path)
        page.wait_for_selector("#tabs button[role=tab]")
        assert not page.evaluate("window.isSecureContext")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert errors == []


def test_what_cannot_work_is_not_offered_and_goes_another_way(open_plain) -> None:
    page = open_plain()
    _offers(page, "or paste one with Ctrl+V", "Compare")
    keep(page, "plain-http-en")
    open_tab(page, "Guess")
    # Text is pasted where somebody types.
    page.locator("#guess-truth textarea").focus()
    _paste(page, "#guess-truth textarea")
    at_rest(page)
    assert page.locator("#answer .row").count() == 0
    # A picture is pasted anywhere, in place of a picture that is there already, too.
    _paste(page, "body")
    first = words(page, 10)
    _paste(page, "body", EXAMPLES / "02-train.jpg")
    page.wait_for_function(
        "(first) => document.querySelector('#answer .word')?.innerText !== first", arg=first[0]
    )
    assert words(page, 10) != first
    prompt = page.input_value("#prompt textarea")
    assert prompt
    page.locator("#prompt button").first.click()
    # A person pastes; the page may not read the clipboard here.
    box = page.locator("#guess-truth textarea")
    box.fill("")
    box.focus()
    page.keyboard.press("Control+V")
    assert box.input_value() == prompt
    assert page.locator("body > textarea").count() == 0


def test_it_is_told_in_german_too(open_plain) -> None:
    page = open_plain("de")
    _offers(page, "mit Strg+V", "Vergleichen")
    keep(page, "plain-http-de")


def test_a_phone_is_told_to_tap(open_plain) -> None:
    page = open_plain(viewport=PHONE, has_touch=True, is_mobile=True)
    page.locator("#guess-picture").get_by_text("to choose a picture").wait_for()
    assert "Ctrl" not in page.inner_text("#guess-picture")


def _offers(page: Any, told: str, compare: str) -> None:
    """Neither clipboard nor camera, but what works, in all boxes for a picture."""
    box = page.locator("#guess-picture")
    box.get_by_text(told).wait_for()
    open_tab(page, compare)
    page.locator("#compare-first").get_by_text(told).wait_for()
    for one in (box, page.locator("#compare-first"), page.locator("#compare-second")):
        assert one.locator("[data-testid=source-select]").count() == 0
        assert one.get_by_label(re.compile("camera|clipboard", re.I)).count() == 0


def _paste(page: Any, target: str, picture: Path = EXAMPLE) -> None:
    """Ctrl+V with a picture in the clipboard, as the browser tells the page of it."""
    page.evaluate(
        """async ([target, bytes]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([new Uint8Array(bytes)], 'a.jpg', { type: 'image/jpeg' }));
            const options = { clipboardData: carried, bubbles: true, cancelable: true };
            document.querySelector(target).dispatchEvent(new ClipboardEvent('paste', options));
        }""",
        [target, list(picture.read_bytes())],
    )
