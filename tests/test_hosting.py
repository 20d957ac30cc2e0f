"""What hosts read: the header of a Space, the Dockerfile, and whether what it copies suffices."""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import browser_kit
import pytest
import yaml
from gradio_client import Client, handle_file
from huggingface_hub import SpaceCard
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from paths import ROOT
from waiting import PATIENCE

# What the hub's "Spaces Configuration Reference" lists, of which a Gradio Space may have any.
KEYS = set(
    "title emoji colorFrom colorTo sdk python_version sdk_version suggested_hardware "
    "suggested_storage app_file app_port base_path fullWidth header short_description models "
    "datasets tags thumbnail pinned license hf_oauth hf_oauth_scopes disable_embedding "
    "startup_duration_timeout custom_headers preload_from_hub".split()
)
COLOURS = set("red yellow green blue indigo purple pink gray".split())
SHORT = 60  # the hub refuses a longer short_description
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TAG = re.compile(r"[\w.-]+")
EMOJI = re.compile("[\U0001f000-\U0001faff\u2600-\u27bf][\ufe0f\u200d\U0001f000-\U0001faff]*")


def problems(readme: str) -> list[str]:
    """Why the hub would not take a README's header for a Gradio Space of this repository."""
    card = SpaceCard(readme)  # ValueError or YAMLError where the hub's own parser cannot read it
    data = card.data
    wrong = [f"unknown key {key}" for key in data.to_dict().keys() - KEYS]

    def check(key: str, holds: Any) -> None:
        value = getattr(data, key, None)
        if not isinstance(value, str) or not holds(value):
            wrong.append(f"{key}: {value!r}")

    check("title", str.strip)
    check("emoji", EMOJI.fullmatch)
    check("colorFrom", COLOURS.__contains__)
    check("colorTo", COLOURS.__contains__)
    check("sdk", "gradio".__eq__)
    check("app_file", lambda name: (ROOT / name).is_file())
    check("short_description", lambda told: 0 < len(told) <= SHORT)
    check("license", lambda name: (ROOT / "LICENSE").read_text().startswith(f"{name.upper()} "))
    # A text of three numbers; bare 3.10 in YAML is the number 3.1.
    check("sdk_version", lambda v: re.fullmatch(r"\d+\.\d+\.\d+", v) and gradio().contains(v))
    check("python_version", lambda v: re.fullmatch(r"3\.\d+(\.\d+)?", v) and python().contains(v))
    for key, fits in (
        ("datasets", HUB_ID.fullmatch),
        ("models", HUB_ID.fullmatch),
        ("tags", TAG.fullmatch),
    ):
        values = getattr(data, key) or []
        if not isinstance(values, list) or not all(isinstance(v, str) and fits(v) for v in values):
            wrong.append(f"{key}: {values!r}")
    return wrong


def gradio() -> SpecifierSet:
    """The releases of gradio that requirements.txt takes."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return next(one.specifier for one in wanted if one.name == "gradio")


def python() -> SpecifierSet:
    """The Pythons that the package takes."""
    return SpecifierSet(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    )


def test_the_header_is_a_gradio_space() -> None:
    assert problems((ROOT / "README.md").read_text("utf-8")) == []


@pytest.mark.parametrize(
    "key, value",
    [
        ("title", '""'),
        ("emoji", "magnifier"),
        ("colorFrom", "orange"),
        ("colorTo", '"#ffcc00"'),
        ("sdk", "streamlit"),
        ("sdk", None),
        ("sdk_version", "5.49.1"),
        ("sdk_version", "6.31"),
        ("python_version", "3.12"),
        ("python_version", '"3.10"'),
        ("python_version", '"3.14"'),
        ("app_file", "main.py"),
        ("license", "apache-2.0"),
        (
            "short_description",
            "Which words of a prompt made this picture, how sure, where and why?",
        ),
        ("datasets", "\n  - diffusiondb"),
        ("tags", "\n  - 42"),
        ("colourFrom", "indigo"),
    ],
)
def test_a_wrong_header_is_noticed(key: str, value: str | None) -> None:
    """The shipped header with one line changed, dropped or added."""
    readme = (ROOT / "README.md").read_text("utf-8")
    line = "" if value is None else f"{key}: {value}\n"
    changed, count = re.subn(rf"^{key}:.*\n((  ).*\n)*", line, readme, count=1, flags=re.MULTILINE)
    if not count:
        changed = readme.replace("---\n", f"---\n{line}", 1)
    assert any(key in problem for problem in problems(changed))


@pytest.mark.parametrize("header", ["title: [", "title: a: b", "- title"])
def test_a_header_that_the_hub_cannot_read_is_refused(header: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        problems(f"---\n{header}\n---\n")


@pytest.mark.parametrize("readme", ["# No header\n", "\n# Late\n---\ntitle: late\n---\n"])
def test_a_missing_header_is_noticed(readme: str) -> None:
    assert len(problems(readme)) >= 8


def steps(text: str) -> list[tuple[str, str]]:
    """A Dockerfile's instructions and what follows them, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


STEPS = steps((ROOT / "Dockerfile").read_text("utf-8"))


