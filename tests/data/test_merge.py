"""Prepared folders put into one: what is checked first, and that a stopped run goes on."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from paths import ROOT
from waiting import PATIENCE

from img2prompt.core.errors import UserError
from img2prompt.core.files import DiskFullError, write_json
from img2prompt.data import merge as merging
from img2prompt.data.diffusiondb import LocalParts
from img2prompt.data.merge import merge
from img2prompt.data.prepare import locked, prepare
from img2prompt.data.shards import PrepareSettings, load_records, origin_of

SETTINGS = PrepareSettings(size=32, max_image_nsfw=None, max_prompt_nsfw=None)


class Revised(LocalParts):
    """A folder's parts, some of them, as if they came from a revision of a repository."""

    def __init__(self, root: Path, numbers: range, revision: str = "a" * 40) -> None:
        super().__init__(root)
        self.stems = [f"part-{number:06d}" for number in numbers]
        self.origin = {"repository": "poloclub/diffusiondb", "revision": revision}


@pytest.fixture
def parts(tmp_path: Path, make_picture: Callable, encode: Callable, make_part: Callable) -> Path:
    """Parts 1 to 5 of three pictures each; one of part 2 lacks its prompt."""
    root = tmp_path / "diffusiondb"
    for part in range(1, 6):
        files = {f"{part}-{i}.png": encode(make_picture(10 * part + i)) for i in range(3)}
        prompts = {name: f"a red fox by a river, study {name}" for name in files}
        if part == 2:
            del prompts["2-0.png"]
        make_part(root / "images" / f"part-{part:06d}.zip", files, prompts)
    return root


@pytest.fixture
def folders(parts: Path, tmp_path: Path) -> list[Path]:
    """Parts 1 and 2, 3 and 4, and 5, each in a folder of its own."""
    made = []
    for name, numbers in (("a", range(1, 3)), ("b", range(3, 5)), ("c", range(5, 6))):
        made.append(tmp_path / name)
        prepared(Revised(parts, numbers), made[-1])
    return made


def prepared(parts: LocalParts, out: Path, settings: PrepareSettings = SETTINGS) -> dict:
    return prepare(parts, out, settings, progress=False, workers=1)


def state(*folders: Path) -> dict[str, tuple]:
    files = (path for folder in folders for path in folder.rglob("*"))
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


def test_merged_folders_are_as_if_prepared_at_once(
    parts: Path, folders: list[Path], tmp_path: Path
) -> None:
    report = prepared(Revised(parts, range(1, 6)), tmp_path / "expected")
    before = state(*folders)
    merged = merge(folders[::-1], tmp_path / "all", "1-5", progress=False)
    assert merged == report and merged["pictures"] == 14
    for path in (tmp_path / "expected").iterdir():
        ours = tmp_path / "all" / path.name
        assert ours.read_bytes() == path.read_bytes(), path.name
    assert {p.name for p in (tmp_path / "all").iterdir()} == {
        p.name for p in (tmp_path / "expected").iterdir()
    }
    assert state(*folders) == before
    again = merge(folders, tmp_path / "all", "1-5", progress=False)
    assert again == report


