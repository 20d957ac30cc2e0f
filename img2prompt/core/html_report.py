"""Reports of offline scripts as self-contained HTML pages: text, tables, figures."""

import os
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from img2prompt.core.files import atomic_path
from img2prompt.core.html import macros
from img2prompt.core.printable import one_line

INK, ACCENT, SECOND = "#1f2933", "#0b6e99", "#d1603d"  # told apart by colour-blind readers

_HTML = macros("core/html_report")


def write_page(path: str | os.PathLike[str], title: str, blocks: Sequence[Any]) -> None:
    """Write one HTML page; plotly.js is inside, so it works offline.

    Args:
        path: the file.
        title: its title and heading.
        blocks: texts, which become paragraphs, `heading`s, `table`s, and plotly figures.
    """
    body: list[Markup] = []
    for block in blocks:
        if isinstance(block, go.Figure):
            scripted = any("plotly.js" in earlier for earlier in body)
            body.append(Markup(block.to_html(full_html=False, include_plotlyjs=not scripted)))
        else:
            body.append(block if isinstance(block, Markup) else Markup("<p>{}</p>").format(block))
    with atomic_path(path) as temporary:
        temporary.write_text(_HTML.page(title, body, INK), encoding="utf-8")


def heading(text: str) -> Markup:
    """A heading within the page."""
    return Markup("<h2>{}</h2>").format(text)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table; whole numbers are right-aligned with thousands separators."""
    return _HTML.table(header, rows, one_line)
