"""What an installed package has: every file of the package, no models, and a sentence for that."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from paths import ROOT

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"

pytestmark = pytest.mark.skipif(
    int(version("setuptools").split(".")[0]) < 77, reason="needs requirements-dev.txt's setuptools"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel unpacked in it, as `pip install .` would; built without network."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "img2prompt", source / "img2prompt", ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = out.glob("*.whl")
    folder = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess:
    """Python with the unpacked wheel before everything else, in another folder."""
    environment = os.environ | {"PYTHONPATH": str(installed), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        return {path.as_posix() for path in found if "__pycache__" not in path.parts}

    assert files(installed / "img2prompt") == files(ROOT / "img2prompt")
    assert not list(installed.rglob("*.keras")) and not list(installed.rglob("*.npz"))


def test_without_models_one_sentence_says_where_they_are(installed: Path, tmp_path: Path) -> None:
    code = """
import img2prompt
for names in ((), ("gaze",)):
    try:
        img2prompt.load(*names)
    except img2prompt.UserError as error:
        print(img2prompt.__file__, error, sep="\\t")
"""
    done = run(installed, "-c", code, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(lines) == 2
    for place, sentence in lines:
        assert Path(place).is_relative_to(installed)
        assert 'load("CHECKOUT/assets")' in sentence and 'load("user/name")' in sentence
    command = run(installed, "-m", "img2prompt", "predict", "a.png", folder=tmp_path)
    last = command.stderr.splitlines()[-1]
    assert command.returncode == 2 and last.startswith("error: This installation of img2prompt")
    assert "Traceback" not in command.stderr


def test_the_models_of_a_checkout_do(installed: Path, tmp_path: Path) -> None:
    picture = ROOT / "assets" / "examples" / "01-dragon.jpg"
    assets = ROOT / "assets"
    command = ("-m", "img2prompt", "predict", "--preset", str(assets), str(picture))
    done = run(installed, *command, folder=tmp_path)
    assert done.returncode == 0 and "dragon" in done.stdout, done.stderr


def test_the_readme_says_so() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("## In Python") : text.index("\n## ", text.index("## In Python") + 5)]
    assert 'load("CHECKOUT/assets")' in section
