"""Upload components that hand us the file unopened, and that never fetch an address.

Gradio's own reading opens a picture before we can say what is wrong with it, and would download
a file that a client names by its URL: a server must not be made to call others. Language models
(MCP) know an upload by its address on this server; that one is looked up on disk.
"""

from typing import Any

import gradio as gr
from gradio.data_classes import FileData, ListFiles
from pydantic import model_validator

from img2prompt.core.errors import UserError
from img2prompt.ui.server.uploads import is_private_file, local_path

_META = {"_type": "gradio.FileData"}


class _FileList(ListFiles):
    """Gradio's list of files; its MCP server sends the address of an upload as a mere text."""

    @model_validator(mode="before")
    @classmethod
    def wrap(cls, sent: Any) -> Any:
        if not isinstance(sent, list):
            return sent
        # What is no file at all gets an empty path, which `preprocess` refuses in a sentence.
        paths = [file.get("path") if isinstance(file, dict) else file for file in sent]
        return [
            file
            if isinstance(file, dict | FileData) and path
            else {"path": path if isinstance(path, str) else "", "meta": _META}
            for file, path in zip(sent, paths, strict=True)
        ]


class Picture(gr.Image):
    """A picture to drop, paste or take: its value is the path of the file as it came, or None."""

    is_template = True  # the browser's side is gr.Image's

    def __init__(self, **kwargs: Any) -> None:
        kwargs = {"sources": ["upload", "webcam", "clipboard"], "buttons": ["fullscreen"]} | kwargs
        super().__init__(type="filepath", image_mode=None, interactive=True, **kwargs)

    def preprocess(self, payload: Any) -> str | None:
        """The uploaded file's path, unopened."""
        return None if payload is None else _upload(payload.path or "")

    def postprocess(self, value: Any) -> Any:
        """An upload's path for the browser: Gradio would publish any file of the machine."""
        return super().postprocess(None if value is None else _upload(value))

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> Any:
        """Gradio's, which copies and downloads; uploads lie where they are."""
        return _upload(str(url_or_file_path))

    def get_config(self, cls: Any = None) -> dict[str, Any]:
        """What the browser is told: gr.Image's settings."""
        return super().get_config(cls or gr.Image)


class Files(gr.File):
    """Files to drop: the value is a list of paths."""

    is_template = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(type="filepath", file_count="multiple", interactive=True, **kwargs)
        self.data_model = _FileList

    def preprocess(self, payload: Any) -> Any:
        """The paths of the uploaded files."""
        for file in payload or ():
            file.path = _upload(file.path)
        return super().preprocess(payload)

    def api_info(self) -> dict[str, Any]:
        """Gradio's, whole: its MCP server cannot follow the references of a list (6.31)."""
        schema = super().api_info()
        return _inlined(schema, schema.get("$defs", {}))

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> Any:
        """Gradio's, which copies and downloads; uploads lie where they are."""
        return _upload(str(url_or_file_path))

    def get_config(self, cls: Any = None) -> dict[str, Any]:
        """What the browser is told: gr.File's settings."""
        return super().get_config(cls or gr.File)


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items() if key != "$defs"}


def _upload(named: str) -> str:
    """The path of a file in the private folder, named by its path or its address on this server.

    The gate knows which of them are uploads, and whose; this is what holds without it.

    Raises:
        UserError: any other file or address.
    """
    path = local_path(named)
    if path is None or not is_private_file(path):
        raise UserError("page.no_url")
    return path
