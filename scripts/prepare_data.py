"""Pictures and prompts in DiffusionDB's layout → prepared shards and a report.

    python scripts/prepare_data.py --data DIFFUSIONDB_FOLDER --out prepared/main
    python scripts/prepare_data.py --data AUXILIARY_FOLDER --out prepared/auxiliary --train-only
    python scripts/prepare_data.py --data MY_OWN_FOLDER --out prepared/mine --keep-unscored
    python scripts/prepare_data.py --data DIFFUSIONDB_FOLDER --out prepared/one-a-prompt \
        --max-per-prompt 1 --min-words 3 --languages en
    python scripts/prepare_data.py --source hub --subset 2m --parts 1-100 --out prepared/2m
    python scripts/prepare_data.py --source hub --subset 2m_random_10k --keep --out prepared/10k
    python scripts/prepare_data.py --data DIFFUSIONDB_FOLDER --out prepared/main \
        --cluster tcp://scheduler:8786

From the hub it first shows what comes over the network and onto the disk, and asks. Uses all cores
and resumes where it stopped. 36,000 pictures of 160 pixels take under a minute on two CPU cores;
the report lies in OUT/report.json and OUT/report.html.
"""

import argparse
import contextlib
import sys
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from img2prompt.core.cli import agreed, run_command
from img2prompt.core.errors import UserError
from img2prompt.core.executors import Cluster, workers_of
from img2prompt.core.files import told_when_full
from img2prompt.core.printable import one_line
from img2prompt.data import images
from img2prompt.data.filters import UNSCORED
from img2prompt.data.prepare import prepare
from img2prompt.data.prepared_folder import claim_origin, pinned_revision
from img2prompt.data.report import write_html
from img2prompt.data.shards import PrepareSettings


def add_filters(parser: argparse.ArgumentParser) -> None:
    """The options of `PrepareSettings`' filters, and the number of workers."""
    group = parser.add_argument_group("what is kept")
    off = PrepareSettings()
    group.add_argument("--max-image-nsfw", type=float, default=off.max_image_nsfw)
    group.add_argument("--max-prompt-nsfw", type=float, default=off.max_prompt_nsfw)
    group.add_argument("--keep-blurred", action="store_true", help="those marked 2.0 too")
    group.add_argument(
        "--keep-unscored",
        action="store_true",
        help="those that metadata.parquet has no NSFW score of too, or where there is none",
    )
    group.add_argument("--no-nsfw-filter", action="store_true", help="keep every picture")
    group.add_argument("--train-only", action="store_true", help="pictures that only teach words")
    group.add_argument("--min-size", type=int, default=0, help="pixels of the shorter side")
    group.add_argument("--min-words", type=int, default=0, help="words of the prompt")
    group.add_argument("--max-words", type=int, help="words of the prompt")
    group.add_argument("--languages", default="", help="codes with commas between, such as en,de")
    group.add_argument(
        "--max-per-prompt",
        type=int,
        default=0,
        metavar="N",
        help="pictures of prompts of the same words; the first in part order stay, chosen before "
        "they are decoded: where those are broken, none may be left",
    )
    group.add_argument(
        "--max-per-user", type=int, default=0, metavar="N", help="by user_name of the metadata"
    )
    group = parser.add_argument_group("how fast")
    group.add_argument("--workers", type=int, help="processes; unset, all cores")
    group.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="of a Dask scheduler, such as tcp://scheduler:8786, whose workers do the work",
    )


def settings_from(args: argparse.Namespace) -> PrepareSettings:
    """The settings that the options of `add_filters`, --size and --fit say."""
    return PrepareSettings(
        size=args.size,
        fit=args.fit,
        max_image_nsfw=None if args.no_nsfw_filter else args.max_image_nsfw,
        max_prompt_nsfw=None if args.no_nsfw_filter else args.max_prompt_nsfw,
        keep_blurred=args.keep_blurred,
        keep_unscored=args.keep_unscored,
        train_only=args.train_only,
        min_size=args.min_size,
        min_words=args.min_words,
        max_words=args.max_words,
        languages=tuple(code for code in args.languages.split(",") if code.strip()),
        max_per_prompt=args.max_per_prompt,
        max_per_user=args.max_per_user,
    )


HUB_ONLY = ("subset", "parts", "revision", "cache", "keep", "bandwidth", "yes")


def add_hub_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", choices=("folder", "hub"), default="folder")
    group = parser.add_argument_group("with --source hub")
    group.add_argument("--subset", help="2m, large, or a name such as 2m_first_10k")
    group.add_argument("--parts", help="of 2m or large, such as 1-100 or 1-10,50,90-95")
    group.add_argument("--revision", help="branch or commit (main); a begun --out keeps its commit")
    group.add_argument("--cache", type=Path, help="where downloads are kept (the hub's own cache)")
    raw = group.add_mutually_exclusive_group()
    raw.add_argument("--keep", action="store_true", default=None, help="keep the parts' zips")
    raw.add_argument(
        "--drop",
        action="store_false",
        dest="keep",
        help="delete each zip when its shard is whole (the default)",
    )
    group.add_argument("--bandwidth", type=float, help="in Mbit/s, to say how long it takes (100)")
    group.add_argument("--yes", action="store_true", default=None, help="do not ask")


