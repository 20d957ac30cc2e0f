"""The page as a host runs it: with options and settings of its own, behind a proxy."""

import contextlib
import http.server
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser_kit
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from waiting import PATIENCE, wait_until

BELOW = "/school/words"  # where the proxy has the page


def serve(folder: Path, small: Path, environment: dict[str, str], *arguments: str) -> Any:
    """The page over small artifacts, while the block runs: its address."""
    port = browser_kit.free_port()
    command = [sys.executable, str(browser_kit.ROOT / "app.py"), "--port", str(port)]
    command += ["--assets", str(small), *arguments]
    return browser_kit.running(command, port, folder, environment, folder / "log.txt")


@contextlib.contextmanager
def proxied(
    folder: Path, small: Path, environment: dict[str, str], *imported: Path
) -> Iterator[str]:
    """The page's address behind a proxy that serves it below `BELOW`.

    Args:
        folder: where it runs.
        small: its artifacts.
        environment: beside what this process has.
        imported: folders that it imports from first.
    """
    port = browser_kit.free_port()
    paths = os.pathsep.join(map(str, (*imported, browser_kit.ROOT)))
    environment = environment | {"GRADIO_ROOT_PATH": BELOW, "PYTHONPATH": paths}
    with serve(folder, small, environment, "--allow-host", "school.test") as inner:
        server = uvicorn.Server(
            uvicorn.Config(proxy_of(inner), host="127.0.0.1", port=port, log_level="error")
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}{BELOW}/"
        server.should_exit = server.force_exit = True
        thread.join()


def proxy_of(inner: str) -> Starlette:
    """A proxy that takes `BELOW` off every path and hands the rest on as it came."""
    client = httpx.AsyncClient(base_url=inner, timeout=120)

    async def forward(request: Request) -> StreamingResponse:
        path = request.url.path.removeprefix(BELOW)
        url = httpx.URL(path=path or "/", query=request.url.query.encode())
        sent = client.build_request(
            request.method, url, headers=request.headers.raw, content=request.stream()
        )
        got = await client.send(sent, stream=True)
        return StreamingResponse(
            got.aiter_raw(), got.status_code, got.headers, background=BackgroundTask(got.aclose)
        )

    methods = ["GET", "HEAD", "POST", "DELETE"]
    return Starlette(
        routes=[
            Route(BELOW + "{rest:path}", forward, methods=methods),
            Route("/favicon.ico", lambda _: Response()),  # the proxy's own site's
        ]
    )


@contextlib.contextmanager
def stranger() -> Iterator[tuple[str, list[str]]]:
    """Somebody else's server: its address, and the paths that it is asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{other.server_port}", paths
        other.shutdown()


def start(
    folder: Path, assets: Path, wrap: tuple[str, ...] = (), ready: bool = True
) -> tuple[Any, str]:
    """The page as a process of its own that keeps its uploads below `folder`, and its address.

    Once it is `ready`, or else at once.
    """
    folder.mkdir(exist_ok=True)
    port = browser_kit.free_port()
    environment = {key: value for key, value in os.environ.items() if "GRADIO" not in key}
    environment["GRADIO_TEMP_DIR"] = str(folder)
    command = [*wrap, sys.executable, str(browser_kit.ROOT / "app.py")]
    command += ["--port", str(port), "--assets", str(assets)]
    log = (folder.parent / f"log-{port}.txt").open("w")
    app = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}/"
    if ready:
        wait_until(lambda: browser_kit._answers(address), app)
    return app, address


def upload(address: str, data: bytes) -> Path:
    sent = httpx.post(
        f"{address}gradio_api/upload", files={"files": ("a.png", data)}, timeout=PATIENCE
    )
    return Path(sent.raise_for_status().json()[0])


def end(app: subprocess.Popen, number: int = signal.SIGTERM, pid: int | None = None) -> float:
    """Seconds that a process takes to end after a signal."""
    began = time.monotonic()
    os.kill(pid or app.pid, number)
    assert app.wait(timeout=PATIENCE) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
    return time.monotonic() - began


def busy() -> float:
    """How much longer things may take here than on an idle machine: other work counts."""
    return max(1.0, os.getloadavg()[0])
