"""Nothing half-written stays, whoever was killed, and nothing that is being written goes."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from paths import ROOT
from waiting import PATIENCE, wait_until

from img2prompt.core import files
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path, scratch_folder, sweep

fcntl = pytest.importorskip("fcntl", reason="nothing is locked here")

WRITER = """
import sys, time
from pathlib import Path
from img2prompt.core.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    Path(sys.argv[2]).touch()
    while not Path(sys.argv[3]).exists():
        time.sleep(0.02)
    temporary.write_text("whole")
"""


@pytest.fixture
def writer(tmp_path: Path):
    """A process in the midst of writing `folder/it.npy`; it ends when there is a file `go`."""
    (tmp_path / "folder").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, tmp_path / "folder" / "it.npy", tmp_path / "here",
         tmp_path / "go"],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_until((tmp_path / "here").exists, process)
        yield process
    finally:
        process.kill()
        process.communicate()


def test_what_a_killed_process_left_is_swept_by_the_next(
    tmp_path: Path, writer: subprocess.Popen
) -> None:
    folder = tmp_path / "folder"
    writer.kill()
    writer.wait(PATIENCE)
    left = {path.suffix for path in folder.iterdir()}
    assert left == {".npy", ".writer"} and not (folder / "it.npy").exists()
    files._swept.discard(folder)
    with atomic_path(folder / "other.npy") as temporary:
        assert {path.suffix for path in folder.iterdir()} == {".writer"}  # our own
        temporary.touch()
    assert [path.name for path in folder.iterdir()] == ["other.npy"]


def test_what_a_living_process_writes_stays(tmp_path: Path, writer: subprocess.Popen) -> None:
    folder = tmp_path / "folder"
    before = list(folder.iterdir())
    sweep(folder, earlier_versions=True)
    assert list(folder.iterdir()) == before
    (tmp_path / "go").touch()
    assert writer.wait(PATIENCE) == 0
    assert [path.name for path in folder.iterdir()] == ["it.npy"]
    assert (folder / "it.npy").read_text() == "whole"


def test_what_this_process_writes_stays(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "it.txt") as temporary:
        temporary.write_text("whole")
        sweep(tmp_path, earlier_versions=True)
    assert (tmp_path / "it.txt").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["it.txt"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "it.txt").write_text("old")
    with pytest.raises(KeyError), atomic_path(tmp_path / "it.txt") as temporary:
        temporary.write_text("half")
        raise KeyError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def leave(folder: Path, machine: str) -> Path:
    """What a killed process of a machine leaves."""
    (folder / ".it.0123456789abcdef.tmp.writer").write_text(machine)
    left = folder / ".it.0123456789abcdef.tmp.npy"
    left.write_bytes(b"half")
    return left


def test_another_machines_files_are_swept_only_when_nobody_touched_them_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are network disks whose locks other machines do not see."""
    left = leave(tmp_path, "another-machine")
    sweep(tmp_path)
    assert left.exists()
    now = time.time()
    monkeypatch.setattr(files.time, "time", lambda: now + files.OTHER_MACHINES_WAIT + 1)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    left = leave(tmp_path, files.socket.gethostname())
    monkeypatch.setattr(fcntl, "flock", no_locks)
    with atomic_path(tmp_path / "it.txt") as temporary:
        temporary.touch()
    assert (tmp_path / "it.txt").exists() and left.exists()


def test_a_folder_that_is_written_is_swept_as_a_whole_and_other_names_stay(tmp_path: Path) -> None:
    leave(tmp_path, files.socket.gethostname()).unlink()
    (tmp_path / ".it.0123456789abcdef.tmp").mkdir()
    (tmp_path / ".it.0123456789abcdef.tmp" / "half").touch()
    others = {".it.lock", ".it.tmp.writer", ".other.0123456789abcdee.tmp.npy", ".notes.tmp", "it"}
    for name in others:
        (tmp_path / name).touch()
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == others


def test_writers_that_sweep_each_others_folders_all_succeed(tmp_path: Path) -> None:
    """The moment between the making of a folder and its lock belongs to nobody."""
    stop = threading.Event()

    def sweeper() -> None:
        while not stop.is_set():
            sweep(tmp_path)

    threads = [threading.Thread(target=sweeper) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(300):
            with scratch_folder(tmp_path) as scratch:
                (scratch / "it").write_text(str(number))
                assert (scratch / "it").read_text() == str(number)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_earlier_versions_go_when_their_process_is_gone(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, living = (tmp_path / f".it.{pid}.tmp.npy" for pid in (dead.pid, os.getppid()))
    left.touch()
    living.touch()
    sweep(tmp_path)  # not without the folder's lock
    assert left.exists()
    sweep(tmp_path, earlier_versions=True)
    assert not left.exists() and living.exists()


def test_a_folder_is_held_by_one_run_and_goes_if_nothing_was_written(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    with files.locked(out, ".lock"):
        with pytest.raises(UserError, match="Another run works in"), files.locked(out, ".lock"):
            pass
        assert (out / ".lock").exists()
    assert list(tmp_path.iterdir()) == []
    with files.locked(out, ".lock"):
        (out / "it").touch()
    assert [path.name for path in out.iterdir()] == ["it"]


@pytest.mark.parametrize("name", ["it.lock", "it.weights.h5", "it.tmp", "it"])
def test_a_file_of_any_suffix_is_written(tmp_path: Path, name: str) -> None:
    """A lock's too: the file that tells who writes stands beside it under another name."""
    with atomic_path(tmp_path / name) as temporary:
        assert not temporary.exists()
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == [name]
