"""Reports of offline scripts as self-contained HTML pages: text, tables, figures."""

import os
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment
from markupsafe import Markup

from img2prompt.core.files import atomic_path
from img2prompt.core.printable import one_line

INK, ACCENT, SECOND = "#1f2933", "#0b6e99", "#d1603d"  # told apart by colour-blind readers

_TEMPLATES = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_PAGE = _TEMPLATES.from_string("""\
<!doctype html><html lang='en'><meta charset='utf-8'>
<meta name='viewport' content='width=device-width'>
<title>{{ title }}</title>
<style>
body { font: 16px/1.5 system-ui; color: {{ ink }}; max-width: 70rem; margin: 2rem auto;
       padding: 0 1rem }
td, th { padding: .2rem .8rem; text-align: left }
td.n { text-align: right }
</style>
<h1>{{ title }}</h1>
{% for block in blocks %}
{{ block }}
{% endfor %}
</html>
""")
_TABLE = _TEMPLATES.from_string("""\
<table><thead><tr>{% for name in header %}<th>{{ name }}</th>{% endfor %}</tr></thead><tbody>
{% for row in rows %}
<tr>
{%- for value in row %}
{% if value is integer %}<td class='n'>{{ "{:,}".format(value) }}</td>
{%- else %}<td>{{ one_line(value | string) }}</td>{% endif %}
{% endfor -%}
</tr>
{% endfor %}
</tbody></table>
""")


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
        written = _PAGE.render(title=title, blocks=body, ink=INK)
        temporary.write_text(written, encoding="utf-8")


def heading(text: str) -> Markup:
    """A heading within the page."""
    return Markup("<h2>{}</h2>").format(text)


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Markup:
    """A table; whole numbers are right-aligned with thousands separators."""
    return Markup(_TABLE.render(header=header, rows=rows, one_line=one_line))
