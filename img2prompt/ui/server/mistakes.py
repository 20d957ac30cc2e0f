"""A visitor's mistake is one sentence in the page's language, and a fault of ours is one, too.

Whatever calls an event (the browser's queue, a program's HTTP, Gradio's client, a language model)
goes through `Blocks.process_api`. What Gradio would tell there by a traceback in the log and
`{"error": null}` is a sentence here. What fails before an event is found is told by
`http_mistakes`, and what a language model's own checks would say by `answer_models`.
"""

import base64
import binascii
import errno
import re
from html import escape
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.exceptions import ComponentProcessingError

from img2prompt.core.errors import UserError
from img2prompt.core.files import DISK_FULL
from img2prompt.core.printable import encodable
from img2prompt.core.texts import Texts
from img2prompt.ui.server.arguments import Misunderstood, understood
from img2prompt.ui.server.faults import log_fault
from img2prompt.ui.server.uploads import VISITOR, FullError, Uploads

# Of the disk, and of what one process may have open.
FULL = {*DISK_FULL, errno.EMFILE, errno.ENFILE, errno.EIO}
SHOWN_NAME = 40  # characters of a name that somebody made up
_DATA = re.compile(r"data:[\w.+/-]*;base64,")


class Blocks(gr.Blocks):
    """`gr.Blocks` that looks at every argument first and never logs what a visitor sent.

    Attributes:
        texts: the languages' texts; the first speaks for the public endpoints, and the events of
            another language's page begin with its code.
    """

    texts: dict[str, Texts]

    def text_of(self, block_fn: BlockFunction | None) -> Texts:
        """The language that an event's page speaks."""
        first = next(iter(self.texts.values()))
        code = (block_fn.api_name or "").partition("_")[0] if block_fn is not None else ""
        return self.texts.get(code, first)

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> list[Any]:
        """Gradio's, on arguments that were understood."""
        text = self.text_of(block_fn)
        inputs = read_arguments(block_fn, inputs, text)
        try:
            return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
        except gr.Error as error:
            if not error.print_exception:
                raise
        except (ValueError, OSError) as error:
            # Gradio wraps what a component raises.
            cause = error.__cause__ if isinstance(error, ComponentProcessingError) else error
            if isinstance(cause, UserError):
                raise _said(escape(cause.told(text))) from None
            if not isinstance(cause, ValueError | OSError) or _is_full(cause):
                raise
        # All else was read above: it is a file that was never uploaded here, or is gone.
        raise _said(text(_of_files(block_fn, inputs))) from None

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
        if event.fn is None or isinstance(request, list):
            raise _said(text(_generic(event)))  # what the page never asks for
        try:
            return await super().process_api(event, inputs, state, request, *args, **kwargs)
        except UserError as error:
            raise _said(escape(error.told(text))) from None
        except gr.Error as error:
            if not error.print_exception:
                raise
            log_fault(error)
        except Exception as error:
            log_fault(error)
        raise _said(text("mistake.fault")) from None


def read_arguments(block_fn: BlockFunction, inputs: list[Any], text: Texts) -> list[Any]:
    """An event's arguments, each as its component takes it.

    Raises:
        gr.Error: with the sentence that says which one is wrong.
    """
    names = _names(block_fn)
    if len(inputs) != len(block_fn.inputs):
        if not _public(block_fn):
            raise _said(text("mistake.page"))
        raise _said(text("mistake.count", names=", ".join(names), given=len(inputs)))
    return [
        _read(block_fn, block, value, name, text)
        for block, value, name in zip(block_fn.inputs, inputs, names, strict=True)
    ]


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
        try:
            read = _tool_arguments(app, tools, request.params)
            event = tools.get_block_fn_from_endpoint_name(
                tools.tool_to_endpoint[request.params.name]
            )
            request.params.arguments = _kept(event, read, uploads, client, app.text_of(event))
        except gr.Error as error:
            said = types.TextContent(type="text", text=error.message)
            return types.ServerResult(types.CallToolResult(content=[said], isError=True))
        return await answer(request)

    handlers[types.CallToolRequest] = call


