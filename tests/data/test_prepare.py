"""Preparation with many workers: same bytes, kills, Ctrl-C; filters and caps over whole runs."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from paths import ROOT
from sharding import texts_of
from waiting import PATIENCE, group_is_running, wait_until

from img2prompt.core import executors
from img2prompt.core.errors import UserError
from img2prompt.data.diffusiondb import LocalParts
from img2prompt.data.prepare import prepare
from img2prompt.data.shards import PrepareSettings, read_shards

SMALL = PrepareSettings(size=32)


def run(source, out: Path, workers: int = 1, **settings) -> dict:
    chosen = PrepareSettings(**{"size": 32} | settings)
    return prepare(source, out, chosen, progress=False, workers=workers)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reasons(folder: Path) -> dict[str, str]:
    lines = (folder / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["name"]: row["reason"] for row in map(json.loads, lines)}


@pytest.fixture
def make_source(tmp_path: Path, make_part, make_metadata, make_picture, encode):
    """(parts, pictures a part, side) → a folder of parts; prompts repeat over the parts."""

    def make(parts: int, pictures: int, side: int = 24) -> Path:
        drawn = [encode(make_picture(seed, (side, side))) for seed in range(4)]
        rows = []
        for part in range(1, parts + 1):
            names = [f"{part}-{i}.png" for i in range(pictures)]
            make_part(
                tmp_path / "source" / "images" / f"part-{part:06}.zip",
                {name: drawn[i % 4] for i, name in enumerate(names)},
                {name: f"a dog number {(i * part) % 7}" for i, name in enumerate(names)},
            )
            rows += [
                (name, f"a dog number {(i * part) % 7}", part, 0.0, 0.0)
                for i, name in enumerate(names)
            ]
        make_metadata(tmp_path / "source" / "metadata.parquet", rows)
        return tmp_path / "source"

    return make


class Elsewhere(LocalParts):
    """Parts of a folder that come from far away: fetched as copies, and dropped when released."""

    def __init__(self, root: Path, copies: Path, origin: dict) -> None:
        super().__init__(root)
        self.origin = origin
        self.copies = copies
        self.fetched: list[str] = []
        self.most = 0  # copies that lay there at once
        self._lock = threading.Lock()
        copies.mkdir(exist_ok=True)

    def fetch(self, stem: str) -> Path:
        copy = self.copies / f"{stem}.zip"
        copy.write_bytes(super().fetch(stem).read_bytes())
        with self._lock:
            self.fetched.append(stem)
            self.most = max(self.most, len(list(self.copies.iterdir())))
        return copy

    def release(self, stem: str) -> None:
        (self.copies / f"{stem}.zip").unlink()


# --- workers ------------------------------------------------------------------------------------


def test_any_number_of_workers_gives_the_same_bytes(
    diffusiondb_folder: Path, make_source, tmp_path: Path
) -> None:
    for name, source in (("pairs", diffusiondb_folder), ("parts", make_source(5, 9))):
        one = run(source, tmp_path / f"{name}-1")
        many = run(source, tmp_path / f"{name}-3", workers=3)
        assert contents(tmp_path / f"{name}-1") == contents(tmp_path / f"{name}-3")
        assert one == many


def test_workers_load_no_tensorflow() -> None:
    code = "import sys, img2prompt.data.prepare; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "False", done.stderr


def test_zips_are_fetched_ahead_but_few_lie_there_at_once(make_source, tmp_path: Path) -> None:
    parts = Elsewhere(make_source(9, 3), tmp_path / "copies", {"from": "afar"})
    run(parts, tmp_path / "out", workers=2)
    assert sorted(parts.fetched) == parts.stems
    assert 1 < parts.most <= 2 + executors.AHEAD
    assert not list(parts.copies.iterdir())


def test_a_failed_fetch_does_not_stop_the_others(make_source, tmp_path: Path) -> None:
    class Broken(Elsewhere):
        def fetch(self, stem: str) -> Path:
            if stem == "part-000002":
                raise UserError("part-000002 cannot be had; check the network.")
            return super().fetch(stem)

    parts = Broken(make_source(4, 3), tmp_path / "copies", {"from": "afar"})
    with pytest.raises(UserError, match=r"1 of 4 parts .*cannot be had"):
        run(parts, tmp_path / "out", workers=2)
    assert len(read_shards(tmp_path / "out")) == 9
    assert not list((tmp_path / "out").glob(".*"))


def test_a_damaged_shard_whose_part_cannot_be_had_is_gone(make_source, tmp_path: Path) -> None:
    source, out = make_source(3, 3), tmp_path / "out"
    run(source, out)
    rows = out / "part-000002.parquet"
    rows.write_bytes(rows.read_bytes()[:-9])
    (source / "images" / "part-000002.zip").write_bytes(b"no zip")
    with pytest.raises(UserError, match="1 of 3 parts could not be read"):
        run(source, out)
    assert len(read_shards(out)) == 6 and not rows.exists()


@pytest.mark.parametrize("count", [0, -2])
def test_no_workers_are_refused(diffusiondb_folder: Path, tmp_path: Path, count: int) -> None:
    with pytest.raises(UserError, match="workers"):
        run(diffusiondb_folder, tmp_path / "out", workers=count)
    assert not (tmp_path / "out").exists()


def test_a_shard_is_what_numpy_would_save(prepared_once: Path, tmp_path: Path) -> None:
    for path in prepared_once.glob("*.npy"):
        np.save(tmp_path / "again.npy", np.load(path))
        assert (tmp_path / "again.npy").read_bytes() == path.read_bytes()


@pytest.fixture
def prepared_once(diffusiondb_folder: Path, tmp_path: Path) -> Path:
    run(diffusiondb_folder, tmp_path / "prepared")
    return tmp_path / "prepared"


# --- kills --------------------------------------------------------------------------------------


def start(source: Path, out: Path) -> subprocess.Popen:
    """The command with three workers, in a process group of its own."""
    return subprocess.Popen(
        [
            *(sys.executable, ROOT / "scripts" / "prepare_data.py"),
            *("--data", source, "--out", out, "--size", "32", "--workers", "3"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def hold(part: Path) -> Path:
    """Put a pipe in a part's place, so that its worker waits; returns where the part is now."""
    kept = part.rename(part.with_suffix(".kept"))
    os.mkfifo(part)
    return kept


