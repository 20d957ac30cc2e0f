"""A small loopback server that speaks what the hub's real client asks: files by range."""

import hashlib
import json
import re
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CHUNK = 2**14  # bytes written at once


@dataclass
class Hub:
    """What the server serves, how it misbehaves, and what it was asked.

    Attributes:
        endpoint: its address.
        commits: branch or commit → the commit it names; all hold the same files.
        log: [method, path, range header or None, bytes sent] of every request.
        tokens: the authorisation headers that came.
        every_part: a part's path below `root` that stands for all parts, or "".
        status: end of a path → the error that is answered.
        faults: end of a path → errors that are answered once each, before the file is.
        retry_after: seconds that a 429 asks for.
        rate_limit: seconds that a 429 asks for in the real hub's own header, if it is set.
        drops: end of a path → after how many bytes the connection breaks, once each.
        damage: ends of paths whose bytes are changed on their way, once each.
        ranges: whether range requests are honoured.
        cut: how many bytes of each answer are dropped from its end.
        delay: seconds before an answer.
        holds: end of a path → after how many bytes it stops, and what it then waits for.
        down: whether connections are closed without an answer, as without network.
        answer: what the API answers to everything, if it is set.
        page: end of a path of which a login page comes instead.
        more: end of a path → bytes that follow the file without being declared, on each answer.
        on_file: called with the path before a file's bytes are sent.
    """

    root: Path
    repository: str
    endpoint: str = ""
    commits: dict[str, str] = field(default_factory=lambda: {"main": COMMIT, COMMIT: COMMIT})
    log: list[list] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    every_part: str = ""
    status: dict[str, int] = field(default_factory=dict)
    faults: dict[str, list[int]] = field(default_factory=dict)
    retry_after: int = 0
    rate_limit: int | None = None
    drops: dict[str, list[int]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    ranges: bool = True
    cut: int = 0
    delay: float = 0.0
    holds: dict[str, tuple[int, threading.Event]] = field(default_factory=dict)
    down: bool = False
    answer: str | None = None
    page: str | None = None
    more: dict[str, int] = field(default_factory=dict)
    on_file: Callable[[str], None] = lambda path: None

    def sent(self, path: str) -> int:
        """Bytes sent of files whose path ends so."""
        return sum(size for _, asked, _, size in self.log if asked.endswith(path))

    def starts(self, path: str) -> list[int]:
        """Where each transfer of a file began whose path ends so, in order."""
        asked = [row[2] for row in self.log if row[0] == "GET" and row[1].endswith(path)]
        return [int(re.match(r"bytes=(\d+)", r)[1]) if r else 0 for r in asked]


@contextmanager
def serve(root: Path, repository: str = "poloclub/diffusiondb") -> Iterator[Hub]:
    """Serve a folder as a dataset repository: `resolve` leads to another address, as the real
    hub's does to its file servers, and names the commit and the size; the API names the commit of
    a branch and lists files with their sizes.
    """
    hub = Hub(root, repository)
    resolve = re.compile(rf"/datasets/{re.escape(repository)}/resolve/([^/]+)/(.+)")
    api = re.compile(
        rf"/api/datasets/{re.escape(repository)}(?:/(revision|paths-info|tree)/([^/]+)(?:/(.*))?)?"
    )
    digests: dict[tuple, str] = {}
    lock = threading.Lock()

    def etag(path: Path) -> str:
        state = path.stat()
        key = (path, state.st_size, state.st_mtime_ns)
        if key not in digests:
            digests[key] = hashlib.sha256(path.read_bytes()).hexdigest()
        return digests[key]

    def entry(path: Path) -> dict:
        name = path.relative_to(hub.root).as_posix()
        oid = hashlib.sha1(name.encode()).hexdigest()
        if path.is_dir():
            return {"type": "directory", "path": name, "oid": oid}
        size = path.stat().st_size
        large = {"oid": etag(path), "size": size, "pointerSize": 134}
        return {"type": "file", "path": name, "oid": oid, "size": size, "lfs": large}

    def once(faults: dict[str, list[int]], path: str) -> int | None:
        with lock:
            for end, left in faults.items():
                if path.endswith(end) and left:
                    return left.pop(0)
        return None

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def do_CONNECT(self) -> None:
            """Asked as a proxy: somebody wants to reach another host."""
            hub.log.append(["CONNECT", self.path, None, 0])
            self.send_error(502)

        def _answer(self) -> None:
            time.sleep(hub.delay)
            form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            if hub.down:
                self.close_connection = True
                return
            if token := self.headers.get("Authorization"):
                hub.tokens.append(token)
            asked = self.headers.get("Range")
            url = unquote(urlsplit(self.path).path)
            if told := api.fullmatch(url):
                self._api(told, parse_qs(form), parse_qs(urlsplit(self.path).query))
                return
            found = resolve.fullmatch(url)
            name = found[2] if found else url.removeprefix("/files/")
            path = hub.root / name
            if hub.every_part and not path.is_file() and name.endswith(".zip"):
                path = hub.root / hub.every_part
            status = self._fault(url)
            known = not found or found[1] in hub.commits
            if status or not path.is_file() or not known:
                code = "EntryNotFound" if known else "RevisionNotFound"
                self._send(status or 404, {} if status else {"X-Error-Code": code}, b"")
            elif found:
                head = {
                    # The real hub's file servers have another name than the hub.
                    "Location": f"http://localhost:{server.server_port}/files/{name}",
                    "X-Repo-Commit": hub.commits[found[1]],
                    "X-Linked-Size": str(path.stat().st_size),
                    "X-Linked-Etag": f'"{etag(path)}"',
                }
                self._send(302, head, b"")
            elif asked and hub.ranges:
                size = path.stat().st_size
                first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked).groups()
                start, end = int(first), min(int(last or size), size - 1)
                with path.open("rb") as file:
                    file.seek(start)
                    part = file.read(end + 1 - start)
                self._send(206, {"Content-Range": f"bytes {start}-{end}/{size}"}, part)
            else:
                self._send(200, {"Accept-Ranges": "bytes"}, path.read_bytes())

        def _fault(self, url: str) -> int | None:
            always = next((s for end, s in hub.status.items() if url.endswith(end)), None)
            return always or once(hub.faults, url)

        def _api(self, told: re.Match, form: dict, query: dict) -> None:
            kind, revision, below = told.groups()
            commit = hub.commits.get(revision or "main")
            status = self._fault(told[0])
            if status or commit is None:
                head = {} if status else {"X-Error-Code": "RevisionNotFound"}
                self._send(status or 404, head, b"")
                return
            answer: dict | list = {"id": hub.repository, "sha": commit, "private": False}
            if kind == "paths-info":
                paths = {name: hub.root / name for name in form.get("paths", [])}
                answer = [entry(path) for path in paths.values() if path.exists()]
                if hub.every_part:
                    zips = [name for name in paths if name.endswith(".zip")]
                    answer = [e for e in answer if e["path"] not in zips]
                    answer += [entry(hub.root / hub.every_part) | {"path": name} for name in zips]
            elif kind == "tree":
                folder = hub.root / (below or "")
                deep = query.get("recursive", ["false"])[0].lower() == "true"
                answer = [entry(path) for path in sorted(folder.glob("**/*" if deep else "*"))]
            body = json.dumps(answer) if hub.answer is None else hub.answer
            self._send(200, {"Content-Type": "application/json"}, body.encode())

        def _send(self, status: int, head: dict[str, str], body: bytes) -> None:
            if hub.page is not None and self.path.endswith(hub.page):
                status, body = 200, b"<html><title>Hotel</title>"
                head = {"Content-Type": "text/html"}
            more = sum(size for end, size in hub.more.items() if self.path.endswith(end))
            if more and status in (200, 206) and self.command == "GET":
                self._send_more(status, head, body, more)
                return
            row = [self.command, self.path, self.headers.get("Range"), 0]
            # Before the client hears of it: what it does then may be compared with the log.
            hub.log.append(row)
            self.send_response(status)
            for key, value in head.items():
                self.send_header(key, value)
            if status == 429:
                self.send_header("Retry-After", str(hub.retry_after))
                if hub.rate_limit is not None:
                    self.send_header("RateLimit", f'"api";r=0;t={hub.rate_limit}')
            body = body[: len(body) - hub.cut] if hub.cut else body
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                body = b""
            stop, holds = None, list(hub.holds.items())
            if self.path.startswith("/files/") and body:
                hub.on_file(self.path)
                stop = once(hub.drops, self.path)
                for end in [end for end in hub.damage if self.path.endswith(end)][:1]:
                    hub.damage.remove(end)
                    body = body[:-1] + bytes([body[-1] ^ 1])
            try:
                for at in range(0, len(body) if stop is None else stop, CHUNK):
                    chunk = body[at : min(at + CHUNK, len(body) if stop is None else stop)]
                    self.wfile.write(chunk)
                    row[3] += len(chunk)
                    for end, (after, free) in holds:
                        if self.path.endswith(end) and row[3] >= after:
                            free.wait(900)
            except OSError:  # the client is gone
                self.close_connection = True
            if stop is not None:
                self.close_connection = True

        def _send_more(self, status: int, head: dict[str, str], body: bytes, more: int) -> None:
            """The file and what follows it, without a length."""
            self.close_connection = True
            row = [self.command, self.path, self.headers.get("Range"), 0]
            hub.log.append(row)
            self.send_response(status)
            for key, value in (head | {"Connection": "close"}).items():
                self.send_header(key, value)
            self.end_headers()
            with suppress(OSError):  # the client has had enough
                for chunk in (body, *[b"x" * CHUNK] * (more // CHUNK)):
                    self.wfile.write(chunk)
                    row[3] += len(chunk)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def write_part(path: Path, files: dict[str, bytes], table: str | None) -> None:
    """A part's zip: file name → bytes, and the JSON of prompts as a text, if any."""
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        if table is not None:
            archive.writestr(f"{path.stem}.json", table)
