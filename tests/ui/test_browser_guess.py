"""The Guess tab as a visitor meets it: drop, read, select, sort, save, compare with the truth."""

import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from browser_kit import (
    EXAMPLE,
    EXAMPLES,
    PHONE,
    at_rest,
    choose,
    drop,
    keep,
    overflow,
    words,
)
from PIL import Image, PngImagePlugin

pytestmark = pytest.mark.browser

FOOD = EXAMPLES / "07-chili.jpg"


def test_a_dropped_picture_gets_words_scores_a_prompt_and_a_map(open_page) -> None:
    page = open_page()
    assert page.inner_text("h1") == "img2prompt"
    page.wait_for_selector("#map .js-plotly-plot .main-svg")
    assert _traces(page) == ["vocabulary"]
    page.locator("#guess-picture").get_by_label(re.compile("camera", re.I)).wait_for()
    started = time.monotonic()
    drop(page, EXAMPLE)
    answered = words(page, 10)
    seconds = time.monotonic() - started
    print(f"answered {seconds:.1f} s after the drop")
    assert seconds < 120  # about one on a machine of one's own; a busy one takes its time
    assert len(set(answered)) == 10 and all(answered)
    shown = page.locator("#answer .score").all_inner_texts()
    scores = [float(s.split()[-1].replace("−", "-")) for s in shown]
    assert len(scores) == 10 and scores == sorted(scores, reverse=True)
    assert all(-1 <= score <= 1 for score in scores)
    chances = page.locator("#answer .chance").all_inner_texts()
    assert len(chances) == 10
    # A number and what it means in plain words.
    assert all(re.fullmatch(r"(< 1|> 99|\d{1,2}) % [a-z ]+", chance) for chance in chances)

    prompt = _prompt(page)
    assert prompt == ", ".join(answered)
    page.locator("#prompt button").first.click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.length > 0)")
    assert page.evaluate("navigator.clipboard.readText()") == prompt

    page.wait_for_function("document.querySelector('#map .js-plotly-plot')?.data?.length === 4")
    assert _traces(page) == ["vocabulary", "lines", "predicted vectors", "answers"]
    # What a visitor sees, not what the page meant to draw: WebGL can fail without an error.
    assert _grey_pixels(page) > 3000
    labels = page.locator("#map .annotation-text").all_text_contents()
    assert set(answered) <= set(labels)
    keep(page, "guess-desk-light")
    _check_what_is_saved(page, answered)


def test_a_pasted_picture_is_answered(open_page) -> None:
    page = open_page()
    page.evaluate(
        """async (bytes) => {
            const picture = new Blob([new Uint8Array(bytes)], { type: 'image/png' });
            await navigator.clipboard.write([new ClipboardItem({ 'image/png': picture })]);
        }""",
        list(_png(Image.open(EXAMPLE).resize((256, 256)))),
    )
    page.locator("#guess-picture").get_by_label(re.compile("clipboard", re.I)).click()
    assert len(words(page, 10)) == 10


def test_a_word_opens_and_the_picture_shows_where_it_is_seen(open_page) -> None:
    page = open_page()
    choose(page, FOOD)
    first, second = words(page, 10)[:2]
    pick = page.locator("#answer .pick").first
    assert page.locator("#answer .more").first.is_hidden()
    pick.focus()
    page.keyboard.press("Enter")
    assert pick.get_attribute("aria-expanded") == "true"
    more = page.locator("#answer .more").first.inner_text()
    assert "also near" in more and "were in the prompt" in more and "times in the prompts" in more
    page.wait_for_selector(f"#guess-heat [data-word={first}]")
    assert f"“{first}” loses" in page.inner_text("#guess-heat")
    first_heat = _heat(page)
    assert first_heat.startswith('url("data:image/png;base64,')
    slider = page.get_by_label("Strength of the overlay")
    slider.fill("20")
    assert _style(page, "opacity") == "0.2"
    keep(page, "guess-heat-light")
    page.locator("#answer .pick").nth(1).click()
    page.wait_for_selector(f"#guess-heat [data-word={second}]")
    assert _heat(page) != first_heat
    assert _style(page, "opacity") == "0.2"  # a choice outlives the next word
    page.locator("#answer .pick").nth(1).click()
    page.wait_for_selector("#guess-heat section:not([data-heat])")
    assert _heat(page) == "none"


