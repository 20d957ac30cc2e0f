"""The figures of `metrics.measure` as Markdown: tables, and the page that `evaluate.py` writes."""

from collections.abc import Sequence
from typing import Any

from img2prompt.core.printable import one_line

BASELINES = ("constant", "knn", "linear")
_OPTIONAL = ("specific_3", "specific_5", "generic", "subjects")
LONGEST_PROMPT = 120  # characters of an example; more are cut
COLUMNS = (
    ("precision", "P@10"),
    ("recall", "R@10"),
    ("f1", "F1@10"),
    ("f1_interval", "95 %"),
    ("f1_macro", "F1 macro"),
    ("gain", "image gain"),
    ("soft_recall", "soft recall"),
    ("cosine_per_word", "cosine/word"),
    ("minilm", "MiniLM"),
    ("distinct_words", "distinct"),
    ("same_words", "overlap"),
    ("hub_share", "hubness"),
    ("ece", "ECE"),
    ("specific_3", "P@3 specific"),
    ("specific_5", "P@5 specific"),
    ("generic", "generic"),
    ("subjects", "subject in 3"),
)
_LEGEND = (
    "Ten words a picture. `constant`, `knn` and `linear` learn from the training split without "
    "auxiliary pictures. *95 %* is the bootstrap interval of F1@10, resampling prompts. *F1 macro* "
    "is the mean over sources. *Image gain* is F1@10 minus the score of the same answers with the "
    "pictures shuffled. *Soft recall* is the mean over the true words of the best cosine to a "
    "predicted word, *cosine/word* that to a predicted vector (for the notebook's one vector: its "
    "loss without padding; with ten vectors each word takes its nearest). *MiniLM* is the cosine "
    "of the sentence embeddings of answer and prompt over a thousand pictures. *Distinct* is the "
    "number of different words over all answers, *overlap* the share of words that the answers to "
    "two random pictures have in common, *hubness* the share of all answers that the ten most "
    "frequent words make up. *ECE* is the expected calibration error of the confidence shown "
    "beside each word."
)
# Said only where these columns are there: the folder of artifacts may lack what they need.
_LEGENDS_APART = {
    "generic": (
        " *Generic* is the share of words that prompts of any picture use (`lexicon.npz`), *P@3 "
        "specific* and *P@5 specific* the precision of the first three and five others."
    ),
    "subjects": (
        " *Subject in 3* counts the example pictures with a word of what they show among the first "
        "three of their answer (`assets/examples/examples.json`); the baselines are not asked."
    ),
}

Rows = Sequence[dict[str, Any]]


def page(figures: dict[str, Any]) -> str:
    """What `systems.evaluate_systems` measured, as a Markdown page."""
    rows = figures["systems"]
    held_out = figures["abroad"]
    title = "# Evaluation on held-out sources" if held_out else "# Evaluation"
    where = (
        f"all pictures of {', '.join(held_out)}, sources that nothing here was trained on"
        if held_out
        else f"split `{figures['split']}`"
    )
    made_of = (
        f"`python scripts/evaluate.py`, {where}: {figures['pictures']:,} pictures of "
        f"{figures['prompts']:,} prompts, none of which occurs in training. {_LEGEND}"
    )
    shown = dict(_columns(rows))
    made_of += "".join(said for key, said in _LEGENDS_APART.items() if key in shown)
    lines = [title, "", made_of, "", table(rows), ""]
    if rows[0]["name"] == "constant":
        lines += ["Against the constant answer:", "", *ratios(rows), ""]
    lines += ["## F1@10 by source", "", source_table(rows, "f1"), ""]
    lines += ["## Image gain by source", "", source_table(rows, "gain"), ""]
    lines += _names(rows)
    for row in rows:
        lines += _calibration(row)
    for name, shown in figures["examples"].items():
        lines += [] if name in BASELINES else _examples(name, shown)
    return "\n".join(lines)


