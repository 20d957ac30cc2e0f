"""What tells a visitor's mistake from a fault of ours, and what the log keeps of either."""

import asyncio
import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from test_api_mistakes import MARKER, check

from img2prompt.core.errors import UserError
from img2prompt.core.texts import Texts
from img2prompt.inference.artifacts import Assets
from img2prompt.ui.page import build_app
from img2prompt.ui.server.arguments import READERS
from img2prompt.ui.server.mistakes import Blocks


def test_every_input_is_of_a_kind_that_is_read(small_folder: Path) -> None:
    app = build_app(Assets(small_folder))
    for event in app.fns.values():
        if event.fn is None:
            continue
        for block in event.inputs:
            assert isinstance(block, tuple(kind for kind, _ in READERS)), (event.api_name, block)
            if isinstance(block, gr.Textbox):
                assert block.max_length, (event.api_name, block.label)


def test_a_fault_of_ours_is_logged_without_what_was_sent(
    small_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(text: str) -> None:
        try:
            raise KeyError(text)
        except KeyError as error:
            raise RuntimeError(f"cannot do {text}") from error

    with Blocks() as app:
        app.texts = {"en": Texts("en")}
        box = gr.Textbox(max_length=100)
        box.submit(fail, box, api_name="fail")
    with pytest.raises(gr.Error) as said:
        asyncio.run(app.process_api(0, [MARKER]))
    assert check(said.value.message, "") == "" and not said.value.print_exception
    assert "Traceback" in caplog.text and MARKER not in caplog.text
    for told in ("KeyError", "RuntimeError", __file__, "in fail"):
        assert told in caplog.text


@pytest.mark.parametrize(
    "raised, told, logged",
    [
        (KeyError(MARKER), "inside the page itself", True),
        (OSError(errno.ENOSPC, MARKER), "inside the page itself", True),
        (FileNotFoundError(errno.ENOENT, MARKER), "Use via API", False),
        (UserError("core.no_file", path="<b>"), "There is no file &lt;b&gt;.", False),
    ],
)
def test_a_component_tells_mistakes_from_faults(
    raised: Exception, told: str, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(gr.Textbox):
        is_template = True

        def preprocess(self, payload: Any) -> None:
            raise raised

    with Blocks() as app:
        app.texts = {"en": Texts("en")}
        box = Broken(max_length=100)
        box.submit(print, box, api_name="fail")
    with pytest.raises(gr.Error) as said:
        asyncio.run(app.process_api(0, [MARKER]))
    assert told in said.value.message and not said.value.print_exception
    assert ("Traceback" in caplog.text) is logged and MARKER not in caplog.text


def test_libraries_log_where_and_not_what() -> None:
    code = (
        "import logging, threading, warnings\n"
        "from img2prompt.ui.server.faults import keep_visitors_out\n"
        "keep_visitors_out()\n"
        f"logging.warning('sent: %s', '{MARKER}')\n"
        f"warnings.warn('sent: {MARKER}')\n"
        "logging.getLogger('img2prompt').warning('our own words')\n"
        f"def fail(): raise ValueError('{MARKER}')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        f"try: raise ValueError('{MARKER}')\n"
        f"except ValueError: logging.exception('sent {MARKER}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and MARKER not in done.stderr
    for told in ("WARNING: root at <string>:4", "UserWarning at <string>:5", "our own words"):
        assert told in done.stderr, done.stderr
    assert done.stderr.count("builtins.ValueError") == 2
