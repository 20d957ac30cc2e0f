"""How much memory the largest pictures of every kind take: the figures of docs/hosting.md.

    python scripts/dev/measure_pictures.py
    python scripts/dev/measure_pictures.py --requests

Makes of each kind the largest picture that is taken, near the largest file too, and reads it in a
process of its own. `--requests` asks for whole answers instead, of the kinds that take most: words,
heat map, the model's inside, a set, two pictures compared. Some minutes each; Linux only.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.data import images

if TYPE_CHECKING:
    from img2prompt.inference.predictor import Predictor

LIMIT = 300_000_000  # bytes that one request may add
SIDES = (7071, 6500, 6000, 5500, 5000, 4500, 4096, 3800, 3500)
_BUSY = 38_000_000  # bytes of noise: what makes lossless files nearly as large as they may be
_TURNED = 6

# Name → Pillow's format, mode, and how it is saved. 16-bit modes other than grey: see `_sixteen`.
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "PNG, RGB": ("PNG", "RGB", {"compress_level": 1}),
    "PNG, RGB, turned": ("PNG", "RGB", {"compress_level": 1, "turned": True}),
    "PNG, RGBA": ("PNG", "RGBA", {"compress_level": 1}),
    "PNG, RGBA, turned": ("PNG", "RGBA", {"compress_level": 1, "turned": True}),
    "PNG, grey": ("PNG", "L", {"compress_level": 1}),
    "PNG, grey and alpha": ("PNG", "LA", {"compress_level": 1}),
    "PNG, 16-bit grey": ("PNG", "I;16", {"compress_level": 1}),
    "PNG, palette, transparent": ("PNG", "P", {"compress_level": 1, "transparency": 0}),
    "PNG, black and white, transparent": ("PNG", "1", {"transparency": 0}),
    "PNG, animated": ("PNG", "RGBA", {"compress_level": 1, "animated": True, "disposal": 1}),
    "JPEG": ("JPEG", "RGB", {"quality": 90}),
    "JPEG, turned": ("JPEG", "RGB", {"quality": 90, "turned": True}),
    "JPEG, progressive": ("JPEG", "RGB", {"progressive": True}),
    "JPEG, progressive 4:4:4, turned": (
        "JPEG",
        "RGB",
        {"progressive": True, "subsampling": 0, "turned": True},
    ),
    "JPEG, grey": ("JPEG", "L", {"quality": 90}),
    "JPEG, CMYK": ("JPEG", "CMYK", {"quality": 90}),
    "JPEG, CMYK, progressive": ("JPEG", "CMYK", {"progressive": True}),
    "WebP": ("WEBP", "RGB", {"method": 0}),
    "WebP, lossless": ("WEBP", "RGB", {"method": 0, "lossless": True, "quality": 0}),
    "WebP, transparent": ("WEBP", "RGBA", {"method": 0}),
    "WebP, animated": ("WEBP", "RGBA", {"method": 0, "animated": True}),
    "GIF": ("GIF", "L", {}),
    "GIF, transparent": ("GIF", "P", {"transparency": 0}),
    "GIF, animated": ("GIF", "P", {"animated": True, "disposal": 2}),
    "BMP, palette": ("BMP", "P", {}),
    "BMP, RGB": ("BMP", "RGB", {}),
    "TIFF, LZW": ("TIFF", "RGB", {"compression": "tiff_lzw"}),
    "TIFF, LZW, turned": ("TIFF", "RGB", {"compression": "tiff_lzw", "turned": True}),
    "TIFF, deflate, one strip": (
        "TIFF",
        "RGB",
        {"compression": "tiff_adobe_deflate", "strip_size": 10**9},
    ),
    "TIFF, RGBA, LZW": ("TIFF", "RGBA", {"compression": "tiff_lzw"}),
    "TIFF, 16-bit grey, LZW": ("TIFF", "I;16", {"compression": "tiff_lzw"}),
    "TIFF, floats, deflate": ("TIFF", "F", {"compression": "tiff_adobe_deflate"}),
    "TIFF, CMYK, LZW": ("TIFF", "CMYK", {"compression": "tiff_lzw"}),
    "TIFF, LAB, LZW": ("TIFF", "LAB", {"compression": "tiff_lzw"}),
    "TIFF, JPEG": ("TIFF", "YCbCr", {"compression": "jpeg"}),
    "TIFF, raw": ("TIFF", "RGB", {}),
}
GREEDY = ("PNG, RGB", "PNG, RGBA, turned", "JPEG, turned", "WebP, lossless", "TIFF, LZW")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", action="store_true", help="whole answers, not reading alone")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=KINDS, help="these kinds")
    parser.add_argument("--child", nargs=2, metavar=("TASK", "FILE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(_child(args.child[0], Path(args.child[1]))))
        return
    if not Path("/proc/self/clear_refs").exists():
        raise UserError("scripts.needs_linux")
    tasks = tuple(_TASKS) if args.requests else ("read",)
    names = args.only or (GREEDY if args.requests else KINDS)
    print("| kind | million pixels | file, MB |" + "".join(f" {task}, MB |" for task in tasks))
    print("|" + " --- |" * (3 + len(tasks)))
    most = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        for name in names:
            width, height = largest(name, path)
            added = [measure(task, path) for task in tasks]
            most = max(most, *added)
            row = [name, f"{width * height / 1e6:.1f}", f"{path.stat().st_size / 1e6:.1f}"]
            print(f"| {' | '.join(row + [f'{size / 1e6:.0f}' for size in added])} |", flush=True)
    verdict = "within" if most <= LIMIT else "over"
    print(f"\nat most {most / 1e6:.0f} MB, {verdict} the limit of {LIMIT / 1e6:.0f} MB")


def largest(name: str, path: Path) -> tuple[int, int]:
    """Write the largest picture of a kind that is taken; its width and height."""
    for side in SIDES:
        size = (side, side)
        path.write_bytes(encoded(name, size))
        try:
            images.open_encoded(path)
        except images.ImageError:
            continue
        return size
    raise UserError("scripts.no_size", name=name)


def measure(task: str, path: Path) -> int:
    """Bytes by which a process of its own grows at most while it does a task with a picture."""
    command = [sys.executable, __file__, "--child", task, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise UserError("scripts.task_failed", task=task, reason=last)
    return int(json.loads(done.stdout.splitlines()[-1]))


def encoded(name: str, size: tuple[int, int]) -> bytes:
    """A picture of a kind: a smooth one with noise at the top, as large a file as may be."""
    kind, mode, options = KINDS[name]
    options = dict(options)
    picture = _picture(mode, size)
    if options.pop("turned", False):
        exif = Image.Exif()
        exif[0x0112] = _TURNED
        options["exif"] = exif
    if options.pop("animated", False):
        options |= {
            "save_all": True,
            "append_images": [picture.transpose(Image.Transpose.ROTATE_180)],
        }
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _picture(mode: str, size: tuple[int, int]) -> Image.Image:
    rng = np.random.default_rng(1)
    bands = {"I;16": 2, "F": 4}.get(mode) or len(Image.new(mode, (1, 1)).getbands())
    ramp = np.add.outer(np.arange(size[1]), np.arange(size[0])) // 64 % 256
    rows = min(int(_BUSY / bands / size[0]), size[1] // 2)
    if mode == "I;16":
        values = (ramp * 257).astype(np.uint16)
        values[:rows] = rng.integers(0, 65536, (rows, size[0]), dtype=np.uint16)
        return Image.fromarray(values)
    if mode == "F":
        values = ramp.astype(np.float32)
        values[:rows] = rng.integers(0, 256, (rows, size[0]))
        return Image.fromarray(values)
    values = ramp.astype(np.uint8)
    values[:rows] = rng.integers(0, 256, (rows, size[0]), dtype=np.uint8)
    del ramp
    grey = Image.fromarray(values)
    if mode in ("P", "1"):
        return grey.convert(mode)
    return grey if bands == 1 else Image.merge(mode, [grey] * bands)


def _read(path: Path) -> None:
    images.preprocess(path, 192)


def _whole(answer: Callable[["Predictor", Path], None]) -> Callable[[Path], None]:
    """A task that asks the default model, loaded once and warmed by whoever measures."""
    from functools import cache

    from img2prompt.inference.artifacts import Assets

    predictor = cache(lambda: Assets().predictor())
    return lambda path: answer(predictor(), path)


def _words(predictor: "Predictor", path: Path) -> None:
    from img2prompt.data.file_prompts.reading import read_prompt

    read_prompt(path)
    predictor(path)


def _heat(predictor: "Predictor", path: Path) -> None:
    from img2prompt.inference.occlusion import occlusion_maps

    occlusion_maps(predictor, path, [word.word for word in predictor(path).words])


def _inside(predictor: "Predictor", path: Path) -> None:
    from img2prompt.inference.activations import activations

    activations(predictor, path)


def _set(predictor: "Predictor", path: Path) -> None:
    from img2prompt.inference.batch import Run

    for row in Run(predictor, [path, path]):
        if isinstance(row.result, UserError):
            raise row.result


def _two(predictor: "Predictor", path: Path) -> None:
    predictor(path)
    predictor(path)


_TASKS = {"words": _words, "heat map": _heat, "inside": _inside, "set": _set, "two": _two}


def _child(task: str, path: Path) -> int:
    run = _read if task == "read" else _whole(_TASKS[task])
    example = next((Path(__file__).parents[2] / "assets" / "examples").glob("*.jpg"))
    for _ in range(2):
        run(example)  # what is loaded once is not the picture's
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    run(path)
    return _status("VmHWM") - before


def _status(key: str) -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{key}:")[1].split()[0]) * 1024


if __name__ == "__main__":
    sys.exit(run_command(main))
