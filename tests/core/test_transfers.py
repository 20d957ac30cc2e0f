"""What a server may send us: no more than declared, not for ever, no login page."""

import gzip
import json
import time
from collections.abc import Iterator
from pathlib import Path

import hub_repository
import hub_server
import pytest
from hub_repository import Hub, Repository

from img2prompt.core import transfers
from img2prompt.core.errors import UserError
from img2prompt.data.hub_parts import HubParts
from img2prompt.inference.artifacts import load
from img2prompt.training.publish import plan_publication, publish
from img2prompt.ui.play.random_picture import PairError, RandomPairs

REPO = "ann/words"
MODEL, MANIFEST = r"GET /objects/.+/original\.keras", r"GET /.+/resolve/.+/manifest\.json"
PART = "part-000001.zip"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub that `load` of this process uses, with an empty cache."""
    with hub_repository.serve_models(monkeypatch, tmp_path / "cache") as served:
        yield served


@pytest.fixture
def published(hub: Hub, assets_folder: Path) -> Repository:
    (assets_folder / "MODEL_CARD.md").write_text("# Words\n")
    publish(plan_publication(REPO, assets_folder), hub.endpoint)
    return hub.repositories[REPO]


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_model_that_does_not_end_is_cut_off(
    hub: Hub, published: Repository, tmp_path: Path
) -> None:
    size = len(published.head().files["original.keras"])
    hub.odd = {MODEL: "endless"}
    with pytest.raises(UserError, match=r"sends more for original\.keras of ann/words at .* than"):
        load(REPO)
    assert hub.sent < size + 2**23  # and what the sockets had taken
    assert not list((tmp_path / "cache").rglob("*.incomplete"))
    hub.odd = {}
    assert load(REPO).preset == "original"


def test_a_manifest_or_an_answer_that_does_not_end_is_cut_off(
    hub: Hub, published: Repository
) -> None:
    for odd in (MANIFEST, "GET /api/models"):
        hub.odd, hub.sent = {odd: "endless"}, 0
        with pytest.raises(UserError, match="sends more for"):
            load(REPO)
        assert hub.sent < 2**26  # it would have gone on to there


def test_a_size_that_is_too_large_is_refused_before_a_byte_comes(
    hub: Hub, published: Repository
) -> None:
    for odd in (r"HEAD .*/original\.keras", r"HEAD .*/manifest\.json"):
        hub.odd, hub.log[:] = {odd: {"X-Linked-Size": str(10**13)}}, []
        with pytest.raises(UserError, match="sends more for"):
            load(REPO)
        assert not any("GET /objects" in f"{m} {p}" and "original" in p for m, p in hub.log)


def test_a_manifest_that_declares_less_than_the_file_has(hub: Hub, published: Repository) -> None:
    head = published.head()
    manifest = json.loads(head.files["manifest.json"])
    manifest["files"]["original.keras"]["size"] = 1_000
    files = head.files | {"manifest.json": json.dumps(manifest).encode()}
    published.commit("main", "smaller", files, set(head.lfs))
    with pytest.raises(UserError, match=r"sends more for original\.keras .* than the 1\.0 kB"):
        load(REPO)


def test_a_packed_answer_is_not_unpacked(hub: Hub, published: Repository) -> None:
    hub.swapped["original.keras"] = gzip.compress(b"\0" * 2**24)
    for odd in (MODEL, "GET /api/models"):
        hub.odd = {odd: "packed"}
        with pytest.raises(UserError, match=r"packs .* although it was asked not to"):
            load(REPO)


@pytest.mark.parametrize(
    "where",
    [
        "GET /api/models",
        "HEAD /.*manifest.json",
        "GET /.*manifest.json",
        "HEAD /.*original.keras",
        "GET /.*original.keras",
    ],
)
def test_a_login_page_is_told_as_one(hub: Hub, published: Repository, where: str) -> None:
    hub.odd = {where: "page"}
    with pytest.raises(UserError, match=r"is this network asking to log in\?") as told:
        load(REPO)
    assert "\n" not in str(told.value)
    hub.odd = {}
    assert load(REPO).preset == "original"


def test_a_login_page_that_does_not_say_so(hub: Hub, published: Repository) -> None:
    size = len(published.head().files["embedding.npz"])
    hub.swapped["embedding.npz"] = b"<!DOCTYPE html>".ljust(size)
    with pytest.raises(UserError, match="is this network asking to log in"):
        load(REPO)
    hub.odd = {"/api/models": "unnamed page"}
    with pytest.raises(UserError, match="is not the hub"):
        load(REPO)


def test_a_name_for_the_cache_leads_nowhere_else(
    hub: Hub, published: Repository, tmp_path: Path
) -> None:
    for head in ({"X-Repo-Commit": "../../../../up"}, {"X-Linked-Etag": '"../../../up"'}):
        hub.odd = {r"HEAD .*manifest\.json": head}
        with pytest.raises(UserError, match="is not the hub"):
            load(REPO)
    assert not list(tmp_path.rglob("up*"))


def test_a_drip_ends_soon(hub: Hub, published: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfers, "SLOW_SECONDS", 0.5)
    for odd in (MANIFEST, MODEL, "GET /api/models"):
        hub.odd, hub.sent = {odd: "drip"}, 0
        start = time.monotonic()
        with pytest.raises(UserError, match="comes too slowly"):
            load(REPO)
        assert time.monotonic() - start < 300


# --- DiffusionDB ----------------------------------------------------------------------------------


@pytest.fixture
def dataset(diffusiondb_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    monkeypatch.setattr("img2prompt.core.hub.WAITS", (0.01, 0.01))
    with hub_server.serve(diffusiondb_folder) as served:
        yield served


def parts(dataset: hub_server.Hub, tmp_path: Path) -> HubParts:
    return HubParts("2m", "1-2", cache_dir=tmp_path / "cache", endpoint=dataset.endpoint)


def test_a_part_that_does_not_end_is_cut_off(dataset: hub_server.Hub, tmp_path: Path) -> None:
    source = parts(dataset, tmp_path)
    dataset.more = {PART: 2**26}
    size = (dataset.root / "images" / PART).stat().st_size
    with pytest.raises(UserError, match=r"sends more for images/part-000001\.zip"):
        source.fetch("part-000001")
    assert bytes_in(tmp_path / "cache") <= size
    assert dataset.sent(PART) < 2**24
    assert source.fetch("part-000002").is_file()  # one file is wrong, not the hub
    dataset.more = {}
    assert source.fetch("part-000001").read_bytes() == (dataset.root / "images" / PART).read_bytes()


@pytest.mark.parametrize("where", ["/files/images/" + PART, "/paths-info/" + hub_server.COMMIT])
def test_a_login_page_in_the_place_of_a_part(
    dataset: hub_server.Hub, tmp_path: Path, where: str
) -> None:
    dataset.page = where
    with pytest.raises(UserError, match="is this network asking to log in"):
        parts(dataset, tmp_path).fetch("part-000001")
    dataset.page = None
    assert parts(dataset, tmp_path).fetch("part-000001").is_file()


def test_a_commit_that_is_none_becomes_no_folder(dataset: hub_server.Hub, tmp_path: Path) -> None:
    dataset.commits["main"] = "../../up"
    with pytest.raises(UserError, match="names no commit"):
        parts(dataset, tmp_path)


def test_a_login_page_in_the_place_of_a_random_picture(dataset: hub_server.Hub) -> None:
    for where in ("/resolve/main/metadata.parquet", "/files/metadata.parquet"):
        dataset.page = where
        with pytest.raises(PairError, match="asking to log in") as told:
            RandomPairs(endpoint=dataset.endpoint, parts=[1]).draw()
        assert told.value.reason == "portal"
