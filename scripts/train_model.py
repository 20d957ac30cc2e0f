"""Prepared shards and an embedding → a trained model.

    python scripts/train_model.py --preset gaze --data prepared/main-192 \\
        --auxiliary prepared/auxiliary-192 --embedding assets/embedding.npz --out runs/gaze
    python scripts/train_model.py --preset original --data prepared/main \\
        --embedding assets/embedding.npz --out runs/original

Wall time on two CPU cores: `original` and `notebook` about 25 minutes each (20 epochs of 8,000
pictures), `gaze` 10 minutes for the features of 40,000 pictures at 192 pixels, once, and 5 for the
head. It reads the class words (scripts/count_class_words.py) beside the embedding. On a GPU mixed
precision is used, and XLA for `original` and `notebook`. `--without` leaves sources out, to measure
a run on them; it takes their names with commas between, single repositories as owner/name. Watch
with `tensorboard --logdir runs`.

Killed, the same command with `--resume` goes on from the last whole epoch. On the same machine it
ends with the weights of a run that nobody disturbed: the state of the random numbers of dropout and
of the loss is saved, too.

`--stream` draws pictures in the order of the shards, so that an epoch reads its part of the disk
once: for more data than memory holds. It draws other pictures than without. `--strategy mirrored`
uses all GPUs of this machine; for several machines start the same command on each with `--strategy
multiworker` and its own TF_CONFIG (docs/scaling.md). A worker that is lost ends all others with
exit code 2; start all of them again with `--resume`.
"""

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from img2prompt.core.cli import run_command


def main() -> None:
    from img2prompt.core.forms import DEFAULT_PRESET
    from img2prompt.models.presets import PRESETS
    from img2prompt.training.config import TrainConfig, TrainJob, default_config
    from img2prompt.training.distributed import STRATEGIES, task_of
    from img2prompt.training.trainer import train

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default=DEFAULT_PRESET, help=f"one of {', '.join(PRESETS)}")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="prepared folders")
    parser.add_argument("--auxiliary", type=Path, nargs="*", default=[], help="only teach words")
    parser.add_argument("--embedding", type=Path, required=True)
    parser.add_argument("--class-words", type=Path, help="unset, beside the embedding")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--resume", action="store_true", help="go on with a stopped run")
    parser.add_argument("--strategy", default="none", help=f"one of {', '.join(STRATEGIES)}")
    settings = [field for field in dataclasses.fields(TrainConfig) if field.name != "preset"]
    for field in settings:
        kind: Any = field.type
        how = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        parser.add_argument("--" + field.name.replace("_", "-"), default=None, **how)
    args = parser.parse_args()
    changes = {field.name: getattr(args, field.name) for field in settings}
    config = default_config(args.preset, **changes)
    job = TrainJob(
        args.data,
        args.embedding,
        args.out,
        auxiliary=args.auxiliary,
        class_words=args.class_words,
        resume=args.resume,
        strategy=args.strategy,
        command=["python", *sys.argv],
    )
    train(config, job)
    if task_of(args.strategy).rank > 0:
        return
    print(f"model: {args.out / 'model.keras'}")
    print(f"learning curves: {args.out / 'learning_curves.html'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
