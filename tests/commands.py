"""The repository's scripts as a person runs them, in a process of their own or in this one.

A process of its own costs seconds, in which it imports TensorFlow: where a test is not about a
fresh process, the same file runs in this one, with the same arguments, output and exit code.
"""

import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest import mock

from paths import ROOT
from waiting import PATIENCE

SCRIPTS = ROOT / "scripts"


def run(*command: str | Path, code: int = 0) -> subprocess.CompletedProcess:
    """Run Python in a process of its own from the repository's root and check its exit code."""
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-4000:]
    return done


def run_here(*command: str | Path, code: int = 0) -> subprocess.CompletedProcess:
    """`run` in this process: a script's file, or `-m` and a package, and its arguments.

    What a native library writes past Python's streams is not in the output.
    """
    words = [str(word) for word in command]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        contextlib.chdir(ROOT),
        mock.patch.dict(os.environ),
        mock.patch.object(sys, "argv", words[1:] if words[0] == "-m" else words),
        mock.patch.object(sys, "path", [str(SCRIPTS), *sys.path]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            if words[0] == "-m":
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
            ended = 0
        except SystemExit as end:
            ended = end.code or 0
    stdout, stderr = (stream.buffer.getvalue().decode() for stream in (out, err))
    assert ended == code, stdout[-2000:] + stderr[-4000:]
    return subprocess.CompletedProcess(words, ended, stdout, stderr)


def assert_refused(done: subprocess.CompletedProcess, expected: str) -> None:
    """One sentence of ours on stderr, with `expected` in it, and no traceback."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert expected in lines[0]
    assert "Traceback" not in done.stderr
