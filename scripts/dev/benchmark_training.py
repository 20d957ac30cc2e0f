"""How fast streamed training reads and trains, what memory it takes, and a plan for millions.

    python scripts/dev/benchmark_training.py --data prepared/main --embedding assets/embedding.npz
    python scripts/dev/benchmark_training.py --generate 35 --embedding assets/embedding.npz

For each preset and each number of shards the input pipeline runs alone, in a process of its own;
on the most shards the training steps run alone too, on one batch again and again. Each measurement
is a process of its own, so that its peak memory is its own. Features and soft targets are filled
with noise where they are not what is measured: a rate does not depend on values. `--generate` makes
shards of noise in a temporary folder (1.7 GB for 35 at 128 pixels). Wall time on two CPU cores:
about 3 minutes. Figures are for an otherwise idle machine.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from img2prompt.core.arrays import map_array
from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import write_json
from img2prompt.data.shards import SETTINGS_FILE, PrepareSettings
from img2prompt.data.splits import split_of
from img2prompt.embedding.vectors import WordVectors

if TYPE_CHECKING:
    from img2prompt.embedding.class_words import ClassWords
    from img2prompt.training.config import TrainConfig
    from img2prompt.training.inputs import Data
    from img2prompt.training.presets import Trainable

SHARD = 1_000  # pictures a shard, as DiffusionDB's parts
WORDS = 20  # of a noise prompt
SECONDS = 8.0  # a measurement takes about so long
SETS = {"DiffusionDB 2M": 2_000_000, "DiffusionDB Large": 14_000_000}
# Of a picture in memory: split, source and `known` 4, hash of the prompt 8, position 8, weights 8.
INDEX_BYTES = 28


@dataclass(frozen=True)
class Measured:
    """One preset on one number of shards.

    Attributes:
        preset, shards: what was measured.
        pipeline: pictures a second of the input pipeline alone.
        peak: of resident memory while it ran, bytes.
        training: pictures a second of training steps on a batch in memory; None if not measured.
        extra: pictures a second of what is computed once: `features`, `soft targets`.
        bytes_a_picture: on disk, by kind of file.
        read_bytes: of a picture that the pipeline reads.
    """

    preset: str
    shards: int
    pipeline: float
    peak: int
    training: float | None
    extra: dict[str, float]
    bytes_a_picture: dict[str, int]
    read_bytes: int


def write_noise(folder: Path, shards: int, size: int, vectors: WordVectors) -> None:
    """Prepared shards of noise: pictures of `size` pixels, prompts of words that can be answers."""
    folder.mkdir(parents=True)
    write_json(folder / SETTINGS_FILE, dataclasses.asdict(PrepareSettings(size=size)))
    answers = np.flatnonzero(vectors.answerable)
    rng = np.random.default_rng(1)
    for number in range(1, shards + 1):
        chosen = rng.choice(answers, (SHARD, WORDS))
        prompts = [" ".join(vectors.words[i] for i in row) for row in chosen]
        pixels = rng.integers(0, 256, (SHARD, size, size, 3), dtype=np.uint8)
        np.save(folder / f"part-{number:06}.npy", pixels)
        rows = {
            "name": [f"{number}-{i}.png" for i in range(SHARD)],
            "prompt": prompts,
            "source": ["diffusiondb"] * SHARD,
            "split": [split_of(prompt) for prompt in prompts],
        }
        pq.write_table(pa.table(rows), folder / f"part-{number:06}.parquet")


def link_shards(source: Path, out: Path, shards: int) -> None:
    """A prepared folder of so many shards: links to those of `source`, some of them repeatedly."""
    names = sorted(path.stem for path in source.glob("part-*.parquet"))
    if not names:
        raise UserError("data.no_shards", folder=source)
    out.mkdir(parents=True)
    write_json(out / SETTINGS_FILE, json.loads((source / SETTINGS_FILE).read_text("utf-8")))
    for number in range(shards):
        for suffix in (".npy", ".parquet"):
            target = (source / f"{names[number % len(names)]}{suffix}").resolve()
            (out / f"part-{number + 1:06}{suffix}").symlink_to(target)


@dataclass(frozen=True)
class Task:
    """One measurement: of a preset on a folder of so many shards.

    Attributes:
        preset, folder, shards: what is measured.
        embedding: the `.npz`, the class words beside it.
        draws: pictures an epoch; the same of all, so that windows are of one size.
        steps: whether training steps are measured, too.
        seconds: of each measurement.
    """

    preset: str
    folder: Path
    shards: int
    embedding: Path
    draws: int
    steps: bool
    seconds: float


def measure(
    source: Path, embedding: Path, presets: Sequence[str], shards: Sequence[int], seconds: float
) -> Iterator[Measured]:
    """Measure presets on growing numbers of shards, the training rate on the last of them.

    Args:
        source: a prepared folder.
        embedding: the `.npz`, the class words beside it.
        presets: by name.
        shards: how many.
        seconds: of each measurement.

    Raises:
        UserError: no shards, or what training a preset needs is missing.
    """
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        for preset in presets:
            for number in shards:
                folder = Path(temporary) / f"{preset}-{number}"
                link_shards(source, folder, number)
                last = number == shards[-1]
                draws = shards[-1] * SHARD
                task = Task(preset, folder, number, embedding, draws, last, seconds)
                with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
                    yield pool.submit(measured, task).result()


def measured(task: Task) -> Measured:
    """Measure in this process, which must not have measured anything before."""
    from img2prompt.core.backend import keras
    from img2prompt.embedding.class_words import CLASS_WORDS_FILE, ClassWords
    from img2prompt.training.config import default_config
    from img2prompt.training.inputs import load_data
    from img2prompt.training.presets import trainable
    from img2prompt.training.trainer import training_batches

    vectors = WordVectors.load(task.embedding)
    config = default_config(task.preset, stream=True, images_per_epoch=task.draws)
    data = load_data(config, [task.folder], [], vectors, task.folder / "soft")
    class_words = None
    if config.needs_class_words:
        class_words = ClassWords.load(task.embedding.with_name(CLASS_WORDS_FILE), vectors)
    features = config.recipe.inputs == "features"
    if features:
        _fill_with_noise(config, data, vectors)
    plan = trainable(config, vectors, data, class_words)
    plan.prepare()
    ready = iter(training_batches(config, plan, data, range(0, 1_000_000)))
    batch = next(ready)
    for _ in range(4):
        next(ready)
    pipeline = config.batch_size * _rate(lambda: next(ready), task.seconds)
    peak = _peak_memory()
    trained, extra = None, {}
    if task.steps:
        if features:
            extra["features"] = _feature_rate(config, data, task.seconds)
            extra["soft targets"] = _teacher_rate(plan, vectors, class_words, task.seconds)
        network = plan.build()
        network.compile(optimizer=plan.optimizer(), loss=plan.loss, jit_compile=False)
        keras.utils.set_random_seed(config.seed)
        for _ in range(4):
            network.train_on_batch(*batch)
        rate = _rate(lambda: network.train_on_batch(*batch), task.seconds)
        trained = config.batch_size * rate
    sizes = _bytes_a_picture(task.folder, len(data.pictures))
    read = sum(
        (data.pictures.file(0, path_of).stat().st_size / int(data.pictures.start[1]))
        for path_of in plan.columns.paths
    )
    return Measured(task.preset, task.shards, pipeline, peak, trained, extra, sizes, round(read))


def _fill_with_noise(config: "TrainConfig", data: "Data", vectors: WordVectors) -> None:
    """Noise where features and soft targets would lie."""
    from img2prompt.models import gaze
    from img2prompt.models.features import cache_name, feature_path
    from img2prompt.training import soft_targets

    rng = np.random.default_rng(2)
    tower = gaze.build_tower(config.backbone, data.form[0])
    width, kept = tower.output_shape[-1], cache_name(config.backbone, tower)
    soft, soft_path = soft_targets.words_of_teacher(vectors), soft_targets.soft_path(data)
    sizes = np.diff(data.pictures.start).tolist()
    for (folder, name), n in zip(data.pictures.places(), sizes, strict=True):
        words = rng.integers(0, len(vectors), (n, soft)).astype(np.float32)
        shares = np.full((n, soft), 1 / soft, np.float32)
        features = rng.normal(size=(n, width)).astype(np.float16)
        for path, rows in (
            (feature_path(folder, kept, name), features),
            (soft_path(folder, name), np.hstack([words, shares])),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, rows)


def _feature_rate(config: "TrainConfig", data: "Data", seconds: float) -> float:
    """Pictures a second of the backbone, as `features.cache_features` calls it."""
    from img2prompt.core.backend import tf
    from img2prompt.data.images import to_float
    from img2prompt.models import gaze
    from img2prompt.models.features import BATCH

    folder, name = data.pictures.places()[0]
    pixels = map_array(folder / f"{name}.npy")[:BATCH]
    tower = gaze.build_tower(config.backbone, data.form[0])
    call = tf.function(lambda pictures: tower(pictures, training=False))
    call(tf.constant(to_float(pixels)))
    return len(pixels) * _rate(lambda: call(tf.constant(to_float(pixels))), seconds)


def _teacher_rate(
    plan: "Trainable", vectors: WordVectors, class_words: "ClassWords | None", seconds: float
) -> float:
    """Pictures a second of the teacher, fitted to noise that holds nearly every word."""
    from img2prompt.training.soft_targets import Mixture, Taught, Teacher

    rng = np.random.default_rng(3)
    features = plan.columns.inputs_of(np.arange(min(SHARD, 256)))
    answers = np.flatnonzero(vectors.answerable)
    n = max(SHARD, 6 * len(answers) // WORDS)
    true = [rng.choice(answers, WORDS) for _ in range(n)]
    classes = len(class_words.words) if class_words is not None else 1
    taught = Taught(
        lambda index: features[index % len(features)],
        np.arange(n),
        np.ones(n),
        lambda index: [true[i] for i in index],
    )
    mixture = Mixture(
        class_words=class_words,
        probabilities=lambda rows: np.full((len(rows), classes), 1 / classes, np.float32),
    )
    teacher = Teacher(taught, vectors, mixture)
    return len(features) * _rate(lambda: teacher(features), seconds)


def _peak_memory() -> int:
    """The most resident memory this process has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux's getrusage begins with the maximum of the parent process
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    used = psutil.Process().memory_info()
    return int(getattr(used, "peak_wset", used.rss))


