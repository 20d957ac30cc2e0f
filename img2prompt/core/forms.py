"""Schemas of this project's JSON files; `files.read_json` checks files against them.

Only keys that are read are described; a file of an older or a newer version may hold others.
Numbers are finite, and nothing is converted: "5" is not a number.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, RootModel

SHA256 = "^[0-9a-f]{64}$"
Number = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=2**62)]
# A preset's name becomes a file's: no separators, no drive, nothing hidden or unprintable.
Preset = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]

DEFAULT_PRESET = "gaze"  # where neither a person nor a manifest names one


class _Form(BaseModel):
    model_config = ConfigDict(strict=True)


class Made(_Form):
    """What made a file: `files.provenance`."""

    made_by: str | None = None
    commit: str | None = None
    date: str | None = None


class Entry(Made):
    """A file of a manifest."""

    sha256: Annotated[str, Field(pattern=SHA256)]
    size: Count
    figures: dict[str, Number | str | dict[str, Number] | None] = {}
    bound: Made = Made()


class Artifact(Made):
    """`NAME.report.json`, what made `NAME.npz` and how good it is: `ship.record`."""

    sha256: str = ""  # of the file; other bytes were made by something else
    figures: dict[str, Number | dict[str, Number]] = {}


class Manifest(_Form):
    """`manifest.json`; the names of its files are checked where they are used."""

    default: Preset = DEFAULT_PRESET
    data: str = ""
    files: dict[str, Entry]


class Run(_Form):
    """A training run's `config.json`."""

    preset: Preset
    embedding: str
    without: str = ""
    prior: Number = 0.0


class Prepared(_Form):
    """A prepared folder's `settings.json`: `shards.PrepareSettings`."""

    size: int = 0
    fit: str = ""
    max_image_nsfw: Number | None = None
    max_prompt_nsfw: Number | None = None
    keep_blurred: bool = False
    train_only: bool = False
    min_size: int = 0
    min_words: int = 0
    max_words: int | None = None
    languages: list[str] = []
    max_per_prompt: int = 0
    max_per_user: int = 0


class Settings(_Form):
    """The part of a run's `config.json` that every version has: the source it left out."""

    without: str = ""


class System(_Form):
    """One row of an evaluation."""

    name: str


class Evaluation(_Form):
    """What `evaluate.py` writes."""

    abroad: Any = None
    embedding: str
    split: str
    systems: list[System]


class Origin(_Form):
    """Where a prepared folder's parts came from."""

    revision: str | None = None
    repository: str | None = None


class Best(_Form):
    """The best epoch so far."""

    val_f1: float


class Index(_Form):
    """Which rows of the metadata belong to which part."""

    places: dict[str, Annotated[list[Count], Field(min_length=2, max_length=2)]]
    sources: list[str]


class ExampleText(_Form):
    """What is said of an example picture in one language."""

    title: str
    alt: str


class ExampleEntry(ExampleText):
    """One picture that ships with the page; `title` and `alt` are English."""

    file: str
    prompt: str = ""
    subject_words: list[str] = []  # what it shows, for `evaluation.subjects`
    translations: dict[str, ExampleText] = {}


Examples = RootModel[list[ExampleEntry]]
