"""The gate: only uploads of this server are files, and only what the page needs is answered."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import browser_kit
import httpx
import pytest
import small_page
from gradio_client import Client, handle_file
from hosted import stranger
from hypothesis import given
from hypothesis import strategies as st
from PIL.PngImagePlugin import PngInfo
from starlette.datastructures import Headers
from waiting import PATIENCE, wait_until

from img2prompt.ui import page
from img2prompt.ui.server import gate
from img2prompt.ui.server.gate import REFUSED, check_host, checked_json, security_headers
from img2prompt.ui.server.receive import Refused
from img2prompt.ui.server.uploads import Uploads

SECRET = "zqsecretqz"  # in every file that nobody uploaded
META = {"_type": "gradio.FileData"}
FILES = ("image", "file")  # components that take files


class Site:
    """The page, running in a folder of its own with private files around it."""

    def __init__(self, address: str, folder: Path, log: Path) -> None:
        self.address, self.folder, self.log = address, folder, log
        self.http = httpx.Client(base_url=f"{address}gradio_api", timeout=PATIENCE)
        self.config = httpx.get(f"{address}config", timeout=PATIENCE).json()
        self.sessions = itertools.count()

    def upload(self, path: Path) -> str:
        with path.open("rb") as file:
            sent = self.http.post("/upload", files={"files": (path.name, file)})
        return sent.raise_for_status().json()[0]

    def ask(self, number: int, data: list[Any], session: str | None = None) -> str:
        """What an event of the page says, whole, as JSON."""
        session = session or f"session{next(self.sessions)}"
        body = {"data": data, "fn_index": number, "session_hash": session}
        asked = self.http.post("/queue/join", json=body)
        if asked.status_code != 200:
            return asked.text
        with self.http.stream("GET", "/queue/data", params={"session_hash": session}) as answer:
            lines = [line for line in answer.iter_lines() if line]
        return next(line for line in lines if "process_completed" in line)

    def events(self) -> list[dict[str, Any]]:
        """The events that run something on the server, of one language and the endpoints."""
        return [
            event
            for event in self.config["dependencies"]
            if event["backend_fn"] and not event["api_name"].startswith(("de_", "en_play_switch"))
        ]

    def component(self, number: int) -> dict[str, Any]:
        return next(c for c in self.config["components"] if c["id"] == number)

    def stored(self) -> set[bytes]:
        """The bytes of all files that the server could hand out."""
        root = self.folder / "temporary"
        found = set()
        for folder, _, names in os.walk(root):  # it passes over folders that go meanwhile
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    found.add(Path(folder, name).read_bytes())
        return found


def secret_picture() -> Any:
    note = PngInfo()
    note.add_text("parameters", f"{SECRET}, {SECRET}\nSteps: 20, Sampler: Euler a, Seed: 1")
    return note


@pytest.fixture(scope="module")
def site(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for name in ("temporary", "work"):
        (folder / name).mkdir()
    small_page.picture(3).save(folder / "work" / "secret.png", pnginfo=secret_picture())
    (folder / "work" / "link.png").symlink_to(folder / "work" / "secret.png")
    (folder / "work" / "secret.txt").write_text(SECRET)
    shutil.copy(folder / "work" / "secret.png", folder / "secret.png")
    port, log = browser_kit.free_port(), folder / "log.txt"
    command = [sys.executable, str(browser_kit.ROOT / "app.py"), "--port", str(port)]
    command += ["--assets", str(small_folder)]
    environment = {
        "GRADIO_TEMP_DIR": str(folder / "temporary"),
        "PYTHONPATH": str(browser_kit.ROOT),
        SECRET.upper(): SECRET,
    }
    with browser_kit.running(command, port, folder / "work", environment, log) as address:
        yield Site(address, folder, log)


@pytest.fixture(scope="module")
def asked() -> Iterator[list[str]]:
    """What a server of somebody else's was asked; its address stands first."""
    with stranger() as (url, paths):
        paths.append(url)
        yield paths


