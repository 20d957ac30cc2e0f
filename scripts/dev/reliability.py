"""How hard the project was tried: what pytest, mutmut and coverage.py found → reliability.json.

    python scripts/dev/reliability.py --tests                     # counts the tests
    python scripts/dev/reliability.py --sample 100                # mutants to try, by name
    python scripts/dev/reliability.py --mutation                  # the end of make mutation
    python scripts/dev/reliability.py --coverage coverage.json    # the end of make coverage

Each writes its part of docs/reliability.json, and so does `scripts/dev/fuzz.py --report`;
`scripts/dev/update_docs.py` then fills docs/reliability.md.
"""

import argparse
import fnmatch
import json
import random
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import provenance, read_json, write_json

ROOT = Path(__file__).resolve().parents[2]

KILLED = 0.80  # of the mutants of each module
COVERED = 92.0  # percent of the package's lines and branches
LOWEST = 12  # modules shown
UNSTARTED = 255  # mutmut's exit code for a mutant whose tests pytest could not run


@dataclass(frozen=True)
class Tried:
    """A family of things that go wrong.

    Attributes:
        name: for the table.
        files: patterns of test files.
        tests: a regular expression that a test's name holds; "" for all of these files.
        promise: what comes of it.
    """

    name: str
    files: tuple[str, ...]
    promise: str
    tests: str = ""


TRIED = (
    Tried(
        "pictures: damaged, huge, odd formats and modes",
        ("test_images*.py", "test_picture*.py", "test_exif*.py"),
        "a picture, with a notice where part of it is lost, or one sentence",
    ),
    Tried(
        "metadata: prompts in files, of many tools, crafted",
        (
            "test_file_*.py",
            "test_comfyui_*.py",
            "test_tool_prompts.py",
            "test_web_ui_prompts.py",
            "test_hidden_texts.py",
            "test_truth.py",
        ),
        "the true prompt, or the plain word that it cannot be read; never a guess for a fact",
    ),
    Tried(
        "archives: bombs, damaged, encrypted, names that climb",
        ("test_batch*.py", "test_captions.py", "test_browser_batch.py"),
        "a row for each picture, answer or reason; nothing is unpacked to disk",
    ),
    Tried(
        "prompts, words and sums as typed",
        ("test_text.py", "test_analogy.py", "test_score.py", "test_block_list.py"),
        "words, or one sentence, in time that grows with the length alone",
    ),
    Tried(
        "the API's JSON, files and addresses that calls name",
        (
            "test_app.py",
            "test_api_*.py",
            "test_faults.py",
            "test_mcp.py",
            "test_gate.py",
            "test_uploads.py",
        ),
        "a result or one sentence; only uploads of this server are files",
    ),
    Tried(
        "artifacts: models, embeddings, decoders, manifests",
        (
            "test_artifacts.py",
            "test_arrays.py",
            "test_json_files.py",
            "test_model_files.py",
            "test_predictor*.py",
            "test_decoder*.py",
            "test_vectors.py",
            "test_ship.py",
            "test_word_map.py",
        ),
        "loaded whole and of one kin, or refused in one sentence; nothing in them runs",
    ),
    Tried(
        "data folders: parts, metadata, prepared shards",
        (
            "test_diffusiondb.py",
            "test_metadata.py",
            "test_prepare.py",
            "test_cli_data.py",
            "test_shards.py",
            "test_filters.py",
            "test_prompts.py",
            "test_stream.py",
        ),
        "each row used or counted with its reason; no row passes a filter unseen",
    ),
    Tried(
        "the hub: cut, slow, lying or absent",
        (
            "test_hub_parts.py",
            "test_subsets.py",
            "test_random_picture.py",
            "test_publish.py",
            "test_transfers.py",
        ),
        "what comes is of one commit and of its checksum; breaks are resumed or told",
    ),
    Tried(
        "killed and resumed",
        ("test_*.py",),
        "no half file under a final name; the next run goes on and ends with the same result",
        tests=r"kill|resum|interrupt|stopped|goes_on|cut_off|breaks_off|sigterm|leftover",
    ),
    Tried(
        "disks that are full",
        ("test_*.py",),
        "one sentence that says which disk and how much; what was done stays",
        tests=r"full|disk|space",
    ),
    Tried(
        "many at once",
        ("test_*.py",),
        "everybody is answered or told to come back; nobody sees another's picture",
        tests=r"at_once|many|queue|two_runs|another_session|quota|waiting|share_of",
    ),
    Tried(
        "the browser: keyboard, contrast, small screens, plain http",
        ("test_browser_*.py",),
        "every control is reached, named and readable; no request leaves the page's own server",
    ),
    Tried(
        "supply chain and hosting",
        ("test_locks.py", "test_licences.py", "test_hosting.py", "test_hosted.py", "test_wheel.py"),
        "nothing is installed but the locked files; the container holds what it needs",
    ),
)


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
        report["tests"] = count_tests(ROOT)
        for row in report["tests"]:
            print(f"{row['tests']:6,}  {row['name']}")
    if args.sample:
        print("\n".join(sample_of(mutmut_results(), args.sample, args.seed)))
        return 0
    if args.mutation:
        fresh = {row["module"]: row for row in mutants_of(mutmut_results())}
        if not fresh:
            raise UserError("scripts.no_mutants")
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
                low += [row["module"]] * (share < KILLED)
    if args.coverage:
        measured = read_coverage(args.coverage)
        report["coverage"] = {**provenance(["make", "coverage"]), **measured}
        print(f"{measured['percent']} % of lines and branches")
        low += ["coverage"] * (measured["percent"] < COVERED)
    write_json(args.report, report)
    for name in low:
        print(f"below what docs/md promises: {name}", file=sys.stderr)
    return 1 if low else 0


