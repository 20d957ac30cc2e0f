"""The Batch tab: many pictures or a zip, answered one after the other into a table."""

import contextlib
import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils

from img2prompt.inference import export
from img2prompt.inference.archives import MAX_FILES
from img2prompt.inference.batch import Run
from img2prompt.ui.batch.table import (
    SHOWN_ROWS,
    counts_html,
    done_html,
    progress_html,
    row_html,
    sentence_html,
    table_head,
)
from img2prompt.ui.context import QUIET, Page, html_part
from img2prompt.ui.upload_boxes import Files

EVERY = 0.4  # seconds between two looks at a pass that is under way
# One pass at a time, or single pictures of the other tabs would have to wait.
_ONE_PASS: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "batch"}

Updates = dict[Any, Any]  # component → its new value, or a component with new properties

# (text, file, what is in it)
_SAVED: tuple[tuple[str, str, Callable[[Run], str]], ...] = (
    ("save_csv", "img2prompt-batch.csv", lambda run: export.set_as_csv(run.results, run.truths)),
    (
        "save_json",
        "img2prompt-batch.json",
        lambda run: export.set_as_json(run.results, run.truths),
    ),
    ("save_text", "img2prompt-batch.txt", lambda run: export.set_as_text(run.results)),
    ("save_counts", "img2prompt-words.csv", lambda run: export.counts_as_csv(run.most_common())),
)


@dataclass
class Work:
    """One visitor's set and the pass over it, which may be stopped before it has begun too.

    Attributes:
        files, preset, words: what was asked for. A pass that waits in line finds the newest set, so
            the set must lie here rather than come with the pass.
        run: the pass, once there is one.
        begun: whether a pass has taken it up.
        stopped: whether it is to end.
        superseded: whether another set, or none, took its place: nothing of it is shown any more.
    """

    files: list[str] | None
    preset: str
    words: int
    run: Run | None = None
    begun: bool = False
    stopped: bool = False
    superseded: bool = False

    def begin(self, run: Run) -> Run:
        """Take up a pass; one that was stopped before ends before its first row."""
        self.run = run
        if self.stopped:
            run.stop()
        return run

    def stop(self) -> None:
        """End it before its next row."""
        self.stopped = True
        if self.run is not None:
            self.run.stop()

    def supersede(self) -> None:
        """End it and let it show nothing more."""
        self.superseded = True
        self.stop()


class Batch:
    """The tab's components, and what its buttons do.

    Args:
        page: the page around it.

    Attributes:
        files, preset, count: what to answer, by which model, with how many words.
        start, stop: the buttons of a pass.
        status, counts, table: the HTML of a pass.
        saving: the row of the buttons `saves`, which are in the order of `_SAVED`.
        work: the visitor's `Work`, None before the first.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        text = page.text
        with gr.Row(elem_id="batch-desk", equal_height=False):
            with gr.Column(scale=4, min_width=300, elem_id="batch-ask"):
                label = text("batch.files")
                self.files = Files(label=label, height=220, elem_id="batch-files")
                hint = text("batch.hint", most=text.number(MAX_FILES, 0))
                html_part("batch-hint", f"<p>{escape(hint)}</p>")
                self.preset = page.preset_switch("batch-preset")
                self.count = page.word_slider("batch-count")
                with gr.Row(elem_id="batch-buttons"):
                    label = text("batch.start")
                    self.start = gr.Button(label, variant="primary", elem_id="batch-start")
                    label = text("batch.stop")
                    self.stop = gr.Button(
                        label, variant="stop", interactive=False, elem_id="batch-stop"
                    )
            with gr.Column(scale=8, min_width=300, elem_id="batch-tell"):
                self.status = html_part("batch-status", sentence_html(text("batch.waiting")))
                with gr.Row(visible=False, elem_id="batch-save") as self.saving:
                    self.saves = [
                        gr.DownloadButton(text(f"batch.{key}"), size="sm", elem_id=f"batch-{key}")
                        for key, _, _ in _SAVED
                    ]
                self.counts = html_part("batch-counts")
                self.table = html_part("batch-table")
        self.work = gr.State(None)

    def prepare(
        self, earlier: Work | None, chosen: list[str] | None, preset: str, words: float
    ) -> Updates:
        """Stop what is under way and make room; the pass itself may have to wait in line."""
        if earlier is not None:
            earlier.supersede()
        blank = self._blank("batch.queued", stoppable=True)
        return {self.work: Work(chosen, preset, round(words))} | blank

    def answer(self, mine: Work | None) -> Iterator[Updates]:
        """Answer the pictures of the newest set; the table grows every `EVERY` seconds."""
        # gradio shows again at the end what came last; this takes the place of a table that is gone
        unchanged = {self.status: gr.skip()}
        if mine is None or mine.superseded or mine.begun:
            yield unchanged  # the pass of an earlier set came late, or took this one up already
            return
        mine.begun = True
        if not mine.files:
            yield self._sentence("batch.waiting")
            return
        with self.page.errors():
            if not any(os.path.lexists(path) for path in mine.files):  # a single one is a row
                self.page.check_picture(mine.files[0])
            models = self.page.models
            predictor = models.predictor(mine.preset)
            run = mine.begin(Run(predictor, mine.files, mine.words, models.compare))
            rows = yield from self._progress(mine, run)
        yield unchanged if mine.superseded else self._ended(run, rows)

    def halt(self, mine: Work | None) -> Updates:
        """End a pass before its next row."""
        if mine is not None:
            mine.stop()
        return self._sentence("batch.stopping")

    def clear(self, mine: Work | None) -> Updates:
        """End a pass and forget what it answered: its files were taken out of the box."""
        if mine is not None:
            mine.supersede()
        return self._blank("batch.waiting")

    def fail(self) -> Updates:
        """What was answered before a pass failed stays in the table."""
        return self._sentence("batch.failed")

    def _sentence(self, key: str, stoppable: bool = False) -> Updates:
        told = sentence_html(self.page.text(key))
        return {self.status: told, self.stop: gr.Button(interactive=stoppable)}

    def _blank(self, key: str, stoppable: bool = False) -> Updates:
        empty = {self.table: "", self.counts: "", self.saving: gr.Row(visible=False)}
        return self._sentence(key, stoppable) | empty

    def _progress(self, mine: Work, run: Run) -> Generator[Updates, None, str]:
        """What to show while a pass is under way; the table's HTML at its end."""
        text = self.page.text
        rows, looked = table_head(text), 0.0
        for row in run:
            if run.done <= SHOWN_ROWS:
                rows += row_html(row, text)
            if mine.superseded:
                break
            if time.monotonic() - looked >= EVERY:
                looked = time.monotonic()
                yield {
                    self.status: progress_html(run, text),
                    self.table: rows,
                    self.counts: counts_html(run, text),
                    self.stop: gr.Button(interactive=not mine.stopped),
                }
        return rows

    def _ended(self, run: Run, rows: str) -> Updates:
        text = self.page.text
        buttons, note = {}, ""
        try:
            for button, (_, name, content) in zip(self.saves, _SAVED, strict=True):
                saved = _saved(name, content(run), self.files.GRADIO_CACHE)
                buttons[button] = gr.DownloadButton(value=saved)
        except OSError:  # a full disk takes the files to save, but not the answers on the page
            buttons, note = {}, text("batch.not_saved")
        return {
            self.status: done_html(run, text, note),
            self.table: rows if run.done else "",
            self.counts: counts_html(run, text),
            self.saving: gr.Row(visible=run.done > 0 and bool(buttons)),
            self.stop: gr.Button(interactive=False),
        } | buttons