def copies() -> list[tuple[str, str]]:
    """(source, target) of every COPY."""
    pairs = []
    for name, rest in STEPS:
        if name == "COPY":
            *sources, target = [part for part in shlex.split(rest) if not part.startswith("--")]
            pairs += [(source, target) for source in sources]
    return pairs


def sent(path: str) -> bool:
    """Whether .dockerignore lets a file reach the builder; the last rule that fits counts."""
    goes = True
    parents = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        rule = line.strip().rstrip("/")
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!")
        anywhere = pattern.removeprefix("**/")
        if any(
            fnmatch.fnmatch(part.rpartition("/")[2], anywhere)
            if anywhere != pattern
            else fnmatch.fnmatch(part, pattern) and part.count("/") == pattern.count("/")
            for part in parents
        ):
            goes = rule.startswith("!")
    return goes


def test_the_container_runs_as_a_visitor() -> None:
    names = [name for name, _ in STEPS]
    users = [rest for name, rest in STEPS if name == "USER"]
    assert users and not {"root", "0"} & {user.partition(":")[0] for user in users}
    made = [rest for name, rest in STEPS if name == "RUN" and "useradd" in rest]
    assert "--uid 1000" in made[0] and made[0].split()[-1] == users[-1]
    assert names.index("USER") < names.index("CMD")
    # Nothing is installed or written after the rights are given up, nor fetched by the page.
    assert not {"RUN", "COPY", "ADD"} & set(names[names.index("USER") :])


def test_the_base_is_small_and_a_python_we_take() -> None:
    name, base = STEPS[0]
    # By digest: a tag is moved to another image whenever its makers build it anew.
    version = re.fullmatch(r"python:(3\.\d+)\.\d+-slim@sha256:[0-9a-f]{64}", base)[1]
    assert name == "FROM" and python().contains(version)
    # Python of the Space and of the container are one.
    assert SpaceCard((ROOT / "README.md").read_text("utf-8")).data.python_version == version


def test_requirements_are_a_layer_of_their_own() -> None:
    install = next(n for n, (_, rest) in enumerate(STEPS) if "pip install" in rest)
    assert STEPS[install][0] == "RUN" and "--no-cache-dir" in STEPS[install][1]
    before = [rest.split()[0] for name, rest in STEPS[:install] if name == "COPY"]
    assert before == ["requirements.lock"]


def test_the_container_installs_the_lock_by_hash_and_nothing_else() -> None:
    installs = [rest for name, rest in STEPS if "install" in rest]
    assert len(installs) == 1
    for option in ("--require-hashes", "--no-deps", "--only-binary :all:", "-r requirements.lock"):
        assert option in installs[0]


def test_only_what_the_page_needs_is_sent() -> None:
    for source, _ in copies():
        assert (ROOT / source).exists() and sent(source.rstrip("/")), source
    for path in (
        "README.md tests/test_docs.py docs/api.md .git/HEAD .venv/bin/python runs/gaze/model.keras "
        "prepared/main/shard.npz scripts/evaluate.py img2prompt/ui/__pycache__/map.pyc "
        "requirements-dev.txt"
    ).split():
        assert not sent(path), path
    assert sent("img2prompt/ui/batch/batch.css") and sent("assets/gaze.keras")


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The address of the page, run as the container runs it from what the Dockerfile copies."""
    folder = tmp_path_factory.mktemp("container")
    for source, target in copies():
        place = folder / target
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source,
                place,
                ignore=lambda at, names: [
                    name for name in names if not sent(str((Path(at) / name).relative_to(ROOT)))
                ],
            )
        else:
            shutil.copy(ROOT / source, place if place.name == Path(source).name else folder)
    environment: dict[str, str] = {}
    for name, rest in STEPS:
        if name == "ENV":
            environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
    assert environment["GRADIO_SERVER_NAME"] == "0.0.0.0"
    assert environment["GRADIO_SERVER_PORT"] == "7860"
    port = browser_kit.free_port()
    environment |= {"GRADIO_SERVER_PORT": str(port), "PYTHONPATH": ""}
    command = json.loads(next(rest for name, rest in STEPS if name == "CMD"))
    assert command[0] == "python"
    with browser_kit.running([sys.executable, *command[1:]], port, folder, environment) as url:
        yield url


def test_what_is_copied_suffices(container: str) -> None:
    client = Client(container, verbose=False, httpx_kwargs={"timeout": PATIENCE})
    answer = client.predict(handle_file(browser_kit.EXAMPLE), api_name="/predict")
    assert answer["words"][0]["word"] == "dragon"


def test_the_health_check_tells_a_live_page_from_a_dead_one(container: str) -> None:
    told = next(rest for name, rest in STEPS if name == "HEALTHCHECK")
    command = json.loads(told[told.index("CMD") + 3 :])
    assert command[:2] == ["python", "-c"]

    def healthy(port: int) -> bool:
        environment = os.environ | {"GRADIO_SERVER_PORT": str(port)}
        script = [sys.executable, *command[1:]]
        return subprocess.run(script, stderr=subprocess.DEVNULL, env=environment).returncode == 0

    # A host may give the page another port than the image's own.
    assert healthy(urlsplit(container).port)
    assert not healthy(browser_kit.free_port())
