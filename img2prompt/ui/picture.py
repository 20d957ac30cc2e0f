"""Upload components that hand us the file unopened, and that never fetch an address.

Gradio's own reading opens a picture before we can say what is wrong with it, and would download
a file that a client names by its URL: a server must not be made to call others.
"""

from typing import Any

import gradio as gr
from gradio_client.utils import is_http_url_like

from img2prompt.ui.texts import Texts


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
        _refuse_address(url_or_file_path, self.text)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

    def get_config(self, cls: Any = None) -> dict[str, Any]:
        """What the browser is told: gr.Image's settings."""
        return super().get_config(cls or gr.Image)


class Files(gr.File):
    """Files to drop: the value is a list of paths."""

    is_template = True

    def __init__(self, text: Texts, **kwargs: Any) -> None:
        self.text = text
        super().__init__(type="filepath", interactive=True, **kwargs)

    async def async_move_resource_to_block_cache(self, url_or_file_path: Any) -> Any:
        """Gradio's, but for addresses."""
        _refuse_address(url_or_file_path, self.text)
        return await super().async_move_resource_to_block_cache(url_or_file_path)

    def get_config(self, cls: Any = None) -> dict[str, Any]:
        """What the browser is told: gr.File's settings."""
        return super().get_config(cls or gr.File)


def _refuse_address(path: Any, text: Texts) -> None:
    if path is not None and is_http_url_like(str(path)):
        raise gr.Error(text("page.no_url"), print_exception=False)
