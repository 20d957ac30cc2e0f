"""The Play tab as a class meets it: five rounds against the model, offline and with real pictures.

The app asks a hub on this machine (`small_hub`) instead of the real one.
"""

import json
import re
from typing import Any

import numpy as np
import pytest
import small_hub
from browser_kit import EXAMPLES, PHONE, TABLET, at_rest, keep, overflow
from hub_server import Hub

from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.evaluation.score import score_words
from img2prompt.inference.artifacts import Assets

pytestmark = pytest.mark.browser

PROMPTS = {entry["prompt"] for entry in json.loads((EXAMPLES / "examples.json").read_text())}


def test_a_class_plays_five_rounds_by_keyboard_alone(open_page) -> None:
    page = open_page("?tab=play")
    vectors = Assets().embedding()
    truths, totals = [], np.zeros(2, int)
    for number in range(1, 6):
        page.locator("#play-board h3", has_text=f"Round {number} of 5").wait_for()
        if number == 1:
            page.locator("#play-guess input, #play-guess textarea").focus()
        _until_typing(page)
        page.keyboard.type("painting, sunset; of the SUNSET")
        page.get_by_text("2 of 10 words").wait_for()
        page.keyboard.press("Enter")
        page.wait_for_selector("#play-result .sides")
        truth = _truth(page)
        truths.append(truth)
        # Both by the measure of the evaluation; what is shown is what it says.
        for side, who in enumerate(("person", "model")):
            box = page.locator(f"#play-result .side.{who}")
            marked = box.locator("li").all_inner_texts()
            said = [re.sub(r"\(.*|\W", "", word) for word in marked]
            assert len(said) == (2 if who == "person" else 10)
            score = score_words(said, truth, vectors)
            points = round(100 * score.f1)
            assert box.locator("b").inner_text() == f"{points} points"
            ticked = {word for word, mark in zip(said, marked, strict=True) if "✓" in mark}
            assert ticked == set(score.found)
            totals[side] += points
        shown = page.locator("#play-board dd").all_inner_texts()
        assert shown == [str(total) for total in totals]
        if number == 1:
            keep(page, "play-desk-light")
        if number < 5:
            page.wait_for_function("document.activeElement.closest('#play-next') !== null")
            page.keyboard.press("Enter")
    assert len(set(truths)) == 5 and set(truths) <= PROMPTS
    final = page.locator("#play-result .final").inner_text()
    assert all(str(total) in final for total in totals)
    assert page.locator("#play-next").is_hidden()
    page.locator("#play-new").click()
    page.locator("#play-board h3", has_text="Round 1 of 5").wait_for()
    assert page.locator("#play-board dd").all_inner_texts() == ["0", "0"]


def test_words_are_counted_checked_and_told_by_more_than_colour(open_page) -> None:
    page = open_page("?tab=play")
    _start(page)
    page.locator("#play-go").click()
    page.get_by_text("Type at least one word").wait_for()
    _type(page, "one cat dog fox tree house boat moon star sun sea lake hill")
    page.locator("#play-counter .too-many").wait_for()
    assert "12 words" in page.inner_text("#play-counter")
    page.locator("#play-go").click()
    page.locator(".toast-body", has_text="take some out").wait_for()
    assert page.locator("#play-result .sides").count() == 0
    # A screen reader's player hears what the picture shows; its prompt is not on the page.
    described = page.locator("#play-picture img").get_attribute("alt")
    entry = next(
        e for e in json.loads((EXAMPLES / "examples.json").read_text()) if e["alt"] == described
    )
    assert entry["prompt"] not in page.content()
    blocked = min(BLOCKED_WORDS)
    _type(page, f"{' '.join(entry['prompt'].split(',')[0].split()[:8])}, {blocked}")
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")
    assert _truth(page) == entry["prompt"]
    result = page.inner_text("#play-result")
    assert "•••" in result and blocked not in result
    labels = page.locator("#play-result .by small").all_inner_texts()
    assert labels and set(labels) <= {"you", "model", "both"}
    signs = page.locator("#play-result .side.model li .sign").all_inner_texts()
    assert len(signs) == 10 and set(signs) <= {"✓", "✗"}


