"""Hostile inputs at every door that takes what strangers send, for a fixed time.

    python scripts/dev/fuzz.py --seconds 60                    # each family; or: make fuzz
    python scripts/dev/fuzz.py --seconds 600 --family pictures --seed 7
    python scripts/dev/fuzz.py --seconds 60 --report docs/reliability.json

Prints a line a family: inputs, answers, sentences, findings. A finding (anything but an answer or
one sentence) is written to `tests/fuzz/FAMILY/`, cut down to a small one;
`tests/scripts/test_fuzz.py` replays it from then on. Exit code 1 where there are findings. Needs
requirements-dev.txt.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

# In tests/, which mypy does not read.
from fuzz_api import FAMILY as API  # type: ignore[import-not-found]  # noqa: E402
from fuzz_families import FAMILIES  # type: ignore[import-not-found]  # noqa: E402
from fuzz_kit import KEPT, run  # type: ignore[import-not-found]  # noqa: E402

from img2prompt.core.cli import run_command  # noqa: E402
from img2prompt.core.files import provenance, read_json, write_json  # noqa: E402

ALL = FAMILIES | {API.name: API}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each family (default 60)")
    parser.add_argument("--family", choices=ALL, nargs="*", default=list(ALL))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=KEPT, help="where findings go")
    parser.add_argument("--report", type=Path, help="a JSON file whose key `fuzzing` is set")
    args = parser.parse_args()
    results = []
    for name in args.family:
        result = run(ALL[name], args.seconds, args.seed, args.keep)
        results.append(result)
        print(
            f"{name}: {result.inputs:,} inputs in {result.seconds:.0f} s, {result.answers:,} "
            f"answers, {result.sentences:,} sentences, {len(result.findings)} findings",
            flush=True,
        )
        for place, told in result.findings.items():
            print(f"  {place}: {told}")
    if args.report:
        command = ["python", "scripts/dev/fuzz.py", *sys.argv[1:]]
        rows = [result.to_dict() for result in results]
        report = read_json(args.report) if args.report.exists() else {}
        write_json(args.report, report | {"fuzzing": {**provenance(command), "families": rows}})
    return 1 if any(result.findings for result in results) else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
