"""SIGTERM and Ctrl+C end the page soon and leave nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import browser_kit
import httpx
import pytest
import small_page
from hosted import busy, end, start, upload
from waiting import PATIENCE, wait_until


def test_sigterm_ends_a_page_at_work(small_folder: Path, tmp_path: Path) -> None:
    """In a batch, an open upload and an open answer, which nobody waits for."""
    folder = tmp_path / "temporary"
    app, address = start(folder, small_folder)
    small_page.picture(1, 1500).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    paths = [str(upload(address, data)) for _ in range(30)]
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    call = {"data": [files, "gaze", 5]}
    asked = httpx.post(f"{address}gradio_api/call/batch", json=call, timeout=PATIENCE).json()
    with httpx.stream(
        "GET", f"{address}gradio_api/call/batch/{asked['event_id']}", timeout=PATIENCE
    ):
        assert end(app) < 5 * busy()
    assert not any(next(folder.glob("img2prompt*")).iterdir())


def test_sigterm_ends_the_first_process_of_a_container(small_folder: Path, tmp_path: Path) -> None:
    """PID 1 gets no signal that it has no handler for."""
    wrap = ("unshare", "--fork", "--pid", "--kill-child")
    if subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to make a namespace of processes")
    app, _ = start(tmp_path / "temporary", small_folder, wrap)
    children = Path(f"/proc/{app.pid}/task/{app.pid}/children").read_text().split()
    assert end(app, pid=int(children[0])) < 5 * busy()


def test_sigterm_while_the_page_starts(small_folder: Path, tmp_path: Path) -> None:
    """In the middle of TensorFlow's import; nothing is served yet."""
    app, _ = start(tmp_path / "temporary", small_folder, ready=False)
    wait_until(lambda: "tensorflow" in Path(f"/proc/{app.pid}/maps").read_text(), app)
    assert end(app) < 5 * busy()
    assert not any((tmp_path / "temporary").glob("img2prompt*/*"))


def test_signals_are_heard_before_anything_takes_time(tmp_path: Path) -> None:
    """The first process of a container loses what comes earlier."""
    (tmp_path / "sitecustomize.py").write_text(
        "import builtins, signal, sys\n"
        "first = builtins.__import__\n"
        "def watch(name, *rest, **more):\n"
        "    if name == 'numpy' and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:\n"
        "        sys.exit('too early')\n"
        "    return first(name, *rest, **more)\n"
        "builtins.__import__ = watch\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{browser_kit.ROOT}"}
    command = [sys.executable, str(browser_kit.ROOT / "app.py"), "--assets", str(tmp_path)]
    ended = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "too early" not in ended.stderr and "error: " in ended.stderr