def test_real_pictures_come_by_range_and_without_network_a_sentence(open_page, hub: Hub) -> None:
    page = open_page("?tab=play")
    _start(page)
    assert hub.log == []  # nothing is asked of anybody until somebody switches
    page.get_by_label("real DiffusionDB pictures").check()
    page.locator("#play-picture figcaption", has_text="CC0").wait_for()
    credit = page.inner_text("#play-picture figcaption")
    assert "DiffusionDB" in credit and "Wang et al. 2022" in credit and "2210.14896" in credit
    # Of this dataset's two files, by range, and nothing else of anybody.
    asked = {path.rpartition("/")[2] for _, path, *_ in hub.log}
    assert "metadata.parquet" in asked and len(asked) == 2
    assert all("/poloclub/diffusiondb/" in p or p.startswith("/files/") for _, p, *_ in hub.log)
    assert [entry for entry in hub.log if entry[0] == "GET" and not entry[2]] == []
    _type(page, "fox snow castle")
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")
    assert _truth(page) == small_hub.PROMPT
    keep(page, "play-real-light")

    hub.status["metadata.parquet"] = hub.status[".zip"] = 503
    page.locator("#play-next").click()
    page.locator("#play-notice", has_text="has a fault").wait_for()
    hub.status.clear()
    hub.down = True
    page.locator("#play-new").click()
    page.get_by_label("real DiffusionDB pictures").check()
    page.locator("#play-notice", has_text="there is no network").wait_for()
    # Still a game: one of our pictures is on the table.
    assert page.get_by_label("our pictures").is_checked()
    _type(page, "castle")
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")
    assert _truth(page) in PROMPTS
    hub.down = False


def test_the_game_fits_small_screens_and_a_link_opens_it_there(open_page) -> None:
    page = open_page("?tab=play", PHONE, "dark")
    _start(page)
    page.locator("#tab-guess-button").click()
    page.locator("#tab-play-button").wait_for(state="detached")  # in the menu, without an id
    page.evaluate("window.img2prompt.arrive()")  # as a slow machine's page does, late
    page.locator("#tab-play-button[aria-selected=true]").wait_for()
    _start(page)
    page.wait_for_function("location.search.includes('tab=play')")
    for name, viewport in (("phone-dark", PHONE), ("tablet-light", TABLET)):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=name.partition("-")[2])
        _fits(page)
        _type(page, "painting, mountains, a verylongwordthatnobodyeverbreaks")
        page.locator("#play-go").click()
        page.wait_for_selector("#play-result .sides")
        _fits(page)
        keep(page, f"play-{name}")
        if viewport is PHONE:
            page.locator("#play-next").click()
            page.wait_for_selector("#play-result .sides", state="detached")
            _start(page)


def test_the_game_speaks_german(open_page) -> None:
    page = open_page("de?tab=play")
    _start(page)
    _type(page, "castle")
    page.get_by_text("1 von 10 Wörtern").wait_for()
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")
    assert "Der Prompt war" in page.inner_text("#play-result")


def _fits(page: Any) -> None:
    at_rest(page)
    assert overflow(page) <= 0


def _start(page: Any) -> None:
    page.locator("#play-picture img").wait_for()


def _type(page: Any, words: str) -> None:
    page.locator("#play-guess input, #play-guess textarea").fill(words)


def _until_typing(page: Any) -> None:
    page.wait_for_function("document.activeElement.closest('#play-guess') !== null")


def _truth(page: Any) -> str:
    return page.evaluate(
        """() => {
            const prompt = document.querySelector('#play-result .prompt').cloneNode(true);
            prompt.querySelectorAll('small').forEach((small) => small.remove());
            return prompt.textContent;
        }"""
    )
