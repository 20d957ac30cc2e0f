"""How fast preparation is beside pure decoding of the same bytes, and its memory.

    python scripts/dev/benchmark_preparation.py --data DIFFUSIONDB_FOLDER --parts 1 10 35
    python scripts/dev/benchmark_preparation.py --generate 4

Three passes over each number of parts: under five minutes for 46 parts of small pictures on two CPU
cores. Nothing else should run on the machine meanwhile; at few parts the start of the processes,
half a second, counts against preparation alone.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from preparation_benchmark import TARGET, check_options, make_parts, measure

from img2prompt.core.errors import UserError, run_command
from img2prompt.core.processes import usable_cores
from img2prompt.data import images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--data", type=Path, help="folder with images/part-*.zip")
    given.add_argument("--generate", type=int, metavar="N", help="N made parts of 512 pixels PNG")
    parser.add_argument("--parts", type=int, nargs="+", help="how many parts (1 10 35)")
    parser.add_argument("--size", type=int, default=images.SIZE, help="side in pixels")
    parser.add_argument("--workers", type=int, help="processes; unset, all cores")
    args = parser.parse_args()
    if args.generate is not None and args.generate < 1:
        raise UserError("Give --generate of at least 1.")
    check_options(args.size, args.workers)  # before parts are made
    with tempfile.TemporaryDirectory() as folder:
        data, counts = args.data, args.parts or [1, 10, 35]
        if args.generate:
            data, counts = Path(folder), args.parts or sorted({1, args.generate})
            make_parts(data, args.generate)
        print(f"{usable_cores()} usable CPU cores")
        print(
            f"{'parts':>6} {'pictures':>9} {'processes':>10} {'seconds':>8} {'pictures/s':>11}"
            f" {'pure decode/s':>14} {'ratio':>6} {'peak MB':>8}"
        )
        rows = []
        for count in counts:
            row = measure(data, count, args.size, args.workers)
            rows.append(row)
            peak = f"{row.peak_bytes / 2**20:.0f}" if row.peak_bytes else "–"
            print(
                f"{row.parts:>6,} {row.pictures:>9,} {row.processes:>10} {row.seconds:>8.1f}"
                f" {row.pictures / row.seconds:>11,.0f} {row.pictures / row.pure_seconds:>14,.0f}"
                f" {row.ratio:>6.2f} {peak:>8}",
                flush=True,
            )
    last = rows[-1]
    verdict = "met" if last.ratio >= TARGET else "missed"
    print(
        f"the target of {TARGET:.0%} of pure decoding is {verdict} at {last.parts} parts: "
        f"{last.ratio:.0%}"
    )


if __name__ == "__main__":
    sys.exit(run_command(main))
