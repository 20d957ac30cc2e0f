"""The gate in front of Gradio: what of a request reaches the page, and what leaves with an answer.

Gradio serves more than this page needs: it fetches addresses for visitors, and takes any file of
this machine for an upload. The gate lets through the routes of `ROUTES`, bodies within limits,
and of files only uploads of this server. It is an ASGI middleware, handed to Gradio's `launch`.
"""

import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gradio.route_utils import API_PREFIX
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from img2prompt.core.files import nests_deeper
from img2prompt.core.texts import Texts
from img2prompt.ui.server.mistakes import refusal
from img2prompt.ui.server.receive import MAX_UPLOAD, limited, receive_files
from img2prompt.ui.server.uploads import VISITOR, Refused, Uploads, is_private_file

JSON_BYTES = 2**20  # a batch of 2,000 pictures names each by 300 bytes
MCP_BYTES = 4 * 2**20  # the protocol's own limit; a picture that is sent as text has 3 MB at most
MAX_DEPTH = 200  # of JSON; the page's own calls have 6, and Gradio follows them by recursion
NAME_LENGTH = 255  # characters of a file's name or type that a call may tell
ID_LENGTH = 100  # characters of a session's or an event's name, which the server remembers
QUERY_BYTES = 500  # behind an address of the API: names of that kind

# A file that is not an upload of this server, as the components get to see it.
REFUSED: dict[str, Any] = {"refused": True}
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

_IDS = ("session_hash", "event_id")
_READ = ("GET", "HEAD")
_NAME = r"[\w-]{1,100}"
# (methods, path): what the page, its API's clients and MCP ask for. Nothing else of Gradio's is
# reachable: no `file=http…`, `proxy=`, `dev/reload`, `deep_link`, `runs`, `component_server`, ….
ROUTES: tuple[tuple[tuple[str, ...], str], ...] = (
    (_READ, r"/(assets|static|svelte)/[!-~]{1,200}"),  # longer ones the disk cannot even look for
    (_READ, r"/(config|theme\.css|favicon\.ico|robots\.txt|manifest\.json)/?"),
    (_READ, r"/monitoring/summary"),
    (_READ, rf"{API_PREFIX}/(info|openapi\.json|app_id|startup-events|theme\.css)/?"),
    (_READ, rf"{API_PREFIX}/(queue/data|queue/status|upload_progress|heartbeat/{_NAME})"),
    (_READ, rf"{API_PREFIX}/call/(v2/)?{_NAME}/{_NAME}"),
    (_READ, rf"{API_PREFIX}/file=.+"),
    (("POST",), rf"{API_PREFIX}/(queue/join|cancel|reset|upload)/?"),
    (("POST",), rf"{API_PREFIX}/(call|call/v2|run|api)/{_NAME}/?"),
    (("GET", "HEAD", "POST", "DELETE"), rf"{API_PREFIX}/mcp(/|/http/?|/schema|/sse|/messages/)?"),
)
_UPLOAD = re.compile(rf"{API_PREFIX}/upload/?")
_FILE = f"{API_PREFIX}/file="
_COUNTS = "/monitoring/summary"  # the API dialog asks how often each call was made; nobody counts
_MCP = re.compile(rf"{API_PREFIX}/mcp(/.*)?")


@dataclass(frozen=True)
class Rules:
    """What the gate goes by.

    Attributes:
        uploads: the files that visitors sent.
        texts: the page's languages by code; the first one is that of `/`.
        hosts: the names under which the page answers; empty for any.
        framed_by: other sites that may show the page in a frame.
        proxied: a proxy of the host's own stands in front and tells each visitor's address.
    """

    uploads: Uploads
    texts: Mapping[str, Texts]
    hosts: Collection[str] = ()
    framed_by: Collection[str] = ()
    proxied: bool = False


