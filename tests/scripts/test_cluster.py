"""Preparation and prediction on a Dask cluster: a scheduler and two workers, processes on loopback.

What comes out is what one machine makes, byte for byte, also where a worker is lost on the way.
"""

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from paths import ROOT
from waiting import PATIENCE, wait_until

from img2prompt.core.errors import UserError
from img2prompt.core.executors import Cluster, Inline
from img2prompt.data.images import ImageError
from img2prompt.data.prepare import prepare
from img2prompt.data.shards import PrepareSettings
from img2prompt.inference.export import json_line
from img2prompt.inference.labelling import label_files

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}


class Started:
    """A scheduler and two workers of one thread each, without nannies, which would replace them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._processes = folder, []
        file = folder / "scheduler.json"
        self._run("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", file)
        wait_until(file.exists, self._processes[0])
        self.workers = [
            self._run("worker", "--scheduler-file", file, "--nthreads", "1", "--no-nanny")
            for _ in range(2)
        ]
        # The address is in the file as soon as the scheduler answers.
        self.address = next(
            part for part in file.read_text().split('"') if part.startswith("tcp://")
        )
        with Cluster(self.address) as cluster:
            wait_until(lambda: cluster.workers == 2)

    def _run(self, role: str, *arguments: str | Path) -> subprocess.Popen:
        log = self._folder / f"{role}-{len(self._processes)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{role}", *arguments,
                 "--no-dashboard"],
                cwd=self._folder, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Of both tests; the last one kills a worker."""
    started = Started(tmp_path_factory.mktemp("cluster"))
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def source(tmp_path: Path, make_part: Callable, make_picture: Callable, encode: Callable) -> Path:
    """Six parts of twenty pictures."""
    for part in range(1, 7):
        names = [f"{part}-{i}.png" for i in range(20)]
        make_part(
            tmp_path / "source" / "images" / f"part-{part:06}.zip",
            {name: encode(make_picture(i, (300, 300))) for i, name in enumerate(names)},
            {name: f"a fox number {i}" for i, name in enumerate(names)},
        )
    return tmp_path / "source"


def start(*command: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def start_preparing(source: Path, out: Path, cluster: Started) -> subprocess.Popen:
    script = ROOT / "scripts" / "prepare_data.py"
    arguments = ("--data", source, "--out", out, "--size", 32, "--keep-unscored")
    return start(script, *arguments, "--cluster", cluster.address)


def finish(process: subprocess.Popen) -> str:
    """What it printed; it has to end well, without a word on the error stream but its bar's."""
    out, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, told
    lines = [line for line in told.replace("\r", "\n").split("\n") if line.strip()]
    assert [line for line in lines if "%|" not in line] == []
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def is_stopped_at_work(process: subprocess.Popen) -> bool:
    """Stop a worker; let it go on unless it was writing a shard."""
    process.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{process.pid}/stat")
    wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        if link.readlink().name.startswith(".part-"):
            return True
    process.send_signal(signal.SIGCONT)
    return False


def test_a_cluster_answers_as_one_process_does(
    assets_folder: Path,
    make_picture: Callable,
    encode: Callable,
    cluster: Started,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [tmp_path / f"{number}.png" for number in range(40)]
    for number, file in enumerate(files):
        file.write_bytes(encode(make_picture(number)))
    files[3].write_bytes(b"no picture")
    files[35].unlink()
    files[35] = Path(os.path.relpath(files[35], ROOT))  # the workers' folder is another
    monkeypatch.chdir(ROOT)
    command = ("-m", "img2prompt", "predict", "--preset", assets_folder, "--json", *files)
    rows = list(label_files(Inline(), files, str(assets_folder)))
    assert [isinstance(row, ImageError) for _, row in rows].count(True) == 2
    expected = "".join(f"{json_line(*row)}\n" for row in rows)
    for options in (("--workers", 2), ("--cluster", cluster.address)):
        process = start(*command, *options)
        told, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 2  # of 40 files 38 are pictures
        assert told == expected


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_cluster_prepares_the_same_bytes_also_when_a_worker_is_lost(
    source: Path, cluster: Started, tmp_path: Path
) -> None:
    settings = PrepareSettings(size=32, keep_unscored=True)
    prepare(source, tmp_path / "one", settings, progress=False, workers=1)
    expected = contents(tmp_path / "one")

    finish(start_preparing(source, tmp_path / "two", cluster))
    (tmp_path / "two" / "report.html").unlink()
    assert contents(tmp_path / "two") == expected

    out = tmp_path / "lost"
    process = start_preparing(source, out, cluster)
    lost = cluster.workers[0]
    wait_until(lambda: is_stopped_at_work(lost), process)
    assert process.poll() is None and not (out / "report.json").exists()
    lost.kill()
    finish(process)
    (out / "report.html").unlink()
    assert contents(out) == expected


def test_a_scheduler_that_does_not_answer_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr("img2prompt.core.executors.ANSWER_SECONDS", 0.5)
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    for address in ("tcp://127.0.0.1:9", "nonsense", "tcp://host", "tls://127.0.0.1:9"):
        with pytest.raises(UserError, match=f"No Dask scheduler answers at {address}"):
            Cluster(address)
        gc.collect()
    assert told == []  # no traceback of what was left
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="pip install"):
        Cluster("tcp://127.0.0.1:9")
