"""The page everywhere: its address, languages, large type, the keyboard, and what axe finds."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_kit import (
    DESK,
    EXAMPLE,
    PHONE,
    TABLET,
    at_rest,
    choose,
    keep,
    open_tab,
    overflow,
    words,
)

pytestmark = pytest.mark.browser

TABS = ("Guess", "Map", "Compare", "Batch", "Play", "Learn")
# Findings in Gradio's own parts, which a page cannot mend: rule → what it is about.
GRADIOS_OWN: dict[str, str] = {}


def test_the_address_carries_the_view(open_page) -> None:
    page = open_page("?tab=map&preset=original&words=4&dims=3-D&word=castle")
    page.wait_for_selector("#tab-map-button[aria-selected=true]")
    page.locator("#map-word [data-word=castle]").wait_for()
    assert page.get_by_role("radio", name="3-D").is_checked()
    assert page.input_value("#map-search input, #map-search textarea") == "castle"
    open_tab(page, "Guess")
    assert page.get_by_role("radio", name="Original").is_checked()
    assert page.input_value("#guess-count input[type=number]") == "4"
    choose(page, EXAMPLE)
    words(page, 4)
    page.wait_for_selector("#answer [data-preset=original]")


def test_what_is_changed_goes_into_the_address(open_page) -> None:
    page = open_page()
    assert "?" not in page.url
    page.get_by_role("radio", name="Notebook").check()
    page.wait_for_function("location.search.includes('preset=notebook')")
    count = page.locator("#guess-count input[type=number]")
    count.fill("7")
    count.press("Enter")
    page.wait_for_function("location.search.includes('words=7')")
    open_tab(page, "Learn")
    page.wait_for_function("location.search.includes('tab=learn')")
    open_tab(page, "Guess")
    page.wait_for_function("!location.search.includes('tab=')")
    # The link is worth sending: it opens what was there.
    other = open_page(page.url.split("/")[-1])
    other.wait_for_function(
        "document.querySelector('#guess-count input[type=number]').value === '7'"
    )
    assert other.get_by_role("radio", name="Notebook").is_checked()


def test_a_wrong_address_is_passed_over(open_page) -> None:
    page = open_page("?tab=nowhere&preset=brilliant&words=900&dims=7")
    choose(page, EXAMPLE)
    words(page, 10)
    page.wait_for_selector("#answer [data-preset=gaze]")


def test_the_page_speaks_german_under_its_own_address(open_page) -> None:
    page = open_page("?words=3")
    page.wait_for_selector("#map .js-plotly-plot .main-svg")  # nothing is loading any more
    page.get_by_role("link", name="Deutsch").click()
    page.wait_for_selector("#tabs button[role=tab]")
    page.wait_for_function("document.documentElement.lang === 'de'")
    assert page.url.endswith("/de?words=3")  # the view comes along
    page.get_by_text("Die Wörter erscheinen hier").wait_for()
    choose(page, EXAMPLE)
    words(page, 3)
    assert page.inner_text("#answer h2").startswith("Gaze: 3 Wörter")
    assert re.search(r"0,\d\d", page.locator("#answer .score").first.inner_text())
    for name in ("Raten", "Karte", "Vergleichen", "Stapel", "Spielen", "Lernen"):
        page.get_by_role("tab", name=name).wait_for()
    keep(page, "guess-german")


def test_large_type_is_a_button_and_an_address(open_page) -> None:
    page = open_page()
    before = _size_of(page, "#answer .sentence")
    button = page.get_by_role("button", name="Large type")
    button.click()
    assert _size_of(page, "#answer .sentence") >= 1.4 * before
    assert button.get_attribute("aria-pressed") == "true"
    assert "present=1" in page.url and overflow(page) == 0
    choose(page, EXAMPLE)
    words(page, 10)
    keep(page, "guess-large-type")
    again = open_page("?present=1")
    again.wait_for_selector("body.present")
    again.get_by_role("button", name="Large type").click()
    assert _size_of(again, "#answer .sentence") == before and "present" not in again.url


def test_everybody_reaches_everything(open_page) -> None:
    """By keyboard and on any screen, and axe finds no serious fault."""
    page = open_page()
    choose(page, EXAMPLE)
    words(page, 10)
    _check_that_the_keyboard_reaches_everything_in_order(page)
    page.locator("#answer .pick").nth(2).click()
    page.locator("#guess-heat h2", has_text="“").wait_for()
    faults, wide = [], []
    for tab in TABS:
        for viewport in (PHONE, TABLET, DESK):
            page.set_viewport_size(viewport)
            if viewport is PHONE:
                _open_folded(page, tab)
            at_rest(page)
            wide += [(tab, viewport)] if overflow(page) else []
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_function(
                "(dark) => document.body.classList.contains('dark') === dark", arg=scheme == "dark"
            )
            at_rest(page)
            if scheme == "dark":
                keep(page, f"{tab.lower()}-desk-dark")
            for fault in Axe().run(page).response["violations"]:
                if fault["impact"] in ("serious", "critical") and fault["id"] not in GRADIOS_OWN:
                    places = [node["html"][:160] for node in fault["nodes"]]
                    faults.append((tab, scheme, fault["id"], places))
    assert faults == []
    assert wide == []


def _check_that_the_keyboard_reaches_everything_in_order(page) -> None:
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached: list[str] = []
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                """() => {
                    const one = document.activeElement;
                    const home = one.closest('[id]:not([id^=html-]):not([id^=range])');
                    return one.hasAttribute('data-present') ? 'present' : home?.id ?? '';
                }"""
            )
        )
    order = [
        "present",
        "tab-guess-button",
        "guess-picture",
        "examples",
        "guess-preset",
        "guess-count",
        "guess-minimum",
        "answer",
        "prompt",
        "guess-save",
        "guess-truth",
    ]
    first = [reached.index(name) for name in order]
    assert first == sorted(first), reached
    assert reached.count("answer") == 10 and reached.count("guess-save") == 3


def _open_folded(page, tab: str) -> None:
    """Open a tab, also where a phone folds the last ones into a menu."""
    page.evaluate(
        """(name) => [...document.querySelectorAll(
            '#tabs button[role=tab], #tabs .overflow-dropdown button'
        )].find((button) => button.textContent.trim() === name).click()""",
        tab,
    )
    page.wait_for_selector(f"#tab-{tab.lower()}")


def _size_of(page, selector: str) -> float:
    return page.evaluate(
        "(selector) => parseFloat(getComputedStyle(document.querySelector(selector)).fontSize)",
        selector,
    )


def test_the_dialogs_of_the_footer_offer_only_what_works(open_page) -> None:
    page = open_page()
    with page.expect_response("**/monitoring/summary"):
        page.get_by_role("button", name="Use via API").click()
    page.locator(".api-docs-wrap").wait_for()
    page.goto(page.url.partition("?")[0])
    page.get_by_role("button", name="Settings").click()
    dialog = page.locator(".api-docs-wrap")
    dialog.get_by_text("Display Theme").wait_for()
    shown = dialog.inner_text()
    assert "Language" in shown
    for gone in ("Progressive", "Screen Studio", "Recording", "istory"):
        assert gone not in shown
