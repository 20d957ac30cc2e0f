"""DiffusionDB's prompts from the hub → a parquet file for `train_embedding.py`.

    python scripts/fetch_prompts.py --subset 2m --out prompts.parquet

Of the table of all pictures only the asked columns travel.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from img2prompt import hub
from img2prompt.errors import UserError, run_command


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subset", required=True, help="2m, large, or a name like 2m_first_10k")
    parser.add_argument("--parts", help="of 2m or large, such as 1-100 or 1-10,50,90-95")
    parser.add_argument("--revision", default=hub.REVISION, help="branch or commit")
    parser.add_argument("--columns", nargs="+", default=["prompt"])
    parser.add_argument("--out", type=Path, required=True, help="the .parquet to write")
    args = parser.parse_args()
    if args.out.suffix != ".parquet" or args.out.is_dir():
        raise UserError(f"{args.out} is not the name of a .parquet file to write.")
    commit = hub.resolve(args.revision)
    tables = hub.hub_prompts(args.subset, args.parts, commit, args.columns)
    with tqdm(unit="prompt", unit_scale=True) as bar:
        rows = hub.write_prompts(tables, args.out, on_rows=bar.update)
    print(f"{rows:,} prompts of {hub.REPOSITORY} at {commit}: {args.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
