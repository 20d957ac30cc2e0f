"""The command line: `python -m img2prompt predict IMAGE…`."""

import argparse
import sys
from collections.abc import Iterator, Sequence

from tqdm import tqdm

from img2prompt.core.cli import run_command
from img2prompt.core.executors import Cluster, local
from img2prompt.core.printable import one_line
from img2prompt.data.images import ImageError
from img2prompt.inference.export import json_line
from img2prompt.inference.labelling import label_files
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import check_similar_count, check_word_count


def main(argv: Sequence[str] | None = None) -> int:
    """Parse and run; 0 when every picture worked, 2 when any input could not be used.

    Raises:
        UserError: unknown preset or revision, a number out of range, or no gallery.
    """
    parser = argparse.ArgumentParser(
        prog="python -m img2prompt", description="Which words of a prompt made this picture?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser("predict", help="print the words of pictures")
    predict.add_argument(
        "--preset", help="a shipped preset, a folder, or user/name on the hub; unset, the default"
    )
    predict.add_argument("--revision", help="a branch, tag or commit of user/name")
    predict.add_argument("--words", type=int, default=10, help="words a picture (default 10)")
    predict.add_argument(
        "--similar",
        type=int,
        default=0,
        metavar="N",
        help="also the N training pictures of the gallery that are most like it (default 0)",
    )
    engine = predict.add_mutually_exclusive_group()
    engine.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    engine.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="of a Dask scheduler, such as tcp://scheduler:8786, whose workers do the work",
    )
    predict.add_argument("--json", action="store_true", help="one JSON object a line")
    predict.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    args = parser.parse_args(argv)

    check_similar_count(args.similar)
    check_word_count(args.words)  # before seconds are spent on loading
    # File names need not be valid Unicode; they are printed all the same.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a TextIOWrapper
    failed = 0
    with local(args.workers) if args.cluster is None else Cluster(args.cluster) as executor:
        results = label_files(
            executor, args.images, args.preset, args.revision, args.words, args.similar
        )
        for file, result in tqdm(results, total=len(args.images), unit="picture", disable=None):
            failed += isinstance(result, ImageError)
            for line in _lines(file, result, args.json):
                tqdm.write(line, file=sys.stdout)
            if isinstance(result, ImageError) and not args.json:
                named = str(result) if file in str(result) else f"{file}: {result}"
                tqdm.write(f"error: {one_line(named)}", file=sys.stderr)
    return 2 if failed else 0


def _lines(file: str, result: Prediction | ImageError, as_json: bool) -> Iterator[str]:
    if as_json:
        yield json_line(file, result)
    elif isinstance(result, Prediction):
        yield one_line(result.prompt)
        for picture in result.similar:
            credit = f"{picture.source}, {picture.licence}"
            yield one_line(f"{picture.similarity:.2f} {picture.prompt} ({credit})")


if __name__ == "__main__":
    sys.exit(run_command(main))
