"""The Learn tab as a class meets it: five steps through one's own picture, and the lesson."""

import base64
import io
import json
import re

import numpy as np
import pytest
from browser_kit import (
    ASSETS,
    EXAMPLE,
    EXAMPLES,
    PHONE,
    TABLET,
    at_rest,
    choose,
    drop,
    keep,
    open_tab,
    overflow,
    words,
)
from PIL import Image

pytestmark = pytest.mark.browser

ANSWER = "#learn-steps .answer b"


def test_every_step_uses_the_picture_a_person_dropped(open_page) -> None:
    page = open_page()
    drop(page, EXAMPLE)
    answered = words(page, 10)
    open_tab(page, "Learn")
    page.wait_for_selector(ANSWER)
    assert page.inner_text(ANSWER) == ", ".join(answered)
    titles = page.locator("#learn-steps h3").all_inner_texts()
    assert [int(re.match(r"\d", title)[0]) for title in titles] == [1, 2, 3, 4, 5]

    # 1: the pixels are those of the picture, and the patch's numbers their brightness.
    seen = _picture(page, "#learn-steps .seen img")
    assert seen.shape == (192, 192, 3)
    with Image.open(EXAMPLE) as original:
        expected = np.asarray(original.convert("RGB").resize((192, 192)), dtype=float)
    assert np.abs(seen - expected).mean() < 4
    numbers = [int(n) for n in page.locator("#learn-steps .patch span").all_inner_texts()]
    assert len(numbers) == 64 and 0 <= min(numbers) < max(numbers) <= 255
    place = page.eval_on_selector(
        "#learn-steps .frame", "(box) => [parseFloat(box.style.top), parseFloat(box.style.left)]"
    )
    top, left = (round(share / 100 * 192) for share in place)
    patch = seen[top : top + 8, left : left + 8] @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(np.reshape(numbers, (8, 8)), patch, atol=1)
    # 2: three depths, each with maps of its own size.
    assert page.locator("#learn-steps .maps").count() == 3
    sides = [
        int(page.locator(f"#learn-steps .maps >> nth={i} >> img >> nth=0").get_attribute("width"))
        for i in range(3)
    ]
    assert sides == sorted(sides, reverse=True) and sides[0] > sides[2]
    # 3, 4: ten steps, each with its word; ten vectors, and how alike they are.
    assert page.locator("#learn-steps .lstm li b").count() == 10
    assert page.locator("#learn-steps .vectors li").count() == 10
    cells = page.locator("#learn-steps .matrix tbody td").all_inner_texts()
    matrix = np.array([float(cell.replace("−", "-")) for cell in cells]).reshape(10, 10)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (np.diag(matrix) == 1).all() and matrix.min() < 0.9
    # 5: from each vector to words, those of the answer marked.
    bold = set(page.locator("#learn-steps .near .taken [lang=en]").all_inner_texts())
    assert bold and bold <= set(answered)
    keep(page, "learn-desk-light")
    _check_that_the_original_fails_beside_the_model_that_works(page)

    # Another picture, then another model: the story is theirs.
    open_tab(page, "Guess")
    choose(page, EXAMPLES / "07-chili.jpg")
    page.wait_for_function(
        "(old) => document.querySelector('#prompt textarea').value !== old", arg=", ".join(answered)
    )
    page.get_by_role("radio", name="Notebook").check()
    open_tab(page, "Learn")
    page.wait_for_function("document.querySelectorAll('#learn-steps .lstm li').length === 1")
    assert page.locator("#learn-steps .matrix").count() == 0
    assert page.inner_text(ANSWER) != ", ".join(answered)
    assert "Notebook" in page.inner_text("#learn-steps h2")


def test_the_lesson_fits_small_windows_and_explains_its_words(open_page) -> None:
    page = open_page("?tab=learn", PHONE, "dark")
    page.wait_for_selector("#learn-take")
    assert page.locator("#learn-steps .step").count() == 0
    page.click("#learn-take")
    page.wait_for_selector(ANSWER)
    assert page.locator("#learn-steps .step").count() == 5
    page.wait_for_selector("#learn-take", state="hidden")
    # The models' names stand on one line each, however narrow the table.
    lines = "(th) => { const r = document.createRange(); r.selectNodeContents(th);"
    lines += " return new Set([...r.getClientRects()].map((box) => box.top)).size; }"
    for viewport, scheme in ((PHONE, "dark"), (TABLET, "light")):
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)
        at_rest(page)
        assert overflow(page) <= 0
        names = page.locator("#learn-figures tbody th").all()
        assert [name.evaluate(lines) for name in names] == [1, 1, 1]
        keep(page, f"learn-{viewport['width']}-{scheme}")
    for picture in page.locator("#learn-steps img").all():
        assert picture.get_attribute("alt")
    card = page.inner_text("#learn-card")
    assert "bad at" in card and "nobody" in card
    terms = page.locator("#learn-glossary dt").all_inner_texts()
    for term in (
        "Embedding",
        "Vector",
        "Cosine",
        "CNN",
        "Feature map",
        "LSTM",
        "Vocabulary",
        "Prompt",
        "Hub",
        "t-SNE",
    ):
        assert term in terms
    assert terms == sorted(terms, key=str.lower)
    assert all(len(text) > 20 for text in page.locator("#learn-glossary dd").all_inner_texts())
    # It is the page's picture now: the first tab answers it, too.
    answered = page.inner_text(ANSWER)
    open_tab(page, "Guess")
    assert sorted(words(page, 10)) == sorted(answered.split(", "))


def _check_that_the_original_fails_beside_the_model_that_works(page) -> None:
    page.wait_for_selector("#learn-answers dd")
    answers = dict(
        zip(
            page.locator("#learn-answers dt").all_inner_texts(),
            page.locator("#learn-answers dd").all_inner_texts(),
            strict=True,
        )
    )
    assert set(answers) == {"Gaze", "Original", "Notebook"}
    assert answers["Gaze"] == page.inner_text(ANSWER)
    assert "dragon" in answers["Gaze"] and "dragon" not in answers["Notebook"]

    files = json.loads((ASSETS / "manifest.json").read_text(encoding="utf-8"))["files"]
    rows = page.locator("#learn-figures tbody tr").all_inner_texts()
    assert len(rows) == 3
    for row in rows:
        name, distinct, cosine, f1, _ = row.split("\t")
        figures = files[f"{name.lower()}.keras"]["figures"]
        assert int(distinct.replace(",", "")) == figures["distinct_words"]
        assert float(cosine) == pytest.approx(figures["cosine_per_word"], abs=0.005)
        assert float(f1) == pytest.approx(figures["f1"], abs=0.005)


def _picture(page, selector: str) -> np.ndarray:
    source = page.get_attribute(selector, "src")
    data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)
