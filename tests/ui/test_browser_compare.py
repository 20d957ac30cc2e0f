"""The Compare tab as a visitor meets it: two answers side by side, what they share, the lesson."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from browser_kit import (
    ASSETS,
    EXAMPLE,
    EXAMPLES,
    PHONE,
    at_rest,
    choose,
    keep,
    open_tab,
    overflow,
    words,
)

pytestmark = pytest.mark.browser

FOOD = EXAMPLES / "07-chili.jpg"


def test_one_picture_and_two_models(open_page) -> None:
    page = open_page()
    choose(page, EXAMPLE)
    guessed = words(page, 10)
    open_tab(page, "Compare")  # the Guess tab's picture comes along
    first, second = _sides(page, 2)
    assert (first["preset"], second["preset"]) == ("gaze", "original")
    assert first["words"] == guessed and len(second["words"]) == 10
    _check_marks(page, first, second)
    assert "the same picture" in page.inner_text("#compare-answer")
    assert page.locator("#compare-answer .lesson").count() == 0
    page.locator("#compare-second-preset").get_by_label("Gaze").check()
    page.wait_for_selector("#compare-answer .alike[data-share='1.0000']")
    assert "one picture answered twice" in page.inner_text("#compare-answer .alike")


def test_the_original_answers_two_pictures_nearly_alike(open_page) -> None:
    """The lesson: the model that looks tells two pictures apart, the student project's don't."""
    page = open_page()
    open_tab(page, "Compare")
    page.click("#compare-example")
    page.wait_for_selector("#compare-answer .lesson")
    original = _sides(page, 2)
    assert [side["preset"] for side in original] == ["original", "original"]
    shared = _check_marks(page, *original)
    assert shared >= 6 and "answer" in page.inner_text("#compare-answer .level")

    table = _table(page)
    assert set(table) == {"gaze", "original", "notebook"}
    assert table["original"][0] == f"{shared} of 10"
    cosine = re.search(r"said: ([0-9.]+)", page.inner_text("#compare-answer .level"))
    assert cosine and cosine[1] == table["original"][1]
    alike = {preset: int(row[0].split()[0]) for preset, row in table.items()}
    assert alike["gaze"] + 4 <= min(alike["original"], alike["notebook"])
    assert float(table["gaze"][1]) < min(float(table[p][1]) for p in ("original", "notebook"))
    # Beside the two that were chosen stand the figures of the evaluation.
    files = json.loads((ASSETS / "manifest.json").read_text("utf-8"))["files"]
    for preset, row in table.items():
        assert row[2] == f"{files[f'{preset}.keras']['figures']['same_words']:.0%}"[:-1] + " %"
    keep(page, "compare-desk-light")

    for side in ("first", "second"):
        page.locator(f"#compare-{side}-preset").get_by_label("Gaze").check()
    page.wait_for_function(
        """() => [...document.querySelectorAll('#compare-answer .side')]
            .every((side) => side.dataset.preset === 'gaze')"""
    )
    assert _check_marks(page, *_sides(page, 2)) == alike["gaze"]
    assert _table(page) == table


def test_two_pictures_of_ones_own_on_a_phone(open_page, tmp_path: Path) -> None:
    page = open_page("", PHONE, "dark")
    open_tab(page, "Compare")
    choose(page, EXAMPLE, "#compare-first")
    _sides(page, 2)
    choose(page, FOOD, "#compare-second")
    # Two pictures are compared by one model.
    page.wait_for_function(
        """() => document.querySelector('#compare-answer .lesson') &&
            [...document.querySelectorAll('#compare-answer .side')]
                .every((side) => side.dataset.preset === 'gaze')"""
    )
    first, second = _sides(page, 2)
    assert "bowl" in second["words"] and "dragon" in first["words"]
    assert overflow(page) == 0
    keep(page, "compare-phone-dark")
    # A picture put here stays, whatever the Guess tab shows.
    open_tab(page, "Guess")
    choose(page, FOOD)
    words(page, 10)
    open_tab(page, "Compare")
    at_rest(page)
    assert _sides(page, 2)[0]["words"] == first["words"]

    page.get_by_role("button", name=re.compile("clear|remove", re.I)).last.click()
    page.wait_for_function("!document.querySelector('#compare-answer .lesson')")
    broken = tmp_path / "broken.png"
    broken.write_bytes(EXAMPLE.read_bytes()[:4000])
    choose(page, broken, "#compare-second")
    toast = page.get_by_test_id("toast-body")
    toast.wait_for()
    assert (
        "The picture is cut off: its last part is missing; save or download it again."
        in toast.inner_text()
    )
    page.wait_for_function(
        "document.querySelector('#compare-answer').innerText.includes('no comparison')"
    )
    assert page.locator("#compare-answer .side").count() == 0


def _sides(page: Any, count: int) -> list[dict[str, Any]]:
    """Both lists as they are read: preset, words, and which are marked as shared."""
    page.wait_for_function(
        "(n) => document.querySelectorAll('#compare-answer .side').length === n", arg=count
    )
    return page.evaluate(
        """[...document.querySelectorAll('#compare-answer .side')].map((side) => ({
            preset: side.dataset.preset,
            words: [...side.querySelectorAll('.word')].map((word) => word.innerText),
            marked: [...side.querySelectorAll('li')]
                .filter((row) => row.innerText.includes('in both'))
                .map((row) => row.querySelector('.word').innerText),
        }))"""
    )


def _check_marks(page: Any, first: dict[str, Any], second: dict[str, Any]) -> int:
    """The marks and the number tell what the two lists share; returns how many words."""
    shared = set(first["words"]) & set(second["words"])
    assert set(first["marked"]) == set(second["marked"]) == shared
    assert (
        page.inner_text("#compare-answer h2 >> nth=0") == f"{len(shared)} of 10 words are the same"
    )
    return len(shared)


def _table(page: Any) -> dict[str, list[str]]:
    return page.evaluate(
        """Object.fromEntries([...document.querySelectorAll('#compare-answer tbody tr')].map(
            (row) => [row.dataset.preset, [...row.querySelectorAll('td')].map((c) => c.innerText)]
        ))"""
    )
