"""Measured figures → the tables and drawings of the documents.

    python scripts/dev/update_docs.py

Reads docs/evaluation.json, docs/held-out-sources.json, docs/ablations.json, docs/reliability.json
and docs/history/*.csv, draws docs/figures/*.svg, and fills the blocks of README.md, MODEL_CARD.md
and docs/*.md: the lines between `<!-- evaluation -->` and `<!-- /evaluation -->`. So no number is
copied by hand, and a test sees a document that is out of date. Takes seconds.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ablate
import reliability
from figures import draw_all

from img2prompt.core.cli import run_command
from img2prompt.core.files import atomic_path, read_json
from img2prompt.evaluation import tables
from img2prompt.inference.artifacts import Assets

# What is measured → its file in docs/.
REPORTS = {
    "evaluation": "evaluation.json",
    "held-out-sources": "held-out-sources.json",
    "ablations": "ablations.json",
    "reliability": "reliability.json",
}
DOCUMENTS = (
    "README.md",
    "MODEL_CARD.md",
    "docs/results.md",
    "docs/why-the-original-failed.md",
    "docs/reliability.md",
)
_BLOCK = re.compile(r"(<!-- (?P<name>[a-z-]+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    root = parser.parse_args().root
    docs = root / "docs"
    reports = read_reports(docs)
    histories = {}
    for path in sorted((docs / "history").glob("*.csv")):
        with path.open() as file:
            histories[path.stem] = list(csv.DictReader(file))
    for path in draw_all(histories, reports, docs / "figures"):
        print(path.relative_to(root))
    for name in DOCUMENTS:
        with atomic_path(root / name) as temporary:
            text = fill((root / name).read_text(encoding="utf-8"), reports)
            temporary.write_text(text, encoding="utf-8")
        print(name)


def read_reports(docs: Path) -> dict[str, Any]:
    """The reports of `REPORTS` by name."""
    return {name: read_json(docs / file) for name, file in REPORTS.items()}


def fill(document: str, reports: dict[str, Any]) -> str:
    """The document with every block as the reports have it.

    Args:
        document: Markdown with marks.
        reports: `evaluation` and `held-out-sources` of `evaluate.py`, `ablations` of `ablate.py`,
            `reliability` of `fuzz.py` and `reliability.py`.

    Raises:
        KeyError: a mark of a name that `BLOCKS` lacks.
        ValueError: a mark that is not closed.
    """
    opened = re.findall(r"<!-- ([a-z-]+) -->", document)
    if sorted(opened) != sorted(match["name"] for match in _BLOCK.finditer(document)):
        raise ValueError(f"a block is not closed; the document opens {', '.join(opened)}")
    return _BLOCK.sub(lambda m: f"{m[1]}{BLOCKS[m['name']](reports).strip()}\n{m[3]}", document)


def systems_block(report: dict[str, Any]) -> str:
    """The table of systems and their ratios to the constant answer."""
    rows = report["systems"]
    return "\n".join(
        [tables.table(rows), "", "Against the constant answer:", "", *tables.ratios(rows)]
    )


def originals_block(report: dict[str, Any]) -> str:
    """The two original models beside the default one and the constant answer."""
    systems = {row["name"]: row for row in report["systems"]}
    default, *lessons = Assets().presets
    names = ("constant", *lessons, default)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for title, key, form in (
        ("cosine of a true word to the nearest predicted vector", "cosine_per_word", ".3f"),
        ("F1@10", "f1", ".3f"),
        ("… of which shuffling the pictures takes", "gain_share", ".0%"),
        ("words that the answers to two pictures share", "same_words", ".0%"),
        ("answers that ten words make up (hubs)", "hub_share", ".0%"),
        ("different words over the whole test split", "distinct_words", ",d"),
    ):
        cells = " | ".join(format(systems[name][key], form) for name in names)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def summary_block(evaluation: dict[str, Any], held_out: dict[str, Any]) -> str:
    """Five systems in four figures, for a reader in a hurry."""
    lines = [
        "| answer by | right of ten | F1@10 | F1@10 on held-out sources | two answers share |",
        "|---|---:|---:|---:|---:|",
    ]
    here, there = ({row["name"]: row for row in r["systems"]} for r in (evaluation, held_out))
    default, *lessons = Assets().presets
    for name, title in (
        (default, f"`{default}`, the default model"),
        ("knn", "the twenty most similar training pictures"),
        ("constant", "the ten commonest words, always"),
        *((name, f"`{name}`") for name in reversed(lessons)),
    ):
        row = here[name]
        far = f"{there[name]['f1']:.3f}" if name in there else "–"
        lines.append(
            f"| {title} | {10 * row['precision']:.1f} | {row['f1']:.3f} | {far} "
            f"| {row['same_words']:.0%} |"
        )
    return "\n".join(lines)


def ladder_block(report: dict[str, Any]) -> str:
    """The steps from the original's idea to what ships."""
    rows = [row for row in report["rows"] if row["section"] in ("baseline", "ladder")]
    return "\n".join([*ablate.HEADER, *map(ablate.table_row, rows)])


BLOCKS: dict[str, Callable[[dict[str, Any]], str]] = {
    "evaluation": lambda reports: systems_block(reports["evaluation"]),
    "summary": lambda reports: summary_block(reports["evaluation"], reports["held-out-sources"]),
    "held-out-sources": lambda reports: systems_block(reports["held-out-sources"]),
    "names": lambda reports: tables.names_table(reports["evaluation"]["systems"]),
    "originals": lambda reports: originals_block(reports["evaluation"]),
    "ladder": lambda reports: ladder_block(reports["ablations"]),
    "families": lambda reports: reliability.families_block(reports["reliability"]),
    "fuzzing": lambda reports: reliability.fuzzing_block(reports["reliability"]),
    "mutation": lambda reports: reliability.mutation_block(reports["reliability"]),
    "coverage": lambda reports: reliability.coverage_block(reports["reliability"]),
}


if __name__ == "__main__":
    sys.exit(run_command(main))
