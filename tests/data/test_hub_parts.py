"""DiffusionDB from the hub: the real client against a server on this machine."""

import contextlib
import errno
import functools
import io
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import COMMIT, Hub, serve, write_part
from huggingface_hub import constants
from paths import ROOT
from PIL import Image
from sharding import texts_of
from waiting import PATIENCE, wait_until

from img2prompt.core import hub as hub_client
from img2prompt.core.cli import agreed, run_command
from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.files import DiskFullError
from img2prompt.data import prepare as preparation
from img2prompt.data.diffusiondb import LocalParts
from img2prompt.data.hub_parts import HubParts
from img2prompt.data.prepare import prepare
from img2prompt.data.prepared_folder import claim_origin, pinned_revision
from img2prompt.data.prompts import iter_prompts
from img2prompt.data.shards import PrepareSettings, read_shards

OTHER_COMMIT = "fedcba9876543210fedcba9876543210fedcba98"
SETTINGS = PrepareSettings(size=32)
PICTURES = 12  # in each good part
PART_1, PART_2 = "images/part-000001.zip", "images/part-000002.zip"
CORRUPT, WITHOUT_JSON = "images/part-000004.zip", "images/part-000005.zip"
LARGE = ("diffusiondb-large-part-1/part-010000.zip", "diffusiondb-large-part-2/part-010001.zip")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both layouts: PNG parts 1 to 3 of the 2M set, a corrupt one and one without JSON; lossless
    WebP parts of the Large set on both sides of its seam; both tables of pictures.
    """
    root = tmp_path_factory.mktemp("diffusiondb")
    for format, names, table in (
        ("PNG", [f"images/part-{n:06d}.zip" for n in (1, 2, 3)], "metadata.parquet"),
        ("WEBP", LARGE, "metadata-large.parquet"),
    ):
        rows = []
        for name in names:
            number = int(name[-10:-4])
            rng = np.random.default_rng(number)
            files, prompts = {}, {}
            for i in range(PICTURES):
                picture = f"{number}-{i}.{format.lower()}"
                noise = Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
                buffer = io.BytesIO()
                noise.save(buffer, format, **({"lossless": True} if format == "WEBP" else {}))
                files[picture] = buffer.getvalue()
                prompts[picture] = {"p": f"a red fox, part {number}, study {i}", "se": i}
                rows.append((picture, prompts[picture]["p"], number, 0.9 if i == 0 else 0.1))
            write_part(root / name, files, json.dumps(prompts))
        pictures, texts, parts, ratings = zip(*rows, strict=True)
        columns = {
            "image_name": pictures,
            "prompt": texts,
            "part_id": pa.array(parts, pa.uint16()),
            "image_nsfw": pa.array(ratings, pa.float32()),
            "prompt_nsfw": pa.array([0.01] * len(rows), pa.float32()),
        }
        pq.write_table(pa.table(columns), root / table)
    (root / CORRUPT).write_bytes((root / PART_1).read_bytes()[:-4000])
    write_part(root / WITHOUT_JSON, {"a.png": b"no matter"}, None)
    return root


@pytest.fixture(scope="module")
def server(repository: Path) -> Iterator[Hub]:
    with serve(repository) as running:
        yield running


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """The module's server with its manners back and its log empty."""
    fresh = Hub(server.root, server.repository, server.endpoint)
    vars(server).update(vars(fresh))
    monkeypatch.setattr(hub_client, "WAITS", (0.05,) * 5)
    return server


@pytest.fixture
def make(hub: Hub, tmp_path: Path):
    """(subset, parts, **options) → HubParts of the server, its caches in the test's folder."""

    def build(subset: str = "2m", parts: str | None = "1-3", **options) -> HubParts:
        options = {"cache_dir": tmp_path / "cache", "raw_dir": tmp_path / "raw"} | options
        return HubParts(subset, parts, endpoint=hub.endpoint, **options)

    return build


def command(
    hub: Hub, folder: Path, *arguments: object, script: str = "prepare_data.py", **options
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)],
        env=environment(hub, folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        **options,
    )


def environment(hub: Hub, folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    # Whoever wants to reach another host asks the server for it, which notes that down.
    proxy = {"HTTPS_PROXY": hub.endpoint, "NO_PROXY": "127.0.0.1,localhost"}
    return {**kept, **proxy, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder / "home")}