def foreign_files(site: Site, other: str) -> list[str]:
    """Names of files that the caller did not upload."""
    mine = site.upload(site.folder / "secret.png")
    named = next(e["id"] for e in site.config["dependencies"] if e["api_name"] == "predict")
    site.ask(named, [{"path": mine, "meta": META}, "gaze", 3], "the owner")
    secret = site.folder / "work" / "secret.png"
    return [
        str(secret),
        str(site.folder / "work" / "link.png"),
        "secret.png",
        "./secret.png",
        "../secret.png",
        "/proc/self/cwd/secret.png",
        "/proc/self/environ",
        "/etc/passwd",
        f"file://{secret}",
        f"{other}/secret.png",
        f"{other}/gradio_api/file={mine}/../x",
        f"{site.address}gradio_api/file={secret}",
        f"{site.address}gradio_api/file=secret.png",
        f"{Path(mine).parent}/../{Path(mine).parent.name}/{Path(mine).name}",
        f"{Path(mine).parents[3]}/lent/../{Path(mine).relative_to(Path(mine).parents[3])}",
        f"{mine}\0.png",
        mine,  # another session's
        f"{site.address}gradio_api/file={mine}",
    ]


def shapes(named: str) -> list[dict[str, Any]]:
    """A file as a caller may write it."""
    address = {"path": None, "url": named}
    file = {"path": named}
    return [
        file,
        file | {"meta": META},
        file | {"meta": META, "url": named, "orig_name": "a.png", "is_stream": False},
        file | {"meta": META, "is_stream": True},
        file | {"meta": None},
        address,
        address | {"meta": META},
    ]


SHAPES = len(shapes(""))


def asked_places(site: Site) -> Iterator[tuple[dict[str, Any], int, int, str]]:
    """(event, argument, how manieth of all, its kind) of each that takes a file or a text."""
    number = itertools.count()
    for event in site.events():
        for place, component in enumerate(map(site.component, event["inputs"])):
            if component["type"] in (*FILES, "textbox"):
                yield event, place, next(number), component["type"]


def test_every_event_takes_only_uploads(site: Site, asked: list[str]) -> None:
    """Each event with a file or a text among its arguments, each way of naming a file.

    The shapes go by turns: where a file belongs comes every name and every shape, and somewhere
    every name in every shape.
    """
    private = {p.read_bytes() for p in (site.folder / "work").iterdir()}
    allowed = private & {(site.folder / "secret.png").read_bytes()}  # the owner uploaded this one
    names = foreign_files(site, asked[0])
    tried = set()

    def sent(place: int, number: int, kind: str) -> Iterator[Any]:
        for turn, named in enumerate(names):
            if kind == "textbox":
                if turn % 4 == place % 4:
                    yield shapes(named)[1]
                continue
            shape = (number + turn) % SHAPES
            tried.add((turn, shape))
            yield from (
                [[shapes(named)[shape]], [named]] if kind == "file" else [shapes(named)[shape]]
            )

    def failures(given: tuple[dict[str, Any], int, int, str]) -> list[Any]:
        """Of one argument, asked in one session; nothing that is named is this session's."""
        event, place, number, kind = given
        usual = [site.component(number)["props"].get("value") for number in event["inputs"]]
        wrong = []
        for shape in sent(place, number, kind):
            data = [*usual[:place], shape, *usual[place + 1 :]]
            said = site.ask(event["id"], data, f"stranger{number}")
            answered = kind in FILES and '"words"' in said
            if answered or not _told_nothing(said, names):
                wrong.append((event["api_name"], shape, said[:300]))
        return wrong

    with ThreadPoolExecutor(4) as askers:  # an answer takes longer to arrive than to work out
        assert [*itertools.chain(*askers.map(failures, asked_places(site)))] == []
    assert len(tried) == len(names) * SHAPES
    assert asked[1:] == []
    assert site.stored() & private <= allowed
    assert SECRET not in site.log.read_text("utf-8")


def _told_nothing(said: str, names: list[str]) -> bool:
    """Whether what an event says holds no file's content and names none."""
    return SECRET not in said and not any(name in said for name in names if "/" in name)


