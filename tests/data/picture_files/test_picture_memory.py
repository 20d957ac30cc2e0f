"""The largest pictures of every kind stay within what one request may add."""

import importlib.util
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from paths import ROOT
from PIL import Image

from img2prompt.data import images

SCRIPT = ROOT / "scripts" / "dev" / "measure_pictures.py"
_spec = importlib.util.spec_from_file_location("measure_pictures", SCRIPT)
measure_pictures = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(measure_pictures)

FEW = ("PNG, RGBA, turned", "WebP, lossless")
linux = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak of a process is read from /proc"
)


@linux
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in FEW else pytest.mark.slow)
        for name in measure_pictures.KINDS
    ],
)
def test_the_largest_picture_of_a_kind_takes_at_most_300_mb(name: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    width, height = measure_pictures.largest(name, path)
    assert width * height >= 12_000_000
    assert measure_pictures.measure("read", path) <= measure_pictures.LIMIT


HOLD = """
import sys, threading
from img2prompt.data import images

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def read():
    images.preprocess(sys.argv[1])
    done.wait()

images.preprocess(sys.argv[1])
before, done = resident(), threading.Barrier(9)
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
done.wait()
print((resident() - before) // 2**20)
"""


@linux
def test_no_thread_keeps_the_memory_of_a_picture_that_it_read(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (6000, 6000)).save(path)  # 144 MB once decoded
    command = [sys.executable, "-c", HOLD, str(path)]
    assert int(subprocess.run(command, capture_output=True, check=True).stdout) < 150


def test_large_pictures_are_decoded_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "large.png")
    real, inside, most = images.open_image, [], []

    def watched(source: images.ImageSource) -> Image.Image:
        inside.append(0)
        most.append(len(inside))
        opened = real(source)
        inside.pop()
        return opened

    monkeypatch.setattr(images, "open_image", watched)
    monkeypatch.setattr(images, "LARGE", 1_000)
    threads = [
        threading.Thread(target=images.preprocess, args=(tmp_path / "large.png",)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 8 and max(most) == 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_whose_second_copy_would_not_fit_comes_smaller(
    make_picture, encode, monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    data = encode(make_picture(3, (201, 101)).convert("RGBA"), "PNG", exif=exif)
    whole = images.open_image(data)
    monkeypatch.setattr(images, "MAX_MEMORY", len(data) + 201 * 101 * 6)
    half = images.open_image(data)
    assert half.size == ((51, 101) if turned else (101, 51))
    assert whole.size == ((101, 201) if turned else (201, 101))
    difference = images.preprocess(whole, 24) - images.preprocess(half, 24)
    assert abs(difference).mean() < 0.02


def test_a_picture_that_does_not_fit_at_all_says_so(make_picture, encode, monkeypatch) -> None:
    data = encode(make_picture(3, (200, 100)), "PNG")
    monkeypatch.setattr(images, "MAX_MEMORY", 50_000)
    with pytest.raises(images.ImageError) as caught:
        images.open_encoded(data)
    assert str(caught.value) == (
        "A PNG of 0 million pixels, saved this way, takes too much memory; make it smaller."
    )
