"""HTML from the Jinja2 templates that lie beside the code which fills them."""

from collections.abc import Callable
from functools import cache
from typing import Protocol, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

_ENVIRONMENT = Environment(
    loader=PackageLoader("img2prompt", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


class Macros(Protocol):
    """A template's macros."""

    def __getattr__(self, name: str) -> Callable[..., Markup]: ...


@cache
def macros(name: str) -> Macros:
    """The macros of a template, to be called like functions.

    What a macro is given is escaped; what it returns is not escaped again when another macro gets
    it. A name that the template does not know is an error.

    Args:
        name: of the file without `.html.jinja`, from the package on: "ui/guess/answer".
    """
    return cast(Macros, _ENVIRONMENT.get_template(f"{name}.html.jinja").module)