def test_models_number_limit_and_order_change_the_answer(open_page) -> None:
    page = open_page()
    choose(page, EXAMPLE)
    first = words(page, 10)
    page.get_by_role("radio", name="by kind").check()
    page.wait_for_selector("#answer h3.kind")
    assert sorted(words(page, 10)) == sorted(first)
    kinds = page.locator("#answer h3.kind").all_inner_texts()
    assert len(kinds) == len(set(kinds)) >= 2
    page.get_by_role("radio", name="best first").check()
    page.wait_for_selector("#answer h3.kind", state="detached")
    assert words(page, 10) == first

    lowest = page.locator("#answer .score").last.inner_text().split()[-1]
    limit = page.locator("#guess-minimum input[type=number]")
    limit.fill(f"{float(lowest) + 0.03:.2f}")
    limit.press("Enter")
    page.wait_for_selector("#answer .below")
    left = page.locator("#answer .word").all_inner_texts()
    assert 0 < len(left) < 10 and left == first[: len(left)]
    limit.fill("0")
    limit.press("Enter")
    words(page, 10)

    page.get_by_role("radio", name="Original").check()
    page.wait_for_selector("#answer [data-preset=original]")
    assert words(page, 10) != first
    assert "learns to see from nothing" in page.inner_text("#guess-preset")
    count = page.locator("#guess-count input[type=number]")
    count.fill("3")
    count.press("Enter")
    assert len(words(page, 3)) == 3


def test_the_truth_of_a_file_stands_beside_the_guess(open_page, tmp_path: Path) -> None:
    page = open_page()
    choose(page, EXAMPLE)
    guessed = words(page, 10)
    # The same pixels, with a prompt as the web UI writes it: two words right, one word missed.
    told = PngImagePlugin.PngInfo()
    told.add_text(
        "parameters",
        f"a {guessed[0]} and a {guessed[1]}, cathedral\nNegative prompt: hands\n"
        "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, Model: x",
    )
    picture = tmp_path / "told.png"
    Image.open(EXAMPLE).save(picture, pnginfo=told)
    choose(page, picture)
    page.locator("#truth .mark.missed", has_text="cathedral").wait_for()
    assert page.input_value("#guess-truth textarea").startswith(f"a {guessed[0]} and")
    assert "carries its prompt" in page.inner_text("#truth .note")
    marks = {
        mark: page.locator(f"#truth .mark.{mark}").all_inner_texts()
        for mark in ("found", "missed", "invented")
    }
    assert len(marks["missed"]) == 1 and "cathedral" in marks["missed"][0]
    assert len(marks["found"]) == 2 and len(marks["invented"]) == 8
    assert all(guessed[n] in marks["found"][n] and "found" in marks["found"][n] for n in (0, 1))
    # F1 of 2 right among 10 said and 3 true.
    assert f"{2 * 2 / 13:.2f}" in page.inner_text("#truth dl")
    assert page.locator("#truth dt").count() == 3
    said = page.inner_text("#file-says")
    assert "What the file says of its making" in said
    assert page.locator("#file-says dt").all_inner_texts() == [
        "Model",
        "Sampler",
        "Steps",
        "Seed",
        "Negative prompt",
    ]
    assert page.locator("#file-says dd").all_inner_texts() == ["x", "Euler a", "20", "1", "hands"]
    keep(page, "guess-truth-light")

    box = page.locator("#guess-truth textarea")
    box.fill("cathedral")
    box.press("Enter")
    page.wait_for_function("document.querySelectorAll('#truth .mark.invented').length === 10")
    assert "you typed" in page.inner_text("#truth .note")
    _check_that_what_is_typed_while_an_answer_is_under_way_stays(page)


