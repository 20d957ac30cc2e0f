"""Pages and figures of what the offline scripts measured: one self-contained HTML file each."""

import html
import os

import plotly.graph_objects as go

from img2prompt.core.files import atomic_path
from img2prompt.core.printable import one_line

INK, ACCENT, SECOND = "#1f2933", "#0b6e99", "#d1603d"  # told apart by colour-blind readers


def page(title: str, blocks: list[str | go.Figure]) -> str:
    """One HTML page with figures and text blocks; plotly.js is inside, so it works offline."""
    body, scripted = [], False
    for block in blocks:
        if isinstance(block, go.Figure):
            body.append(block.to_html(full_html=False, include_plotlyjs=not scripted))
            scripted = True
        else:
            body.append(block)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>body{{font:16px/1.5 system-ui;color:{INK};"
        "max-width:70rem;margin:2rem auto;padding:0 1rem}td,th{padding:.2rem .8rem;text-align:left}"
        "td.n{text-align:right}</style>"
        f"<h1>{html.escape(title)}</h1>{''.join(body)}</html>"
    )


def table(header: list[str], rows: list[list]) -> str:
    """An HTML table; numbers are right-aligned with thousands separators."""
    cells = []
    for row in rows:
        line = "".join(
            f"<td class='n'>{value:,}</td>"
            if isinstance(value, int)
            else f"<td>{html.escape(one_line(str(value)))}</td>"
            for value in row
        )
        cells.append(f"<tr>{line}</tr>")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(cells)}</tbody></table>"


def write_data_report(report: dict, path: str | os.PathLike) -> None:
    """The page of `dataset.build_report`: sources, word-frequency curve, repeated prompts."""
    curve = go.Figure(
        go.Scatter(
            x=[rank for rank, _ in report["word_frequency_curve"]],
            y=[count for _, count in report["word_frequency_curve"]],
            mode="lines",
            line_color=ACCENT,
        )
    )
    curve.update_layout(
        title="How often the words come, by rank",
        xaxis={"type": "log", "title": "rank"},
        yaxis={"type": "log", "title": "pictures"},
        template="simple_white",
    )
    top = report["words"][:40]
    words = go.Figure(
        go.Bar(
            x=[count for _, count in top][::-1],
            y=[word for word, _ in top][::-1],
            orientation="h",
            marker_color=ACCENT,
        )
    )
    words.update_layout(
        title="The 40 most frequent content words",
        xaxis_title="pictures",
        template="simple_white",
        height=850,
    )
    splits = report["splits"]
    summary = (
        f"<p>{report['pictures']:,} pictures, {report['prompts']:,} distinct prompts; "
        f"train {splits['train']:,}, validation {splits['validation']:,}, "
        f"test {splits['test']:,}. Skipped: "
        f"{', '.join(f'{html.escape(k)} {v:,}' for k, v in report['skipped'].items()) or 'none'}."
        "</p>"
    )
    sources = table(
        ["source", "pictures", "prompts", "train", "validation", "test"],
        [
            [name, *(row[key] for key in ("pictures", "prompts", "train", "validation", "test"))]
            for name, row in sorted(report["sources"].items(), key=lambda i: -i[1]["pictures"])
        ],
    )
    repeated = table(
        ["pictures", "prompt"],
        [[count, prompt[:200]] for prompt, count in report["most_repeated_prompts"]],
    )
    blocks = [summary, "<h2>Sources</h2>", sources, curve, words]
    blocks += ["<h2>The most repeated prompts</h2>", repeated]
    with atomic_path(path) as temporary:
        temporary.write_text(page("Prepared data", blocks), encoding="utf-8")


def write_imbalance_report(report: dict, path: str | os.PathLike) -> None:
    """The page of `imbalance.imbalance_report`: concentration by view, the most frequent items."""
    views = [view["name"] for view in report["views"]]
    blocks: list[str | go.Figure] = [
        f"<p>{report['pictures']:,} pictures; {report['with_artist']:.0%} of their prompts name "
        f"an artist. Source weights of power {report['source_power']:g}, word weights of power "
        f"{report['word_power']:g}.</p>",
        table(
            ["view", "pictures", "effective pictures"],
            [
                [view["name"], view["pictures"], round(view["effective"])]
                for view in report["views"]
            ],
        ),
    ]
    for kind, top in report["top"].items():
        figure = go.Figure(
            [
                go.Bar(
                    name=view["name"],
                    x=["top 1", "top 10", "top 100"],
                    y=[view[kind][f"top_{n}"] for n in (1, 10, 100)],
                )
                for view in report["views"]
            ]
        )
        figure.update_layout(
            title=f"The most frequent {kind}' share",
            yaxis={"tickformat": ".0%"},
            template="simple_white",
        )
        numbers = [
            [
                view["name"],
                view[kind]["items"],
                round(view[kind]["effective"]),
                *(f"{view[kind][f'top_{n}']:.1%}" for n in (1, 10, 100)),
                f"{view[kind]['gini']:.2f}",
            ]
            for view in report["views"]
        ]
        heads = ["view", kind, "effective", "top 1", "top 10", "top 100", "Gini"]
        shares = [[row["item"][:120], *(f"{share:.2%}" for share in row["shares"])] for row in top]
        blocks += [f"<h2>{kind.capitalize()}</h2>", table(heads, numbers), figure]
        blocks.append(table(["share of pictures", *views], shares))
    with atomic_path(path) as temporary:
        temporary.write_text(page("Imbalance", blocks), encoding="utf-8")
