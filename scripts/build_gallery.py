"""Training pictures that may be shown → the gallery that `--similar` and the page find them in.

    python scripts/build_gallery.py --data FOLDER --model runs/gaze --out assets/gallery.npz

FOLDER is in DiffusionDB's layout; its metadata.parquet says of every picture `source` and
`license`. Shown are natural prompts of the training split, one picture of near-duplicate prompts,
whose licence allows it (CC0, public domain, Unlicense, MIT, Apache, BSD, CC BY, CC BY-SA), without
words of the block list. `--sources` is a TOML file like img2prompt/data/gallery_sources.toml, which
names the sources that are left out and why. The model is a run, a folder of artifacts or a preset:
the gallery serves it and every model with the same CNN. Credits are written beside the gallery,
`gallery-credits.md`, and what made it, `NAME.report.json`. Two minutes for 2,000 pictures.
"""

import argparse
import sys
from pathlib import Path

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path
from img2prompt.data.gallery_pairs import MOST_PAIRS, SOURCES_FILE, GalleryRules


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="pictures and their metadata")
    parser.add_argument("--model", required=True, help="a run, a folder of artifacts or a preset")
    parser.add_argument("--out", type=Path, required=True, help="the .npz to write")
    parser.add_argument("--sources", type=Path, default=SOURCES_FILE, help="TOML; unset, our own")
    parser.add_argument("--licence", help="of all pictures, where the metadata does not say")
    parser.add_argument("--most", type=int, default=MOST_PAIRS, help="default %(default)s")
    args = parser.parse_args()
    if args.out.is_dir():
        raise UserError("scripts.out_is_folder", path=args.out)
    rules = GalleryRules.read(args.sources, args.licence, args.most)
    from img2prompt.inference.artifacts import load
    from img2prompt.inference.gallery import CREDITS_FILE, credits_document
    from img2prompt.training.gallery_building import build_gallery
    from img2prompt.training.ship import record

    gallery, figures = build_gallery(args.data, load(args.model), rules)
    gallery.save(args.out)
    with atomic_path(args.out.with_name(CREDITS_FILE)) as temporary:
        temporary.write_text(credits_document(gallery), encoding="utf-8")
    record(args.out, ["python", *sys.argv], figures=figures)
    size = args.out.stat().st_size / 2**20
    print(f"{len(gallery):,} pictures of {figures['sources']} sources, {size:.1f} MB")
    for reason, count in sorted(figures["left_out"].items(), key=lambda row: -row[1]):
        print(f"left out, {reason}: {count:,}")
    recall = figures["recall_6"]
    print(f"of each picture's six nearest others, {recall:.1%} are found by the short vectors")


if __name__ == "__main__":
    sys.exit(run_command(main))
