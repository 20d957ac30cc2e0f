"""Uploads: how much there is room for, whose they are, and that they go in time."""

import os
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.requests import Request

from img2prompt.ui.server import receive, uploads
from img2prompt.ui.server.receive import Refused, limited, receive_files
from img2prompt.ui.server.uploads import Uploads

HOST = {"Host": "localhost"}


@pytest.fixture
def store(tmp_path: Path) -> Uploads:
    """An empty folder for uploads, as a start makes it."""
    (tmp_path / "start").mkdir()
    return Uploads(tmp_path / "start")


def put(store: Uploads, name: str = "a.png", client: str = "me", data: bytes = b"1234") -> str:
    """A file that a client sent."""
    with store.delivery(client) as arriving:
        store.count(arriving, files=1)
        store.count(arriving, size=len(data))
        path = arriving.folder / name
        path.write_bytes(data)
        arriving.kept[str(path)] = len(data)
    return str(path)


def test_only_names_that_were_given_out_are_known(store: Uploads) -> None:
    path = put(store)
    assert store.resolve(path, "s") == path
    assert store.resolve(f"http://anywhere/gradio_api/file={path}", "s") == path
    assert store.resolve(f"{path}/", "s") is None and store.resolve(f"{path}/../a.png", "s") is None
    (Path(path).parent / "other.png").write_bytes(b"1")
    assert store.resolve(str(Path(path).parent / "other.png"), "s") is None
    assert store.resolve("http://[::1/", "s") is None and store.resolve("", "s") is None


def test_a_call_without_a_session_binds_nothing(store: Uploads) -> None:
    path = put(store)
    assert store.resolve(path, None) == store.resolve(path, None) == path
    assert store.resolve(path, "a") == path
    assert store.resolve(path, None) is None and store.resolve(path, "b") is None
    assert store.resolve(path, "a") == path


@pytest.mark.parametrize(
    "limit, value",
    [("CLIENT_BYTES", 11), ("CLIENT_FILES", 2), ("ALL_BYTES", 11), ("ALL_FILES", 2)],
)
def test_there_is_room_for_so_much(
    store: Uploads, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(uploads, limit, value)
    first = put(store)
    put(store)
    with pytest.raises(Refused):
        put(store)
    if limit.startswith("CLIENT"):
        put(store, client="somebody else")
    else:
        with pytest.raises(Refused):
            put(store, client="somebody else")
    Path(first).unlink()
    store.sweep()
    put(store)  # what was deleted makes room


def test_some_of_the_disk_stays_free(store: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "FREE_BYTES", 2**60)
    with pytest.raises(Refused):
        put(store)


def test_what_is_not_kept_is_deleted(store: Uploads) -> None:
    with pytest.raises(ValueError), store.delivery("me") as arriving:
        store.count(arriving, size=5, files=1)
        (arriving.folder / "part").write_bytes(b"begun")
        raise ValueError
    assert not any(store.folder.iterdir()) and store._deliveries == []


def test_old_files_of_any_start_are_swept(tmp_path: Path, store: Uploads) -> None:
    young, old = put(store), put(store)
    other = tmp_path / "start-of-another" / "uploads" / "x"
    other.mkdir(parents=True)
    (other / "left.png").write_bytes(b"1")
    outside = tmp_path.parent / "outside.png"
    outside.write_bytes(b"1")
    long_ago = time.time() - uploads.MAX_AGE - 1
    (other / "link").symlink_to(outside)
    for path in (Path(old), other / "left.png", outside):
        os.utime(path, (long_ago, long_ago))
    os.utime(other / "link", (long_ago, long_ago), follow_symlinks=False)
    for folder in (other, other.parent, other.parent.parent):
        os.utime(folder, (long_ago, long_ago))
    store.sweep()
    assert Path(young).exists() and outside.exists()
    assert not Path(old).exists() and not (other / "left.png").exists()
    assert store.resolve(old, "s") == old  # known, so that the page can say that it is gone
    store.sweep(time.time() + uploads.REMEMBERED + 1)
    assert store.resolve(old, "s") is None and not Path(young).exists()


def test_a_slow_sender_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receive, "IDLE_SECONDS", 0.05)

    async def silent() -> Any:
        await anyio.sleep(60)

    async def drip() -> Any:
        await anyio.sleep(0.02)
        return {"type": "http.request", "body": b"a", "more_body": True}

    async def read(source: Any) -> None:
        receive_within = limited(source, 1000, "body")
        while True:
            await receive_within()

    for source in (silent, drip):
        with pytest.raises(Refused, match="slow"):
            anyio.run(read, source)


@pytest.mark.parametrize("fails", ["write", "rename"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    store: Uploads, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    if fails == "write":
        monkeypatch.setattr(receive._Parser, "on_part_data", full)
    else:
        monkeypatch.setattr(Path, "rename", full)
    body = (
        b'--x\r\ncontent-disposition: form-data; name="files"; filename="a"\r\n\r\nabc\r\n--x--\r\n'
    )

    async def sent() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
    }
    with pytest.raises(Refused, match="no room") as refused:
        anyio.run(receive_files, Request(scope, sent), store, "me")
    assert refused.value.status == 507 and not any(store.folder.iterdir())


@pytest.mark.parametrize(
    "sent, shown",
    [
        ("../../evil.png", "evil.png"),
        ("..", "file"),
        (".bashrc", "bashrc"),
        ("a\0b.png", "ab.png"),
        ("", "file"),
        ("ä 1.png", "ä 1.png"),
        ("x" * 500 + ".png", "x" * 116 + ".png"),
    ],
)
def test_a_files_name_stays_in_its_folder(sent: str, shown: str) -> None:
    assert receive._name(sent, 3) == f"3/{shown}"


def test_a_body_ends_before_its_first_file_is_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert receive.LONGEST < uploads.MAX_AGE
    monkeypatch.setattr(receive, "LONGEST", 0.05)

    async def steady() -> Any:
        await anyio.sleep(0.01)
        return {"type": "http.request", "body": bytes(10_000), "more_body": True}

    async def read() -> None:
        receive_within = limited(steady, 2**40, "body")
        while True:
            await receive_within()

    with pytest.raises(Refused, match="slow"):
        anyio.run(read)


def test_a_file_within_a_call_counts_as_an_upload(
    store: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = store.keep(b"1234", "me")
    path = store.resolve(address, None)
    assert path is not None and Path(path).read_bytes() == b"1234"
    monkeypatch.setattr(uploads, "CLIENT_BYTES", 7)
    with pytest.raises(Refused):
        store.keep(b"1234", "me")
    store.keep(b"1234", "you")
