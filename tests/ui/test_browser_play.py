"""The Play tab as a class meets it: five rounds against the model, offline and with real pictures.

The app here asks a hub on this machine instead of the real one.
"""

import io
import json
import re
from collections.abc import Iterator
from typing import Any

import browser_kit
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from browser_kit import EXAMPLES, PHONE, TABLET, keep, overflow
from hub_server import Hub, serve, write_part
from PIL import Image

from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.evaluation.score import score_words
from img2prompt.inference.artifacts import Assets
from img2prompt.ui.play.random_picture import COLUMNS, PARTS

pytestmark = pytest.mark.browser

PROMPTS = {entry["prompt"] for entry in json.loads((EXAMPLES / "examples.json").read_text())}
REAL = "a portrait of a red fox in the snow, oil painting"
PART = "images/part-000001.zip"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """DiffusionDB in small: every part holds one picture that may be shown, and a bad one."""
    root = tmp_path_factory.mktemp("hub")
    pictures = {"fox.png": Image.open(EXAMPLES / "01-dragon.jpg")}
    pictures["bad.png"] = pictures["fox.png"].rotate(180)
    files = {name: _png(picture) for name, picture in pictures.items()}
    prompts = {"fox.png": {"p": REAL, "se": 1}, "bad.png": {"p": "a fox, ocean, robot", "se": 2}}
    write_part(root / PART, files, json.dumps(prompts))
    rows = [(part, *row) for part in PARTS for row in ((1, 0.1, 0.0), (2, 0.9, 0.0))]
    columns = dict(zip(COLUMNS, map(np.array, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table(columns), root / "metadata.parquet")
    with serve(root) as server:
        server.every_part = PART
        yield server


@pytest.fixture(scope="module")
def address(hub: Hub) -> Iterator[str]:
    """The shipped app, its hub on this machine."""
    with browser_kit.served(environment={"HF_ENDPOINT": hub.endpoint}) as url:
        yield url


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


def test_words_found_are_told_by_more_than_colour(open_page) -> None:
    page = open_page("?tab=play")
    _start(page)
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


def test_too_many_words_and_none_get_a_sentence(open_page) -> None:
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
    _type(page, "cat dog")
    page.get_by_text("2 of 10 words").wait_for()
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")


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
    assert _truth(page) == REAL
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


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(PHONE, "dark"), (TABLET, "light")], ids=["phone", "tablet"]
)
def test_the_game_fits_small_screens(open_page, viewport: dict, scheme: str) -> None:
    page = open_page("?tab=play", viewport, scheme)
    _start(page)
    assert overflow(page) <= 0
    _type(page, "painting, mountains, a verylongwordthatnobodyeverbreaks")
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")
    assert overflow(page) <= 0
    keep(page, f"play-{'phone' if viewport is PHONE else 'tablet'}-{scheme}")


def test_a_link_opens_the_game_where_its_tab_is_folded_into_a_menu(open_page) -> None:
    page = open_page("?tab=play", PHONE)
    _start(page)
    page.locator("#tab-guess-button").click()
    page.locator("#tab-play-button").wait_for(state="detached")  # in the menu, without an id
    page.evaluate("window.img2prompt.arrive()")  # as a slow machine's page does, late
    page.locator("#tab-play-button[aria-selected=true]").wait_for()
    page.locator("#play-picture img").wait_for()
    page.wait_for_function("location.search.includes('tab=play')")


def test_the_game_speaks_german(open_page) -> None:
    page = open_page("de?tab=play")
    _start(page)
    _type(page, "castle")
    page.get_by_text("1 von 10 Wörtern").wait_for()
    page.locator("#play-go").click()
    page.wait_for_selector("#play-result .sides")
    assert "Der Prompt war" in page.inner_text("#play-result")


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


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
