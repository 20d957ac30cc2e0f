"""What pytest, mutmut and coverage.py found → docs/reliability.json.

    python scripts/dev/measure_reliability.py --tests                     # counts the tests
    python scripts/dev/measure_reliability.py --sample 100                # mutants to try, by name
    python scripts/dev/measure_reliability.py --mutation                  # the end of make mutation
    python scripts/dev/measure_reliability.py --coverage coverage.json    # the end of make coverage

`scripts/dev/fuzz.py --report` writes its part itself. `scripts/dev/update_docs.py` then fills the
page.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import reliability

from img2prompt.core.errors import UserError, run_command
from img2prompt.core.files import provenance, read_json, write_json

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tests", action="store_true", help="count the tests of each family")
    parser.add_argument("--sample", type=int, help="name so many mutants of each untried module")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--mutation", action="store_true", help="read mutmut's results")
    parser.add_argument("--coverage", type=Path, help="read the file that `coverage json` wrote")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "reliability.json")
    args = parser.parse_args()
    report: dict[str, Any] = read_json(args.report) if args.report.exists() else {}
    low = []
    if args.tests:
        report["tests"] = reliability.count_tests(ROOT)
        for row in report["tests"]:
            print(f"{row['tests']:6,}  {row['name']}")
    if args.sample:
        print("\n".join(reliability.sample_of(mutmut_results(), args.sample, args.seed)))
        return 0
    if args.mutation:
        fresh = {row["module"]: row for row in reliability.mutants_of(mutmut_results())}
        if not fresh:
            raise UserError("There are no results of mutmut; run make mutation.")
        known = {row["module"]: row for row in report.get("mutation", {}).get("modules", ())}
        rows = [row for _, row in sorted((known | fresh).items())]
        report["mutation"] = {**provenance(["make", "mutation"]), "modules": rows}
        for row in rows:
            share = row["killed"] / row["mutants"]
            print(
                f"{row['module']}: {row['killed']} of {row['mutants']} killed ({share:.1%}), "
                f"of {row['of']} in all"
            )
            if row["mutants"] == row["of"]:  # of a sample nothing is promised
                low += [row["module"]] * (share < reliability.KILLED)
    if args.coverage:
        measured = reliability.read_coverage(args.coverage)
        report["coverage"] = {**provenance(["make", "coverage"]), **measured}
        print(f"{measured['percent']} % of lines and branches")
        low += ["coverage"] * (measured["percent"] < reliability.COVERED)
    write_json(args.report, report)
    for name in low:
        print(f"below what docs/reliability.md promises: {name}", file=sys.stderr)
    return 1 if low else 0


def mutmut_results() -> str:
    """What mutmut knows of each mutant, a line each."""
    reliability.check_started(ROOT / "mutants" / "img2prompt")
    command = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


if __name__ == "__main__":
    sys.exit(run_command(main))
