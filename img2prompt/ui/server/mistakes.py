"""A visitor's mistake is one sentence in the page's language, and a fault of ours is one, too.

Whatever calls an event (the browser's queue, a program's HTTP, Gradio's client, a language model)
goes through `Blocks.process_api`. What Gradio would answer there by a traceback in the log and
`{"error": null}` is a sentence here. `Sentences` answers what fails before an event is found: an
endpoint that isn't there, a body that is no JSON, an answer that was fetched already.
`answer_models` says what a language model's own checks would say.
"""

import errno
import json
import re
from collections.abc import Mapping
from typing import Any

import gradio as gr
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from gradio.block_function import BlockFunction
from gradio.exceptions import ComponentProcessingError
from gradio.route_utils import API_PREFIX, FnIndexInferError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from img2prompt.core.errors import UserError
from img2prompt.core.files import DISK_FULL
from img2prompt.core.printable import encodable
from img2prompt.core.texts import Texts
from img2prompt.ui.context import shown
from img2prompt.ui.server.arguments import SHOWN_NAME, Arguments, data_of
from img2prompt.ui.server.faults import log_fault
from img2prompt.ui.server.uploads import VISITOR, Uploads

# Of the disk, and of what one process may have open.
FULL = {*DISK_FULL, errno.EMFILE, errno.ENFILE, errno.EIO}
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


class Blocks(gr.Blocks):
    """`gr.Blocks` that looks at every argument first and never logs what a visitor sent.

    Attributes:
        texts: the languages' texts; the first speaks for the public endpoints, and the events of
            another language's page begin with its code.
    """

    texts: dict[str, Texts]

    def text_of(self, event: BlockFunction | None) -> Texts:
        """The language that an event's page speaks."""
        code = (event.api_name or "").partition("_")[0] if event is not None else ""
        return self.texts.get(code) or next(iter(self.texts.values()))

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> Any:
        """Gradio's, on arguments that were understood.

        Raises:
            UserError: what is wrong with one of them.
        """
        arguments = Arguments(block_fn)
        inputs = arguments.read(inputs)
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            if not error.print_exception:
                raise
        except (ValueError, OSError) as error:
            cause = _cause(error)
            if isinstance(cause, UserError) or not isinstance(cause, ValueError | OSError):
                raise
            if getattr(cause, "errno", None) in FULL:
                raise
        # All else was read above: it is a file that was never uploaded here, or is gone.
        raise arguments.of_files(inputs) from None

    async def process_api(
        self,
        block_fn: BlockFunction | int,
        inputs: list[Any],
        state: Any = None,
        request: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Gradio's; whatever goes wrong is a `gr.Error` of one sentence, already logged."""
        event = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        text = self.text_of(event)
        if event.fn is None or isinstance(request, list):  # what the page never asks for
            raise shown(UserError(Arguments(event).generic), text)
        try:
            return await super().process_api(event, inputs, state, request, *args, **kwargs)
        except Exception as error:
            cause = _cause(error)
            if isinstance(cause, UserError):
                raise shown(cause, text) from None
            if isinstance(error, gr.Error) and not error.print_exception:
                raise
            log_fault(error)
        raise shown(UserError("mistake.fault"), text) from None


def answer_models(app: Blocks, uploads: Uploads) -> None:
    """Let the tools of language models tell a mistake as everybody else's calls do.

    The protocol's server checks the arguments against a schema, in words of its own, and takes
    no number that is written as text; here they are read first. Nothing to do where Gradio's
    extra is not installed.

    Args:
        app: the page, served.
        uploads: takes pictures that come as data; Gradio would write them past all limits.
    """
    tools = getattr(app, "mcp_server_obj", None)
    if tools is None:
        return
    from mcp import types

    handlers = tools.mcp_server.request_handlers
    answer = handlers[types.CallToolRequest]

    async def call(request: Any) -> Any:
        asked = tools.mcp_server.request_context.request
        client = asked.scope.get(VISITOR, "") if asked is not None else ""
        params, names = request.params, tools.tool_to_endpoint
        event = tools.get_block_fn_from_endpoint_name(names.get(params.name, ""))
        try:
            if event is None:
                name = encodable(params.name)[:SHOWN_NAME]
                raise UserError("mistake.tool", name=name, names=", ".join(names))
            required = tools.get_input_schema(params.name)[0].get("required", ())
            arguments = Arguments(event)
            read = arguments.read_named(params.arguments or {}, required)
            for name in arguments.pictures:
                if data := data_of(read.get(name) or ""):
                    read[name] = uploads.keep(data, client)
            params.arguments = read
        except UserError as error:
            told = shown(error, app.text_of(event)).message
            said = types.TextContent(type="text", text=told)
            return types.ServerResult(types.CallToolResult(content=[said], isError=True))
        return await answer(request)

    handlers[types.CallToolRequest] = call


def app_kwargs(text: Texts) -> dict[str, Any]:
    """What `launch(app_kwargs=…)` takes to the web server.

    Args:
        text: the language of the page's first address.
    """

    def not_understood(*_: Any) -> Response:
        return refusal(text("mistake.call"), 400)

    def refused(_: Any, error: HTTPException) -> Response:
        for begins, key in _SAID.items():
            if isinstance(error.detail, str) and error.detail.startswith(begins):
                return refusal(text(key), error.status_code)
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
                await refusal(self.text(key), status)(scope, receive, send)
            elif not ended:  # an answer that only ends would be told as an error in the log
                await send({"type": "http.response.body", "body": b"", "more_body": False})


def refusal(sentence: str, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that is only a sentence: Gradio's routes call it "detail", its events "error"."""
    return JSONResponse({"detail": sentence, "error": sentence}, status, headers)


def _cause(error: BaseException) -> BaseException | None:
    """The error itself; Gradio wraps what a component raises."""
    return error.__cause__ if isinstance(error, ComponentProcessingError) else error


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