def build(page: Page) -> Batch:
    """Lay the tab out and wire it."""
    batch = Batch(page)
    _wire(batch)
    _publish(batch)
    return batch


def _wire(batch: Batch) -> None:
    private = batch.page.private
    ended = [batch.status, batch.stop]
    shown = [*ended, batch.table, batch.counts, batch.saving]
    passed = gr.on(
        [batch.files.upload, batch.start.click],
        batch.prepare,
        [batch.work, batch.files, batch.preset, batch.count],
        [batch.work, *shown],
        trigger_mode="multiple",
        **private("batch_prepare"),
        **QUIET,
    ).then(
        batch.answer,
        batch.work,
        [*shown, *batch.saves],
        show_progress="hidden",
        trigger_mode="multiple",
        **_ONE_PASS,
        **private("batch_answer"),
    )
    passed.failure(batch.fail, None, ended, **private("batch_failed"), **QUIET)
    batch.stop.click(batch.halt, batch.work, ended, **private("batch_stop"), **QUIET)
    batch.files.clear(batch.clear, batch.work, shown, **private("batch_clear"), **QUIET)


def _saved(name: str, content: str, cache: str) -> str:
    # gradio serves only what lies in its own cache, and empties that. Half a file would lie there
    # under the whole one's name, which is a hash of what it ought to hold.
    data = export.encoded(name, content)
    try:
        return str(processing_utils.save_bytes_to_cache(data, name, cache))
    except OSError:
        half = Path(cache) / processing_utils.hash_bytes(data) / name
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def _publish(tab: Batch) -> None:
    page = tab.page

    def batch(files: list[str] | None, preset: str, words: float) -> list[dict[str, Any]]:
        """Predict which words of a Stable Diffusion prompt made each of many pictures.

        A picture that cannot be used gets an object with its reason, and the others their words.

        Captions beside the pictures (a.txt or a.json of a.png, DiffusionDB's table) are taken as
        their true prompts.

        Args:
            files: picture files, their captions, and zip archives of both, at most 50 MB each.
            preset: the model: "gaze" (the best), "original" or "notebook" (a lesson in failing).
            words: how many words to answer for each picture, 1 to 20.

        Returns:
            [{"file", "preset", "words" (as predict's)} or {"file", "error"}], in the files' order;
            where the true prompt is known "truth", and "found" and "f1" if we know a word of it
        """
        with page.errors():
            models = page.models
            run = Run(models.predictor(preset), files or [], round(words), models.compare)
            for _ in run:
                pass
            return [
                export.json_row(name, result, truth)
                for (name, result), truth in zip(run.results, run.truths, strict=True)
            ]

    page.publish(batch, [tab.files, tab.preset, tab.count], **_ONE_PASS)
