"""How fast the embedding is trained and how much memory that takes, beside gensim alone.

    python scripts/dev/benchmark_embedding.py

Makes up 40 million words of prompts whose words are distributed as in real ones, and trains one
epoch on them in two ways, each run in a process of its own, in turn: gensim's `Word2Vec` on its
`LineSentence` of the ready corpus, and ours, from a parquet file to the vectors. Then the whole
way on a quarter of the words, for the memory. 12 minutes on two CPU cores, of which nothing else
should make use meanwhile; `--words 2000000` takes a minute.
"""

import argparse
import sys
import tempfile

from embedding_benchmark import compare, describe, measure_memory

from img2prompt.core.errors import UserError, run_command
from img2prompt.core.executors import usable_cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--words", type=int, default=40_000_000, help="how many are made up")
    parser.add_argument(
        "--workers", type=int, default=usable_cores(), help="of the training, both ways"
    )
    parser.add_argument("--repeats", type=int, default=2, help="runs of each way")
    args = parser.parse_args()
    if args.words < 10_000 or args.workers < 1 or args.repeats < 1:
        raise UserError(
            "Give --words of at least 10000, and --workers and --repeats of at least 1."
        )
    with tempfile.TemporaryDirectory(prefix="img2prompt-") as folder:
        samples = compare(folder, args.words, args.workers, args.repeats)
        small = measure_memory(folder, args.words // 4, args.workers)
    large = samples["img2prompt"][-1]
    print(
        f"{large.words:,} words, {large.prompts:,} prompts, {large.vocabulary:,} words get a "
        f"vector; {usable_cores()} CPU cores, {args.workers} workers"
    )
    for line in describe(samples):
        print(line)
    for sample in (small, large):
        print(
            f"memory of {sample.words:,} words, all processes: {sample.corpus_peak:,.0f} MB until "
            f"the corpus is written, {sample.peak:,.0f} MB at most "
            f"({sample.vocabulary:,} vectors)"
        )


if __name__ == "__main__":
    sys.exit(run_command(main))
