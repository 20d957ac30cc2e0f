"""The Batch tab as a visitor meets it: many pictures, a table, files to save, stopping half-way."""

import csv
import io
import json
import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_kit import EXAMPLES, PHONE, at_rest, choose, keep, open_tab, overflow

pytestmark = pytest.mark.browser

PICTURES = sorted(EXAMPLES.glob("*.jpg"))
FILES = "#batch-files"
GRADIOS_OWN = "nested-interactive"  # its upload icon is a button that holds a file input


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip of five pictures, one of them broken, and of what macOS adds."""
    path = tmp_path / "class.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for picture in PICTURES[:4]:
            archive.write(picture, f"class/{picture.name}")
        archive.writestr("class/broken.jpg", PICTURES[4].read_bytes()[:3000])
        archive.writestr("__MACOSX/class/._broken.jpg", b"x")
    return path


def test_a_zip_becomes_a_table_counts_and_files(open_page, archive: Path) -> None:
    page = open_page("?tab=batch")
    open_tab(page, "Batch")
    choose(page, archive, FILES)
    status = _finished(page)
    assert "All 5 pictures are done" in status and "1 could not be used" in status

    rows = _rows(page)
    assert [name for name, _ in rows] == [
        *(f"class.zip/class/{picture.name}" for picture in PICTURES[:4]),
        "class.zip/class/broken.jpg",
    ]
    assert all(len(told.split(", ")) == 10 for _, told in rows[:4])
    assert rows[4][1] == (
        "Not used: The picture is cut off: its last part is missing; save or download it again."
    )
    thumbnails = page.locator("#batch-table img")
    assert thumbnails.count() == 4
    assert all(thumbnails.nth(n).evaluate("(image) => image.naturalWidth") == 96 for n in range(4))

    expected = Counter(word for _, told in rows[:4] for word in told.split(", "))
    names = page.locator("#batch-counts .word").all_inner_texts()
    times = page.locator("#batch-counts .times").all_inner_texts()
    assert {name: int(n) for name, n in zip(names, times, strict=True)}.items() <= expected.items()
    assert int(times[0]) == max(expected.values()) and len(names) == 20

    table = list(csv.DictReader(io.StringIO(_download(page, "csv").decode("utf-8-sig"))))
    assert len(table) == 41 and table[40]["error"].startswith("The picture is cut off")
    assert ", ".join(row["word"] for row in table[:10]) == rows[0][1]
    data = json.loads(_download(page, "json"))
    assert [row["file"] for row in data] == [name for name, _ in rows]
    assert [word["word"] for word in data[3]["words"]] == rows[3][1].split(", ")
    counts = csv.DictReader(io.StringIO(_download(page, "counts").decode("utf-8-sig")))
    assert {row["word"]: int(row["pictures"]) for row in counts} == expected
    assert len(_download(page, "text").decode().splitlines()) == 5
    keep(page, "batch-desk-light")


def test_stopping_keeps_what_was_done(open_page, tmp_path: Path) -> None:
    many = tmp_path / "many.zip"
    with zipfile.ZipFile(many, "w") as archive:
        for number in range(300):
            archive.write(PICTURES[number % len(PICTURES)], f"{number:03}.jpg")
    page = open_page()
    open_tab(page, "Batch")
    stop = page.locator("#batch-stop")
    assert stop.is_disabled()
    choose(page, many, FILES)
    page.wait_for_selector("#batch-table tbody tr")
    # Under way: a bar, how many of how many, and how long it will still take.
    underway = page.inner_text("#batch-status")
    assert re.search(r"\d+ of 300 pictures · about \d+ (seconds|minutes) left", underway), underway
    assert page.locator("#batch-save").is_hidden()
    stop.click()
    told = _finished(page)
    stopped = re.search(r"Stopped after (\d+) of 300 pictures", told)
    assert stopped, told
    done = int(stopped[1])
    assert 0 < done < 300 and len(_rows(page)) == done
    bar = page.locator("#batch-status progress")
    assert bar.evaluate("(bar) => [bar.value, bar.max]") == [done, 300]
    data = json.loads(_download(page, "json"))
    assert [row["file"] for row in data] == [f"many.zip/{n:03}.jpg" for n in range(done)]
    # It has really stopped: nothing is added any more.
    at_rest(page)
    assert len(_rows(page)) == done and stop.is_disabled()
    _clear(page)
    _check_that_a_second_set_takes_the_place_of_the_first(page, many)


def test_several_files_on_a_phone_and_another_model(open_page) -> None:
    page = open_page("", PHONE, "dark")
    open_tab(page, "Batch")
    page.set_input_files(f"{FILES} input[type=file]", [str(path) for path in PICTURES[5:8]])
    assert "All 3 pictures are done." in _finished(page)
    before = _rows(page)
    assert [name for name, _ in before] == [path.name for path in PICTURES[5:8]]
    assert overflow(page) == 0
    keep(page, "batch-phone-dark")
    page.locator("#batch-preset").get_by_label("Notebook").check()
    page.click("#batch-start")
    page.wait_for_function("document.querySelectorAll('#batch-table tbody tr').length === 0")
    assert "All 3 pictures are done." in _finished(page)
    after = _rows(page)
    assert [name for name, _ in after] == [name for name, _ in before]
    assert all(old != new for (_, old), (_, new) in zip(before, after, strict=True))


def test_files_that_are_no_pictures_get_their_reason_and_captions_are_read(
    open_page, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("<b>notes.png", "no picture")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 no archive")
    page = open_page()
    open_tab(page, "Batch")
    files = [str(tmp_path / name) for name in ("set.zip", "broken.zip")]
    page.set_input_files(f"{FILES} input[type=file]", files)
    assert "2 could not be used" in _finished(page)
    rows = _rows(page)
    assert rows[0][0] == "set.zip/<b>notes.png" and "not a picture we can read" in rows[0][1]
    assert rows[1] == (
        "broken.zip",
        "Not used: The archive is damaged or not a zip; make or download it again.",
    )
    assert page.locator("#batch-table th b").count() == 0  # a name is text
    _check_with_axe(page)
    _clear(page)
    _check_that_captions_beside_the_pictures_are_the_true_prompts(page, tmp_path)

    page = open_page("de", scheme="dark")
    open_tab(page, "Stapel")
    choose(page, tmp_path / "set.zip", FILES)
    _finished(page)
    assert _rows(page)[0][1].startswith("Nicht verwendet: Das ist kein Bild")
    _check_with_axe(page)


def _check_that_a_second_set_takes_the_place_of_the_first(page: Any, many: Path) -> None:
    stop = page.locator("#batch-stop")
    choose(page, many, FILES)
    page.wait_for_selector("#batch-table tbody tr")
    first = _rows(page)[0]
    page.locator("#batch-preset").get_by_label("Notebook").check()
    page.set_input_files(f"{FILES} input[type=file]", str(PICTURES[0]))  # one more, to the others
    page.wait_for_function(
        """document.querySelector('#batch-status').innerText.includes('of 301 pictures')
        && document.querySelectorAll('#batch-table tbody tr').length > 0"""
    )
    assert stop.is_enabled()
    stop.click()
    done = int(re.search(r"Stopped after (\d+) of 301 pictures", _finished(page))[1])
    # Nothing of the first set comes back, neither after the second nor after none.
    at_rest(page)
    rows = _rows(page)
    assert len(rows) == done < 301 and rows[0][0] == first[0] and rows[0][1] != first[1]
    page.click("#batch-start")
    page.wait_for_selector("#batch-table tbody tr")
    _clear(page)
    at_rest(page)
    assert not _rows(page) and stop.is_disabled() and page.locator("#batch-save").is_hidden()
    assert "Drop pictures" in page.inner_text("#batch-status")


def _check_that_captions_beside_the_pictures_are_the_true_prompts(page, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "horde.zip", "w") as archive:
        for number, caption in enumerate(("a happy dog,\n<b>oil painting</b>", "zzqx")):
            archive.write(PICTURES[number], f"{number}.jpg")
            archive.writestr(f"{number}.json", json.dumps({"prompt": caption}))
        archive.write(PICTURES[2], "2.jpg")
        archive.writestr("notes.txt", "about no picture")
    choose(page, tmp_path / "horde.zip", FILES)
    status = _finished(page)
    assert "All 3 pictures are done." in status and "left out: 1" in status
    assert re.search(r"Beside 1 of them lay the true prompt: F1 \d\.\d\d", status)
    truths = page.locator("#batch-table .truth").all_inner_texts()
    assert truths[0].startswith("True prompt: a happy dog, <b>oil painting</b> F1 0.")
    assert truths[1] == "True prompt: zzqx" and len(truths) == 2
    table = list(csv.DictReader(io.StringIO(_download(page, "csv").decode("utf-8-sig"))))
    assert {row["found"] for row in table[:10]} <= {"yes", "no"} and table[10]["found"] == ""
    data = json.loads(_download(page, "json"))
    assert set(data[0]) > {"truth", "found", "f1"} and "truth" not in data[2]
    _check_with_axe(page)


def _check_with_axe(page: Any) -> None:
    faults = Axe().run(page).response["violations"]
    serious = [fault["id"] for fault in faults if fault["impact"] in ("serious", "critical")]
    assert set(serious) <= {GRADIOS_OWN}, faults


def _clear(page: Any) -> None:
    page.locator(f"{FILES} button[aria-label='Clear']").click()
    page.wait_for_function("document.querySelectorAll('#batch-table tbody tr').length === 0")


def _finished(page: Any) -> str:
    """The closing sentence, once the pass has ended."""
    page.wait_for_selector("#batch-status [role=status].left")
    return page.inner_text("#batch-status")


def _rows(page: Any) -> list[tuple[str, str]]:
    return [
        tuple(row)
        for row in page.evaluate(
            """[...document.querySelectorAll('#batch-table tbody tr')].map((row) => [
                row.querySelector('th').innerText.trim(),
                row.querySelector('td:last-child').innerText.trim(),
            ])"""
        )
    ]


def _download(page: Any, what: str) -> bytes:
    with page.expect_download() as waiting:
        page.click(f"#batch-save_{what}")
    return Path(waiting.value.path()).read_bytes()