def mutmut_results() -> str:
    """What mutmut knows of each mutant, a line each."""
    check_started(ROOT / "mutants" / "img2prompt")
    command = [sys.executable, "-m", "mutmut", "results", "--all", "true"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def count_tests(root: Path) -> list[dict[str, Any]]:
    """How many tests each family has, as pytest collects them.

    Raises:
        UserError: pytest could not collect.
    """
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise UserError("scripts.no_tests")
    tests = re.findall(r"^tests/(?:\w+/)*(test_\w+\.py)::(\S.*)$", done.stdout, re.MULTILINE)
    rows = [{"name": one.name, "tests": _count(one, tests)} for one in TRIED]
    return [*rows, {"name": "all tests", "tests": len(tests)}]


def _count(tried: Tried, tests: Iterable[tuple[str, str]]) -> int:
    return sum(
        any(fnmatch.fnmatch(file, pattern) for pattern in tried.files)
        and re.search(tried.tests, name.partition("[")[0], re.IGNORECASE) is not None
        for file, name in tests
    )


def mutants_of(printed: str) -> list[dict[str, Any]]:
    """What `mutmut results --all true` prints → a row a module: mutants and what became of them.

    Returns:
        `module`, `of` (all mutants), `mutants` (those that were tried) and `killed`, for each
        module of which any was tried.
    """
    rows = []
    for module, mutants in sorted(_by_module(printed).items()):
        states = Counter(mutants.values())
        tried = states.total() - states["not checked"]
        # A mutant that runs for ever is noticed as surely as one that fails a test.
        noticed = states["killed"] + states["timeout"]
        if tried:
            row = {"module": module, "of": states.total(), "mutants": tried, "killed": noticed}
            rows.append(row)
    return rows


def check_started(folder: Path) -> None:
    """That pytest ran for every mutant that was tried: mutmut calls it a timeout where it did not.

    Args:
        folder: where mutmut keeps its `.meta` files.

    Raises:
        UserError: it did not for some.
    """
    for path in sorted(folder.glob("*.meta")):
        failed = [k for k, code in read_json(path)["exit_code_by_key"].items() if code == UNSTARTED]
        if failed:
            raise UserError("scripts.mutants_not_run", count=len(failed), first=failed[0])


def sample_of(printed: str, number: int, seed: int = 0) -> list[str]:
    """The names of mutants to try of each module of which none was tried yet.

    Args:
        printed: what `mutmut results --all true` prints.
        number: how many of a module, at most.
        seed: draws them, each module's by itself.
    """
    chosen: list[str] = []
    for module, mutants in sorted(_by_module(printed).items()):
        if set(mutants.values()) == {"not checked"}:
            names = sorted(mutants)
            draw = random.Random(f"{seed} {module}")
            chosen += draw.sample(names, min(number, len(names)))
    return chosen


def _by_module(printed: str) -> dict[str, dict[str, str]]:
    """Module → mutant → what became of it."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for name, state in re.findall(r"^\s*(img2prompt\.\S+): (.+)$", printed, re.MULTILINE):
        module = re.split(r"\.(?:x_|xǁ)", name.removeprefix("img2prompt."))[0]
        found[module][name] = state.strip()
    return found


def coverage_of(report: dict[str, Any]) -> dict[str, Any]:
    """coverage.py's JSON → totals and the modules that have least."""
    totals = report["totals"]
    files = {
        name: part["summary"]["percent_covered"]
        for name, part in report["files"].items()
        if part["summary"]["num_statements"]
    }
    lowest = sorted(files.items(), key=lambda item: item[1])[:LOWEST]
    return {
        "percent": round(totals["percent_covered"], 1),
        "lines": [totals["covered_lines"], totals["num_statements"]],
        "branches": [totals["covered_branches"], totals["num_branches"]],
        "lowest": [[name, round(percent, 1)] for name, percent in lowest],
    }


def families_block(report: dict[str, Any]) -> str:
    """The table of families: tests and promise."""
    counts = {row["name"]: row["tests"] for row in report["tests"]}
    lines = ["| tried | tests | what is promised |", "|---|---:|---|"]
    lines += [f"| {one.name} | {counts[one.name]:,} | {one.promise} |" for one in TRIED]
    return "\n".join([*lines, "", f"All tests: {counts['all tests']:,}."])


def fuzzing_block(report: dict[str, Any]) -> str:
    """The table of a run of `scripts/dev/fuzz.py`."""
    told = report["fuzzing"]
    lines = [
        "| family | what is called | inputs | answers | sentences | findings |",
        "|---|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['family']} | {row['door']} | {row['inputs']:,} | {row['answers']:,} "
        f"| {row['sentences']:,} | {len(row['findings'])} |"
        for row in told["families"]
    ]
    return "\n".join([*lines, "", f"Printed by `{told['made_by']}`, {told['date']}."])


def mutation_block(report: dict[str, Any]) -> str:
    """The table of mutants."""
    told = report["mutation"]
    lines = ["| module | mutants | tried | killed | share |", "|---|---:|---:|---:|---:|"]
    lines += [
        f"| {row['module']} | {row['of']:,} "
        f"| {'all' if row['of'] == row['mutants'] else row['mutants']} "
        f"| {row['killed']:,} | {row['killed'] / row['mutants']:.1%} |"
        for row in told["modules"]
    ]
    return "\n".join([*lines, "", f"Printed by `{told['made_by']}`, {told['date']}."])


def coverage_block(report: dict[str, Any]) -> str:
    """The figures of coverage."""
    told = report.get("coverage")
    if told is None:
        return "Not measured yet."
    (lines, all_lines), (branches, all_branches) = told["lines"], told["branches"]
    return "\n".join(
        [
            f"**{told['percent']:.1f} %** of lines and branches: {lines:,} of {all_lines:,} lines "
            f"and {branches:,} of {all_branches:,} branches ({branches / all_branches:.1%}). "
            "The modules with least:",
            "",
            "| module | percent |",
            "|---|---:|",
            *(f"| `{name}` | {percent:.1f} |" for name, percent in told["lowest"]),
            "",
            f"Printed by `{told['made_by']}`, {told['date']}.",
        ]
    )


def read_coverage(path: Path) -> dict[str, Any]:
    """`coverage json`'s file, as `coverage_of` has it.

    Raises:
        UserError: not there, or no such file.
    """
    try:
        return coverage_of(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        raise UserError("scripts.no_coverage", path=path) from None


if __name__ == "__main__":
    sys.exit(run_command(main))
