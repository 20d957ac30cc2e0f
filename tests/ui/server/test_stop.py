"""SIGTERM and Ctrl+C end the page soon and leave nothing behind; what SIGKILL leaves goes later."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import browser_kit
import httpx
import pytest
import small_page
from hosted import busy, end, start, upload
from waiting import PATIENCE, children, wait_until


@pytest.fixture(scope="module")
def killed(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Uploads that a page left when it was killed, an old one first, in their private folder."""
    folder = tmp_path_factory.mktemp("killed") / "temporary"
    app, address = start(folder, small_folder)
    left = [upload(address, b"old"), upload(address, b"young")]
    root = next(folder.glob("img2prompt*"))
    assert left[0].is_relative_to(root) and stat.S_IMODE(root.stat().st_mode) == 0o700
    end(app, signal.SIGKILL)
    assert all(path.exists() for path in left)
    os.utime(left[0], (time.time() - 4000, time.time() - 4000))
    return [root, *left]


def test_the_next_page_sweeps_and_sigterm_ends_it_at_work(
    killed: list[Path], small_folder: Path, tmp_path: Path
) -> None:
    """In a batch, an open upload and an open answer, which nobody waits for.

    Where that is possible, as the first process of a container, which gets no signal that it has no
    handler for.
    """
    root, old, young = killed
    wrap = ("unshare", "--fork", "--pid", "--kill-child")
    if subprocess.run([*wrap, "true"], capture_output=True, check=False).returncode:
        wrap = ()  # no right to make a namespace of processes
    app, address = start(root.parent, small_folder, wrap)
    pid = children(app.pid)[0] if wrap else app.pid
    wait_until(lambda: not old.exists(), app)
    small_page.picture(1, 1500).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    paths = [str(upload(address, data)) for _ in range(30)]
    assert Path(paths[0]).is_relative_to(root)
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    call = {"data": [files, "gaze", 5]}
    asked = httpx.post(f"{address}gradio_api/call/batch", json=call, timeout=PATIENCE).json()
    with httpx.stream(
        "GET", f"{address}gradio_api/call/batch/{asked['event_id']}", timeout=PATIENCE
    ):
        assert end(app, pid=pid) < 5 * busy()
    assert young.exists()  # another page may still be using it
    start_of_the_killed = root / young.relative_to(root).parts[0]
    assert [*root.iterdir()] == [start_of_the_killed]  # nothing of its own is left


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
