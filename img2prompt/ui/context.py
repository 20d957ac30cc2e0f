"""What every tab is handed: the models, the texts, and what the tabs share."""

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import gradio as gr

from img2prompt.core.errors import UserError
from img2prompt.core.texts import Texts
from img2prompt.ui.map.traces import Names
from img2prompt.ui.service import ModelService
from img2prompt.ui.upload_boxes import Picture

if TYPE_CHECKING:
    from img2prompt.inference.examples import Example


# Says when a tab is looked at: however it was opened, by a click or by the page's address.
# The margin makes it a question of being laid out at all, not of having scrolled there.
WATCH = """
new IntersectionObserver((entries) => {
    trigger('change', { seen: entries.at(-1).isIntersecting });
}, { rootMargin: '100000px' }).observe(element);
"""


MAX_WORDS = 20
DEFAULT_WORDS = 10
QUIET: dict[str, Any] = {"show_progress": "hidden", "queue": False}


def html_part(elem_id: str | None, value: str = "", **options: Any) -> gr.HTML:
    """A piece of the page, in the page's own style."""
    return gr.HTML(value, apply_default_css=False, elem_id=elem_id, **options)


def looked_at_now(event: gr.EventData) -> bool:
    """What `WATCH` says: whether its tab is looked at."""
    return isinstance(event._data, dict) and event._data.get("seen") is True


@dataclass(frozen=True)
class Asked:
    """What the Guess tab asks a visitor for, which other tabs take as well.

    Attributes:
        picture: its value is a file's path or None.
        preset, count: the model and the number of words.
        truth: the true prompt, read from the file or typed; "" where nobody knows it.
    """

    picture: Picture
    preset: gr.Radio
    count: gr.Slider
    truth: gr.Textbox


@dataclass(frozen=True)
class Page:
    """One language's page while it is being built.

    Attributes:
        models: models, embedding, map, kinds.
        text: the texts in the page's language.
        published: whether this page's endpoints are in the API; one page's are.
        examples: the shipped pictures.
        links: (query name, component, parser) of the state that an address carries; see `linked`.
    """

    models: ModelService
    text: Texts
    published: bool
    examples: "list[Example]" = field(default_factory=list)
    links: list[tuple[str, Any, Any]] = field(default_factory=list)

    @property
    def language(self) -> str:
        """The code of the page's language."""
        return self.text.language

    def publish(self, endpoint: Callable[..., Any], inputs: Any, **options: Any) -> None:
        """Offer a function to programs under its name, if this page's endpoints are in the API."""
        if self.published:
            api = {"api_name": endpoint.__name__, "api_visibility": "public"}
            answered = gr.JSON(visible=False)
            gr.Button(visible=False).click(endpoint, inputs, answered, **api, **options)

    def private(self, name: str) -> dict[str, Any]:
        """Keyword arguments of an event that is the page's own business."""
        return {"api_name": f"{self.language}_{name}", "api_visibility": "private"}

    def preset_choices(self) -> list[tuple[str, str]]:
        """(name to read, preset) in the order that the texts tell of them, unknown ones last."""
        told = [key.split(".")[1] for key in self.text.names("preset.") if key.endswith(".name")]
        ordered = sorted(
            self.models.assets.presets,
            key=lambda p: (told.index(p) if p in told else len(told), p),
        )
        return [(self.preset_name(preset), preset) for preset in ordered]

    def preset_switch(self, elem_id: str, preset: str | None = None, **options: Any) -> gr.Radio:
        """A choice of the model; unset, the one that the page starts with."""
        options = {"label": self.text("guess.preset")} | options
        preset = preset or self.models.preset
        return gr.Radio(self.preset_choices(), value=preset, elem_id=elem_id, **options)

    def word_slider(self, elem_id: str) -> gr.Slider:
        """A choice of how many words an answer has."""
        label = self.text("guess.count")
        return gr.Slider(
            1, MAX_WORDS, value=DEFAULT_WORDS, step=1, label=label, buttons=[], elem_id=elem_id
        )

    def preset_name(self, preset: str) -> str:
        """The name on a model's switch; a model without one goes by its file's name."""
        return self.text.get(f"preset.{preset}.name", preset)

    def figure_names(self) -> Names:
        """What this page's language calls the parts of the maps."""
        comma = self.text("page.decimal_comma") == "yes"
        names = {key.split(".")[1]: self.text(key) for key in self.text.names("figure.")}
        return Names(**names, separators=",." if comma else ".,")

    def linked(self, name: str, component: Any, parse: Any = str) -> None:
        """Let the page's address carry a component's value.

        Args:
            name: in the query of the address.
            component: whose value it is.
            parse: query text → value; ValueError for one that is not allowed.
        """
        self.links.append((name, component, parse))

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Show a `UserError` as Gradio's toast, one sentence."""
        try:
            yield
        except UserError as error:
            raise shown(error, self.text) from None

    def check_picture(self, path: str | None) -> None:
        """Raise `UserError` where an uploaded picture is gone: uploads are deleted in time."""
        # Not Path.is_file: it raises where no file could have such a name.
        if path is not None and not os.path.isfile(path):  # noqa: PTH113
            raise UserError("page.gone")


def one_of(allowed: Collection[str]) -> Callable[[str], str]:
    """A parser for `Page.linked` that lets these values pass."""

    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(value)
        return value

    return parse


def shown(error: UserError, text: Texts) -> gr.Error:
    """A `UserError` as a toast; gradio shows it as HTML, and ours may quote a file's name."""
    return gr.Error(escape(error.told(text)), duration=15, print_exception=False)