def test_a_file_whose_prompt_is_empty_or_unreadable_is_told(open_page, tmp_path: Path) -> None:
    page = open_page("de")
    for parameters, sentence in (
        (
            "Negative prompt: hands\nSteps: 20, Seed: 3, Size: 5x5",
            "Prompt in dieser Datei ist leer",
        ),
        ('{"secret": "a fox"}', "in einer Form in sich, die wir nicht lesen"),
    ):
        told = PngImagePlugin.PngInfo()
        told.add_text("parameters", parameters)
        Image.open(EXAMPLE).save(tmp_path / "told.png", pnginfo=told)
        choose(page, tmp_path / "told.png")
        page.locator("#file-says .note", has_text=sentence).wait_for()
        assert page.input_value("#guess-truth textarea") == ""
        assert page.locator("#truth section").count() == 0


def test_an_example_is_answered_and_cleared_and_a_broken_file_has_one_sentence(
    open_page, tmp_path: Path
) -> None:
    page = open_page()
    button = page.locator("#examples button").first
    assert button.locator("img").get_attribute("alt")
    button.focus()
    page.keyboard.press("Enter")
    words(page, 10)
    _clear(page)
    page.wait_for_selector("#answer .waiting")
    assert _prompt(page) == ""
    page.wait_for_function("document.querySelector('#map .js-plotly-plot').data.length === 1")
    broken = tmp_path / "broken.png"
    broken.write_bytes(EXAMPLE.read_bytes()[:4000])
    choose(page, broken)
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert (
        "The picture is cut off: its last part is missing; save or download it again."
        in toast.inner_text()
    )
    assert "Traceback" not in page.inner_text("body")
    page.wait_for_function(
        "document.querySelector('#answer .sentence')?.innerText.includes('no answer')"
    )
    assert page.locator("#answer .row").count() == 0


def test_a_phone_scrolls_in_one_direction_only(open_page) -> None:
    page = open_page(viewport=PHONE, scheme="dark")
    assert page.evaluate("document.body.classList.contains('dark')")
    assert overflow(page) == 0
    page.locator("#examples button").nth(1).click()
    words(page, 10)
    page.wait_for_function("document.querySelector('#map .js-plotly-plot')?.data?.length === 4")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(
            "(dark) => document.body.classList.contains('dark') === dark", arg=scheme == "dark"
        )
        at_rest(page)
        assert overflow(page) == 0
        map_box = page.locator("#map .main-svg").first.bounding_box()
        keep(page, f"guess-phone-{scheme}")
        assert map_box is not None and 300 < map_box["width"] <= 390


def _check_that_what_is_typed_while_an_answer_is_under_way_stays(page) -> None:
    box = page.locator("#guess-truth textarea")
    box.blur()  # which is answered, too
    at_rest(page)
    held = []

    def hold(route) -> None:
        """The first event waits: the new count's answer."""
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route("**/queue/join*", hold)
    with page.expect_request("**/queue/join*"):
        page.locator("#guess-count input[type=number]").fill("5")
    box.fill("castle")
    box.press("Enter")
    page.locator("#truth .mark.missed", has_text="castle").wait_for()
    held[0].continue_()
    words(page, 5)
    at_rest(page)
    assert box.input_value() == "castle"
    assert page.locator("#truth .mark.invented").count() == 5


def _check_what_is_saved(page, answered: list[str]) -> None:
    saved = {}
    for name in ("Text", "JSON", "CSV"):
        with page.expect_download() as download:
            page.locator("#guess-save").get_by_role("button", name=name).click()
        saved[name] = Path(download.value.path()).read_text(encoding="utf-8")
        assert download.value.suggested_filename.startswith("img2prompt.")
    assert saved["Text"].strip() == ", ".join(answered)
    assert [row["word"] for row in json.loads(saved["JSON"])["words"]] == answered
    assert [line.split(",")[1] for line in saved["CSV"].splitlines()[1:]] == answered


def _clear(page) -> None:
    page.get_by_role("button", name=re.compile("clear|remove", re.I)).first.click()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _heat(page) -> str:
    return page.evaluate(
        "document.querySelector('#guess-picture').style.getPropertyValue('--heat')"
    )


def _style(page, name: str) -> str:
    """Of the overlay as the browser draws it."""
    return page.evaluate(
        """(name) => getComputedStyle(
            document.querySelector('#guess-picture .image-frame'), '::after')[name]""",
        name,
    )


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
