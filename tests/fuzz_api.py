"""Fuzzing the page's API: the real page with tiny models, and hostile JSON at every endpoint.

Each call has to end in a result or in one sentence, on the wire and in the server's log: no
traceback, no `{"error": null}`, no status of 500. A picture that was never uploaded carries a
secret as its prompt; no answer may hold it, whatever the call named.
"""

import atexit
import contextlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from fuzz_inputs import SCALARS, encoded, picture
from fuzz_kit import Family, is_sentence
from hypothesis import strategies as st
from PIL import PngImagePlugin

from img2prompt.core.errors import UserError
from img2prompt.core.files import sha256_of, write_json
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.embedding.word_map import MAP_FILE, VocabularyMap
from img2prompt.inference.artifacts import Assets

SECRET = "quetzalcoatl"
SIDE = 32
WAIT = 60.0  # seconds for one call; each takes a fraction of one


class Server:
    """The page, started once a process, and what calls may name."""

    def __init__(self) -> None:
        from img2prompt.ui.page import launch

        self.folder = tempfile.TemporaryDirectory()
        place = Path(self.folder.name)
        self.secret = place / "secret.png"
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", f"{SECRET}\nSteps: 20, Sampler: Euler, Seed: 1")
        self.secret.write_bytes(encoded(picture(), "PNG", pnginfo=info))
        with contextlib.redirect_stdout(io.StringIO()):
            self.app = launch(_tiny_assets(place / "assets"), host="127.0.0.1", block=False)
        self.url = self.app.local_url.rstrip("/") + "/gradio_api"
        self.web = httpx.Client(timeout=WAIT)
        self.json = {"content-type": "application/json"}
        config = self.web.get(self.app.local_url + "config").json()
        self.events = {one["id"]: one for one in config["dependencies"] if one["backend_fn"]}
        self.named = {
            one["api_name"]: one["id"]
            for one in self.events.values()
            if one["api_visibility"] == "public"
        }
        self.uploaded = ""
        self.picture = encoded(picture(size=(40, 30)), "PNG")
        for name in self.named:  # what is compiled at a first call would be taken for slow
            self.call(name, self.put_in([_GOOD["image"]] * (name == "predict")))

    def close(self) -> None:
        """Stop serving."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.app.close()
        self.folder.cleanup()

    def _upload(self) -> str:
        files = {"files": ("a.png", self.picture, "image/png")}
        answer = self.web.post(f"{self.url}/upload", files=files)
        if answer.status_code == 200:  # else the folder is full, which is an answer too
            self.uploaded = answer.json()[0]
        return self.uploaded

    def _post(self, route: str, body: Any) -> httpx.Response:
        # Not httpx's own JSON, which refuses NaN.
        return self.web.post(f"{self.url}/{route}", content=json.dumps(body), headers=self.json)

    def put_in(self, value: Any) -> Any:
        """A kept call's `$UPLOAD`, `$SECRET` and `$URL` → this server's own."""
        told = json.dumps(value)
        # An upload belongs to the session that used it first, and each call here is one.
        real = {"$UPLOAD": self._upload()} if "$UPLOAD" in told else {}
        for name, place in {**real, "$SECRET": self.secret, "$URL": self.url}.items():
            told = told.replace(name, json.dumps(str(place))[1:-1])
        return json.loads(told)

    def call(self, name: str, data: Any) -> tuple[bool, Any]:
        """(whether it worked, what came back), by the named endpoint."""
        answer = self._post(f"call/{name}", {"data": data})
        if answer.status_code != 200:
            return False, _refusal(answer)
        text = self.web.get(f"{self.url}/call/{name}/{answer.json()['event_id']}").text
        kind, _, body = text.strip().rpartition("event: ")[2].partition("\ndata: ")
        assert kind in ("complete", "error"), f"the stream ends in {text[-200:]!r}"
        return kind == "complete", json.loads(body)

    def join(self, number: int, data: Any) -> tuple[bool, Any]:
        """The same by the queue, as the page's own events call."""
        session = f"fuzz{number}"
        body = {"data": data, "fn_index": number, "session_hash": session}
        answer = self._post("queue/join", body)
        if answer.status_code != 200:
            return False, _refusal(answer)
        with self.web.stream("GET", f"{self.url}/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                message = json.loads(line.removeprefix("data: ")) if line else {}
                if message.get("msg") == "process_completed":
                    return message["success"], message["output"]
                assert message.get("msg") != "unexpected_error", f"unexpected error: {message}"
        raise AssertionError("the stream ends without an answer")


def _refusal(answer: httpx.Response) -> Any:
    assert answer.status_code < 500, f"status {answer.status_code}: {answer.text[:200]}"
    body = answer.json()
    return body.get("error", body.get("detail")) if isinstance(body, dict) else body


@cache
def server() -> Server:
    """The page, started at the first call."""
    started = Server()
    atexit.register(started.close)
    return started


def check_call(data: bytes) -> None:
    """One call, see the module's first lines."""
    told = json.loads(data)
    page = server()
    log = io.StringIO()
    with _logged(log):
        sent = page.put_in(told["data"])
        if "name" in told:
            worked, back = page.call(told["name"], sent)
        else:
            numbers = sorted(page.events)
            worked, back = page.join(numbers[told["event"] % len(numbers)], sent)
    assert SECRET not in json.dumps(back), f"a file that was not uploaded was read: {told}"
    lines = [line for line in log.getvalue().splitlines() if line.strip()]
    assert "Traceback" not in log.getvalue(), f"logged: {' '.join(_raised(lines))}"
    if not worked:
        sentence = back.get("error") if isinstance(back, dict) else back
        assert is_sentence(sentence), f"no sentence: {back!r}"
        raise UserError(sentence)


def _raised(log: list[str]) -> list[str]:
    """The first line of a log's last exception."""
    last = max(number for number, line in enumerate(log) if line.startswith("Traceback"))
    return [line for line in log[last + 1 :] if not line.startswith((" ", "During", "The above"))][
        :1
    ]


@contextlib.contextmanager
def _logged(log: io.StringIO) -> Iterator[None]:
    before = sys.stderr
    sys.stderr = log  # of every thread: the page's too
    try:
        yield
    finally:
        sys.stderr = before


_META = {"_type": "gradio.FileData"}
_FILES = st.sampled_from(
    [
        {"path": path, **rest}
        for path in (
            "$UPLOAD",
            "$SECRET",
            "$UPLOAD/../../secret.png",
            "app.py",
            "/etc/hostname",
            "/proc/self/environ",
            "http://127.0.0.1:9/x.png",
            "$URL/file=$SECRET",
            "$URL/file=$UPLOAD",
            "",
            "\0",
            None,
        )
        for rest in ({"meta": _META}, {}, {"url": "http://127.0.0.1:9/y.png", "meta": _META})
    ]
)
_VALUES = st.one_of(
    st.sampled_from(["gaze", "notebook", "worda", "worda + wordb", 5, 10, "5", 5.5, -1, [], {}]),
    _FILES,
    st.lists(_FILES, max_size=3),
    SCALARS,
    st.just([[[[["deep"]]]]]),
    st.dictionaries(st.sampled_from(["path", "url", "value", "__type__"]), SCALARS, max_size=2),
)
_GOOD = {
    "image": {"path": "$UPLOAD", "meta": _META},
    "files": [{"path": "$UPLOAD", "meta": _META}],
    "number": 5,
    "slider": 5,
    "dropdown": "gaze",
    "radio": "gaze",
    "textbox": "worda",
}


@st.composite
def calls(draw: Callable) -> bytes:
    """A call with one or more arguments wrong, too few or too many."""
    page = server()
    by_name = draw(st.booleans())
    name = draw(st.sampled_from(sorted(page.named)))
    number = page.named[name] if by_name else draw(st.sampled_from(sorted(page.events)))
    data = []
    for component in page.events[number]["inputs"]:
        kind = page.app.blocks[component].get_block_name()
        good = _GOOD["files" if kind == "file" else kind] if kind in _GOOD else None
        data.append(good if draw(st.booleans()) else draw(_VALUES))
    size = draw(st.sampled_from([len(data)] * 5 + [0, max(len(data) - 1, 0), len(data) + 1]))
    data = [*data, draw(_VALUES)][:size]
    body: dict[str, Any] = {"data": draw(_VALUES) if draw(st.integers(0, 19)) == 0 else data}
    body |= {"name": name} if by_name else {"event": sorted(page.events).index(number)}
    return json.dumps(body).encode()


def _tiny_assets(folder: Path) -> Assets:
    """Artifacts as they ship, but small and untrained."""
    from img2prompt.models import notebook, original

    folder.mkdir()
    random = np.random.default_rng(1)
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(80)]
    drawn = random.normal(size=(80, 100)).astype(np.float32)
    vectors = WordVectors(["worda", "wordb", *words[2:]], drawn, np.arange(80, 0, -1))
    vectors.save(folder / EMBEDDING_FILE)
    space = random.uniform(-1, 1, size=(60, 3)).astype(np.float32)
    places = (space[:, :2], space, np.arange(60) % 2, ("worda", "wordb"))
    VocabularyMap(vectors, tuple(vectors.words[:60]), *places, vectors.counts[:60], "chance").save(
        folder / MAP_FILE
    )
    original.build(vectors, SIDE).save(folder / "gaze.keras")
    notebook.build(vectors, SIDE).save(folder / "notebook.keras")
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size, "made_by": "the tests"}
        for path in sorted(folder.iterdir())
    }
    write_json(folder / "manifest.json", {"default": "gaze", "files": files})
    return Assets(folder)


FAMILY = Family(
    "api", "every endpoint and event of the page", st.deferred(calls), check_call, server
)
