"""DiffusionDB's prompts, from the hub or a folder → a parquet file for `train_embedding.py`.

    python scripts/fetch_prompts.py --subset 2m --out prompts.parquet
    python scripts/fetch_prompts.py --data FOLDER --out prompts.parquet

From the hub, only the asked columns of the table of all pictures travel. From a folder in
DiffusionDB's layout they are those of its metadata.parquet, or else of its parts, and of a
prompts.parquet in it.
"""

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.hub import MAIN, dataset_commit
from img2prompt.core.printable import one_line
from img2prompt.data.diffusiondb import REPOSITORY
from img2prompt.data.prompts import folder_prompts, hub_prompts, write_prompts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a folder with images/part-*.zip")
    parser.add_argument("--subset", help="of the hub: 2m, large, or a name like 2m_first_10k")
    parser.add_argument("--parts", help="of 2m or large, such as 1-100 or 1-10,50,90-95")
    parser.add_argument("--revision", help=f"branch or commit; unset, {MAIN}")
    parser.add_argument("--columns", nargs="+", help="of the hub's table; unset, prompt")
    parser.add_argument("--out", type=Path, required=True, help="the .parquet to write")
    args = parser.parse_args()
    if args.out.suffix != ".parquet" or args.out.is_dir():
        raise UserError("scripts.no_parquet_name", path=args.out)
    if (args.data is None) == (args.subset is None):
        raise UserError("scripts.prompts_from_where")
    if args.data is not None:
        if args.parts or args.revision or args.columns:
            raise UserError("scripts.needs_subset")
        tables, told = folder_prompts(args.data), str(args.data)
    else:
        commit = dataset_commit(REPOSITORY, args.revision or MAIN)
        columns = args.columns or ["prompt"]
        tables = hub_prompts(args.subset, args.parts, commit, columns)
        told = f"{REPOSITORY} at {commit}"
    with tqdm(unit="prompt", unit_scale=True) as bar:
        rows = write_prompts(tables, args.out, on_rows=bar.update)
    print(one_line(f"{rows:,} prompts of {told}: {args.out}"))


if __name__ == "__main__":
    sys.exit(run_command(main))