def check_source(args: argparse.Namespace) -> None:
    if args.cluster is not None and args.workers is not None:
        raise UserError("scripts.workers_or_cluster")
    if args.source == "folder":
        if args.data is None:
            raise UserError("scripts.no_source")
        given = [f"--{name}" for name in HUB_ONLY if getattr(args, name) is not None]
        given = ["--drop" if name == "--keep" and not args.keep else name for name in given]
        if given:
            raise UserError("scripts.hub_options", options=", ".join(given))
    elif args.data is not None:
        raise UserError("scripts.folder_or_hub")
    elif args.subset is None:
        raise UserError("scripts.no_subset")
    elif args.bandwidth is not None and args.bandwidth <= 0:
        raise UserError("scripts.bandwidth", bandwidth=f"{args.bandwidth:g}")


def prepare_from_hub(
    args: argparse.Namespace, settings: PrepareSettings, executor: Executor | None
) -> dict[str, Any] | None:
    """The report, or None if the person said no."""
    from img2prompt.data.download_plan import shard_bytes
    from img2prompt.data.hub_parts import RAW_FOLDER, HubParts

    parts = HubParts(
        args.subset,
        args.parts,
        pinned_revision(args.out, args.revision),
        cache_dir=args.cache,
        raw_dir=None if args.keep else args.out / RAW_FOLDER,
    )
    workers = args.workers if executor is None else workers_of(executor)
    plan = parts.plan(args.out, settings.size, args.bandwidth or 100.0, workers)
    print("\n".join(plan.lines()), flush=True)
    plan.check()
    if not agreed("Go on?", bool(args.yes), sys.stdin.isatty()):
        return None
    claim_origin(args.out, parts.origin)
    parts.release_prepared(args.out)
    with told_when_full(args.out, "the next shard", lambda: shard_bytes(settings.size)):
        report = prepare(parts, args.out, settings, workers=args.workers, executor=executor)
    parts.close()
    return report


def main() -> int | None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with images/part-*.zip")
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--size", type=int, default=images.SIZE, help="side in pixels")
    parser.add_argument("--fit", choices=images.FITS, default="stretch")
    add_filters(parser)
    add_hub_options(parser)
    args = parser.parse_args()
    check_source(args)
    settings = settings_from(args)
    with contextlib.nullcontext() if args.cluster is None else Cluster(args.cluster) as executor:
        if args.source == "hub":
            report = prepare_from_hub(args, settings, executor)
        else:
            report = prepare(args.data, args.out, settings, workers=args.workers, executor=executor)
    if report is None:
        print("nothing was downloaded")
        return 1

    write_html(report, args.out / "report.html")
    print_report(report, args)
    return 0


def print_report(report: dict[str, Any], args: argparse.Namespace) -> None:
    """What was kept and left out, the sources, the most repeated prompts, the words."""
    print(f"pictures kept      {report['pictures']:>9,}")
    print(f"distinct prompts   {report['prompts']:>9,}")
    for split, count in report["splits"].items():
        print(f"  {split:<17}{count:>9,}")
    if not report["metadata"] and not args.no_nsfw_filter:
        print("no metadata.parquet in the folder: the NSFW filter had nothing to go by")
    for reason, count in report["skipped"].items():
        print(f"skipped: {reason:<9} {count:>9,}")
    if UNSCORED in report["skipped"]:
        print("unscored: metadata.parquet says nothing of them; --keep-unscored would keep them")
    if report["unrated"]:
        print(f"kept though the metadata has no score of them: {report['unrated']:,}")
    if report["without_user"]:
        print(f"no cap per user for want of a user name: {report['without_user']:,} pictures kept")
    print("source, pictures, prompts, train / validation / test")
    for source, row in sorted(report["sources"].items(), key=lambda item: -item[1]["pictures"]):
        print(
            f"  {one_line(source):<56} {row['pictures']:>7,} {row['prompts']:>7,}"
            f"   {row['train']:,} / {row['validation']:,} / {row['test']:,}"
        )
    print("most repeated prompts (pictures, prompt)")
    for prompt, count in report["most_repeated_prompts"][:10]:
        print(f"  {count:>7,}  {one_line(prompt)[:90]}")
    print("word frequencies (rank, word, pictures)")
    for rank in (1, 2, 5, 10, 20, 50, 100, 200):
        if rank <= len(report["words"]):
            word, count = report["words"][rank - 1]
            print(f"  {rank:>7,}  {one_line(word):<20} {count:>9,}")
    print(f"report: {args.out / 'report.html'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
