"""Every mistake, by every way in, is one sentence; and the log holds nothing of what was sent."""

import ast
import itertools
import json
import math
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hosted
import httpx
import pytest
import small_page
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from test_mcp import call as call_tool
from test_mcp import meeting, said_by, upload
from waiting import PATIENCE

MARKER = "zqmarkerqz"  # in whatever a visitor can send; never in the log
HEADERS = {"User-Agent": MARKER, "X-Forwarded-For": MARKER, "Cookie": f"{MARKER}=1"}
ARGUMENTS = {
    "predict": ("image", "preset", "words"),
    "score": ("image", "preset", "words", "truth"),
    "neighbours": ("word", "count"),
    "arithmetic": ("expression",),
    "compare": ("first", "second", "first_preset", "second_preset"),
    "batch": ("files", "preset", "words"),
}
NUMBERS = (None, float("nan"), float("inf"), -float("inf"), 5.5, -1, 0, 51, 10**400, True)
NUMBERS += ([], {}, [5], "abc", "5.5", "NaN", "1e1", "5 5", MARKER, "9" * 5000)
CHOICES = (None, "brilliant", MARKER, 5, True, [], {}, ["gaze"], "Gaze", "9" * 100_000)
TEXTS = (5, 5.5, True, [], ["castle"], {}, {"a": MARKER}, MARKER * 50_000)
FILES = (5, True, MARKER, "/etc/passwd", {}, {"path": 5}, {"path": None, "url": MARKER}, ["x"])
FILES += ({"path": "/etc/passwd"}, {"path": MARKER}, {"path": "\0"}, {"path": "x" * 5000})
FILES += tuple({"path": p, "meta": {"_type": "gradio.FileData"}} for p in ("/", MARKER, "../x"))
DEEP: Any = MARKER
for _ in range(100):
    DEEP = [DEEP]


_OF_THE_PROTOCOL = re.compile(r"(WARNING|ERROR): (root|mcp\.[\w.]+) at \S+/mcp/[\w/]+\.py:\d+")


