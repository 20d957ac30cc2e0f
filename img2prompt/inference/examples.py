"""The example pictures of a folder of artifacts: what they show, and what is said of them."""

from dataclasses import dataclass
from pathlib import Path

from img2prompt.core.errors import UserError
from img2prompt.core.files import is_plain, read_json
from img2prompt.core.forms import Examples

FOLDER = "examples"
LIST = "examples.json"


@dataclass(frozen=True)
class Example:
    """One example picture.

    Attributes:
        path: its file.
        title: a few words, shown as a tooltip.
        alt: a description for those who cannot see it.
        prompt: the prompt it was made with, the game's true prompt; "" where it is not known.
        subject_words: words that name what it shows, whether the prompt has them or not.
    """

    path: Path
    title: str
    alt: str
    prompt: str = ""
    subject_words: tuple[str, ...] = ()


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
            raise UserError("inference.no_example", list=folder / LIST, file=entry["file"])
        told = entry.get("translations", {}).get(language, entry)
        subject = tuple(entry.get("subject_words", ()))
        examples.append(Example(path, told["title"], told["alt"], entry.get("prompt", ""), subject))
    return examples