def _bytes_a_picture(folder: Path, pictures: int) -> dict[str, int]:
    kinds: dict[str, Callable[[], Iterable[Path]]] = {
        "pictures": lambda: folder.glob("part-*"),
        "features": lambda: folder.glob("features/*/*.npy"),
        "targets": lambda: folder.glob("targets/*/*.npy"),
        "soft targets": lambda: folder.glob("soft/*/*.npy"),
    }
    sizes = {kind: sum(path.stat().st_size for path in find()) for kind, find in kinds.items()}
    return {kind: round(size / pictures) for kind, size in sizes.items() if size}


def _rate(call: Callable[[], Any], seconds: float) -> float:
    """Calls a second, over about so many seconds."""
    done, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < seconds:
        call()
        done += 1
    return done / passed


def report(rows: Sequence[Measured]) -> str:
    """The measurements and the plan for DiffusionDB's two sizes, as Markdown."""
    lines = [
        "| preset | shards | input pipeline, pictures/s | training, pictures/s | ratio | "
        "peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        rate = f"{row.training:,.0f}" if row.training else ""
        ratio = f"{row.pipeline / row.training:.1f}" if row.training else ""
        lines.append(
            f"| {row.preset} | {row.shards} | {row.pipeline:,.0f} | {rate} | {ratio} | "
            f"{row.peak / 1e6:,.0f} |"
        )
    lines += [
        "",
        "| preset | pictures | one epoch, hours | once before, hours | read from disk, MB/s | "
        "memory of the index, MB | disk, GB |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if not row.training:
            continue
        # The pipeline's threads and the training's share the cores.
        speed = 1 / (1 / row.training + 1 / row.pipeline)
        # A tenth each of validation and test pictures is read on the way and thrown away.
        disk_rate = speed * row.read_bytes / 0.8
        for name, pictures in SETS.items():
            once = ", ".join(
                f"{kind} {pictures / rate / 3600:,.1f}" for kind, rate in row.extra.items()
            )
            disk = ", ".join(
                f"{kind} {size * pictures / 1e9:,.0f}" for kind, size in row.bytes_a_picture.items()
            )
            lines.append(
                f"| {row.preset} | {name}, {pictures:,} | {pictures / speed / 3600:,.1f} | "
                f"{once or '–'} | {disk_rate / 1e6:,.1f} | {pictures * INDEX_BYTES / 1e6:,.0f} | "
                f"{disk} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a prepared folder")
    parser.add_argument("--generate", type=int, metavar="N", help="so many shards of noise instead")
    parser.add_argument("--size", type=int, default=128, help="pixels of generated pictures")
    parser.add_argument("--embedding", type=Path, required=True, help="class words lie beside it")
    parser.add_argument("--presets", nargs="+", help="unset, all of them")
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 10, 35])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="a measurement")
    args = parser.parse_args()
    if (args.data is None) == (args.generate is None):
        raise UserError("scripts.data_or_generate")
    if min(*args.shards, args.generate or 1) < 1 or args.seconds <= 0:
        raise UserError("scripts.shards_and_seconds")
    from img2prompt.models.presets import PRESETS

    presets = args.presets or sorted(PRESETS, reverse=True)
    with tempfile.TemporaryDirectory() as temporary:
        source = args.data
        if source is None:
            source = Path(temporary) / "noise"
            vectors = WordVectors.load(args.embedding)
            write_noise(source, args.generate, args.size, vectors)
        rows = []
        for row in measure(source, args.embedding, presets, sorted(args.shards), args.seconds):
            print(f"{row.preset}, {row.shards} shards: measured", file=sys.stderr)
            rows.append(row)
    print(report(rows))


if __name__ == "__main__":
    sys.exit(run_command(main))
