"""Prompts, an embedding and its kinds → what prompts say of single words.

    python scripts/build_lexicon.py --prompts prompts.parquet metadata.parquet \\
        --pairs metadata.parquet --embedding assets/embedding.npz --kinds assets/kinds.npz \\
        --out assets/lexicon.npz

How often pairs hold each word, which words prompts of any picture use, which are forms of one word
and which two belong together (`img2prompt/embedding/lexicon.py`). Prompts of the test split are
left out. Prints the generic words and samples of the rest; what made the file is written beside it,
`NAME.report.json`. A minute for 500,000 prompts; needs SciPy (requirements-train.txt).
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.embedding.kinds import Kinds
from img2prompt.embedding.lexicon import Lexicon, build_lexicon
from img2prompt.embedding.vectors import WordVectors
from img2prompt.training.ship import record

SHOWN = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=Path, nargs="+", required=True, help=".parquet or .txt")
    parser.add_argument("--pairs", type=Path, nargs="*", default=[], help="prompts of pictures")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--kinds", type=Path, required=True, help="what build_kinds.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    args = parser.parse_args()
    if args.out.is_dir():
        raise UserError("scripts.out_is_folder", path=args.out)
    vectors = WordVectors.load(args.embedding)
    kinds = Kinds.load(args.kinds, vectors)
    lexicon, counts = build_lexicon(args.prompts, vectors, kinds, args.pairs)
    lexicon.save(args.out)
    # Of each only the commonest form.
    own = lexicon.lemma == np.arange(len(vectors))
    generic = [vectors.words[place] for place in np.flatnonzero(lexicon.generic & own)]
    record(args.out, ["python", *sys.argv], figures=counts, generic=generic)
    print(f"prompts: {counts['prompts']:,}, of pairs {counts['pair_prompts']:,}")
    print(f"{len(generic)} generic words: {', '.join(generic)}")
    print(f"{counts['merged']:,} words are forms of another: {', '.join(merged(lexicon))}")
    print(f"{counts['pairs']:,} pairs: {', '.join(pairs(lexicon))}")


def merged(lexicon: Lexicon) -> list[str]:
    """A sample of the words that have another lemma, evenly over how common they are."""
    places = np.flatnonzero(lexicon.lemma != np.arange(len(lexicon.lemma)))
    words = lexicon.vectors.words
    return [f"{words[place]} → {words[lexicon.lemma[place]]}" for place in sample(places)]


def pairs(lexicon: Lexicon) -> list[str]:
    """A sample of the pairs, evenly over how strong they are."""
    words = lexicon.vectors.words
    places = sample(np.arange(len(lexicon.first)))
    return [f"{words[lexicon.first[place]]} {words[lexicon.second[place]]}" for place in places]


def sample(places: np.ndarray) -> np.ndarray:
    return places[:: max(1, len(places) // SHOWN)][:SHOWN]


if __name__ == "__main__":
    sys.exit(run_command(main))