def from_hub(out: Path, parts: str = "1-3", *more: object) -> tuple:
    options = ("--subset", "2m", "--parts", parts, "--out", out, "--size", 32, "--workers", 1)
    return ("--source", "hub", *options, *more)


def refused(done: subprocess.CompletedProcess) -> str:
    """The one line of a refusal."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.replace("\r", "\n").split("\n")
    (line,) = [line for line in lines if line.startswith("error: ")]
    assert "Traceback" not in done.stderr
    return line


def transfers(hub: Hub) -> list[str]:
    return [path for method, path, _, _ in hub.log if method == "GET" and "/files/" in path]


def zips(*folders: Path) -> list[Path]:
    """Whatever of a zip is left in caches, half or whole."""
    blobs = (p for folder in folders for p in folder.rglob("*"))
    return [
        p
        for p in blobs
        if p.is_file() and not p.is_symlink() and p.read_bytes()[:4] == b"PK\x03\x04"
    ]


def same_shards(out: Path, expected: Path) -> None:
    """Same pictures in the same order, none twice, none lost, and nothing half-written."""
    ours = texts_of(out)
    assert len(set(ours.names)) == len(ours) > 0
    assert ours == texts_of(expected)
    assert read_shards(out).split.tolist() == read_shards(expected).split.tolist()
    shards = sorted(path.name for path in out.glob("part-*"))
    assert shards == sorted(path.name for path in expected.glob("part-*"))
    for name in shards:
        if name.endswith(".npy"):
            np.testing.assert_array_equal(np.load(out / name), np.load(expected / name))
    assert not list(out.glob(".*.tmp*"))


@pytest.fixture(scope="module")
def expected(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Parts 1 to 3 prepared from a folder."""
    root = tmp_path_factory.mktemp("local")
    (root / "images").mkdir()
    for number in (1, 2, 3):
        name = f"images/part-{number:06d}.zip"
        (root / name).symlink_to(repository / name)
    (root / "metadata.parquet").symlink_to(repository / "metadata.parquet")
    prepare(root, root / "out", SETTINGS, progress=False, workers=1)
    return root / "out"


# --- the happy path ------------------------------------------------------------------------------


def test_parts_from_the_hub_are_prepared_as_from_a_folder(
    hub: Hub, make, expected: Path, tmp_path: Path
) -> None:
    parts = make()
    assert parts.stems == ["part-000001", "part-000002", "part-000003"]
    assert parts.origin == {"repository": "poloclub/diffusiondb", "set": "2m", "revision": COMMIT}
    report = prepare(parts, tmp_path / "out", SETTINGS, progress=False, workers=1)
    same_shards(tmp_path / "out", expected)
    assert report["pictures"] == 3 * (PICTURES - 1) and report["skipped"] == {"image_nsfw": 3}
    stamp = pq.read_schema(tmp_path / "out" / "part-000002.parquet").metadata[b"part"]
    assert stamp.decode() == f"poloclub/diffusiondb@{COMMIT}:{PART_2}"
    assert zips(tmp_path / "raw") == []  # each went after its shard
    assert (tmp_path / "cache").exists()  # the table of pictures stays
    # Once resolved, every file is asked for at the commit.
    files = [row[1] for row in hub.log if "/resolve/" in row[1]]
    assert files and all(f"/resolve/{COMMIT}/" in path for path in files)
    assert hub.starts("files/" + PART_1) == [0]


def test_the_large_set_lies_in_two_folders_and_is_lossless_webp(
    repository: Path, make, tmp_path: Path
) -> None:
    parts = make("large", "10000-10001")
    prepare(parts, tmp_path / "out", SETTINGS, progress=False, workers=1)
    for name in LARGE:
        local = tmp_path / "local"
        shutil.rmtree(local, ignore_errors=True)
        (local / "images").mkdir(parents=True)
        (local / "images" / Path(name).name).symlink_to(repository / name)
        (local / "metadata.parquet").symlink_to(repository / "metadata-large.parquet")
        prepare(LocalParts(local), tmp_path / "theirs", SETTINGS, progress=False, workers=1)
    same_shards(tmp_path / "out", tmp_path / "theirs")
    assert parts.origin["set"] == "large"


