"""The example pictures as small labelled buttons."""

import base64
import io
from functools import lru_cache
from pathlib import Path

from PIL import ImageOps

from img2prompt.core.html import macros
from img2prompt.data.images import open_image
from img2prompt.inference.examples import Example

_SIDE = 136  # twice the shown size, for dense screens

# Keeps the buttons' clicks apart: the event carries which one it was.
ON_LOAD = """
element.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-example]');
    if (button) trigger('click', { example: Number(button.dataset.example) });
});
"""


def examples_html(examples: list[Example], label: str) -> str:
    """Buttons with the pictures inside the page itself, so that the server shares no folder."""
    pictures = [(example, _thumbnail(example.path)) for example in examples]
    return macros("ui/guess/examples").examples(label, pictures, _SIDE // 2)


@lru_cache(64)  # the page of every language shows them
def _thumbnail(path: Path) -> str:
    small = ImageOps.fit(open_image(path), (_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
