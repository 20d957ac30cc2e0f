"""True prompts from text files beside pictures: one caption a picture, or a table of many.

`NAME.txt`, `NAME.caption` and `NAME.json` hold the prompt of `NAME.png` in the same folder (LoRA
training's captions, the web UI's text files, downloads from AI Horde); so does `NAME.png.txt`. A
table holds the prompts of many: DiffusionDB's `part-000001.json`, `metadata.jsonl` and
`metadata.csv` (Hugging Face's image folders), a `captions.txt` of "a.png: a dog". They come from
anybody, so every size is bounded.
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from img2prompt.core.printable import encodable
from img2prompt.data.file_prompts.comfyui import read_graph
from img2prompt.data.file_prompts.records import MAX_PROMPT
from img2prompt.data.file_prompts.tools import read_table
from img2prompt.data.file_prompts.web_ui import looks_like, read_web_ui
from img2prompt.data.picture_files.kinds import sniff

MAX_TABLE = 4 * 2**20  # bytes of one file; DiffusionDB's thousand prompts have half of one
MAX_ALL = 16 * 2**20  # bytes of all files beside the pictures of a set
# Suffixes of text files.
TEXTS = (
    *(".txt", ".caption", ".json", ".jsonl", ".csv", ".tsv", ".md", ".yaml", ".yml", ".toml"),
    *(".xml", ".html", ".htm", ".log", ".ini", ".nfo", ".url"),
)
_BESIDE = (".txt", ".caption", ".json")  # in the order of their weight
_PROMPTS = ("prompt", "p", "caption", "text")
_FILES = ("file_name", "filename", "file", "image", "name")
# Of a line without white space around it. Every part is bounded: a million spaces are a line too.
_LISTED = re.compile(
    r"([^\t]{1,500}?\.(?:png|jpe?g|webp|gif|bmp|tiff?))\s{0,9}[\t,:|]\s{0,9}(\S.*)", re.I
)
_EASY = re.compile(r"Prompt: ([^\r\n]*)\r?\n(?:.*\n)?Seed: ", re.DOTALL)  # Easy Diffusion


def is_text(name: str) -> bool:
    """Whether a file is text by its name."""
    return name.lower().endswith(TEXTS)


class Captions:
    """The texts of a set, and which picture each is about.

    Pictures and texts of one group belong together: an archive, or files handed over as they are.

    Attributes:
        names: (group, name) of the texts that were seen.
        used: those of them that a picture's prompt came from.
    """

    def __init__(self) -> None:
        self.names: set[tuple[str, str]] = set()
        self.used: set[tuple[str, str]] = set()
        self._beside: dict[tuple[str, str], str] = {}
        self._tables: list[tuple[str, str, dict[str, str]]] = []  # group, name, contents
        self._room = MAX_ALL

    def takes(self, size: int) -> bool:
        """Whether a text of so many bytes may still be read."""
        return size <= min(MAX_TABLE, self._room)

    def add(self, group: str, name: str, data: bytes | None) -> bool:
        """Take a text; False where it is a picture under a text's name.

        Args:
            group: of the text.
            name: its path in the group.
            data: its bytes; None where they were not to be had.
        """
        # A caption may well begin with "BM", as a BMP does.
        if data is not None and sniff(data) not in (None, "BMP"):
            return False
        key = (group, _folded(name))
        self.names.add(key)
        if data is not None and self.takes(len(data)):
            self._room -= len(data)
            told = read_caption(name, data)
            if isinstance(told, str):
                self._beside[key] = told
            elif told:
                self._tables.append((*key, told))
        return True

    def find(self, group: str, picture: str) -> str | None:
        """The prompt of a picture by its path in the group; None where nothing tells it."""
        picture = _folded(picture)
        for start in (picture.rpartition(".")[0], picture):
            for suffix in _BESIDE:
                key = (group, start + suffix)
                if key in self._beside:
                    self.used.add(key)
                    return self._beside[key]
        for other, name, table in self._tables:
            folder = name.rpartition("/")[0]
            inside = picture.removeprefix(f"{folder}/") if folder else picture
            if other != group or (folder and inside == picture):
                continue
            for known in (inside, inside.rpartition("/")[2]):
                if known in table:
                    self.used.add((other, name))
                    return table[known]
        return None

    @property
    def unused(self) -> int:
        """How many texts are about no picture of the set, as far as pictures were asked for."""
        return len(self.names - self.used)


def read_caption(name: str, data: bytes) -> str | dict[str, str] | None:
    """The prompt in a text, or its table of folded picture name → prompt; None for neither."""
    text = decoded(data)
    if text is None:
        return None
    lower = name.lower()
    try:
        if lower.endswith(".json"):
            found = json.loads(text)
            return _prompt_of(found) or _of_tool(found, text) or _table(found)
        if lower.endswith(".jsonl"):
            return _rows(json.loads(line) for line in text.splitlines() if line.strip())
        if lower.endswith((".csv", ".tsv")):
            delimiter = "\t" if lower.endswith(".tsv") else ","
            return _rows(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
    except (ValueError, RecursionError, csv.Error):
        return None
    if lower.endswith((".txt", ".caption")):
        listed = [_LISTED.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
        if listed and all(listed):
            rows = ((found[1], _usable(found[2])) for found in listed if found)
            return {_folded(file): prompt for file, prompt in rows if prompt}
        return _usable(_of_web_ui(text))
    return None


def decoded(data: bytes) -> str | None:
    """A text of UTF-8, UTF-16 or, where it is neither, Latin-1; None for what is no text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = data.decode("utf-16", "replace")
    elif b"\0" in data:  # UTF-16 without its mark: zeros stand beside ASCII letters
        little = data[1::2].count(0) > data[::2].count(0)
        if 3 * data.count(0) < len(data):
            return None
        text = data.decode("utf-16-le" if little else "utf-16-be", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return None if "\0" in text else text


def _of_web_ui(text: str) -> str:
    """The prompt of a web UI's text file, which has negative prompt and settings below it."""
    if found := _EASY.match(text[:MAX_PROMPT]):
        return found[1]
    try:
        return read_web_ui(text).prompt if looks_like(text) else text
    except ValueError:  # too long to be a prompt
        return ""


def _of_tool(value: Any, text: str) -> str | None:
    """The prompt of what a tool wrote for one picture: its table of settings, ComfyUI's graph."""
    if not isinstance(value, dict):
        return None
    try:
        if isinstance(value.get("parameters"), str):
            return _usable(_of_web_ui(value["parameters"]))
        graph = any(isinstance(node, dict) and "class_type" in node for node in value.values())
        told = read_graph(text) if graph else read_table(value)
    except Exception:  # readers raise many types on hostile text
        return None
    return _usable(told.prompt) if told else None


def _prompt_of(value: Any) -> str | None:
    if not isinstance(value, dict):
        return None
    told = next((value[key] for key in _PROMPTS if isinstance(value.get(key), str)), "")
    return _usable(told.partition("###")[0])  # AI Horde puts the negative prompt behind it


def _table(value: Any) -> dict[str, str] | None:
    if isinstance(value, list):
        return _rows(value)
    if not isinstance(value, dict):
        return None
    pairs = (
        (name, _usable(v) if isinstance(v, str) else _prompt_of(v)) for name, v in value.items()
    )
    return {_folded(name): prompt for name, prompt in pairs if prompt}


def _rows(rows: Iterable[Any]) -> dict[str, str]:
    table = {}
    for row in rows:
        if prompt := _prompt_of(row):
            file = next((row[key] for key in _FILES if isinstance(row.get(key), str)), "")
            if file:
                table[_folded(file)] = prompt
    return table


def _usable(text: str) -> str | None:
    text = encodable(text).strip()
    return text if 0 < len(text) <= MAX_PROMPT else None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).removeprefix("./").casefold()
