"""The door to TensorFlow and Keras: everything of ours imports them here.

TensorFlow tells of itself while it is imported: that oneDNN is on, which instructions the processor
has, that there is no GPU. Some of it is written before any setting is read. So while it is imported
the process's error output goes through a filter that leaves out these lines, and only them.
`TF_CPP_MIN_LOG_LEVEL` of the environment is respected: 0 shows everything.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from img2prompt.core.cli import OURS

LEVEL = "TF_CPP_MIN_LOG_LEVEL"

# A process of its own: a thread of ours would not run while a library is loaded, and would end
# with us where that library ends the process, which must be seen.
_FILTER = r"""
import os, re, sys
noise = rb"I\d{4} \d\d:\d\d:|\d{4}-\d\d-\d\d [\d:.]+: I |WARNING: All log messages before absl::"
noise += rb"|To enable the following instructions: .* rebuild TensorFlow"
if sys.argv[1] == "ours":  # nobody asked for warnings; 303: there is no driver
    noise += rb"|.*(failed call to cuInit: .*\(303\)|Unable to register cu\w+ (factory|plugin))"
noise = re.compile(noise)
for line in iter(sys.stdin.buffer.readline, b""):
    if not noise.match(line):
        os.write(2, line)
"""


@contextlib.contextmanager
def _without_start_up_lines() -> Iterator[None]:
    """Filter this process's error output while the block runs."""
    given = os.environ.get(LEVEL)
    os.environ.setdefault(LEVEL, "2")
    frozen = getattr(sys, "frozen", False) or not sys.executable  # nothing there to run Python
    if "tensorflow" in sys.modules or given == "0" or frozen:
        yield
        return
    try:
        kept = os.dup(2)
    except OSError:  # there is no error output
        yield
        return
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _FILTER, "given" if given else "ours"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )
    except OSError:
        os.close(kept)
        yield
        return
    assert process.stdin is not None
    _flush()
    os.dup2(process.stdin.fileno(), 2)
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 2)
        os.close(kept)
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            # It ends when nobody writes any more. Another thread may have started a process
            # meanwhile, which writes on through it.
            process.wait(10)


def _flush() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or there is none
        sys.stderr.flush()


@contextlib.contextmanager
def _without_plots() -> Iterator[None]:
    """Let a command of ours find neither Matplotlib nor scikit-learn while the block runs.

    Keras imports them where they are installed, for plots and wrappers that nothing of ours uses:
    1.4 of the 4.9 seconds of processor time that it takes to import. A person's own process, which
    may use them, imports Keras whole.
    """
    hidden = []
    if os.environ.get(OURS):
        hidden = [name for name in ("matplotlib", "sklearn") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say: not there
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _without_start_up_lines(), _without_plots():
    import keras
    import tensorflow as tf

    # Whether there is a GPU is asked here too, where a machine without one is no news.
    tf.config.list_physical_devices()

# Every model of a process has a function of its own for predicting; TensorFlow takes them for one.
tf.get_logger().addFilter(lambda record: "triggered tf.function retracing" not in str(record.msg))

__all__ = ["keras", "tf"]
