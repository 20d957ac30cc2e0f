"""A small loopback server that speaks what the hub's real client asks: files by range."""

import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What the server serves, how it misbehaves, and what it was asked.

    Attributes:
        endpoint: its address.
        log: (method, path, range header or None, bytes sent) of every request.
        every_part: a part's path below `root` that stands for all parts, or "".
        status: end of a path → the error that is answered.
        ranges: whether range requests are honoured.
        cut: how many bytes of each answer are dropped from its end.
        delay: seconds before an answer.
        down: whether connections are closed without an answer, as without network.
    """

    root: Path
    repository: str
    endpoint: str = ""
    log: list[tuple[str, str, str | None, int]] = field(default_factory=list)
    every_part: str = ""
    status: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    cut: int = 0
    delay: float = 0.0
    down: bool = False

    def sent(self, path: str) -> int:
        """Bytes sent of files whose path ends so."""
        return sum(size for _, asked, _, size in self.log if asked.endswith(path))


@contextmanager
def serve(root: Path, repository: str = "poloclub/diffusiondb") -> Iterator[Hub]:
    """Serve a folder as a dataset repository: `resolve` leads to another address, as the real
    hub's does to its file servers, and names the commit and the size.
    """
    hub = Hub(root, repository)
    resolve = re.compile(rf"/datasets/{re.escape(repository)}/resolve/([^/]+)/(.+)")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            time.sleep(hub.delay)
            if hub.down:
                self.close_connection = True
                return
            asked = self.headers.get("Range")
            found = resolve.fullmatch(self.path)
            name = found[2] if found else self.path.removeprefix("/files/")
            path = hub.root / name
            if hub.every_part and not path.is_file() and name.endswith(".zip"):
                path = hub.root / hub.every_part
            status = next((s for end, s in hub.status.items() if self.path.endswith(end)), None)
            if status or not path.is_file() or (found and found[1] not in ("main", COMMIT)):
                self._send(status or 404, {}, b"")
            elif found:
                head = {
                    # The real hub's file servers have another name than the hub.
                    "Location": f"http://localhost:{server.server_port}/files/{name}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Size": str(path.stat().st_size),
                    "X-Linked-Etag": '"etag"',
                }
                self._send(302, head, b"")
            elif asked and hub.ranges:
                start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups())
                with path.open("rb") as file:
                    file.seek(start)
                    self._send(206, {}, file.read(end + 1 - start))
            else:
                self._send(200, {}, path.read_bytes())

        def _send(self, status: int, head: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for key, value in head.items():
                self.send_header(key, value)
            body = body[: len(body) - hub.cut] if hub.cut else body
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "HEAD":
                body = b""
            hub.log.append((self.command, self.path, self.headers.get("Range"), len(body)))
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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
