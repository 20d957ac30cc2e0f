"""The Map tab in a browser: search, click, word arithmetic, the picture upon it, and as a table."""

import csv
import io
import re

import pytest
from browser_kit import EXAMPLE, PHONE, WAIT, at_rest, choose, keep, open_tab, overflow, words

from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.embedding.analogy import solve
from img2prompt.embedding.word_map import MAP_FILE, VocabularyMap
from img2prompt.inference.artifacts import Assets

pytestmark = pytest.mark.browser

PLOT = "document.querySelector('#map-plot .js-plotly-plot')"


@pytest.fixture(scope="module")
def vocabulary() -> VocabularyMap:
    """The map that the page shows."""
    assets = Assets()
    return VocabularyMap.load(assets.path(MAP_FILE), assets.embedding().hiding(BLOCKED_WORDS))


def test_twenty_thousand_words_in_two_dimensions_and_three(
    open_page, vocabulary, record_property
) -> None:
    page = open_page("?tab=map")
    drawn = _drawn(page, 2)
    assert len(drawn) == len(vocabulary) > 19_000
    assert set(drawn) == set(vocabulary.words) and not set(drawn) & BLOCKED_WORDS
    kinds = {"Other words", "Subject", "Artist", "Medium", "Style", "Light", "Quality"}
    assert kinds <= set(_traces(page))
    assert set(_labels(page)) == set(vocabulary.labels)
    assert "t-SNE" in page.inner_text("#map-hint .method")
    at_rest(page)
    keep(page, "map-desk")
    record_property("frames_per_second", _check_that_moving_is_smooth(page))
    page.get_by_role("radio", name="theme").check()
    page.wait_for_function(f"{PLOT}.data.some((trace) => trace.name === {vocabulary.labels[0]!r})")
    assert set(_drawn(page, 2)) == set(vocabulary.words)
    page.get_by_role("radio", name="3-D").check()
    assert set(_drawn(page, 3)) == set(vocabulary.words)
    page.wait_for_function("location.search.includes('dims=3-D')")
    page.wait_for_function("location.search.includes('colour=theme')")


def test_a_word_is_found_with_its_ten_nearest_and_zoomed_to(open_page, vocabulary) -> None:
    page = open_page("?tab=map")
    _drawn(page, 2)
    whole = _view(page)
    page.locator("#map-search input, #map-search textarea").press_sequentially("castl")
    page.locator("#map-word .chips button", has_text=re.compile("^castle$")).click()
    _card(page, "castle")
    near = vocabulary.vectors.neighbours("castle", 10, answers_only=True)
    rows = page.locator("#map-word ol.near li")
    assert rows.locator("button").all_inner_texts() == [word for word, _ in near]
    told = rows.locator(".score").all_inner_texts()
    assert told == [f"{score:.2f}" for _, score in near]
    count = vocabulary.counts[vocabulary.index["castle"]]
    assert f"{count:,} times in the prompts" in page.inner_text("#map-word")
    page.wait_for_function(f"{PLOT}.layout.uirevision !== undefined")
    at_rest(page)
    (left, right), (low, high) = view = _view(page)
    x, y = vocabulary.place_words(["castle"])[0]
    assert left < x < right and low < y < high
    assert right - left < 0.5 * (whole[0][1] - whole[0][0])
    assert "castle" in _labels(page)
    page.wait_for_function("location.search.includes('word=castle')")
    keep(page, "map-castle")
    # From neighbour to neighbour.
    page.locator("#map-word ol.near button").first.click()
    _card(page, near[0][0])
    page.wait_for_function(f"Math.abs({PLOT}.layout.xaxis.range[0] - {view[0][0]}) > 1e-6")
    page.get_by_role("button", name="Whole map").click()
    page.wait_for_function(f"{PLOT}.layout.xaxis.range[0] < {view[0][0]} - 0.2")
    with page.expect_download() as saved:
        page.locator("#map-word .save button").click()
    table = list(csv.reader(io.StringIO(saved.value.path().read_text("utf-8"))))
    assert table[0] == ["word", "near", "cosine", "count"] and len(table) == 11
    assert {row[0] for row in table[1:]} == {near[0][0]}