class Gate:
    """The middleware.

    Args:
        app: Gradio's.
        rules: what to let through.
    """

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules
        pages = "|".join(map(re.escape, rules.texts))
        routes = (*ROUTES, (_READ, rf"/(({pages})/?)?"))
        self._routes = [(methods, re.compile(path)) for methods, path in routes]
        self._headers = security_headers(rules.framed_by)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        try:
            await self._pass(scope, receive, send_secured)
        except Refused as refused:
            await self._tell(scope, refused)(scope, receive, send_secured)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path(scope)
        check_host(Headers(scope=scope), self.rules.hosts)
        if path.startswith(API_PREFIX) and len(scope["query_string"]) > QUERY_BYTES:
            raise Refused(400, "json")
        if not any(scope["method"] in methods and r.fullmatch(path) for methods, r in self._routes):
            raise Refused(404, "nothing")
        if path.startswith(_FILE) and not is_private_file(path.removeprefix(_FILE)):
            raise Refused(404, "nothing")
        if path == _COUNTS:
            await JSONResponse({"functions": {}})(scope, receive, send)
        elif scope["method"] in (*_READ, "DELETE"):
            await self.app(scope, receive, send)
        elif _UPLOAD.fullmatch(path):
            request = Request(scope, limited(receive, MAX_UPLOAD, "body"))
            paths = await receive_files(request, self.rules.uploads, self._client(scope))
            await JSONResponse(paths)(scope, receive, send)
        else:
            # MCP's tools become calls of this same server, which are checked when they come.
            tool = _MCP.fullmatch(path) is not None
            within = limited(receive, MCP_BYTES if tool else JSON_BYTES, "body")
            try:
                body = await Request(scope, within).body()
            except ClientDisconnect:  # nobody reads the answer
                raise Refused(400, "json") from None
            # All tools of language models come in one session, which is nobody's own.
            own = Headers(scope=scope).get("x-gradio-user") != "mcp"
            body = checked_json(body, self.rules.uploads, texts=not tool, sessions=own)
            headers = MutableHeaders(raw=list(scope["headers"]))
            del headers["transfer-encoding"]
            headers["content-length"] = str(len(body))
            told = {**scope, VISITOR: self._client(scope), "headers": headers.raw}
            await self.app(told, _replay(body, receive), send)

    def _tell(self, scope: Scope, refused: Refused) -> Response:
        sentence = refused.told(self._text(scope))
        # The rest of a body that was not read must not be taken for the next request.
        headers = {"connection": "close"} if scope["method"] == "POST" else None
        if _UPLOAD.fullmatch(_path(scope)):
            return PlainTextResponse(sentence, refused.status, headers)  # shown as it is
        return refusal(sentence, refused.status, headers)

    def _text(self, scope: Scope) -> Texts:
        """The language of the page that asks."""
        path = _split(Headers(scope=scope).get("referer", ""))[1]
        page = path.rstrip("/").rpartition("/")[2]
        return self.rules.texts.get(page) or next(iter(self.rules.texts.values()))

    def _client(self, scope: Scope) -> str:
        """Whose share of the upload folder is used: an address, of IPv6 its network."""
        address = (scope.get("client") or ("",))[0]
        if self.rules.proxied:
            # The last entry is the host's own proxy's; those before it are anybody's word.
            told = Headers(scope=scope).get("x-forwarded-for", "").rpartition(",")[2].strip()
            address = told or address
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return ""
        if found.version == 6:
            return str(ipaddress.ip_network((found, 64), strict=False))
        return str(found)


def security_headers(framed_by: Iterable[str] = ()) -> dict[str, str]:
    """Headers of every answer: nothing of other sites is loaded, and no foreign frame holds it.

    Gradio's page has scripts in its HTML and makes functions out of text, so the policy must allow
    both; what it keeps out is every other origin.

    Args:
        framed_by: other sites that may frame the page.
    """
    policy = {
        "default-src": "'self'",
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": " ".join(["'self'", *framed_by]),
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
    }


def check_host(headers: Headers, allowed: Collection[str]) -> None:
    """Refuse a request under a foreign name: another site's, pointed at this machine.

    The same goes for a request that a page of another site makes (`Origin`).

    Args:
        headers: the request's.
        allowed: names and addresses; empty for any.

    Raises:
        Refused: with the name.
    """
    if not allowed:
        return
    hosts = headers.getlist("host") or [""]
    origins = [_split(origin)[0] for origin in headers.getlist("origin")]
    for host in (*hosts, *origins):
        name = host_name(host)
        if name not in allowed:
            raise Refused(403, "host", host=name[:NAME_LENGTH] or "?")


def host_name(host: str) -> str:
    """A Host header's name or address, without its port: `[::1]:7860` → `::1`."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _split(address: str) -> tuple[str, str]:
    """An address's host and path, both empty where it is none ("http://[")."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "", ""
    return parts.netloc, parts.path


def checked_json(body: bytes, uploads: Uploads, texts: bool = True, sessions: bool = True) -> bytes:
    """A call's JSON with nothing in it that Gradio could take for a file but uploads.

    An upload keeps its path, name, size and type; `REFUSED` takes the place of every other file,
    and the component that gets to see it tells the caller in a sentence.

    Args:
        body: JSON in UTF-8.
        uploads: which files visitors sent, and whose they are.
        texts: also refuse a mere text that names a file of this server's folder.
        sessions: whether the call's session is one visitor's own.

    Raises:
        Refused: no JSON, or nested too deep.
    """
    try:
        call = json.loads(body)
        if nests_deeper(call, MAX_DEPTH):
            raise Refused(400, "json")
        ids = [call.get(key) for key in _IDS] if isinstance(call, dict) else []
        # Gradio keeps the names of sessions and events, however long, until it ends.
        if any(isinstance(name, str) and len(name) > ID_LENGTH for name in ids):
            raise Refused(400, "json")
        session = ids[0] if sessions and ids and isinstance(ids[0], str) else None
        return json.dumps(_checked(call, uploads, session, texts)).encode("ascii")
    except (ValueError, RecursionError):
        raise Refused(400, "json") from None


def _checked(node: Any, uploads: Uploads, session: str | None, texts: bool) -> Any:
    if isinstance(node, list):
        return [_checked(item, uploads, session, texts) for item in node]
    if isinstance(node, str):  # MCP hands its lists of files on as addresses alone
        return REFUSED if texts and uploads.is_foreign(node, session) else node
    if not isinstance(node, dict):
        return node
    meta = node.get("meta")
    if "path" not in node and not (isinstance(meta, dict) and "_type" in meta):
        return {key: _checked(value, uploads, session, texts) for key, value in node.items()}
    path = uploads.resolve(node["path"], session) if isinstance(node.get("path"), str) else None
    if path is None:
        return REFUSED
    told = {key: node.get(key) for key in ("orig_name", "mime_type")}
    names = {key: name[:NAME_LENGTH] for key, name in told.items() if isinstance(name, str)}
    return {"path": path, **names, "meta": {"_type": "gradio.FileData"}}


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body whole, and then what happens to the connection."""
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _path(scope: Scope) -> str:
    """The path below the one that a proxy serves the page under."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if root and path.startswith(f"{root}/") else path
