"""Folders that several machines prepared → one folder and its report.

    python scripts/merge_prepared.py --out prepared/all prepared/a prepared/b --expect 1-2000

Checks everything first: same settings and revision, every part whole, none twice with other
contents, none missing. Links shards where the disk allows it; resumes where it stopped.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.errors import run_command
from img2prompt.core.reports import write_data_report
from img2prompt.data.merge import merge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", help="prepared folders")
    parser.add_argument("--out", type=Path, required=True, help="folder for all shards")
    parser.add_argument("--expect", help="parts that have to be there, such as 1-2000")
    parser.add_argument("--move", action="store_true", help="delete the shards in the old folders")
    args = parser.parse_args()
    report = merge(args.folders, args.out, args.expect, args.move)
    write_data_report(report, args.out / "report.html")
    print(f"parts              {len(list(args.out.glob('part-*.parquet'))):>9,}")
    print(f"pictures           {report['pictures']:>9,}")
    print(f"distinct prompts   {report['prompts']:>9,}")
    print(f"report: {args.out / 'report.html'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
