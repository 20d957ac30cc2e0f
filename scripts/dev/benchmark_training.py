"""How fast streamed training reads and trains, what memory it takes, and a plan for millions.

    python scripts/dev/benchmark_training.py --data prepared/main --embedding assets/embedding.npz
    python scripts/dev/benchmark_training.py --generate 35 --embedding assets/embedding.npz

For each preset and each number of shards the input pipeline runs alone, in a process of its own;
on the most shards the training steps run alone too, on a batch in memory. `--generate` makes shards
of noise in a temporary folder (1.7 GB for 35 at 128 pixels). Wall time on two CPU cores: about
3 minutes. Figures are for an otherwise idle machine.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from img2prompt.core.errors import UserError, run_command


def main() -> None:
    import training_benchmark

    from img2prompt.embedding.vectors import WordVectors

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a prepared folder")
    parser.add_argument("--generate", type=int, metavar="N", help="so many shards of noise instead")
    parser.add_argument("--size", type=int, default=128, help="pixels of generated pictures")
    parser.add_argument("--embedding", type=Path, required=True, help="class words lie beside it")
    parser.add_argument("--presets", nargs="+", default=["original", "notebook", "gaze"])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 10, 35])
    parser.add_argument(
        "--seconds", type=float, default=training_benchmark.SECONDS, help="a measurement"
    )
    args = parser.parse_args()
    if (args.data is None) == (args.generate is None):
        raise UserError("Give either --data or --generate.")
    if min(*args.shards, args.generate or 1) < 1 or args.seconds <= 0:
        raise UserError("Shards and seconds must be > 0.")
    with tempfile.TemporaryDirectory() as temporary:
        source = args.data
        if source is None:
            source = Path(temporary) / "noise"
            vectors = WordVectors.load(args.embedding)
            training_benchmark.write_noise(source, args.generate, args.size, vectors)
        rows = []
        for row in training_benchmark.measure(
            source, args.embedding, args.presets, sorted(args.shards), args.seconds
        ):
            print(f"{row.preset}, {row.shards} shards: measured", file=sys.stderr)
            rows.append(row)
    print(training_benchmark.report(rows))


if __name__ == "__main__":
    sys.exit(run_command(main))
