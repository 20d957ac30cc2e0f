"""How unevenly words, artists, prompts and sources are spread, and what the remedies change.

The remedies are those of `sampling.py`: a cap on near-duplicate prompts, and weights in training.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2prompt.core.errors import UserError
from img2prompt.core.printable import one_line
from img2prompt.data import text
from img2prompt.data.artists import artists_of
from img2prompt.data.sampling import balanced_weights, cap_mask, incidence, sampling_weights
from img2prompt.data.shards import ShardIndex
from img2prompt.data.splits import near_duplicate_key

KINDS = ("words", "artists", "prompts", "sources")
TOP = 30  # items listed of each kind
SHOWN = 10  # of them in Markdown
TOPS = (1, 10, 100)  # the share of the most frequent so many
VIEW_HEADS = ["view", "pictures", "effective pictures"]


def concentration(counts: NDArray[np.number[Any]]) -> dict[str, float]:
    """How unevenly a total is spread over items.

    Args:
        counts: (m,) of the items, 0 or more; items of 0 are not there.

    Returns:
        `items`; `top_1`, `top_10`, `top_100`, shares of the total; `gini`, 0 for all alike to 1;
        `effective`, exp of the entropy in nats: so many items all alike are as uneven (Hill 1973).
    """
    counts = np.sort(counts[counts > 0])[::-1].astype(np.float64)
    n = len(counts)
    if not n:
        return {"items": 0, **{f"top_{top}": 0.0 for top in TOPS}, "gini": 0.0, "effective": 0.0}
    shares = counts / counts.sum()
    rank = np.arange(n, 0, -1)  # the smallest has 1
    return {
        "items": n,
        **{f"top_{top}": float(shares[:top].sum()) for top in TOPS},
        "gini": float(2 * (rank * shares).sum() / n - (n + 1) / n),
        "effective": float(np.exp(-(shares * np.log(shares)).sum())),
    }


def imbalance_report(
    pictures: ShardIndex,
    max_per_prompt: int = 1,
    power: float = 0.5,
    word_power: float = 0.5,
    chosen: NDArray[np.integer] | None = None,
) -> dict[str, Any]:
    """The data as it lies, capped, and as training draws it under each remedy.

    Args:
        pictures: the table.
        max_per_prompt: the cap to compare.
        power: of `sampling_weights`.
        word_power: of `balanced_weights`.
        chosen: int (m,), the positions to report on; unset, all of them.

    Returns:
        JSON-ready: `views`, each with `name`, `pictures` (how many can come), `effective` (1 / the
        sum of squared chances) and a `concentration` for each of `KINDS`; and `top`, for each
        kind, the items most frequent in the first view with their share of each view's pictures.

    Raises:
        UserError: no pictures, or as `cap_mask` and `balanced_weights`.
    """
    if chosen is None:
        chosen = np.arange(len(pictures))
    if not len(chosen):
        raise UserError("data.nothing_to_report")
    if max_per_prompt < 1:
        raise UserError("data.compared_cap")
    views = _views(pictures, chosen, max_per_prompt, power, word_power)
    texts = pictures.texts(chosen)
    named = {
        "words": [text.content_words(prompt) for prompt in texts.prompts],
        "artists": artists_of(texts.prompts),
        "prompts": [[str(near_duplicate_key(prompt))] for prompt in texts.prompts],
        "sources": [[group] for group in texts.groups],
    }
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "pictures": int((weights > 0).sum()),
            "effective": float(1 / (weights**2).sum()),
        }
        for name, weights in views.items()
    ]
    top = {}
    for kind, items in named.items():
        number: dict[str, int] = {}
        item, row = incidence(items, number)
        names = list(number)
        shares = [
            np.bincount(item, weights=weights[row], minlength=len(names))
            for weights in views.values()
        ]
        for told, share in zip(rows, shares, strict=True):
            told[kind] = concentration(share)
        if kind == "prompts":  # told by the first of the near-duplicates, not by their hash
            first = dict(zip(item[::-1].tolist(), row[::-1].tolist(), strict=True))
            names = [text.fold(texts.prompts[first[place]]) for place in range(len(names))]
        best = np.argsort(-shares[0], kind="stable")[:TOP].tolist()
        top[kind] = [
            {"item": names[place], "shares": [float(share[place]) for share in shares]}
            for place in best
        ]
    return {
        "pictures": len(chosen),
        "max_per_prompt": max_per_prompt,
        "source_power": power,
        "word_power": word_power,
        "with_artist": sum(map(bool, named["artists"])) / len(chosen),
        "views": rows,
        "top": top,
    }


def _views(
    pictures: ShardIndex,
    chosen: NDArray[np.integer],
    max_per_prompt: int,
    power: float,
    word_power: float,
) -> dict[str, NDArray[np.float64]]:
    """Name of a view → the chance of each chosen picture in it, float64 (m,)."""
    kept = cap_mask(pictures, max_per_prompt, chosen)
    capped = chosen[kept]

    def spread(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        whole = np.zeros(len(chosen))
        whole[kept] = weights
        return whole

    cap = f"at most {max_per_prompt} a prompt"
    return {
        "as it lies": np.full(len(chosen), 1 / len(chosen)),
        cap: spread(np.full(len(capped), 1 / len(capped))),
        "source weights": sampling_weights(pictures, power, chosen),
        f"{cap}, source weights": spread(sampling_weights(pictures, power, capped)),
        f"{cap}, source and word weights": spread(
            balanced_weights(pictures, power, word_power, capped)
        ),
    }


def markdown(report: dict[str, Any]) -> str:
    """The report's tables: a row a view for each kind, then the most frequent items."""
    lines = [_summary(report), "", *_markdown_table(VIEW_HEADS, _view_rows(report))]
    for kind in KINDS:
        lines += ["", f"## {kind.capitalize()}", ""]
        lines += _markdown_table(_heads(kind), _kind_rows(report, kind))
        rows = [
            [one_line(row["item"])[:60].replace("|", "/"), *_shares(row)]
            for row in report["top"][kind][:SHOWN]
        ]
        lines += ["", *_markdown_table(_item_heads(report), rows)]
    return "\n".join(lines) + "\n"


