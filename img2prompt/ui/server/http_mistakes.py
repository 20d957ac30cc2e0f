"""What goes wrong before an event is found: one sentence over HTTP, and nothing in the log.

An endpoint that isn't there, a body that is no JSON, an answer that was fetched already. Gradio's
routes meet these unprepared; the traceback that the server would print quotes the request.
"""

import json
import re
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from gradio.route_utils import API_PREFIX, FnIndexInferError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from img2prompt.core.texts import Texts
from img2prompt.ui.server.faults import log_fault

# What Gradio's routes raise on an unknown event or a wrong argument; only these are a visitor's.
MISTAKES = (
    AttributeError,
    FnIndexInferError,
    HTTPException,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_ANSWER = re.compile(rf"{API_PREFIX}/call/(?:v2/)?[^/]+/([^/]+)/?$")
# How Gradio's and FastAPI's own words begin → our sentence.
_SAID = {
    "Queue is full": "mistake.full",
    "There was an error parsing the body": "mistake.call",
    "No function index": "mistake.call",
    "Session hash": "mistake.call",
}


def app_kwargs(text: Texts) -> dict[str, Any]:
    """What `launch(app_kwargs=…)` takes to the web server.

    Args:
        text: the language of the page's first address.
    """

    def not_understood(request: Request, error: Exception) -> Response:
        return _refused(text("mistake.call"), 400)

    def refused(request: Request, error: HTTPException) -> Response:
        for begins, key in _SAID.items():
            if isinstance(error.detail, str) and error.detail.startswith(begins):
                return _refused(text(key), error.status_code)
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    return {
        "exception_handlers": {RequestValidationError: not_understood, HTTPException: refused},
        "middleware": [Middleware(Sentences, text=text)],
    }


class Sentences:
    """The ASGI layer around Gradio's routes that turns what they raise into one sentence."""

    def __init__(self, app: ASGIApp, text: Texts) -> None:
        self.app, self.text = app, text

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; answer it where nothing else can."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if "/custom_component/" in scope["path"]:
            # The page has none, and Gradio prints what it is asked for.
            await JSONResponse({"detail": "Not Found"}, 404)(scope, receive, send)
            return
        if _is_gone(scope):
            told = json.dumps({"error": self.text("mistake.gone")})
            response = Response(f"event: error\ndata: {told}\n\n", media_type="text/event-stream")
            await response(scope, receive, send)
            return
        started = ended = False

        async def noted(message: Message) -> None:
            nonlocal started, ended
            started = started or message["type"] == "http.response.start"
            ended = started and not message.get("more_body", "body" not in message)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            mistake = _is_mistake(error)
            if not mistake:
                log_fault(error)
            if not started:
                key, status = ("mistake.call", 400) if mistake else ("mistake.fault", 500)
                await _refused(self.text(key), status)(scope, receive, send)
            elif not ended:  # an answer that only ends would be told as an error in the log
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def _refused(sentence: str, status: int) -> JSONResponse:
    # Gradio's routes call it "detail", its events "error".
    return JSONResponse({"detail": sentence, "error": sentence}, status)


def _is_mistake(error: BaseException | None) -> bool:
    """Whether an exception, or the one that led to it, tells of a wrong request."""
    while error is not None:
        if isinstance(error, MISTAKES):
            return True
        error = error.__cause__
    return False


def _is_gone(scope: Scope) -> bool:
    """Whether an answer is asked for that was fetched already, or never was to be.

    Gradio lets such a caller wait for ever.
    """
    asked = _ANSWER.search(scope["path"]) if scope["method"] == "GET" else None
    if asked is None:
        return False
    # An event stands there from the moment it is asked for until its answer was fetched.
    pending = scope["app"].get_blocks()._queue.pending_event_ids_session
    return not any(asked[1] in events for events in pending.values())