class Page:
    """A page that runs, a picture that was uploaded to it, and the ways to ask it."""

    def __init__(self, address: str, client: Client, picture: Path, tools: Callable) -> None:
        self.address, self.client, self.picture, self.tools = address, client, picture, tools
        self.sessions = itertools.count()
        self.http = httpx.Client(base_url=f"{address}gradio_api", headers=HEADERS, timeout=60)
        self.uploaded, self.queued, self.clients = (self.upload() for _ in range(3))

    def upload(self) -> str:
        with self.picture.open("rb") as file:
            sent = self.http.post("/upload", files={"files": (f"{MARKER}.png", file)})
        return sent.raise_for_status().json()[0]

    def good(self, endpoint: str, way: str) -> dict[str, Any]:
        """Arguments that are answered."""
        # An upload belongs to the session that used it first; the queue's calls and a client have
        # one.
        path = self.queued if way == "queue" else self.uploaded
        picture: Any = {"path": path, "meta": {"_type": "gradio.FileData"}}
        if way == "client":
            picture = handle_file(f"{self.address}gradio_api/file={self.clients}")
        elif way == "mcp":
            picture = f"{self.address}gradio_api/file={self.uploaded}"
        usual = {"image": picture, "first": picture, "second": picture, "files": [picture]}
        usual |= {"words": 3, "count": 3, "word": "wordab", "truth": "wordab"}
        usual["expression"] = "wordab + wordac"
        return {name: usual.get(name, "gaze") for name in ARGUMENTS[endpoint]}

    def by_client(self, endpoint: str, sent: dict[str, Any]) -> Any:
        try:
            return self.client.predict(*sent.values(), api_name=f"/{endpoint}")
        except AppError as error:
            return str(error)

    def by_call(self, endpoint: str, sent: dict[str, Any], path: str = "") -> Any:
        asked = self.post(f"/call/{path}{endpoint}", sent if path else {"data": [*sent.values()]})
        if "event_id" not in asked:
            return asked["detail"]
        lines = self.http.get(f"/call/{endpoint}/{asked['event_id']}").text.splitlines()
        said = json.loads(lines[-2].removeprefix("data: "))
        return said["error"] if lines[-3] == "event: error" else said[0]

    def by_v2(self, endpoint: str, sent: dict[str, Any]) -> Any:
        return self.by_call(endpoint, sent, "v2/")

    def by_run(self, endpoint: str, sent: dict[str, Any]) -> Any:
        answer = self.post(f"/run/{endpoint}", {"data": [*sent.values()]})
        return answer["error"] if "error" in answer else answer["data"][0]

    def by_queue(self, endpoint: str, sent: dict[str, Any]) -> Any:
        number = next(e["id"] for e in self.events() if e["api_name"] == endpoint)
        said = self.ask(number, [*sent.values()], session_hash=f"{MARKER}-queue")
        return said[0] if isinstance(said, list) else said

    def by_mcp(self, endpoint: str, sent: dict[str, Any]) -> Any:
        failed, said = said_by(self.tools("call_tool", endpoint, sent))
        return said if failed else {"answer": said}

    def events(self) -> list[dict[str, Any]]:
        """Of all pages."""
        return self.client.config["dependencies"]

    def ask(self, number: int, data: list[Any], **rest: Any) -> Any:
        """An event as the page's own JavaScript asks for it."""
        session = rest.pop("session_hash", f"{MARKER}{next(self.sessions)}")
        body = {"data": data, "fn_index": number, "session_hash": session} | rest
        asked = self.post("/queue/join", body)
        if "event_id" not in asked:
            return asked["detail"]
        with self.http.stream("GET", "/queue/data", params={"session_hash": session}) as answer:
            for line in answer.iter_lines():
                told = json.loads(line.removeprefix("data: ")) if line else {}
                if told.get("msg") == "process_completed":
                    output = told["output"]
                    return output["data"] if told["success"] else output["error"]
        return None

    def post(self, path: str, body: Any) -> Any:
        """With NaN and the rest of what Python takes for JSON; an answer that is none is a text."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        return self.http.post(path, content=content, headers=kind).json()


@pytest.fixture(scope="module")
def page(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, run as its host runs it; afterwards its log holds nothing but its start."""
    folder = tmp_path_factory.mktemp("mistakes")
    picture = folder / f"{MARKER}.png"
    small_page.picture(1).save(picture)
    log = folder / "log.txt"
    with hosted.serve(folder, small_folder, {}) as address, meeting(address) as tools:
        client = Client(address, verbose=False, headers=HEADERS)
        page = Page(address, client, picture, tools)
        begun = log.read_text("utf-8")
        assert "img2prompt: http" in begun
        yield page
        page.http.close()
        said = log.read_text("utf-8").removeprefix(begun)
    # The protocol's library says where it stumbled, and nothing of what it was sent.
    assert [line for line in said.splitlines() if not _OF_THE_PROTOCOL.fullmatch(line)] == []


WAYS = ("client", "call", "v2", "run", "queue", "mcp")


def check(said: Any, what: str) -> str:
    """ "" for one sentence that quotes nothing long, else what is wrong with it."""
    right = isinstance(said, str) and 20 < len(said) < 250 and said[-1] == "."
    right = right and not any(
        sign in said for sign in ("\n", ". ", MARKER, "Traceback", "upstream")
    )
    return "" if right else f"{what}: {str(said)[:300]!r}"


def mistakes(endpoint: str, way: str) -> Iterator[tuple[str, Any]]:
    """(argument, a wrong value for it), as far as the way can send it."""
    for name in ARGUMENTS[endpoint]:
        if name in ("words", "count"):
            wrong = NUMBERS
        elif "preset" in name:
            wrong = CHOICES
        elif name in ("truth", "word", "expression"):
            wrong = TEXTS
        else:
            wrong = FILES if way != "client" else ()
        yield from ((name, value) for value in (*wrong, DEEP) if _is_sent(value, way))


