"""The example pictures: read from the folder of artifacts, shown as small labelled buttons."""

import base64
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageOps

from img2prompt.core.errors import UserError
from img2prompt.core.files import is_plain, read_json
from img2prompt.core.forms import Examples
from img2prompt.core.html import macros
from img2prompt.data.images import open_image

FOLDER = "examples"
LIST = "examples.json"
_SIDE = 136  # twice the shown size, for dense screens

# Keeps the buttons' clicks apart: the event carries which one it was.
ON_LOAD = """
element.addEventListener('click', (event) => {
    const button = event.target.closest('button[data-example]');
    if (button) trigger('click', { example: Number(button.dataset.example) });
});
"""


@dataclass(frozen=True)
class Example:
    """One example picture.

    Attributes:
        path: its file.
        title: a few words, shown as a tooltip.
        alt: a description for those who cannot see it.
        prompt: the prompt it was made with, the game's true prompt; "" where it is not known.
    """

    path: Path
    title: str
    alt: str
    prompt: str = ""


def load_examples(assets: Path, language: str = "en") -> list[Example]:
    """The examples of a folder of artifacts; none where it has no list of them.

    Args:
        assets: the folder; its `examples/examples.json` lists the pictures.
        language: of titles and descriptions; English where there is no translation.

    Raises:
        UserError: a list that cannot be read, or that names a file outside the folder.
    """
    folder = assets / FOLDER
    if not (folder / LIST).is_file():
        return []
    examples = []
    for entry in read_json(folder / LIST, Examples):
        path = folder / entry["file"]
        if not is_plain(entry["file"]) or not path.is_file():
            raise UserError("ui.no_example", list=folder / LIST, file=entry["file"])
        told = entry.get("translations", {}).get(language, entry)
        examples.append(Example(path, told["title"], told["alt"], entry.get("prompt", "")))
    return examples


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