def test_uploads_are_answered_with_and_without_meta(site: Site) -> None:
    number = next(e["id"] for e in site.events() if e["api_name"] == "predict")
    for extra in ({}, {"meta": META}, {"meta": META, "url": "http://example.org/x.png"}):
        mine = site.upload(site.folder / "secret.png")
        for named in (mine, f"{site.address}gradio_api/file={mine}"):
            said = site.ask(number, [{"path": named} | extra, "gaze", 3], f"mine{len(extra)}")
            assert '"words"' in said, said
    public = Client(site.address, verbose=False)
    answer = public.predict(handle_file(site.folder / "secret.png"), api_name="/predict")
    assert len(answer["words"]) == 10


def test_an_upload_belongs_to_the_session_that_used_it_first(site: Site) -> None:
    mine = site.upload(site.folder / "secret.png")
    number = next(e["id"] for e in site.events() if e["api_name"] == "predict")
    data = [{"path": mine, "meta": META}, "gaze", 3]
    assert '"words"' in site.ask(number, data, "first")
    assert "takes no addresses" in site.ask(number, data, "second")
    assert '"words"' in site.ask(number, data, "first")
    # The same picture, sent by two people, is two uploads under names that nobody can guess.
    other = site.upload(site.folder / "secret.png")
    assert Path(other).parts[-3] != Path(mine).parts[-3] and len(Path(mine).parts[-3]) >= 32


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file={other}/x.png",
        "/gradio_api/file=http://localhost:{port}/",
        "/gradio_api/file={work}/secret.png",
        "/gradio_api/file={work}/link.png",
        "/gradio_api/file=secret.png",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=/proc/self/environ",
        "/gradio_api/file=",
        "/gradio_api/file/{work}/secret.png",
        "/gradio_api/proxy={other}/x",
        "/gradio_api/dev/reload",
        "/gradio_api/deep_link?session_hash=x",
        "/gradio_api/runs",
        "/gradio_api/run-history/records",
        "/gradio_api/custom_component/x/client/component/index.js",
        "/gradio_api/stream/x/1/1/playlist.m3u8",
        "/gradio_api/vibe-code/",
        "/gradio_api/user",
        "/gradio_api/token",
        "/monitoring",
        "/pwa_icon",
        "/openapi.json",
        "/docs",
        "/redoc",
        "/?deep_link=../x",
        "//etc/passwd",
        "/../../etc/passwd",
        "/assets/../../../../../etc/passwd",
        "/static/..%2f..%2f..%2f..%2fetc/passwd",
        f"/assets/{'a/' * 3000}",
        f"/static/{'a' * 300}",
        f"/svelte/{'%c3%a4' * 150}",
    ],
)
def test_only_routes_of_the_page_are_answered(site: Site, asked: list[str], path: str) -> None:
    port = asked[0].rpartition(":")[2]
    written = path.format(other=asked[0], port=port, work=site.folder / "work")
    for method in ("GET", "HEAD"):
        answer = _raw(site.address, f"{method} {written} HTTP/1.1")
        assert SECRET not in answer and "root:" not in answer
        assert answer.split()[1] in ("400", "403", "404", "405") or "?deep_link=" in path, answer[
            :200
        ]
    assert asked[1:] == []


@pytest.mark.parametrize(
    "path",
    "component_server process_recording stream/x run-history/connect vibe-edit/ login "
    "profiling/clear".split(),
)
def test_no_other_route_takes_a_body(site: Site, path: str) -> None:
    for address in (f"{site.address}gradio_api/{path}", f"{site.address}{path}"):
        assert httpx.post(address, json={}, timeout=PATIENCE).status_code == 404


def test_nothing_is_told_of_how_often_calls_were_made(site: Site) -> None:
    site.http.post("/run/arithmetic", json={"data": ["wordaa"]})
    said = httpx.get(f"{site.address}monitoring/summary", timeout=PATIENCE)
    assert said.status_code == 200 and said.json() == {"functions": {}}
    assert httpx.post(f"{site.address}monitoring/summary", timeout=PATIENCE).status_code == 404


def test_answers_carry_the_security_headers(site: Site) -> None:
    for path in ("", "de", "config", "gradio_api/info", "theme.css", "nothing", "gradio_api/runs"):
        headers = httpx.get(site.address + path, timeout=PATIENCE).headers
        policy = headers["content-security-policy"]
        assert "http:" not in policy and "https:" not in policy and "*" not in policy
        assert "default-src 'self'" in policy and "frame-ancestors 'self'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"