def _is_sent(value: Any, way: str) -> bool:
    """Whether a way in has this value: the clients refuse what is no JSON themselves."""
    endless = isinstance(value, float) and not math.isfinite(value)
    return not (endless and way == "client") and not (
        way == "mcp" and (endless or value == 10**400)
    )


@pytest.mark.parametrize("endpoint", ARGUMENTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_value_is_one_sentence(page: Page, way: str, endpoint: str) -> None:
    ask: Callable = getattr(page, f"by_{way}")
    assert not isinstance(ask(endpoint, page.good(endpoint, way)), str)
    failures = []
    for name, value in mistakes(endpoint, way):
        said = ask(endpoint, page.good(endpoint, way) | {name: value})
        failures.append(check(said, f"{name}={str(value)[:60]}"))
    assert list(filter(None, failures)) == []


@pytest.mark.parametrize("way", WAYS)
def test_a_number_written_as_text_is_taken(page: Page, way: str) -> None:
    ask: Callable = getattr(page, f"by_{way}")
    for written in (5, 5.0, "5", " 5 ", "5.0", "5,0", "+5"):
        near = ask("neighbours", page.good("neighbours", way) | {"count": written})
        words = ask("predict", page.good("predict", way) | {"words": written})
        if way == "mcp":
            near, words = (ast.literal_eval(one["answer"]) for one in (near, words))
        assert len(near["neighbours"]) == len(words["words"]) == 5, (written, near, words)


@pytest.mark.parametrize("way", ["call", "run", "queue", "mcp", "v2"])
@pytest.mark.parametrize("endpoint", ARGUMENTS)
def test_too_few_and_too_many_values_are_one_sentence(page: Page, way: str, endpoint: str) -> None:
    good = page.good(endpoint, way)
    first = next(iter(good))
    rest = {name: value for name, value in good.items() if name != first}
    ask: Callable = getattr(page, f"by_{way}")
    for sent in ({}, rest, good | {"another": MARKER}):
        said = ask(endpoint, sent)
        if way == "mcp":
            said = said.replace("another" + MARKER, "")
        assert check(said, f"{list(sent)}") == "", (sent, said)
        assert way == "v2" or "another" in said or first in said


def test_the_right_thing_to_do_is_said(page: Page) -> None:
    """Not only that it is wrong: which argument, and what it takes."""
    for endpoint, name, wrong, told in (
        ("predict", "words", 5.5, "“words” must be a whole number from 1 to 20"),
        ("neighbours", "count", None, "“count” must be a whole number from 1 to 50"),
        ("predict", "preset", "brilliant", "“preset” must be one of these: gaze, notebook"),
        ("score", "truth", 5, "“truth” must be a text"),
        ("score", "truth", "a" * 20_001, "20001 characters and 20000 are allowed"),
        ("neighbours", "word", "a" * 201, "201 characters and 200 are allowed"),
        ("arithmetic", "expression", "a" * 401, "401 characters and 400 are allowed"),
        ("batch", "files", [None] * 100_000, "“files” has more than"),
        ("batch", "files", [], "Choose pictures"),
    ):
        assert told in page.by_call(endpoint, page.good(endpoint, "call") | {name: wrong})


@pytest.mark.parametrize(
    "path",
    [
        *(f"{way}/{MARKER}" for way in ("/call", "/call/v2", "/run", "/api")),
        *("/queue/join", "/call/predict", "/run/predict", "/call/v2/arithmetic"),
    ],
)
def test_a_call_of_nothing_is_one_sentence(page: Page, path: str) -> None:
    bodies: list[Any] = [{"data": []}, {"data": [MARKER] * 3, "session_hash": MARKER}, {}, []]
    bodies += [{"data": MARKER}, {"data": None}, {"data": {MARKER: MARKER}}, MARKER, 5, None]
    bodies += [{"data": [], "fn_index": n, "session_hash": "x"} for n in (MARKER, -1, 10**9, 1.5)]
    bodies += [{"data": [], "fn_index": 0, "session_hash": ["x"]}, {"data": [], "trigger_id": "x"}]
    bodies += [b"", b"{", b"\xff", MARKER.encode(), b'{"data": ["\\ud800"]}', b"[" * 100_000]
    bodies += [b'{"data": ' + b"[" * n + b"]" * n + b"}" for n in (200, 600, 5000)]
    bodies += [b'{"data": [' + b"9" * 10_000 + b"]}"]
    failures = []
    for body in bodies:
        answer = page.post(path, body)
        if "event_id" in answer:
            continue  # the mistake is told with the answer; see above
        said = answer.get("detail", answer.get("error"))
        failures.append(check(said, f"{str(body)[:80]}"))
    assert list(filter(None, failures)) == []


def test_an_answer_is_fetched_once(page: Page) -> None:
    event = page.post("/call/arithmetic", {"data": ["wordab"]})["event_id"]
    assert "event: complete" in page.http.get(f"/call/arithmetic/{event}").text
    for number in (event, MARKER):
        said = page.http.get(f"/call/arithmetic/{number}", timeout=PATIENCE).text
        assert said.startswith("event: error\ndata: ")
        assert check(json.loads(said.splitlines()[1][6:])["error"], number) == ""
    page.http.get("/queue/data", params={"session_hash": MARKER}, timeout=PATIENCE)


def hostile(count: int) -> Iterator[list[Any]]:
    """Arguments of an event that its page never sends."""
    yield from ([], [None] * count, [MARKER] * count, [5] * count, [[]] * count)
    yield from ([{}] * count, [{"path": "/etc/passwd"}] * count, [True] * (count + 1))
    yield from ([float("nan")] * count, ["\ud800"] * count, [DEEP] * count, [[{"path": 5}]] * count)


EVENT_DATA = (None, MARKER, 5, [], {}, {"word": 5}, {"example": 10**400}, {"example": True})
EVENT_DATA += ({"word": MARKER + "\ud800", "sum": []}, {"value": []}, {"seen": MARKER}, DEEP)


def test_the_pages_own_events_have_a_sentence_for_nonsense(page: Page) -> None:
    # The German page has the same; a switch to real pictures would ask another server.
    events = [e for e in page.events() if e["backend_fn"] and not _elsewhere(e)]

    def failures(event: dict[str, Any]) -> Iterator[str]:
        for data in hostile(len(event["inputs"])):
            yield _either(page.ask(event["id"], data), f"{event['api_name']} {str(data)[:80]}")

    assert _of_all(failures, events) == []


def test_the_pages_own_events_read_only_the_event_data_they_know(page: Page) -> None:
    usual = {component["id"]: component for component in page.client.config["components"]}
    events = [e for e in page.events() if e["backend_fn"] and e["api_name"].startswith("en_")]

    def failures(event: dict[str, Any]) -> Iterator[str]:
        data = [usual[number]["props"].get("value") for number in event["inputs"]]
        for sent in EVENT_DATA:
            trigger = 10**6 if sent is None else None
            said = page.ask(event["id"], data, event_data=sent, trigger_id=trigger)
            yield _either(said, f"{event['api_name']} {str(sent)[:80]}")

    assert _of_all(failures, events) == []


def _elsewhere(event: dict[str, Any]) -> bool:
    return event["api_name"].startswith(("de_", "en_play_switch"))


def _of_all(failures: Callable[[Any], Iterator[str]], events: list[Any]) -> list[str]:
    """The failures of all events; an answer takes longer to arrive than to work out."""
    with ThreadPoolExecutor(4) as askers:
        return [
            one for found in askers.map(lambda e: [*failures(e)], events) for one in found if one
        ]


def test_an_event_speaks_its_pages_language(page: Page) -> None:
    number = {event["api_name"]: event["id"] for event in page.events()}
    for code, generic, long in (
        ("en", "does not understand; reload it", "characters and"),
        ("de", "lade sie neu", "Zeichen"),
    ):
        assert generic in page.ask(number[f"{code}_map_word"], [])
        assert long in page.ask(number[f"{code}_map_word"], ["a" * 300, "2-D"])


def _either(said: Any, what: str) -> str:
    """An event's data, or one sentence."""
    return "" if isinstance(said, list) or "vocabulary does" in said else check(said, what)


def test_what_the_protocol_of_models_cannot_read_is_not_logged(page: Page) -> None:
    head = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    call = {"jsonrpc": "2.0", "id": MARKER, "method": "tools/call"}
    for body in (
        b"{",
        MARKER.encode(),
        json.dumps(call | {"params": MARKER}).encode(),
        json.dumps(call | {"params": {"name": MARKER, "arguments": MARKER}}).encode(),
        json.dumps(call | {"params": {"name": MARKER, "arguments": {MARKER: MARKER}}}).encode(),
        json.dumps(call | {"method": MARKER}).encode(),
        json.dumps({"jsonrpc": "2.0", "method": MARKER, "params": {MARKER: 5}}).encode(),
        json.dumps({"jsonrpc": "2.0", "id": MARKER, "result": {MARKER: 5}}).encode(),
    ):
        answer = page.http.post("/mcp/", content=body, headers=head)
        assert "Traceback" not in answer.text
    for address in ("data:image/png;base64,!", f"data:{MARKER}", "http://", f"ftp://{MARKER}/"):
        failed, said = call_tool(page.address, "predict", image=address)
        assert failed and check(said, address) == ""
    failed, said = call_tool(page.address, f"another-{MARKER}")
    assert failed and check(said.replace(MARKER, ""), "tool") == "" and "arithmetic" in said


@pytest.mark.parametrize(
    "path",
    [
        *(f"/gradio_api/{name}" for name in (f"file={MARKER}", f"info?page={MARKER}", MARKER)),
        *(f"/gradio_api/{name}/{MARKER}" for name in ("call", "stream", "heartbeat", "runs")),
        *(f"/gradio_api/{name}" for name in ("upload", "component_server", "cancel", "reset")),
        *(f"/{name}{MARKER}" for name in ("", "?words=", "?__theme=", "config?x=", "assets/")),
        f"/gradio_api/custom_component/{MARKER}/client/{MARKER}/{MARKER}",
        f"/gradio_api/upload_progress?upload_id={MARKER}",
        f"/gradio_api/process_recording?{MARKER}",
    ],
)
def test_no_route_logs_what_it_is_sent(page: Page, path: str) -> None:
    """What they answer is not said here; that the log stays empty is checked at the end."""
    address = page.address.rstrip("/") + path
    form = {"session_hash": MARKER, "component_id": MARKER, "fn_name": MARKER, "data": MARKER}
    json_form = form | {"component_id": 3, "fn_index": 10**9, "event_id": MARKER}
    asked = (
        ("GET", {}),
        ("POST", {"content": MARKER}),
        ("POST", {"json": json_form}),
        ("POST", {"data": form}),
        ("POST", {"files": {MARKER: (MARKER, MARKER.encode())}, "data": form}),
        ("POST", {"content": MARKER, "headers": {"Content-Type": "multipart/form-data"}}),
    )
    for method, sent in asked:
        with page.http.stream(method, address, **sent, timeout=60) as answer:
            for _ in answer.iter_bytes():
                break  # some answers never end


def test_a_picture_by_its_address_is_still_answered(page: Page) -> None:
    address = upload(page.address, page.picture)
    failed, said = call_tool(page.address, "predict", image=address, words="4")
    assert not failed and len(ast.literal_eval(said)["words"]) == 4


def test_a_text_at_its_limit_is_answered_soon(page: Page) -> None:
    """Of the forms that regular expressions and Unicode's folding like least."""
    for form in ("a", "(", "<lora:", "a's ", ":1.2)", "a\u0301", "\ufdfa", "word "):
        begun = time.monotonic()
        page.by_call("score", page.good("score", "call") | {"truth": (form * 20_000)[:20_000]})
        page.by_call("arithmetic", {"expression": (form * 400)[:400]})
        page.by_call("neighbours", {"word": (form * 200)[:200], "count": 5})
        assert time.monotonic() - begun < 120, form  # half a second where nothing else runs