def _tool_arguments(app: Blocks, tools: Any, params: Any) -> dict[str, Any]:
    """What a tool is called with, read; `tools` is Gradio's server of tools."""
    names = tools.tool_to_endpoint
    event = tools.get_block_fn_from_endpoint_name(names.get(params.name, ""))
    text = app.text_of(event)
    if event is None:
        shown = escape(encodable(params.name)[:SHOWN_NAME])
        raise _said(text("mistake.tool", name=shown, names=", ".join(names)))
    read = _named(event, params.arguments or {}, text)
    for name in tools.get_input_schema(params.name)[0].get("required", ()):
        if name not in read:
            raise _said(text("mistake.missing", name=name))
    return read


def _named(block_fn: BlockFunction, sent: dict[str, Any], text: Texts) -> dict[str, Any]:
    """A tool's arguments; files are addresses there, and what has a default may be missing."""
    names = _names(block_fn)
    for name in sent:
        if name not in names:
            shown = escape(encodable(name)[:SHOWN_NAME])
            raise _said(text("mistake.name", name=shown, names=", ".join(names)))
    read = {}
    for block, name in zip(block_fn.inputs, names, strict=True):
        value = sent.get(name)
        if isinstance(block, gr.Image | gr.File):
            if value is not None:
                read[name] = _addresses(block, value, name, text)
        elif name in sent:
            read[name] = _read(block_fn, block, value, name, text)
    return read


def _kept(
    block_fn: BlockFunction, read: dict[str, Any], uploads: Uploads, client: str, text: Texts
) -> dict[str, Any]:
    """A tool's arguments, pictures that came as data among the uploads of who sent them."""
    kept = dict(read)
    for block, name in zip(block_fn.inputs, _names(block_fn), strict=True):
        value = read.get(name)
        if isinstance(block, gr.Image) and isinstance(value, str) and value.startswith("data:"):
            try:
                kept[name] = uploads.keep(_data(value) or b"", client)
            except FullError:
                raise _said(text("gate.full")) from None
    return kept


def _addresses(block: Any, value: Any, name: str, text: Texts) -> Any:
    """A file's address, or a list of them, if they look like one."""
    many = isinstance(block, gr.File)
    for address in value if many and isinstance(value, list) else [value]:
        right = isinstance(address, str) and not (many and not isinstance(value, list))
        if right and address.startswith("data:") and not many:
            right = bool(_data(address))
        elif right:
            right = address.startswith(("http://", "https://"))
        if not right:
            raise _said(text("mistake.addresses" if many else "mistake.address", name=name))
    return value


def _data(address: str) -> bytes | None:
    head = _DATA.match(address)
    try:
        return base64.b64decode(address[head.end() :], validate=True) if head is not None else None
    except (ValueError, binascii.Error):
        return None


def _read(block_fn: BlockFunction, block: Any, value: Any, name: str, text: Texts) -> Any:
    if value is None and not _public(block_fn) and isinstance(block, gr.Slider):
        return block.value  # the box was emptied, mostly to write another number
    try:
        return understood(block, value)
    except Misunderstood as wrong:
        if wrong.key == "call":
            raise _said(text(_generic(block_fn))) from None
        raise _said(text(f"mistake.{wrong.key}", name=name, **wrong.values)) from None


def _names(block_fn: BlockFunction) -> list[str]:
    """What a caller knows the inputs by: a program its parameters, a person the labels."""
    labels = [str(getattr(block, "label", None) or "") for block in block_fn.inputs]
    if not _public(block_fn):
        return labels
    return [
        parameter or label
        for parameter, label in zip(block_fn.input_parameter_names, labels, strict=True)
    ]


def _public(block_fn: BlockFunction) -> bool:
    return block_fn.api_visibility == "public"


def _generic(block_fn: BlockFunction) -> str:
    return "mistake.call" if _public(block_fn) else "mistake.page"


def _of_files(block_fn: BlockFunction, inputs: list[Any]) -> str:
    """The sentence for what only Gradio found wrong; it is about a file where there is one."""
    pairs = zip(block_fn.inputs, inputs, strict=False)
    if any(isinstance(block, gr.Image | gr.File) and value for block, value in pairs):
        return "mistake.upload"
    return _generic(block_fn)


def _is_full(error: BaseException) -> bool:
    return getattr(error, "errno", None) in FULL


def _said(sentence: str) -> gr.Error:
    return gr.Error(sentence, duration=15, print_exception=False)