def test_a_killed_run_goes_on_to_the_same_bytes_and_leaves_no_worker(
    make_source, tmp_path: Path
) -> None:
    source, out = make_source(8, 40, 300), tmp_path / "out"
    prepare(source, tmp_path / "whole", SMALL, progress=False, workers=1)
    (tmp_path / "whole" / "report.html").touch()
    last = source / "images" / "part-000008.zip"
    kept = hold(last)
    process = start(source, out)
    try:
        wait_until(lambda: any(out.glob("part-*.parquet")), process)
        process.kill()  # the run alone: its workers find out themselves
        process.wait()
        wait_until(lambda: not group_is_running(process.pid))
    finally:
        if group_is_running(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    left = contents(out)
    made = {name for name in left if name.startswith("part-") and name.endswith(".parquet")}
    assert 0 < len(made) < 8, "killed too late to tell"
    assert "report.json" not in left
    before = {name: (out / name).stat().st_mtime_ns for name in made}
    kept.replace(last)
    prepare(source, out, SMALL, progress=False, workers=2)
    (out / "report.html").touch()
    assert contents(out) == contents(tmp_path / "whole")
    assert {name: (out / name).stat().st_mtime_ns for name in made} == before
    names = texts_of(out).names
    assert len(names) == len(set(names)) == 8 * 40


def test_ctrl_c_stops_all_and_leaves_nothing_half_written(make_source, tmp_path: Path) -> None:
    source = make_source(8, 40, 300)
    hold(source / "images" / "part-000008.zip")
    process = start(source, tmp_path / "out")
    try:
        wait_until(lambda: any((tmp_path / "out").glob("part-*.parquet")), process)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
        _, told = process.communicate(timeout=PATIENCE)
        wait_until(lambda: not group_is_running(process.pid))
    finally:
        if group_is_running(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    lines = told.replace("\r", "\n").split("\n")
    assert [line for line in lines if line.strip() and "%|" not in line] == ["stopped"]
    assert not list((tmp_path / "out").glob(".*.tmp*"))
    assert not (tmp_path / "out" / "report.json").exists()


def test_a_killed_worker_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match="--workers"), executors.local(2) as executor:
        list(executors.fetch_and_work(executor, ["1", "2"], Path, lambda name, path: (_die, 1)))


def _die(code: int) -> None:
    """As the system's memory killer ends a process."""
    os._exit(code)


def test_files_of_living_processes_stay(diffusiondb_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, living = (out / f".part-000001.{process}.tmp.npy" for process in (dead.pid, os.getppid()))
    left.write_bytes(b"half")
    living.write_bytes(b"half")
    run(diffusiondb_folder, out)
    assert not left.exists() and living.exists()


def test_two_runs_at_once_in_one_folder_are_refused(make_source, tmp_path: Path) -> None:
    source, out = make_source(3, 4), tmp_path / "out"
    last = source / "images" / "part-000003.zip"
    kept = hold(last)
    process = start(source, out)
    try:
        wait_until(lambda: any(out.glob("part-*.parquet")), process)
        with pytest.raises(UserError, match="Another run"):
            run(source, out)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    kept.replace(last)
    run(source, out)  # a dead run holds nothing
    assert len(read_shards(out)) == 3 * 4


# --- folders of earlier versions, other origins -------------------------------------------------


def test_a_folder_prepared_by_an_older_version_goes_on(
    diffusiondb_folder: Path, prepared_once: Path
) -> None:
    whole = contents(prepared_once)
    for path in prepared_once.glob("*.parquet"):
        table = pq.read_table(path)
        stamp = dict(table.schema.metadata)
        old = {
            b"skipped": stamp[b"skipped"],
            b"part_bytes": stamp[b"part"],
            b"metadata": stamp[b"metadata"],
        }
        pq.write_table(table.replace_schema_metadata(old), path)
    settings = prepared_once / "settings.json"
    fields = ("size", "fit", "max_image_nsfw", "max_prompt_nsfw", "train_only")
    told = json.loads(settings.read_text())
    settings.write_text(json.dumps({name: told[name] for name in fields}))
    rows = (prepared_once / "part-000001.parquet").read_bytes()
    (prepared_once / "part-000002.npy").unlink()
    report = run(diffusiondb_folder, prepared_once)
    assert report["pictures"] == 16
    assert (prepared_once / "part-000001.parquet").read_bytes() == rows  # not made again
    again = contents(prepared_once)
    assert again["part-000002.npy"] == whole["part-000002.npy"]
    part = diffusiondb_folder / "images" / "part-000001.zip"
    part.write_bytes(part.read_bytes() + b"\0")
    with pytest.raises(UserError, match="another data set"):
        run(diffusiondb_folder, prepared_once)


def test_origins_never_mix(make_source, tmp_path: Path) -> None:
    source, copies, out = make_source(2, 3), tmp_path / "copies", tmp_path / "out"
    run(Elsewhere(source, copies, {"revision": "a"}), out)
    assert json.loads((out / "origin.json").read_text()) == {"revision": "a"}
    before = contents(out)
    run(Elsewhere(source, copies, {"revision": "a"}), out)
    for other in (Elsewhere(source, copies, {"revision": "b"}), source):
        with pytest.raises(UserError, match="revision a"):
            run(other, out)
    assert contents(out) == before
    run(source, tmp_path / "folder")
    assert not (tmp_path / "folder" / "origin.json").exists()
    with pytest.raises(UserError, match="a folder"):
        run(Elsewhere(source, copies, {"revision": "a"}), tmp_path / "folder")


# --- metadata -----------------------------------------------------------------------------------


def rows_of(folder: Path) -> list[tuple]:
    """The rows of a folder's metadata, as `make_metadata` takes them."""
    table = pq.read_table(folder / "metadata.parquet").to_pydict()
    columns = ("image_name", "prompt", "part_id", "image_nsfw", "prompt_nsfw")
    return list(zip(*(table[name] for name in columns), strict=True))


def test_pictures_the_metadata_does_not_know_do_not_pass_the_nsfw_filter(
    diffusiondb_folder: Path, make_metadata, tmp_path: Path
) -> None:
    rows = rows_of(diffusiondb_folder)
    # Another part's row of the same name says nothing about this part's picture.
    moved = [(*row[:2], 1, *row[3:]) if row[0] == "nude.webp" else row for row in rows]
    missing = [row for row in moved if row[0] != "one-3.png"]
    # Neither does a row without a score.
    empty = {"one-4.png": (None, 0.0), "one-5.png": (0.0, float("nan")), "one-6.png": (-1.0, 0.0)}
    known = [(*row[:3], *empty.get(row[0], row[3:])) for row in missing]
    make_metadata(diffusiondb_folder / "metadata.parquet", known)
    unknown = {"nude.webp", "one-3.png", *empty}
    report = run(diffusiondb_folder, tmp_path / "out")
    assert report["unrated"] == 0 and report["pictures"] == 12
    told = reasons(tmp_path / "out")
    assert {name for name, reason in told.items() if reason == "unscored"} == unknown
    # A person may say otherwise; then they are kept and counted.
    kept = {"keep": {"keep_unscored": True}}
    kept["off"] = {"max_image_nsfw": None, "max_prompt_nsfw": None}
    for name, settings in kept.items():
        report = run(diffusiondb_folder, tmp_path / name, **settings)
        assert report["unrated"] == 5 and unknown <= set(texts_of(tmp_path / name).names)
    # Only the score that is asked for must be known.
    run(diffusiondb_folder, tmp_path / "prompts", max_image_nsfw=None)
    told = reasons(tmp_path / "prompts")
    unscored = {name for name, reason in told.items() if reason == "unscored"}
    assert unscored == {"nude.webp", "one-3.png", "one-5.png"}


def test_caps_count_no_picture_that_nobody_scored(make_source, make_metadata, tmp_path) -> None:
    source = make_source(1, 14)
    first = [(*row[:3], None, None) if int(row[0][2:-4]) < 7 else row for row in rows_of(source)]
    make_metadata(source / "metadata.parquet", first)
    assert run(source, tmp_path / "out", max_per_prompt=1)["pictures"] == 7


def test_a_part_that_the_metadata_lacks_is_left_out(
    make_source, make_metadata, tmp_path: Path
) -> None:
    source = make_source(3, 4)
    known = [row for row in rows_of(source) if row[2] != 2]
    make_metadata(source / "metadata.parquet", known)
    report = run(source, tmp_path / "out")
    assert report["pictures"] == 8 and report["skipped"] == {"unscored": 4}


def test_shards_with_pictures_that_nobody_scored_are_not_gone_on_with(
    diffusiondb_folder: Path, make_metadata, prepared_once: Path
) -> None:
    """As folders hold them that were prepared before they were left out."""
    path = prepared_once / "part-000001.parquet"
    table = pq.read_table(path)
    stamp = dict(table.schema.metadata) | {b"unrated": b"2"}
    pq.write_table(table.replace_schema_metadata(stamp), path)
    with pytest.raises(UserError, match="nobody scored"):
        run(diffusiondb_folder, prepared_once)


@pytest.mark.parametrize(
    "name",
    [
        "part-000001 (1).zip",
        "part-000001(1).zip",
        "part-000001-copy.zip",
        "part-000001 - Kopie.zip",
        "Copy of part-000001.zip",
        "Part-000003.zip",
        "part-000003.ZIP",
        "part-3.zip",
        "part-0000003.zip",
        "part_000003.zip",
        "part-00000\u0663.zip",
        "part-000003.zip.part",
        "part-000003.zip.crdownload",
        "part-000001.zip.1",
    ],
)
def test_a_zip_that_is_nearly_a_part_is_refused_by_name(
    make_source, tmp_path: Path, name: str
) -> None:
    """Its pictures would pass the NSFW filter, because the metadata does not know its name."""
    source = make_source(2, 3)
    shutil.copy(source / "images" / "part-000001.zip", source / "images" / name)
    with pytest.raises(UserError, match=re.escape(name)):
        run(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_beside_the_parts_do_not_matter(make_source, tmp_path: Path) -> None:
    source = make_source(2, 3)
    for name in ("._part-000001.zip", ".part-000001.zip.abc", "README.md", "pictures.zip", "p.png"):
        (source / "images" / name).write_bytes(b"x")
    (source / "images" / "part-000001").mkdir()  # unpacked to look at, the zip still there
    (source / "images" / "part-000001.json").touch()
    assert run(source, tmp_path / "out")["pictures"] == 6


def test_a_zip_under_another_parts_name_is_refused(make_source, tmp_path: Path) -> None:
    source = make_source(2, 3)
    images = source / "images"
    shutil.copy(images / "part-000001.zip", images / "part-000002.zip")
    with pytest.raises(UserError, match=r"part-000002\.zip holds part-000001\.json"):
        run(source, tmp_path / "out")
    assert read_shards(tmp_path / "out").shards == ((0, "part-000001"),)


def unpacked_folder(images: Path) -> None:
    with zipfile.ZipFile(images / "part-000002.zip") as archive:
        archive.extractall(images / "part-000002")


def unpacked_as_a_zip(images: Path) -> None:
    unpacked_folder(images)
    (images / "part-000002").rename(images / "part-000002.zip.d")
    (images / "part-000002.zip").unlink()
    (images / "part-000002.zip.d").rename(images / "part-000002.zip")
    (images / "part-000002.zip" / "x").touch()


def unpacked_in_place(images: Path) -> None:
    with zipfile.ZipFile(images / "part-000002.zip") as archive:
        archive.extractall(images)


def nothing_but_pictures(images: Path) -> None:
    unpacked_in_place(images)
    (images / "part-000001.zip").unlink()
    (images / "part-000002.json").unlink()


@pytest.mark.parametrize(
    ("unpack", "told"),
    [
        (unpacked_folder, "part-000002 belongs to an unpacked part"),
        (unpacked_as_a_zip, r"part-000002\.zip belongs to an unpacked part"),
        (unpacked_in_place, r"part-000002\.json belongs to an unpacked part"),
        (nothing_but_pictures, r"holds pictures as they are, such as 2-0\.png"),
    ],
)
def test_unpacked_parts_are_told_what_to_do(make_source, tmp_path: Path, unpack, told: str) -> None:
    source = make_source(2, 3)
    unpack(source / "images")
    zip_ = source / "images" / "part-000002.zip"
    if zip_.is_file():
        zip_.unlink()
    with pytest.raises(UserError, match=told) as caught:
        run(source, tmp_path / "out")
    assert "into" in str(caught.value) and not (tmp_path / "out").exists()


def test_a_part_in_both_folders_of_the_large_set_is_refused(make_source, tmp_path: Path) -> None:
    source = make_source(1, 3)
    (source / "images").rename(source / "diffusiondb-large-part-1")
    shutil.copytree(source / "diffusiondb-large-part-1", source / "diffusiondb-large-part-2")
    with pytest.raises(UserError, match=r"part-000001\.zip twice"):
        run(source, tmp_path / "out")


# --- filters ------------------------------------------------------------------------------------


def test_every_filter_names_its_reason(tmp_path: Path, make_part, make_picture, encode) -> None:
    pictures = {
        "small.png": ((90, 31), "a dog in the snow at night"),
        "good.png": ((90, 40), "a cat in the snow at night"),
        "short.png": ((90, 40), "a cat"),
        "long.png": ((90, 40), "a cat " * 20),
        "german.png": ((90, 40), "Ein alter Mann sitzt am Fenster und liest ein Buch, Ölgemälde"),
        "double.png": ((90, 40), "At night: in the snow, a cat!"),
    }
    files = {name: encode(make_picture(1, size)) for name, (size, _) in pictures.items()}
    prompts = {name: prompt for name, (_, prompt) in pictures.items()}
    make_part(tmp_path / "source" / "part-000001.zip", files, prompts)
    expected = {
        "small.png": "too small",
        "short.png": "too short",
        "long.png": "too long",
        "german.png": "language",
    }
    report = run(
        tmp_path / "source",
        tmp_path / "out",
        **{"min_size": 32, "min_words": 3, "max_words": 30, "languages": ("en",)},
        max_per_prompt=1,
        keep_unscored=True,
    )
    told = reasons(tmp_path / "out")
    double = [name for name in ("good.png", "double.png") if name in told]
    assert len(double) == 1 and told.pop(double[0]) == "duplicate prompt"
    assert told == expected
    assert report["skipped"] == dict.fromkeys([*expected.values(), "duplicate prompt"], 1)
    assert report["settings"]["languages"] == ("en",)


def test_other_filters_are_other_settings(prepared_once: Path, diffusiondb_folder: Path) -> None:
    for change in ({"min_words": 3}, {"languages": ("en",)}, {"keep_blurred": True}):
        with pytest.raises(UserError, match="other settings"):
            run(diffusiondb_folder, prepared_once, **change)


# --- caps ---------------------------------------------------------------------------------------


def test_caps_hold_over_all_parts_whatever_the_workers(make_source, tmp_path: Path) -> None:
    source = make_source(5, 20)
    run(source, tmp_path / "one", max_per_prompt=3)
    run(source, tmp_path / "many", workers=3, max_per_prompt=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "many")
    prompts = texts_of(tmp_path / "one").prompts
    assert {prompt: prompts.count(prompt) for prompt in prompts} == {
        f"a dog number {i}": 3 for i in range(7)
    }


def test_parts_added_behind_leave_capped_shards_as_they_are(make_source, tmp_path: Path) -> None:
    source, out = make_source(4, 6), tmp_path / "out"
    later = [source / "images" / f"part-{n:06}.zip" for n in (3, 4)]
    for part in later:
        part.rename(tmp_path / part.name)
    run(source, out, max_per_prompt=2)
    before = contents(out)
    for part in later:
        (tmp_path / part.name).rename(part)
    run(source, out, max_per_prompt=2)
    after = contents(out)
    for name in before:
        if name.startswith("part-"):
            assert after[name] == before[name]
    run(source, tmp_path / "at once", max_per_prompt=2)
    assert contents(tmp_path / "at once") == after


def test_parts_put_before_capped_shards_are_refused(make_source, tmp_path: Path) -> None:
    source, out = make_source(3, 6), tmp_path / "out"
    first = source / "images" / "part-000001.zip"
    first.rename(tmp_path / first.name)
    run(source, out, max_per_prompt=1)
    before = contents(out)
    (tmp_path / first.name).rename(first)
    with pytest.raises(UserError, match="behind other parts"):
        run(source, out, max_per_prompt=1)
    assert contents(out) == before  # and no rows for a run that will not come


def test_caps_count_parts_that_are_prepared_and_not_there(make_source, tmp_path: Path) -> None:
    source, out = make_source(4, 6), tmp_path / "out"
    zips = [source / "images" / f"part-{n:06}.zip" for n in range(1, 5)]
    zips[3].rename(tmp_path / "later")
    run(source, out, max_per_prompt=1)
    before = contents(out)
    zips[0].rename(tmp_path / "first")
    (tmp_path / "later").rename(zips[3])
    with pytest.raises(UserError, match=r"part-000001, which .* put its zip beside the others"):
        run(source, out, max_per_prompt=1)
    assert contents(out) == before
    (tmp_path / "first").rename(zips[0])
    run(source, out, max_per_prompt=1)
    run(source, tmp_path / "at once", max_per_prompt=1)
    assert contents(out) == contents(tmp_path / "at once")


def test_a_damaged_part_stops_caps_that_need_its_prompts(make_source, tmp_path: Path) -> None:
    source = make_source(3, 6)
    (source / "metadata.parquet").unlink()
    part = source / "images" / "part-000002.zip"
    part.write_bytes(part.read_bytes()[:50])
    with pytest.raises(UserError, match=r"part-000002\.zip"):
        run(source, tmp_path / "out", max_per_prompt=1, keep_unscored=True)
    assert not (tmp_path / "out").exists()


def test_pictures_without_a_user_have_no_cap_and_are_counted(
    diffusiondb_folder: Path, make_metadata, tmp_path: Path
) -> None:
    path = diffusiondb_folder / "metadata.parquet"
    table = pq.read_table(path).to_pydict()
    columns = ("image_name", "prompt", "part_id", "image_nsfw", "prompt_nsfw")
    rows = list(zip(*(table[name] for name in columns), strict=True))
    users = [None if name.startswith("two") else "someone" for name in table["image_name"]]
    make_metadata(path, rows, user_name=users)
    report = run(diffusiondb_folder, tmp_path / "out", max_per_user=4)
    assert report["pictures"] == 4 + 6 and report["without_user"] == 6
    assert report["skipped"]["cap per user"] == 7  # of 11: a broken picture counts until decoded
    path.unlink()
    report = run(diffusiondb_folder, tmp_path / "none", max_per_user=4, keep_unscored=True)
    assert report["pictures"] == report["without_user"] == 19