def test_the_command_shows_the_plan_prepares_and_goes_on(
    hub: Hub, expected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command(hub, tmp_path, *from_hub(out, "1-2", "--yes"))
    assert done.returncode == 0, done.stderr
    assert f"poloclub/diffusiondb at {COMMIT}" in done.stdout
    assert "2, of which 0 are prepared" in done.stdout and "free at" in done.stdout
    assert "Mbit/s" in done.stdout and "pictures kept" in done.stdout
    assert json.loads((out / "origin.json").read_text())["revision"] == COMMIT
    assert not (out / ".hub").exists() and (out / "report.html").exists()
    # Nothing but what was wanted was asked for, and nobody's name was told.
    known = ("/api/datasets/poloclub/diffusiondb/", "/datasets/poloclub/diffusiondb/", "/files/")
    assert all(path.startswith(known) for _, path, _, _ in hub.log)
    assert hub.tokens == []
    hub.log.clear()
    done = command(hub, tmp_path, *from_hub(out, "1-3", "--yes"))
    assert done.returncode == 0, done.stderr
    assert "3, of which 2 are prepared" in done.stdout
    assert transfers(hub) == ["/files/images/part-000003.zip"]
    same_shards(out, expected)


def test_nobody_to_ask_means_no_download(hub: Hub, tmp_path: Path) -> None:
    done = command(hub, tmp_path, *from_hub(tmp_path / "out"))
    assert "--yes" in refused(done)
    assert "to download" in done.stdout
    assert transfers(hub) == [] and not (tmp_path / "out").exists()


def test_only_a_yes_is_a_yes() -> None:
    asked = []
    for answer, go in (("y", True), (" Yes ", True), ("", False), ("n", False), ("yep", False)):
        told = agreed("Go on?", False, True, lambda text, a=answer: asked.append(text) or a)
        assert told is go
    assert asked == ["Go on? [y/N] "] * 5 and agreed("Go on?", True, False, pytest.fail)
    with pytest.raises(UserError, match=r"Go on\?.*--yes"):
        agreed("Go on?", False, False, pytest.fail)


def test_the_end_of_input_is_a_no(capsys: pytest.CaptureFixture) -> None:
    def ctrl_d(text: str) -> str:
        raise EOFError

    assert agreed("Go on?", False, True, ctrl_d) is False
    assert capsys.readouterr().out == "\n"  # what is said next has a line of its own


def test_the_plan_counts_what_is_here_and_what_must_come(
    hub: Hub, make, repository: Path, tmp_path: Path
) -> None:
    sizes = [(repository / f"images/part-{n:06d}.zip").stat().st_size for n in (1, 2, 3)]
    table = (repository / "metadata.parquet").stat().st_size
    parts = make()
    asked = len(hub.log)
    plan = parts.plan(tmp_path / "out", 160, bandwidth=8.0)
    assert len(hub.log) == asked == 2  # the commit, and all sizes at once
    assert plan.download == sum(sizes) + table and plan.cached == 0
    assert plan.shards == 3 * 1000 * 160 * 160 * 3
    assert plan.hours == pytest.approx(plan.download / 1e6 / 3600)
    hub.drops["part-000002.zip"] = [50_000]
    hub.status[f"resolve/{COMMIT}/{PART_2}"] = 403  # so that it cannot go on at once
    with pytest.raises(UserError):
        parts.fetch("part-000002")
    hub.status.clear()
    parts = make()
    parts.fetch("part-000001")
    parts.metadata()
    plan = parts.plan(tmp_path / "out", 160)
    assert plan.cached >= sizes[0] + table
    assert plan.download + plan.cached == sum(sizes) + table
    kept = make(raw_dir=None).plan(tmp_path / "out", 160)
    assert kept.keep and kept.raw == sum(sizes)


def test_two_thousand_parts_are_five_questions(hub: Hub, make, tmp_path: Path) -> None:
    hub.every_part = PART_1
    plan = make("2m", None).plan(tmp_path / "out", 160)
    assert plan.parts == 2000 and plan.download > 2000 * 100_000
    assert [row[0] for row in hub.log] == ["GET", *["POST"] * 5]
    drawn = make("2m_random_10k", None)
    assert len(drawn.stems) == 10 and "unseeded" in drawn.origin["draw"]


def test_too_little_disk_is_told_before_anything_comes(hub: Hub, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        done = command(hub, tmp_path, *from_hub(disk / "out", "1-3", "--yes"))
        line = refused(done)
        assert "MB free" in line and "are needed" in line and str(disk) in line
        assert transfers(hub) == [] and list(disk.iterdir()) == []


def test_kept_zips_serve_the_next_folder(hub: Hub, expected: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    more = ("--yes", "--keep", "--cache", cache)
    done = command(hub, tmp_path, *from_hub(tmp_path / "one", "1-3", *more))
    assert done.returncode == 0, done.stderr
    assert len(zips(cache)) == 3
    hub.log.clear()
    # Dropping takes nothing away that was kept before.
    more = ("--yes", "--drop", "--cache", cache)
    done = command(hub, tmp_path, *from_hub(tmp_path / "two", "1-3", *more))
    assert done.returncode == 0, done.stderr
    assert transfers(hub) == [] and len(zips(cache)) == 3
    same_shards(tmp_path / "one", expected)
    same_shards(tmp_path / "two", expected)


def test_options_that_do_not_go_together_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    main = runpy.run_path(str(ROOT / "scripts/prepare_data.py"))["main"]
    out = ("--out", tmp_path / "out")
    for arguments, mention in (
        (out, "--source hub"),
        (("--data", tmp_path, "--subset", "2m", *out), "--subset needs --source hub"),
        (("--data", tmp_path, "--drop", "--yes", *out), "--drop, --yes needs --source hub"),
        (("--source", "hub", *out), "--subset"),
        (("--source", "hub", "--subset", "2m", "--data", tmp_path, *out), "--data"),
        (("--source", "hub", "--subset", "2m_text_only", *out), "fetch_prompts"),
        (("--source", "hub", "--subset", "2m", "--bandwidth", 0, *out), "--bandwidth"),
    ):
        monkeypatch.setattr(sys, "argv", ["prepare_data.py", *map(str, arguments)])
        assert run_command(main) == 2
        assert mention in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# --- what goes wrong -----------------------------------------------------------------------------


def test_a_dropped_connection_goes_on_by_range(
    hub: Hub, make, repository: Path, tmp_path: Path
) -> None:
    hub.drops["part-000002.zip"] = [60_000, 30_000]
    path = make().fetch("part-000002")
    assert path.read_bytes() == (repository / PART_2).read_bytes()
    first, second, third = hub.starts("files/" + PART_2)
    assert first == 0 and 0 < second <= 60_000 and second < third <= 90_000
    assert hub.sent("files/" + PART_2) < (repository / PART_2).stat().st_size + 40_000


def test_another_process_goes_on_where_the_first_was_cut_off(
    hub: Hub, make, repository: Path
) -> None:
    hub.drops["part-000002.zip"] = [100_000]
    hub.on_file = lambda path: setattr(hub, "down", True)  # and then the network is gone
    with pytest.raises(UserError, match="cannot be reached"):
        make().fetch("part-000002")
    hub.down, hub.on_file = False, lambda path: None
    assert make().fetch("part-000002").read_bytes() == (repository / PART_2).read_bytes()
    assert hub.starts("files/" + PART_2)[-1] > 50_000


def test_a_server_without_ranges_still_serves_whole_files(hub: Hub, make, repository: Path) -> None:
    hub.ranges = False
    hub.drops["part-000002.zip"] = [60_000]
    assert make().fetch("part-000002").read_bytes() == (repository / PART_2).read_bytes()


def test_bytes_damaged_on_their_way_are_fetched_again(
    hub: Hub, make, repository: Path, tmp_path: Path
) -> None:
    hub.damage = ["part-000002.zip"]
    assert make().fetch("part-000002").read_bytes() == (repository / PART_2).read_bytes()
    assert hub.starts("files/" + PART_2) == [0, 0]
    hub.damage = ["part-000001.zip"] * 2
    with pytest.raises(UserError, match=r"images/part-000001.zip came damaged twice.*run this"):
        make().fetch("part-000001")
    assert len(zips(tmp_path / "raw")) == 1  # only part 2


def test_what_is_not_there_is_told_with_its_revision(hub: Hub, make) -> None:
    for parts, mention in (("1-6", "images/part-000006.zip is"), ("3,7-9", "and 2 more are")):
        with pytest.raises(UserError, match=f"{mention} not in poloclub/diffusiondb at 0123456789"):
            make("2m", parts)
    with pytest.raises(UserError, match="no revision elsewhere"):
        make(revision="elsewhere")
    hub.status[PART_1] = 404  # listed, and gone all the same
    with pytest.raises(UserError, match=r"part-000001.zip is not in .* at 0123456789ab \(404\)"):
        make().fetch("part-000001")


@pytest.mark.parametrize("status", [401, 403])
def test_no_access_is_told_and_not_asked_for_again(hub: Hub, make, status: int) -> None:
    parts = make()
    hub.status[".zip"] = status
    with pytest.raises(UserError, match=rf"refuses images/part-000001.zip.*\({status}\).*log in"):
        parts.fetch("part-000001")
    asked = len(hub.log)
    with pytest.raises(UserError, match="refuses"):
        parts.fetch("part-000002")
    assert len(hub.log) == asked


def test_too_many_requests_are_waited_for(hub: Hub, make, repository: Path) -> None:
    hub.retry_after = 1
    hub.faults = {
        "revision/main": [429],
        f"paths-info/{COMMIT}": [429],
        f"files/{PART_1}": [429],
        f"resolve/{COMMIT}/{PART_1}": [429],
    }
    start = time.monotonic()
    assert make().fetch("part-000001").read_bytes() == (repository / PART_1).read_bytes()
    assert time.monotonic() - start >= 4  # as long as each of the four asked for
    assert all(left == [] for left in hub.faults.values())


def test_who_has_to_wait_too_long_is_told(hub: Hub, make) -> None:
    hub.retry_after = 100_000
    hub.status["paths-info/" + COMMIT] = 429
    with pytest.raises(UserError, match="too many requests"):
        make()
    assert sum("paths-info" in path for _, path, _, _ in hub.log) == 1


def test_the_hubs_own_header_says_how_long_to_wait(
    hub: Hub, make, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    monkeypatch.setattr(hub_client, "time", SimpleNamespace(sleep=waited.append))
    hub.retry_after = 1
    for seconds in (7, 300):  # to the end of a window; a whole one
        hub.rate_limit = seconds
        hub.faults = {f"paths-info/{COMMIT}": [429]}
        make(revision=COMMIT)
    assert waited == [8.0, 301.0]
    hub.rate_limit = 3_600
    hub.faults = {f"paths-info/{COMMIT}": [429]}
    with pytest.raises(UserError, match="too many requests"):
        make(revision=COMMIT)
    assert len(waited) == 2


def test_a_fault_of_the_server_passes_or_is_told(hub: Hub, make, repository: Path) -> None:
    hub.faults = {f"files/{PART_1}": [500, 503, 502], f"paths-info/{COMMIT}": [500]}
    assert make().fetch("part-000001").read_bytes() == (repository / PART_1).read_bytes()
    hub.status["files/" + PART_2] = 500
    with pytest.raises(UserError, match=r"fault at images/part-000002.zip \(500\).*goes on"):
        make().fetch("part-000002")


def test_without_network_there_is_one_sentence(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be reached.*network"):
        HubParts("2m", "1", endpoint="http://127.0.0.1:9", cache_dir=tmp_path)
    hub.down = True
    done = command(hub, tmp_path, *from_hub(tmp_path / "out", "1", "--yes"))
    assert "cannot be reached" in refused(done) and not (tmp_path / "out").exists()


def test_what_is_no_hub_is_told(hub: Hub, make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A school's login page answers 200 to everything."""
    for answer in ("<html>Log in</html>", "[]", '["a"]', "{}"):
        hub.answer = answer
        with pytest.raises(UserError, match=r"is not the hub|names no commit"):
            make()
    with pytest.raises(UserError, match="is not the hub"):
        hub.answer = '[{"name": "a"}]'
        make(revision=COMMIT)
    # A file's checksum becomes its name in the cache.
    good = {"type": "file", "path": PART_1, "oid": "0" * 40, "size": 10}
    for wrong in ({"oid": "../../../escaped"}, {"oid": "a" * 41}, {"size": -1}, {"size": "10"}):
        hub.answer = json.dumps([good | wrong])
        with pytest.raises(UserError, match="is not the hub"):
            make("2m", "1", revision=COMMIT)


def test_offline_mode_is_told(hub: Hub, make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE is set"):
        make()
    assert hub.log == []


def test_a_corrupt_zip_is_deleted_the_others_are_prepared(
    hub: Hub, repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = command(hub, tmp_path, *from_hub(out, "1,4", "--yes"))
    line = refused(done)
    assert CORRUPT in line and "not a readable zip" in line and "1 of 2 parts" in line
    assert len(read_shards(out)) == PICTURES - 1
    assert zips(out / ".hub") == []
    hub.log.clear()
    done = command(hub, tmp_path, *from_hub(out, "1,4", "--yes"))
    assert CORRUPT in refused(done)
    assert hub.starts("files/" + CORRUPT) == [0] and hub.starts("files/" + PART_1) == []


def test_a_part_without_json_is_told_the_others_are_prepared(
    hub: Hub, make, tmp_path: Path
) -> None:
    told = r"1 of 2 .*; leave them out with --parts, or .*part-000005.zip holds no JSON of prompts"
    with pytest.raises(UserError, match=told):
        prepare(make("2m", "1,5"), tmp_path / "out", SETTINGS, progress=False, workers=1)
    assert len(read_shards(tmp_path / "out")) == PICTURES - 1
    assert zips(tmp_path / "raw") == []  # the bad one does not stay either


def test_what_all_parts_share_is_told_as_itself(hub: Hub, make, tmp_path: Path) -> None:
    parts, out = make(), tmp_path / "out"
    parts.fetch("part-000001")
    hub.status = {PART_2: 403, "images/part-000003.zip": 403}
    with pytest.raises(SharedFailureError, match=r"^The hub refuses images/part-00000[23].zip"):
        prepare(parts, out, SETTINGS, progress=False, workers=1)
    assert len(read_shards(out)) == PICTURES - 1 and (out / "report.json").exists()


def test_a_shard_without_pixels_is_still_to_be_prepared(
    make, expected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare(make(), out, SETTINGS, progress=False, workers=1)
    (out / "part-000002.npy").unlink()
    parts = make()
    assert parts.plan(out, 32).prepared == 2
    parts.fetch("part-000002")
    parts.release_prepared(out)
    assert len(zips(tmp_path / "raw")) == 1  # it is needed once more
    prepare(parts, out, SETTINGS, progress=False, workers=1)
    same_shards(out, expected)


def test_caps_need_all_parts_of_the_folder_listed(make, tmp_path: Path) -> None:
    out, capped = tmp_path / "out", PrepareSettings(size=32, max_per_prompt=1)
    prepare(make("2m", "1-2"), out, capped, progress=False, workers=1)
    with pytest.raises(UserError, match=r"part-000001 and 1 more parts.*list them in --parts"):
        prepare(make("2m", "3"), out, capped, progress=False, workers=1)
    prepare(make("2m", "1-3"), out, capped, progress=False, workers=1)
    prepare(make("2m", "1-3"), tmp_path / "at once", capped, progress=False, workers=1)
    same_shards(out, tmp_path / "at once")


def test_killed_in_the_middle_nothing_is_lost_and_nothing_twice(
    hub: Hub, expected: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    free = Event()
    hub.holds = {"files/" + PART_2: (60_000, free)}
    arguments = from_hub(out, "1-3", "--yes", "--workers", 2)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/prepare_data.py"), *map(str, arguments)],
        env=environment(hub, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: (out / "part-000001.parquet").exists() and cut_off(out) > 30_000)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        free.set()
    assert not (out / "part-000002.parquet").exists()
    hub.holds = {}
    hub.log.clear()
    done = command(hub, tmp_path, *from_hub(out, "1-3", "--yes"))
    assert done.returncode == 0, done.stderr
    (start,) = hub.starts("files/" + PART_2)
    assert start > 0 and hub.starts("files/" + PART_1) == []
    same_shards(out, expected)
    assert not (out / ".hub").exists()


def test_a_disk_that_fills_while_downloading_is_told(
    hub: Hub, make, repository: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        filler = disk / "filler"
        hub.on_file = lambda path: filler.write_bytes(bytes(2**20 - 2**16))
        parts = make(raw_dir=disk / "raw")
        with pytest.raises(UserError, match=r"is full: images/part-000002.zip needs .* are free;"):
            parts.fetch("part-000002")
        filler.unlink()
        hub.on_file = lambda path: None
        path = make(raw_dir=disk / "raw").fetch("part-000002")
        assert path.read_bytes() == (repository / PART_2).read_bytes()
        assert hub.starts("files/" + PART_2)[-1] > 0  # what was there was of use
        filler.write_bytes(bytes(2**20 - 2**16 - path.stat().st_size))
        hub.log.clear()
        with pytest.raises(UserError, match="is full"):
            make(raw_dir=disk / "raw").fetch("part-000001")
        assert transfers(hub) == []  # not even begun


def test_a_disk_that_fills_while_writing_shards_is_told(
    hub: Hub, expected: Path, tmp_path: Path
) -> None:
    arguments = ("--yes", "--keep", "--cache", tmp_path / "cache")
    with small_disk(tmp_path / "disk", "20m") as disk:
        out, filler = disk / "out", disk / "filler"

        def fill(path: str) -> None:
            if path.endswith(PART_2):
                wait_until(lambda: (out / "part-000001.parquet").exists())
                with contextlib.suppress(OSError):  # a shard is being written: as full as can be
                    filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - 2**13)))

        hub.on_file = fill
        done = command(hub, tmp_path, *from_hub(out, "1-3", *arguments))
        line = refused(done)
        assert "is full" in line and "make room and run this again" in line and str(out) in line
        assert not list(out.glob(".*.tmp*")) and not (out / "part-000002.npy").exists()
        filler.unlink()
        hub.on_file = lambda path: None
        done = command(hub, tmp_path, *from_hub(out, "1-3", *arguments))
        assert done.returncode == 0, done.stderr
        same_shards(out, expected)


class _Full:
    """A file on a disk that has room for so many bytes more."""

    def __init__(self, file: io.BufferedWriter, room: int) -> None:
        self._file, self._room = file, room

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> int:
        self._file.write(data[: self._room])
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(data)


def test_a_full_disk_ends_a_download_that_goes_on_later(
    hub: Hub, make, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *rest, **named):
        file = real(path, mode, *rest, **named)
        return _Full(file, 60_000) if path.suffix == ".incomplete" and mode != "rb" else file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        parts = make()
        with pytest.raises(DiskFullError, match=r"is full: images/part-000002.zip needs .* are fr"):
            parts.fetch("part-000002")
        asked = len(hub.log)
        with pytest.raises(SharedFailureError, match="is full"):
            parts.fetch("part-000001")
        assert len(hub.log) == asked
    assert make().fetch("part-000002").read_bytes() == (repository / PART_2).read_bytes()
    assert hub.starts("files/" + PART_2) == [0, 60_000]


def test_a_full_disk_ends_a_shard_that_is_made_later(
    hub: Hub,
    expected: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    main = runpy.run_path(str(ROOT / "scripts/prepare_data.py"))["main"]
    out, real, seen = tmp_path / "out", preparation._pixels_or_reason, []
    arguments = from_hub(out, "1-3", "--yes", "--cache", tmp_path / "cache")
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", *map(str, arguments)])
    monkeypatch.setattr(
        "img2prompt.data.hub_parts.HubParts", functools.partial(HubParts, endpoint=hub.endpoint)
    )

    def full(*arguments: object) -> object:
        if len(seen) == PICTURES + 3:  # in the midst of the second shard
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        seen.append(None)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "_pixels_or_reason", full)
        assert run_command(main) == 2
    told = capsys.readouterr().err
    assert f"error: The disk of {out} is full: the next shard needs 3.1 MB" in told
    assert len(list(out.glob("part-*"))) == 2 and not list(out.glob(".*.tmp*"))
    assert run_command(main) == 0
    same_shards(out, expected)


# --- the revision --------------------------------------------------------------------------------


def test_a_folder_stays_with_its_commit(hub: Hub, expected: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert command(hub, tmp_path, *from_hub(out, "1", "--yes")).returncode == 0
    hub.commits = {"main": OTHER_COMMIT, COMMIT: COMMIT, OTHER_COMMIT: OTHER_COMMIT}
    hub.log.clear()
    done = command(hub, tmp_path, *from_hub(out, "1-3", "--yes", "--revision", "main"))
    assert done.returncode == 0, done.stderr
    assert not any(OTHER_COMMIT in path for _, path, _, _ in hub.log)
    same_shards(out, expected)
    done = command(hub, tmp_path, *from_hub(out, "1-3", "--yes", "--revision", OTHER_COMMIT))
    line = refused(done)
    assert COMMIT[:12] in line and OTHER_COMMIT[:12] in line


def test_which_revision_goes_on(tmp_path: Path) -> None:
    assert pinned_revision(tmp_path / "new") == "main"
    assert pinned_revision(tmp_path / "new", "v2") == "v2"
    claim_origin(tmp_path, {"revision": OTHER_COMMIT})
    claim_origin(tmp_path, {"revision": COMMIT})  # there was no shard yet
    assert pinned_revision(tmp_path) == COMMIT
    assert pinned_revision(tmp_path, OTHER_COMMIT) == OTHER_COMMIT  # still none
    (tmp_path / "part-000001.parquet").touch()
    for asked in (None, "main", "v2", COMMIT, COMMIT[:8]):
        assert pinned_revision(tmp_path, asked) == COMMIT
    with pytest.raises(UserError, match="begun with commit 0123456789ab, not fedcba98;"):
        pinned_revision(tmp_path, OTHER_COMMIT[:8])
    claim_origin(tmp_path, {"revision": COMMIT})
    with pytest.raises(UserError, match="these parts are of"):
        claim_origin(tmp_path, {"revision": COMMIT, "set": "large"})
    local = tmp_path / "local"
    local.mkdir()
    (local / "part-000001.parquet").touch()
    with pytest.raises(UserError, match="not from the hub"):
        pinned_revision(local)
    with pytest.raises(UserError, match="is a file"):
        pinned_revision(local / "part-000001.parquet")


# --- prompts alone -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wide_table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A table of pictures whose prompts are a small share of its bytes."""
    root = tmp_path_factory.mktemp("wide")
    rng = np.random.default_rng(0)
    n = 40_000
    noise = [rng.bytes(1000) for _ in range(n)]
    table = pa.table(
        {
            "image_name": noise,
            "prompt": [f"a red fox number {i}" for i in range(n)],
            "part_id": pa.array([1 + i // 1000 for i in range(n)], pa.uint16()),
            "user_name": noise,
        }
    )
    pq.write_table(table, root / "metadata.parquet", row_group_size=20_000)
    with serve(root) as running:
        yield running


def test_of_the_table_only_the_prompts_travel(wide_table: Hub, tmp_path: Path) -> None:
    out = tmp_path / "prompts.parquet"
    arguments = ("--subset", "2m_text_only", "--out", out)
    done = command(wide_table, tmp_path, *arguments, script="fetch_prompts.py")
    assert done.returncode == 0, done.stderr
    assert "40,000 prompts" in done.stdout and COMMIT in done.stdout
    table = pq.read_table(out)
    assert table.column_names == ["prompt"]
    assert table["prompt"].to_pylist() == [f"a red fox number {i}" for i in range(40_000)]
    assert next(iter_prompts(out)) == (
        "a red fox number 0",
        True,
        "",
    )  # as train_embedding reads it
    size = (wide_table.root / "metadata.parquet").stat().st_size
    assert size > 70e6 and wide_table.sent("metadata.parquet") < size / 3
    known = ("/api/datasets/poloclub/diffusiondb", "/datasets/poloclub/diffusiondb/", "/files/")
    assert all(path.startswith(known) for _, path, _, _ in wide_table.log)


def test_prompts_of_some_parts_and_other_columns(wide_table: Hub, tmp_path: Path) -> None:
    out = tmp_path / "prompts.parquet"
    arguments = ("--subset", "2m", "--parts", "2,40", "--columns", "prompt", "part_id")
    done = command(wide_table, tmp_path, *arguments, "--out", out, script="fetch_prompts.py")
    assert done.returncode == 0, done.stderr
    table = pq.read_table(out)
    assert len(table) == 2000 and set(table["part_id"].to_pylist()) == {2, 40}
    assert table["prompt"][1000].as_py() == "a red fox number 39000"


def test_a_row_group_is_read_in_small_batches(wide_table: Hub, tmp_path: Path) -> None:
    code = """
from datasets.packaged_modules.parquet.parquet import Parquet
from img2prompt.data import prompts

rows, cast = [], Parquet._cast_table
Parquet._cast_table = lambda self, table: rows.append(len(table)) or cast(self, table)
prompts.BATCH = 3_000
print(sum(map(len, prompts.hub_prompts("2m_text_only"))), max(rows))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(wide_table, tmp_path),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.split() == ["40000", "3000"], done.stderr


def test_prompts_that_cannot_be_had_are_told(wide_table: Hub, tmp_path: Path) -> None:
    out = tmp_path / "prompts.parquet"
    for arguments, mention in (
        (("--subset", "2m", "--columns", "prompt", "mood"), "no column mood"),
        (("--subset", "large"), "metadata-large.parquet is not in"),
        (("--subset", "2m", "--revision", "elsewhere"), "no revision elsewhere"),
        (("--subset", "2m", "--parts", "1999"), "no prompts"),
    ):
        done = command(wide_table, tmp_path, *arguments, "--out", out, script="fetch_prompts.py")
        assert mention in refused(done)
        assert not list(tmp_path.glob("*prompts*"))


def cut_off(out: Path) -> int:
    """Bytes of the zips that are not yet whole."""
    return sum(path.stat().st_size for path in out.glob(".hub/*/blobs/*.incomplete"))


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own; the test is skipped where nobody may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small tmpfs cannot be mounted here: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
