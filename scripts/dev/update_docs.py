"""What the offline scripts measured → the figures and tables of the documents.

    python scripts/dev/update_docs.py

Reads docs/evaluation.json, docs/abroad.json, docs/ablations.json, docs/reliability.json and
docs/history/*.csv, draws docs/figures/*.svg, and fills the blocks between marks in README.md,
MODEL_CARD.md and docs/*.md.
Seconds.
"""

import argparse
import csv
import sys
from pathlib import Path

from documents import fill
from figures import draw_all

from img2prompt.core.errors import run_command
from img2prompt.core.files import atomic_path, read_json

REPORTS = ("evaluation", "abroad", "ablations", "reliability")
DOCUMENTS = (
    "README.md",
    "MODEL_CARD.md",
    "docs/results.md",
    "docs/why-the-original-failed.md",
    "docs/reliability.md",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    root = parser.parse_args().root
    docs = root / "docs"
    reports = {name: read_json(docs / f"{name}.json") for name in REPORTS}
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


if __name__ == "__main__":
    sys.exit(run_command(main))
