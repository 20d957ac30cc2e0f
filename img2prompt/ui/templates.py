"""HTML from the Jinja2 templates that lie beside the code which fills them."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("img2prompt", "ui"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@cache
def macros(name: str) -> Any:
    """The macros of a template, to be called like functions.

    What a macro is given is escaped; what it returns (`markupsafe.Markup`, a `str`) is not escaped
    again when another macro gets it. A name that the template does not know is an error.

    Args:
        name: of the file without `.html.jinja`, from this folder on: "guess/answer".
    """
    return _ENVIRONMENT.get_template(f"{name}.html.jinja").module