def table(rows: Rows) -> str:
    """The figures of several systems as a table."""
    columns = _columns(rows)
    return _table(
        ["system", *(title for _, title in columns)],
        ([row["name"], *(_cell(row.get(key)) for key, _ in columns)] for row in rows),
    )


def _columns(rows: Rows) -> list[tuple[str, str]]:
    """The columns of a table: the optional ones where a system has a figure for them."""
    return [
        (key, title)
        for key, title in COLUMNS
        if key not in _OPTIONAL or any(row.get(key) is not None for row in rows)
    ]


def ratios(rows: Rows) -> list[str]:
    """One line a system: how it stands against the constant answer, which must be among them."""
    constant = next(row for row in rows if row["name"] == "constant")
    lines = []
    for row in rows:
        if row is constant:
            continue
        line = (
            f"- {row['name']}: {row['f1'] / constant['f1']:.2f}× by picture, "
            f"{row['f1_macro'] / constant['f1_macro']:.2f}× by source (macro), "
            f"image gain {row['gain_share']:.0%} of the score"
        )
        if row["minilm"] is not None and constant["minilm"] is not None:
            line += f", MiniLM {row['minilm'] - constant['minilm']:+.3f}"
        lines.append(line)
    return lines


def names_table(rows: Rows) -> str:
    """`metrics.names_said` of several systems as a table."""
    return _table(
        ["system", "last word", "any word", "whole name"],
        (
            [row["name"], *(f"{row['names'][key]:.1%}" for key in ("last", "any", "all"))]
            for row in rows
        ),
    )


def source_table(rows: Rows, key: str = "f1") -> str:
    """One figure of several systems, a line a source group, as a table."""
    sources = sorted(rows[0]["sources"].items(), key=lambda item: -item[1]["pictures"])
    return _table(
        ["source", "pictures", *(row["name"] for row in rows)],
        (
            [source, str(first["pictures"]), *(_cell(row["sources"][source][key]) for row in rows)]
            for source, first in sources
        ),
    )


def _names(rows: Rows) -> list[str]:
    named = rows[0]["names"]["pictures"]
    if not named:
        return []
    about = (
        f"The prompts of {named:,} pictures name an artist, or look so (“by …”, “style of …”). "
        "The share of answers that hold the last word of the name, any word of it, and all of it:"
    )
    return ["## Artists' names", "", about, "", names_table(rows), ""]


def _calibration(row: dict[str, Any]) -> list[str]:
    if row["reliability"] is None:
        return []
    cells = (
        [
            f"{part['low']:.0%}–{part['high']:.0%}",
            f"{part['words']:,}",
            f"{part['confidence']:.1%}",
            f"{part['right']:.1%}",
        ]
        for part in row["reliability"]["bins"]
    )
    head = ["confidence", "words", "mean confidence", "really in the prompt"]
    return [f"## {row['name']}: what the confidence is worth", "", _table(head, cells), ""]


def _examples(name: str, shown: dict[str, Any]) -> list[str]:
    lines = [f"## {name}: best and worst", ""]
    for kind in ("best", "worst"):
        for row in shown[kind][:5]:
            prompt = row["prompt"]
            if len(prompt) >= LONGEST_PROMPT:
                prompt = prompt[: LONGEST_PROMPT - 1] + "…"
            prompt = one_line(prompt).replace("|", "/")
            lines.append(
                f"- {kind}, F1 {row['f1']:.2f}, {row['source']}: “{prompt}” → "
                f"{', '.join(row['answer'])}"
            )
    return [*lines, ""]


def _table(head: Sequence[str], rows: Any) -> str:
    """Texts on the left of the first column, numbers on the right of all others."""
    lines = [head, *rows]
    drawn = [f"| {' | '.join(cells)} |" for cells in lines]
    return "\n".join([drawn[0], "|---|" + "---:|" * (len(head) - 1), *drawn[1:]])


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return f"{value['named']} of {value['pictures']}"
    if isinstance(value, list):
        return "–".join(f"{part:.3f}" for part in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