def write_html(report: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report as a page: the tables, and a figure for each kind."""
    # Here and not above: plotly takes its time.
    import plotly.graph_objects as go

    from img2prompt.core.html_report import heading, table, write_page

    blocks: list[Any] = [_summary(report), table(VIEW_HEADS, _view_rows(report))]
    for kind, top in report["top"].items():
        bars = [
            go.Bar(
                name=view["name"],
                x=[f"top {n}" for n in TOPS],
                y=[view[kind][f"top_{n}"] for n in TOPS],
            )
            for view in report["views"]
        ]
        figure = go.Figure(bars)
        figure.update_layout(
            title=f"The most frequent {kind}' share",
            yaxis={"tickformat": ".0%"},
            template="simple_white",
        )
        blocks += [heading(kind.capitalize()), table(_heads(kind), _kind_rows(report, kind))]
        rows = [[row["item"][:120], *_shares(row)] for row in top]
        blocks += [figure, table(_item_heads(report), rows)]
    write_page(path, "Imbalance", blocks)


def _summary(report: dict[str, Any]) -> str:
    return (
        f"{report['pictures']:,} pictures; {report['with_artist']:.0%} of their prompts name an "
        f"artist. Source weights of power {report['source_power']:g}, word weights of power "
        f"{report['word_power']:g}."
    )


def _view_rows(report: dict[str, Any]) -> list[list[Any]]:
    return [[view["name"], view["pictures"], round(view["effective"])] for view in report["views"]]


def _heads(kind: str) -> list[str]:
    return ["view", kind, "effective", *(f"top {n}" for n in TOPS), "Gini"]


def _kind_rows(report: dict[str, Any], kind: str) -> list[list[Any]]:
    return [
        [
            view["name"],
            view[kind]["items"],
            round(view[kind]["effective"]),
            *(f"{view[kind][f'top_{n}']:.1%}" for n in TOPS),
            f"{view[kind]['gini']:.2f}",
        ]
        for view in report["views"]
    ]


def _item_heads(report: dict[str, Any]) -> list[str]:
    return ["share of pictures", *(view["name"] for view in report["views"])]


def _shares(row: dict[str, Any]) -> list[str]:
    return [f"{share:.2%}" for share in row["shares"]]


def _markdown_table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    cells = [[f"{value:,}" if isinstance(value, int) else value for value in row] for row in rows]
    rule = "|---" + "|---:" * (len(heads) - 1) + "|"
    return [f"| {' | '.join(heads)} |", rule, *(f"| {' | '.join(row)} |" for row in cells)]