def test_a_spaces_own_frame_is_allowed_and_no_other() -> None:
    policy = security_headers(page._HUB)["content-security-policy"]
    assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy
    assert policy.count("https:") == 2


@pytest.mark.parametrize("host", ["evil.test", "evil.test:80", "127.0.0.1.evil.test", "", "[::2]"])
def test_a_foreign_name_is_refused_on_loopback(site: Site, host: str) -> None:
    answer = _raw(site.address, "GET /config HTTP/1.1", host)
    assert " 403 " in answer and "--allow-host" in answer and '"components"' not in answer


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1.evil.test:7860"])
def test_a_page_of_another_site_is_refused_on_loopback(site: Site, origin: str) -> None:
    headers = {"Origin": origin}
    for path in ("upload", "call/arithmetic"):
        answer = site.http.post(f"/{path}", files={"files": ("a", b"a")}, headers=headers)
        assert answer.status_code == 403


def test_names_of_this_machine_and_allowed_ones_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GRADIO_SERVER_NAME", "GRADIO_ROOT_PATH"):
        monkeypatch.delenv(name, raising=False)
    hosts = page.answered_hosts(None, ["Proxy.example:443"])
    for host in ("localhost:7860", "127.0.0.1", "[::1]:7860", "LOCALHOST", "localhost."):
        check_host(Headers({"host": host}), hosts)
    check_host(Headers({"host": "proxy.example", "origin": "https://proxy.example"}), hosts)
    for headers in (
        {"host": "evil.test"},
        {"host": "localhost", "origin": "http://evil.test"},
        {"host": "localhost", "origin": "null"},
        {"host": "localhost@evil.test"},
        {},
    ):
        with pytest.raises(Refused):
            check_host(Headers(headers), hosts)
    with pytest.raises(Refused):  # the second of two
        check_host(Headers(raw=[(b"host", b"localhost"), (b"host", b"evil.test")]), hosts)
    assert page.answered_hosts("0.0.0.0", []) == frozenset()
    assert "127.0.0.2" in page.answered_hosts("127.0.0.2", [])
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert page.answered_hosts(None, []) == frozenset()
    monkeypatch.setenv("GRADIO_SERVER_NAME", "localhost")
    monkeypatch.setenv("GRADIO_ROOT_PATH", "https://school.example/words")
    assert "school.example" in page.answered_hosts(None, [])


def test_bodies_are_limited(site: Site) -> None:
    """By what is declared and by what comes; nothing of it is kept."""
    before = site.stored()
    large = b'{"data": ["' + b"a" * gate.JSON_BYTES + b'"]}'
    json_type = {"content-type": "application/json"}
    for path in ("call/arithmetic", "run/arithmetic", "queue/join", "call/v2/arithmetic", "cancel"):
        for content in (large, (large[n : n + 65536] for n in range(0, len(large), 65536))):
            with contextlib.suppress(httpx.WriteError, httpx.ReadError):
                answer = site.http.post(f"/{path}", content=content, headers=json_type)
                assert answer.status_code == 413 and answer.json()["detail"].endswith("send less.")
    fields = site.http.post("/upload", data={"a": "b" * 10}, files={"files": ("a", b"a")})
    assert fields.status_code == 400 and "No file arrived" in fields.text
    answer = site.http.post("/upload", content=b"abc", headers={"content-type": "text/plain"})
    assert answer.status_code == 415
    answer = site.http.post("/upload?upload_id=x", files={"other": ("a", b"a")})
    assert answer.status_code == 400
    assert site.stored() == before


def test_a_file_over_the_limit_is_one_sentence_and_leaves_nothing(site: Site) -> None:
    before = site.stored()

    def parts() -> Iterator[bytes]:
        yield b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
        for _ in range(51):
            yield bytes(2**20)
        yield b"\r\n--x--\r\n"

    kind = {"content-type": "multipart/form-data; boundary=x", "referer": f"{site.address}de"}
    answer = site.http.post("/upload", content=parts(), headers=kind)
    assert (
        answer.status_code == 413
        and answer.text == "Eine Datei hat mehr als 50 MB; mach sie kleiner."
    )
    wait_until(lambda: site.stored() == before)


