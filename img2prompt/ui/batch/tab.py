"""The Batch tab: many pictures or a zip, answered one after the other into a table."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
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
from img2prompt.ui.context import Page
from img2prompt.ui.upload_boxes import Files

MAX_WORDS = 20
DEFAULT_WORDS = 10
EVERY = 0.4  # seconds between two looks at a pass that is under way

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


def build(page: Page) -> None:
    """Lay the tab out and wire it."""
    guesser, text = page.guesser, page.text

    with gr.Row(elem_id="batch-desk", equal_height=False):
        with gr.Column(scale=4, min_width=300, elem_id="batch-ask"):
            files = Files(
                text,
                label=text("batch.files"),
                height=220,
                elem_id="batch-files",
            )
            gr.HTML(
                f"<p>{escape(text('batch.hint', most=text.number(MAX_FILES, 0)))}</p>",
                apply_default_css=False,
                elem_id="batch-hint",
            )
            preset = gr.Radio(
                page.preset_choices(),
                value=guesser.preset,
                label=text("guess.preset"),
                elem_id="batch-preset",
            )
            count = gr.Slider(
                1,
                MAX_WORDS,
                value=DEFAULT_WORDS,
                step=1,
                label=text("guess.count"),
                buttons=[],
                elem_id="batch-count",
            )
            with gr.Row(elem_id="batch-buttons"):
                start = gr.Button(text("batch.start"), variant="primary", elem_id="batch-start")
                stop = gr.Button(
                    text("batch.stop"), variant="stop", interactive=False, elem_id="batch-stop"
                )
        with gr.Column(scale=8, min_width=300, elem_id="batch-tell"):
            status = gr.HTML(
                sentence_html(text("batch.waiting")),
                apply_default_css=False,
                elem_id="batch-status",
            )
            with gr.Row(visible=False, elem_id="batch-save") as saving:
                saves = [
                    gr.DownloadButton(text(f"batch.{key}"), size="sm", elem_id=f"batch-{key}")
                    for key, _, _ in _SAVED
                ]
            counts = gr.HTML("", apply_default_css=False, elem_id="batch-counts")
            table = gr.HTML("", apply_default_css=False, elem_id="batch-table")
    work = gr.State(None)

    def prepare(
        earlier: Work | None, chosen: list[str] | None, preset: str, words: float
    ) -> dict[Any, Any]:
        """Stop what is under way and make room; the pass itself may have to wait in line."""
        if earlier is not None:
            earlier.supersede()
        return {
            work: Work(chosen, preset, round(words)),
            status: sentence_html(text("batch.queued")),
            stop: gr.Button(interactive=True),
        } | blank()

    def blank() -> dict[Any, Any]:
        return {table: "", counts: "", saving: gr.Row(visible=False)}

    # gradio shows again at the end what came last; this takes the place of a table that is gone.
    unchanged = {status: gr.skip()}

    def answer(mine: Work | None) -> Iterator[dict[Any, Any]]:
        if mine is None or mine.superseded or mine.begun:
            yield unchanged  # the pass of an earlier set came late, or took this one up already
            return
        mine.begun = True
        if not mine.files:
            yield {status: sentence_html(text("batch.waiting")), stop: gr.Button(interactive=False)}
            return
        with page.errors():
            if not any(os.path.lexists(path) for path in mine.files):  # a single one is a row
                page.check_picture(mine.files[0])
            predictor = guesser.predictor(mine.preset)
            run = mine.begin(Run(predictor, mine.files, mine.words, guesser.compare))
            rows, looked = table_head(text), 0.0
            for row in run:
                if run.done <= SHOWN_ROWS:
                    rows += row_html(row, text)
                if mine.superseded:
                    break
                if time.monotonic() - looked >= EVERY:
                    looked = time.monotonic()
                    yield {
                        status: progress_html(run, text),
                        table: rows,
                        counts: counts_html(run, text),
                        stop: gr.Button(interactive=not mine.stopped),
                    }
        if mine.superseded:
            yield unchanged
            return
        buttons, note = {}, ""
        try:
            for button, (_, name, content) in zip(saves, _SAVED, strict=True):
                saved = _saved(name, content(run), files.GRADIO_CACHE)
                buttons[button] = gr.DownloadButton(value=saved)
        except OSError:  # a full disk takes the files to save, but not the answers on the page
            buttons, note = {}, text("batch.not_saved")
        yield {
            status: done_html(run, text, note),
            table: rows if run.done else "",
            counts: counts_html(run, text),
            saving: gr.Row(visible=run.done > 0 and bool(buttons)),
            stop: gr.Button(interactive=False),
        } | buttons

    def halt(mine: Work | None) -> dict[Any, Any]:
        if mine is not None:
            mine.stop()
        return {status: sentence_html(text("batch.stopping")), stop: gr.Button(interactive=False)}

    def clear(mine: Work | None) -> dict[Any, Any]:
        if mine is not None:
            mine.supersede()
        return {
            status: sentence_html(text("batch.waiting")),
            stop: gr.Button(interactive=False),
        } | blank()

    quiet = {"show_progress": "hidden", "queue": False}
    shown = [status, table, counts, saving, stop]
    passed = gr.on(
        [files.upload, start.click],
        prepare,
        [work, files, preset, count],
        [work, *shown],
        trigger_mode="multiple",
        **page.private("batch_prepare"),
        **quiet,
    ).then(
        answer,
        work,
        [*shown, *saves],
        # One pass at a time, or single pictures of the other tabs would have to wait.
        concurrency_limit=1,
        concurrency_id="batch",
        show_progress="hidden",
        trigger_mode="multiple",
        **page.private("batch_answer"),
    )
    passed.failure(  # what was answered before it stays in the table
        lambda: {
            status: sentence_html(text("batch.failed")),
            stop: gr.Button(interactive=False),
        },
        outputs=shown,
        **page.private("batch_failed"),
        **quiet,
    )
    stop.click(halt, work, [status, stop], **page.private("batch_stop"), **quiet)
    files.clear(clear, work, shown, **page.private("batch_clear"), **quiet)
    _api(page, files, preset, count)


def _saved(name: str, content: str, cache: str) -> str:
    # gradio serves only what lies in its own cache, and empties that. Half a file would lie there
    # under the whole one's name, which is a hash of what it ought to hold.
    data = export.encoded(name, content)
    try:
        return processing_utils.save_bytes_to_cache(data, name, cache)
    except OSError:
        half = Path(cache) / processing_utils.hash_bytes(data) / name
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def _api(page: Page, files: Any, preset: Any, count: Any) -> None:
    """The endpoint for programs."""
    if not page.published:
        return

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
            guesser = page.guesser
            run = Run(guesser.predictor(preset), files or [], round(words), guesser.compare)
            for _ in run:
                pass
            return [
                export.json_row(name, result, truth)
                for (name, result), truth in zip(run.results, run.truths, strict=True)
            ]

    gr.Button(visible=False).click(
        batch,
        [files, preset, count],
        gr.JSON(visible=False),
        concurrency_limit=1,
        concurrency_id="batch",
        **page.api("batch"),
    )
