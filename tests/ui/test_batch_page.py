"""The Batch tab's own functions: what was answered stays, whatever goes wrong on the way."""

import errno
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio import processing_utils

from img2prompt.data import images
from img2prompt.data.block_list import BLOCKED_WORDS, MASK
from img2prompt.inference.artifacts import Assets
from img2prompt.ui.batch import tab
from img2prompt.ui.page import build_app


@pytest.fixture(scope="module")
def app(_built_assets: Path) -> gr.Blocks:
    return build_app(Assets(_built_assets))


def event(app: gr.Blocks, name: str) -> Callable[..., Any]:
    """What an event of the page, or an endpoint, calls."""
    return next(fn.fn for fn in app.fns.values() if fn.api_name == name)


def ended(app: gr.Blocks, files: list[Path]) -> dict[str, Any]:
    """What the tab shows at the end of a pass, by the components' names."""
    work = tab.Work([str(file) for file in files], "original", 3)
    shown: dict[str, Any] = {}
    for update in event(app, "en_batch_answer")(work):
        shown |= {component.elem_id: value for component, value in update.items()}
    return shown


@pytest.fixture
def pictures(tmp_path: Path, make_picture: Callable, encode: Callable) -> list[Path]:
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    for number, path in enumerate(paths):
        path.write_bytes(encode(make_picture(number)))
    return paths


def test_a_full_disk_takes_the_files_to_save_and_not_the_answers(
    app: gr.Blocks, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = []
    real = processing_utils.save_bytes_to_cache

    def full(data: bytes, name: str, cache: str) -> str:
        if name.endswith(".json"):
            halves.append(Path(real(data[:10], name, cache)))  # as far as there was room
            whole = Path(cache) / processing_utils.hash_bytes(data)
            whole.mkdir()
            halves[-1] = halves[-1].rename(whole / name)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(data, name, cache)

    monkeypatch.setattr(processing_utils, "save_bytes_to_cache", full)
    shown = ended(app, pictures)
    assert shown["batch-table"].count("<tr>") == 5 and "words" in shown["batch-table"]
    assert "no room on the server" in shown["batch-status"]
    assert shown["batch-save"].visible is False and "batch-save_csv" not in shown
    assert halves and not halves[0].exists()
    monkeypatch.setattr(processing_utils, "save_bytes_to_cache", real)
    assert ended(app, pictures)["batch-save"].visible is True


def test_an_upload_that_is_gone_is_a_row_and_the_others_are_answered(
    app: gr.Blocks, pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures[1].unlink()
    real = images.open_image

    def failing(source: Any) -> Any:
        if str(source).endswith("2.png"):
            raise OSError(errno.EIO, "Input/output error")
        return real(source)

    monkeypatch.setattr(images, "open_image", failing)
    shown = ended(app, pictures)
    assert "2 could not be used" in shown["batch-status"]
    assert "There is no file 1.png." in shown["batch-table"]
    assert "The file cannot be read any more" in shown["batch-table"]
    rows = event(app, "batch")([str(path) for path in pictures], "original", 3)
    assert ["error" in row for row in rows] == [False, True, True, False]
    assert str(pictures[1].parent) not in json.dumps(rows)
    for path in pictures[::2]:
        path.unlink()
    pictures[3].unlink()
    with pytest.raises(gr.Error, match="no longer here"):
        ended(app, pictures)


def test_a_failed_pass_leaves_the_table_as_it_is(app: gr.Blocks) -> None:
    shown = {component.elem_id for component in event(app, "en_batch_failed")()}
    assert shown == {"batch-status", "batch-stop"}


def test_true_prompts_are_shown_masked_and_in_the_endpoints_rows(
    app: gr.Blocks, pictures: list[Path], tmp_path: Path
) -> None:
    bad = min(BLOCKED_WORDS)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(pictures[0], "a.png")
        archive.writestr("a.txt", f"a red castle, {bad}, \x1b\u202e<b>garden" + ", snow" * 100)
        archive.writestr("about.md", "# Nothing")
    shown = ended(app, [tmp_path / "set.zip"])
    (told,) = [part for part in shown["batch-table"].split("<p ") if part.startswith("class")]
    assert f"a red castle, {MASK}, \ufffd&lt;b&gt;garden" in told and bad not in told
    assert "…" in told and "F1 0" in told and len(told) < 600
    assert "left out: 1" in shown["batch-status"] and "F1 0" in shown["batch-status"]
    (row,) = event(app, "batch")([str(tmp_path / "set.zip")], "original", 3)
    assert set(row) == {"file", "preset", "words", "truth", "found", "f1"}
    assert MASK in row["truth"] and bad not in row["truth"]
