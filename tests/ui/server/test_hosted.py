"""The page as hosts run it: behind a proxy, on a Space, and without any network."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser_kit
import hosted
import httpx
import pytest
import small_page
from gradio_client import Client, handle_file
from test_mcp import answer, upload
from waiting import PATIENCE

from img2prompt.core.texts import Texts
from img2prompt.ui.server.gate import Gate, Rules
from img2prompt.ui.server.uploads import Uploads

# Written beside the page's own imports: what the process asks of the network.
TRACE = """
import os, sys
def note(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        asked = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
        host = asked[0] if isinstance(asked, tuple) else asked
        if host not in ("127.0.0.1", "localhost", "::1", None):
            with open(os.environ["TRACED"], "a") as file:
                print(event, host, file=file)
sys.addaudithook(note)
"""


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `TRACE`, and of what it noted in `traced.txt`: of the page behind the proxy."""
    folder = tmp_path_factory.mktemp("traced")
    (folder / "sitecustomize.py").write_text(TRACE)
    return folder


@pytest.fixture(scope="module")
def proxied(
    small_folder: Path, traced: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The page's address behind a proxy; from its start on it is noted what it asks of the net."""
    folder = tmp_path_factory.mktemp("proxied")
    environment = {"TRACED": str(traced / "traced.txt")}
    with hosted.proxied(folder, small_folder, environment, traced) as address:
        yield address


def test_clients_and_models_reach_a_page_behind_a_proxy(proxied: str, tmp_path: Path) -> None:
    small_page.picture(1).save(tmp_path / "a.png")
    client = Client(proxied, verbose=False)
    said = client.predict(handle_file(tmp_path / "a.png"), "gaze", 4, api_name="/predict")
    assert len(said["words"]) == 4
    tool = answer(proxied, "predict", image=upload(proxied, tmp_path / "a.png"), words=4)
    assert [word["word"] for word in tool["words"]] == [word["word"] for word in said["words"]]


@pytest.mark.browser
def test_a_picture_is_answered_behind_a_proxy(proxied: str, browser: Any, tmp_path: Path) -> None:
    small_page.picture(1).save(tmp_path / "a.png")
    with browser_kit.pages(browser, proxied) as open_page:
        page = open_page()
        browser_kit.choose(page, tmp_path / "a.png")
        assert len(browser_kit.words(page, 10)) == 10
        shown = page.locator("#guess-picture img").first
        page.wait_for_function("(image) => image.naturalWidth > 0", arg=shown.element_handle())


def test_the_proxys_name_is_answered_where_it_is_allowed(proxied: str) -> None:
    for host, status in (("school.test", 200), ("localhost", 200), ("other.test", 403)):
        assert httpx.get(proxied, headers={"Host": host}, timeout=PATIENCE).status_code == status


def test_a_space_shows_the_page_in_its_frame_and_answers(
    small_folder: Path, tmp_path: Path
) -> None:
    small_page.picture(1).save(tmp_path / "a.png")
    # Every Space has this package, from which Gradio takes its reloading.
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "__init__.py").write_text("def gradio_auto_wrap(fn): return fn")
    (tmp_path / "spaces" / "reloading.py").write_text("def start_reload_server(**_): pass")
    (tmp_path / "spaces-1.0.dist-info").mkdir()
    (tmp_path / "spaces-1.0.dist-info" / "METADATA").write_text("Name: spaces\nVersion: 1.0\n")
    environment = {
        "SYSTEM": "spaces",
        "SPACE_ID": "user/words",
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "PYTHONPATH": f"{browser_kit.ROOT}:{tmp_path}",
    }
    with hosted.serve(tmp_path, small_folder, environment) as address:
        got = httpx.get(address, headers={"Host": "user-words.hf.space"}, timeout=PATIENCE)
        framed = got.headers["content-security-policy"].rpartition("frame-ancestors ")[2]
        assert got.status_code == 200
        assert framed == "'self' https://huggingface.co https://*.hf.space"
        client = Client(address, verbose=False)
        assert len(client.predict(handle_file(tmp_path / "a.png"), api_name="/predict")["words"])
        tool = answer(address, "words_predict", image=upload(address, tmp_path / "a.png"))
        assert len(tool["words"]) == 10


@pytest.mark.parametrize(
    "proxied, told, client",
    [
        (False, "9.9.9.9", "1.2.3.4"),
        (True, "9.9.9.9, 5.6.7.8", "5.6.7.8"),
        (True, "", "1.2.3.4"),
        (True, "nonsense", ""),
        (True, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_a_visitor_is_known_by_the_address_that_the_host_tells(
    tmp_path: Path, proxied: bool, told: str, client: str
) -> None:
    gate = Gate(None, Rules(Uploads(tmp_path / "start"), {"en": Texts()}, proxied=proxied))
    scope = {"client": ("1.2.3.4", 5), "headers": [(b"x-forwarded-for", told.encode())]}
    assert gate._client(scope) == client


def test_nothing_goes_out(proxied: str, traced: Path, tmp_path: Path) -> None:
    """Nor is a name looked up, from the start to the end, whatever is asked."""
    small_page.picture(1).save(tmp_path / "a.png")
    client = Client(proxied, verbose=False)
    picture = handle_file(tmp_path / "a.png")
    client.predict(picture, api_name="/predict")
    client.predict(picture, truth="wordaa", api_name="/score")
    client.predict([picture, picture], api_name="/batch")
    client.predict(picture, None, api_name="/compare")
    answer(proxied, "predict", image=upload(proxied, tmp_path / "a.png"))
    foreign = {"path": "http://example.org/x.png", "meta": {"_type": "gradio.FileData"}}
    for data in ([foreign, "gaze", 3], [foreign]):
        for name in ("predict", "neighbours", "arithmetic"):
            httpx.post(f"{proxied}gradio_api/run/{name}", json={"data": data}, timeout=PATIENCE)
    for path in ("", "de", "config", "gradio_api/info", "gradio_api/file=http://example.org/"):
        httpx.get(proxied + path, timeout=PATIENCE)
    noted = traced / "traced.txt"
    assert not noted.exists(), noted.read_text()


def test_the_trace_would_tell(traced: Path, tmp_path: Path) -> None:
    code = "import socket\ntry: socket.getaddrinfo('name.invalid', 80)\nexcept OSError: pass"
    environment = os.environ | {"PYTHONPATH": str(traced), "TRACED": str(tmp_path / "t.txt")}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert "name.invalid" in (tmp_path / "t.txt").read_text()