def test_the_command_merges_and_refuses(folders: list[Path], tmp_path: Path) -> None:
    def command(*arguments: object) -> subprocess.CompletedProcess:
        script = [sys.executable, str(ROOT / "scripts/merge_prepared.py"), "--out"]
        return subprocess.run(
            [*script, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE
        )

    done = command(tmp_path / "all", *folders[:2], "--expect", "1-5")
    assert done.returncode == 2 and done.stderr.strip().endswith(
        "error: Of the parts 1-5, 1 are in none of the folders: 5; prepare them and merge again."
    )
    assert not (tmp_path / "all").exists()
    done = command(tmp_path / "all", *folders, "--expect", "1-5")
    assert done.returncode == 0, done.stderr
    assert "report.html" in done.stdout and (tmp_path / "all" / "report.html").exists()
    assert len(load_records(tmp_path / "all")) == 14


def test_moved_shards_are_gone_from_their_folders(folders: list[Path], tmp_path: Path) -> None:
    merge(folders, tmp_path / "all", move=True, progress=False)
    assert not [path for folder in folders for path in folder.glob("part-*")]
    assert len(load_records(tmp_path / "all")) == 14
    merge(folders, tmp_path / "all", "1-5", move=True, progress=False)  # once more does no harm
    assert origin_of(tmp_path / "all")["revision"] == "a" * 40


def test_another_disk_gets_copies(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    merge(folders, tmp_path / "all", progress=False)
    for folder in folders:
        shutil.rmtree(folder)
    assert len(load_records(tmp_path / "all")) == 14


def test_a_stopped_run_goes_on(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "all"
    real, placed = merging._place, []

    def stop(file: Path, folder: Path) -> None:
        if len(placed) == 3:  # the second shard has its pixels and not yet its rows
            raise KeyboardInterrupt
        placed.append(file.name)
        real(file, folder)

    monkeypatch.setattr(merging, "_place", stop)
    with pytest.raises(KeyboardInterrupt):
        merge(folders, out, move=True, progress=False)
    assert placed == ["part-000001.npy", "part-000001.parquet", "part-000002.npy"]
    assert len(load_records(out)) == 3
    monkeypatch.setattr(merging, "_place", real)
    report = merge(folders, out, "1-5", move=True, progress=False)
    assert report["pictures"] == len(load_records(out)) == len(set(load_records(out).name)) == 14
    assert not list(out.glob(".*.tmp*"))


def test_a_full_disk_ends_a_copy_that_goes_on_later(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    copied, real, out = [], shutil.copyfile, tmp_path / "all"

    def full(source: Path, target: Path) -> None:
        if len(copied) == 3:
            Path(target).write_bytes(source.read_bytes()[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copied.append(source)
        real(source, target)

    monkeypatch.setattr(os, "link", no_link)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(DiskFullError, match=r"is full: the rest needs .* goes on"):
            merge(folders, out, progress=False)
    assert len(load_records(out)) == 3 and not list(out.glob(".*"))
    assert merge(folders, out, "1-5", progress=False)["pictures"] == 14


def test_a_folder_in_which_another_run_works_is_left_alone(
    folders: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "all"
    merge(folders[:1], out, progress=False)
    for held in (out, *folders[1:]):
        before = state(out, *folders)
        with locked(held), pytest.raises(UserError, match=f"Another run works in {held}"):
            merge(folders[1:], out, move=True, progress=False)
        assert state(out, *folders) == before
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (out / f".part-000003.{dead.pid}.tmp.npy").write_bytes(b"half")
    # The same folder by another name is no other run.
    again = [*folders[1:], folders[1] / ".." / folders[1].name]
    assert merge(again, out, "1-5", progress=False)["pictures"] == 14
    assert not list(out.glob(".*"))


def test_no_origin_of_before_stays_in_an_empty_folder(parts: Path, tmp_path: Path) -> None:
    prepared(LocalParts(parts), tmp_path / "local")
    write_json(tmp_path / "all" / "origin.json", {"revision": "a" * 40})
    merge([tmp_path / "local"], tmp_path / "all", progress=False)
    assert origin_of(tmp_path / "all") == {}


def other_settings(parts: Path, folders: list[Path]) -> str:
    shutil.rmtree(folders[1])
    prepared(Revised(parts, range(3, 5)), folders[1], PrepareSettings(size=40, keep_unscored=True))
    return "other settings"


def other_revision(parts: Path, folders: list[Path]) -> str:
    shutil.rmtree(folders[1])
    prepared(Revised(parts, range(3, 5), "b" * 40), folders[1])
    return "another revision"


def from_a_folder(parts: Path, folders: list[Path]) -> str:
    (folders[1] / "origin.json").unlink()
    return "origin.json"


def other_contents(parts: Path, folders: list[Path]) -> str:
    shutil.copy(folders[0] / "part-000001.parquet", folders[1])
    pixels = np.load(folders[0] / "part-000001.npy")
    pixels[0, 0, 0, 0] ^= 1
    np.save(folders[1] / "part-000001.npy", pixels)
    return "both hold part-000001, with other contents"


def other_part(parts: Path, folders: list[Path]) -> str:
    for suffix in (".npy", ".parquet"):
        shutil.copy(folders[1] / f"part-000003{suffix}", folders[0] / f"part-000004{suffix}")
    return "both hold part-000004, with other contents"


def fewer_pixels(parts: Path, folders: list[Path]) -> str:
    path = folders[1] / "part-000003.npy"
    np.save(path, np.load(path)[:-1])
    return "part-000003.parquet is not whole"


def no_pixels(parts: Path, folders: list[Path]) -> str:
    (folders[1] / "part-000003.npy").unlink()
    (folders[1] / "part-000004.npy").write_bytes(b"")
    return "part-000003.parquet and 1 more are not whole"


def damaged_rows(parts: Path, folders: list[Path]) -> str:
    path = folders[1] / "part-000003.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    return "not whole"


def rated(parts: Path, folders: list[Path]) -> str:
    path = folders[1] / "part-000003.parquet"
    table = pq.read_table(path)
    stamp = {**table.schema.metadata, b"metadata": b"True"}
    pq.write_table(table.replace_schema_metadata(stamp), path)
    return "NSFW filters differ"


def missing(parts: Path, folders: list[Path]) -> str:
    for path in folders[1].glob("part-000003.*"):
        path.unlink()
    shutil.rmtree(folders[2])
    folders.pop()
    return "2 are in none of the folders: 3,5;"


def capped(parts: Path, folders: list[Path]) -> str:
    for folder in folders:
        settings = json.loads((folder / "settings.json").read_text())
        write_json(folder / "settings.json", settings | {"max_per_prompt": 1})
    return "prepare without caps"


def no_folder(parts: Path, folders: list[Path]) -> str:
    folders.append(parts)
    return "is no prepared folder"


def nothing_in_it(parts: Path, folders: list[Path]) -> str:
    for folder in folders:
        for path in folder.glob("part-*"):
            path.unlink()
    return "no prepared shards"


@pytest.mark.parametrize(
    "damage",
    [
        other_settings,
        other_revision,
        from_a_folder,
        other_contents,
        other_part,
        fewer_pixels,
        no_pixels,
        damaged_rows,
        rated,
        missing,
        capped,
        no_folder,
        nothing_in_it,
    ],
)
def test_what_does_not_fit_is_told_and_nothing_changes(
    parts: Path, folders: list[Path], tmp_path: Path, damage: Callable
) -> None:
    mention = damage(parts, folders)
    before = state(*folders)
    with pytest.raises(UserError) as caught:
        merge(folders, tmp_path / "all", "1-5", move=True, progress=False)
    assert mention in str(caught.value) and "\n" not in str(caught.value)
    assert state(*folders) == before and not (tmp_path / "all").exists()


def test_what_out_holds_is_checked_too(parts: Path, folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "all"
    merge(folders[:1], out, progress=False)
    merge(folders[1:], out, "1-5", progress=False)
    assert len(load_records(out)) == 14
    other_contents(parts, folders)
    before = state(out)
    with pytest.raises(UserError, match="both hold part-000001"):
        merge(folders[1:], out, progress=False)
    assert state(out) == before
    with pytest.raises(UserError, match="leave it out"):
        merge([out, *folders], out, progress=False)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        merge(folders, tmp_path / "file", progress=False)