def test_a_click_on_a_dot_tells_of_its_word(open_page, vocabulary) -> None:
    page = open_page("?tab=map&word=castle")
    _drawn(page, 2)
    _card(page, "castle")
    at_rest(page)
    # A word of the vocabulary in view, away from labels and from every other dot.
    spot = page.evaluate(
        f"""() => {{
            const div = {PLOT}, {{ xaxis, yaxis }} = div._fullLayout;
            const box = div.getBoundingClientRect(), dots = [];
            for (const trace of div.calcdata.map((calc) => calc[0].trace)) {{
                if (trace.mode !== 'markers') continue;
                for (let i = 0; i < trace.x.length; i += 1) {{
                    const x = xaxis.l2p(trace.x[i]) + xaxis._offset;
                    const y = yaxis.l2p(trace.y[i]) + yaxis._offset;
                    dots.push([trace.text?.[i], x, y, trace.name]);
                }}
            }}
            const inside = (dot) => dot[1] > 60 && dot[1] < box.width - 60
                && dot[2] > 60 && dot[2] < box.height - 120;
            for (const dot of dots) {{
                if (!dot[0] || dot[3] === 'marks' || !inside(dot)) continue;
                const alone = dots.every((other) => other === dot
                    || Math.hypot(other[1] - dot[1], other[2] - dot[2]) > 24);
                const at = [dot[1] + box.left, dot[2] + box.top];
                const bare = document.elementFromPoint(...at)?.closest('.draglayer');
                if (alone && bare) return {{ word: dot[0], at }};
            }}
            return null;
        }}"""
    )
    assert spot is not None
    page.mouse.move(*spot["at"])
    at_rest(page)
    page.mouse.click(*spot["at"])
    _card(page, spot["word"])
    assert page.input_value("#map-search input, #map-search textarea") == spot["word"]


def test_word_arithmetic_and_words_that_are_not_there(open_page, vocabulary) -> None:
    page = open_page("?tab=map")
    _drawn(page, 2)
    page.locator("#map-sums button", has_text="portrait").click()
    page.locator("#map-sum-answer ol.near").wait_for()
    expected = solve("portrait - painting + photo", vocabulary.vectors)
    said = page.locator("#map-sum-answer ol.near button").all_inner_texts()
    assert said == [word for word, _ in expected.words]
    assert expected.expression in page.inner_text("#map-sum-answer h3")
    page.locator("#map-plot .annotation-text", has_text="− painting").wait_for()
    page.wait_for_function("location.search.includes('sum=portrait')")
    box = page.locator("#map-sum input, #map-sum textarea")
    box.fill("castle +")
    page.locator("#map-sum-answer", has_text="A sign stands at the end").wait_for()
    _check_that_a_blocked_or_unknown_word_is_not_there(page, vocabulary)
    # What a link carries is worked out on arrival.
    other = open_page("?tab=map&sum=king+-+man+%2B+woman&dims=3-D")
    other.locator("#map-sum-answer h3", has_text="king − man + woman").wait_for()
    _drawn(other, 3)
    other.wait_for_function(f"{PLOT}.layout.scene.annotations.some((n) => n.text === '− man')")


