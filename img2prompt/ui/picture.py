"""Upload components that hand us the file unopened, and that never fetch an address.

Gradio's own reading opens a picture before we can say what is wrong with it, and would download
a file that a client names by its URL: a server must not be made to call others. Language models
(MCP) know an upload by its address on this server; that one is looked up on disk.
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio.data_classes import ListFiles
from gradio.route_utils import API_PREFIX
from gradio.utils import get_upload_folder
from gradio_client.utils import is_http_url_like
from pydantic import model_validator

from img2prompt.ui.texts import Texts


class _FileList(ListFiles):
    """Gradio's list of files; its MCP server sends the address of an upload as a mere text."""

    @model_validator(mode="before")
    @classmethod
    def wrap(cls, sent: Any) -> Any:
        if not isinstance(sent, list):
            return sent
        meta = {"_type": "gradio.FileData"}
        return [{"path": file, "meta": meta} if isinstance(file, str) else file for file in sent]


class Picture(gr.Image):
    """A picture to drop, paste or take: its value is the path of the file as it came, or None."""

    is_template = True  # the browser's side is gr.Image's

    def __init__(self, text: Texts, **kwargs: Any) -> None:
        self.text = text
        kwargs = {"sources": ["upload", "webcam", "clipboard"], "buttons": ["fullscreen"]} | kwargs
        super().__init__(type="filepath", image_mode=None, interactive=True, **kwargs)

    def preprocess(self, payload: Any) -> str | None:
        """The uploaded file's path, unopened."""
        if payload is None:
            return None
        if payload.path is None:
            raise gr.Error(self.text("page.no_file"), print_exception=False)
        return payload.path

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> Any:
        """Gradio's, but for addresses."""
        if is_http_url_like(str(url_or_file_path)):
            url_or_file_path = _upload(str(url_or_file_path), self.text)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

    def get_config(self, cls: Any = None) -> dict[str, Any]:
        """What the browser is told: gr.Image's settings."""
        return super().get_config(cls or gr.Image)


class Files(gr.File):
    """Files to drop: the value is a list of paths."""

    is_template = True

    def __init__(self, text: Texts, **kwargs: Any) -> None:
        self.text = text
        super().__init__(type="filepath", file_count="multiple", interactive=True, **kwargs)
        self.data_model = _FileList

    def preprocess(self, payload: Any) -> Any:
        """The paths of the uploaded files."""
        for file in payload or ():
            file.path = _upload(file.path, self.text)
        return super().preprocess(payload)

    def api_info(self) -> dict[str, Any]:
        """Gradio's, whole: its MCP server cannot follow the references of a list (6.31)."""
        schema = super().api_info()
        return _inlined(schema, schema.get("$defs", {}))

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> Any:
        """Gradio's, but for addresses."""
        if is_http_url_like(str(url_or_file_path)):
            url_or_file_path = _upload(str(url_or_file_path), self.text)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

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


def _upload(named: str, text: Texts) -> str:
    """The path of an upload that is named by its path or by its address on this server.

    The host of an address doesn't count: nobody is asked, and only uploads are read.
    """
    try:
        if is_http_url_like(named):
            named = unquote(urlsplit(named).path.partition(f"{API_PREFIX}/file=")[2])
        path = Path(named).resolve()
    except ValueError:  # an address that is none ("http://[::1/"), or a null byte in a name
        path = Path()
    if not path.is_relative_to(Path(get_upload_folder()).resolve()):
        raise gr.Error(text("page.no_url"), print_exception=False)
    return str(path)