def test_an_aborted_upload_leaves_nothing(site: Site) -> None:
    before = site.stored()
    port = int(site.address.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999999\r\n"
            b"content-type: multipart/form-data; boundary=x\r\n\r\n"
            b'--x\r\ncontent-disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
            + b"begun"
            * 20_000
        )
        wait_until(lambda: site.stored() != before)
    wait_until(lambda: site.stored() == before)


def test_the_config_tells_no_folder_of_the_server(site: Site) -> None:
    for path in ("", "config", "gradio_api/info", "gradio_api/openapi.json", "de"):
        said = httpx.get(site.address + path, timeout=PATIENCE).text
        assert str(site.folder) not in said and str(browser_kit.ROOT) not in said, path


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["path", "url", "meta", "_type", "data", "a"]) | st.text(max_size=5),
            inner | st.sampled_from(["/etc/passwd", "http://a.example/x", META]),
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(call=JSON)
def test_whatever_a_call_holds_no_file_but_an_upload_passes(
    call: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    uploads = Uploads(tmp_path_factory.getbasetemp() / "start")
    said = json.loads(checked_json(json.dumps(call).encode(), uploads))
    _no_files(said)


def _no_files(node: Any) -> None:
    if isinstance(node, list):
        for item in node:
            _no_files(item)
    elif isinstance(node, dict) and node != REFUSED:
        assert "path" not in node
        assert not (isinstance(node.get("meta"), dict) and "_type" in node["meta"])
        for item in node.values():
            _no_files(item)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[" * 300 + b"]" * 300, b"9" * 5000]
)
def test_what_is_no_json_is_refused(body: bytes, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="JSON"):
        checked_json(body, Uploads(tmp_path / "start"))


def _raw(address: str, line: str, host: str = "localhost") -> str:
    """An answer to a request line that no client would send."""
    port = int(address.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as sender:
        sender.sendall(f"{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        parts = []
        while part := sender.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


@pytest.mark.parametrize("header", ["Referer", "Origin"])
def test_an_address_that_is_none_is_no_fault_of_ours(site: Site, header: str) -> None:
    for path in ("/gradio_api/upload", "/gradio_api/call/arithmetic", "/nothing"):
        method = "POST" if "api" in path else "GET"
        answer = _raw(site.address, f"{method} {path} HTTP/1.1\r\n{header}: http://[")
        assert answer.split()[1] in ("400", "403", "404", "415")
        assert "content-security-policy" in answer
    assert "Traceback" not in site.log.read_text("utf-8")
    assert "builtins.ValueError" not in site.log.read_text("utf-8")


@pytest.mark.parametrize("key", ["session_hash", "event_id"])
def test_names_that_the_server_remembers_are_short(site: Site, key: str) -> None:
    for route in ("call/arithmetic", "queue/join", "run/arithmetic", "cancel"):
        body = {"data": ["wordaa"], "session_hash": "s", "event_id": "e", "fn_index": 21}
        answer = site.http.post(f"/{route}", json=body | {key: "a" * (gate.ID_LENGTH + 1)})
        assert answer.status_code == 400 and "no call" in answer.json()["detail"]
    name = "a" * gate.QUERY_BYTES
    for route in ("upload_progress?upload_id=", "queue/data?session_hash=", "call/x/y?z="):
        assert site.http.get(f"/{route}{name}").status_code == 400
    answer = site.http.post(f"/upload?upload_id={name}", files={"files": ("a.png", b"1")})
    assert answer.status_code == 400


def test_a_picture_that_comes_as_data_is_an_upload_like_any(site: Site) -> None:
    """Gradio's server of tools would write it beside the uploads, past all limits."""
    data = base64.b64encode((site.folder / "secret.png").read_bytes()).decode("ascii")
    call = {"name": "predict", "arguments": {"image": f"data:image/png;base64,{data}"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
    kinds = {"accept": "application/json, text/event-stream"}
    before = set((site.folder / "temporary").rglob("*"))
    said = site.http.post("/mcp/", json=body, headers=kinds).text
    assert "'words'" in said
    new = set((site.folder / "temporary").rglob("*")) - before
    assert [path.parent.parent.name for path in new if path.is_file()] == ["uploads"]