def test_the_picture_lies_on_the_map_and_in_a_table(open_page, vocabulary) -> None:
    page = open_page()
    choose(page, EXAMPLE)
    said = words(page, 10)
    at_rest(page)  # until what the file carries (nothing) stands in the box
    page.locator("#guess-truth textarea").fill(f"{said[0]}, castle, oil painting")
    page.locator("#guess-truth textarea").press("Tab")
    page.locator("#truth section").wait_for()
    open_tab(page, "Map")
    _drawn(page, 2)
    page.locator("#map-picture tbody tr").first.wait_for()
    page.wait_for_function(
        f"{PLOT}.data.some((trace) => trace.name === 'true words')", timeout=WAIT
    )
    assert {"predicted vectors", "answers", "true words", "lines"} <= set(_traces(page))
    table = page.locator("#map-picture tbody")
    assert sorted(table.locator("th").all_inner_texts()) == sorted(said)
    row = table.locator("tr", has=page.get_by_role("button", name=said[0], exact=True))
    assert row.locator("td").last.inner_text() == "yes"
    assert "castle" in page.locator("#map-picture .chips button").all_inner_texts()
    assert set(said) <= set(_labels(page))
    keep(page, "map-picture")
    page.get_by_role("button", name="The map as a table").click()
    themes = page.locator("#map-table tbody tr")
    themes.first.wait_for()
    assert set(themes.locator("th").all_inner_texts()) == set(vocabulary.labels)
    first = themes.first.locator("td.words button").first
    word = first.inner_text()
    first.click()
    _card(page, word)
    at_rest(page)  # the file is made when the table opens
    with page.expect_download() as saved:
        page.locator("#map-save").click()
    rows = list(csv.reader(io.StringIO(saved.value.path().read_text("utf-8-sig"))))
    assert rows[0][:4] == ["word", "count", "kind", "theme"]
    assert [row[0] for row in rows[1:]] == [
        w if w[0] not in "=+-@" else f"'{w}" for w in vocabulary.words
    ]


def test_a_phone_has_room_for_the_map(open_page) -> None:
    page = open_page("?tab=map&word=forest", viewport=PHONE)
    _drawn(page, 2)
    _card(page, "forest")
    at_rest(page)
    keep(page, "map-phone")
    assert overflow(page) == 0
    box = page.locator("#map-plot").bounding_box()
    assert box["width"] <= PHONE["width"] and 300 < box["height"] < PHONE["height"]


def _check_that_moving_is_smooth(page) -> float:
    """Frames a second while 20,000 points move twenty times, counted as the map is drawn anew.

    Without a graphics card that takes its time, so the limit only keeps out what nobody could use.
    """
    box = page.locator("#map-plot").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = _view(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(
        """() => {
            window.frames_ = 0; window.began = performance.now();
            const div = document.querySelector('#map-plot .js-plotly-plot');
            div.on('plotly_relayouting', () => { window.frames_ += 1; });
        }"""
    )
    for step in range(20):
        page.mouse.move(x + 6 * step, y + 4 * step)
        page.evaluate("() => new Promise(requestAnimationFrame)")
    rate = page.evaluate("1000 * window.frames_ / (performance.now() - window.began)")
    page.mouse.up()
    page.wait_for_function(f"{PLOT}.layout.xaxis.range[0] < {before[0][0]} - 0.05")
    print(f"{rate:.0f} frames a second while moving {len(_drawn(page, 2)):,} points")
    assert rate > 0.2
    return rate


def _check_that_a_blocked_or_unknown_word_is_not_there(page, vocabulary) -> None:
    blocked = next(w for w in sorted(BLOCKED_WORDS) if w in vocabulary.vectors.hidden)
    assert blocked in vocabulary.vectors  # it would be found, were it not hidden
    box = page.locator("#map-search input, #map-search textarea")
    for typed, told in (("zzzzqx", "zzzzqx"), (blocked, "•••")):
        box.fill(typed)
        page.locator("#map-word", has_text=f"does not have “{told}”").wait_for()
        assert page.locator("#map-word ol.near").count() == 0
        assert blocked not in page.inner_text("#map-word")


def _drawn(page, dimensions: int) -> list[str]:
    """The words of the vocabulary's own traces, once the figure of so many dimensions is there."""
    page.wait_for_function(f"{PLOT}?.layout?.meta?.dimensions === {dimensions}")
    return page.evaluate(
        f"{PLOT}.data.slice(0, {PLOT}.layout.meta.traces).flatMap((trace) => trace.text)"
    )


def _traces(page) -> list[str]:
    return page.evaluate(f"{PLOT}.data.map((trace) => trace.name)")


def _view(page) -> list[list[float]]:
    return page.evaluate(f"[{PLOT}.layout.xaxis.range, {PLOT}.layout.yaxis.range]")


def _card(page, word: str) -> None:
    page.locator(f"#map-word [data-word='{word}']").wait_for()


def _labels(page) -> list[str]:
    return page.locator("#map-plot .annotation-text").all_text_contents()  # SVG has no inner text
