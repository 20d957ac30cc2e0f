"""The examples of docs/api.md, run against the page as they stand there."""

import json
import re
import shutil
import subprocess
import sys
from typing import Any

import browser_kit
import httpx
from paths import ROOT
from pydantic import ConfigDict, TypeAdapter
from waiting import PATIENCE

DOCUMENT = (ROOT / "docs" / "api.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:7860/"


def example(title: str, address: str) -> str:
    """The first code block under a heading, with the page's address put in."""
    part = DOCUMENT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    code = re.search(r"```\w+\n(.*?)```", part, re.DOTALL)[1]
    assert ADDRESS in code
    return code.replace(ADDRESS, address)


def run(command: list[str], code: str) -> str:
    """What the code prints, fed to a command in the repository's root."""
    done = subprocess.run(
        command, input=code, capture_output=True, text=True, timeout=PATIENCE, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_example_runs(address: str) -> None:
    printed = run([sys.executable, "-"], example("Python", address)).splitlines()
    assert printed[0].startswith("dragon: 0.")
    assert all(re.fullmatch(r"\w+: 0\.\d\d", line) for line in printed[:5])
    assert any(line.startswith("found: dragon") for line in printed)
    near = next(line for line in printed if line.startswith("near castle: "))
    assert len(near.split()) == 12
    assert any(re.fullmatch(r"portrait . painting \+ photo = \w+", line) for line in printed)
    alike = next(line for line in printed if line.startswith("alike: "))
    assert -1 <= float(alike.split()[1]) < 1
    assert printed[-2:] == ["01-dragon.jpg False", "02-train.jpg False"]


def test_the_types_of_the_python_example_are_the_answers(address: str) -> None:
    """Every answer has the keys and the types that the example says, and no others."""
    names: dict[str, Any] = {}
    exec(compile(example("Python", address), "docs/api.md", "exec"), names)
    for kind in [value for value in names.values() if isinstance(value, type)]:
        if hasattr(kind, "__total__"):
            kind.__pydantic_config__ = ConfigDict(extra="forbid")
    for name, kind in names["__annotations__"].items():
        # By way of JSON, for pairs are lists there.
        TypeAdapter(kind).validate_json(json.dumps(names[name]), strict=True)


def test_the_curl_example_runs(address: str) -> None:
    if shutil.which("curl") is None:
        browser_kit.skip_or_fail("curl is not installed (apt install curl)")
    printed = run(["bash", "-euo", "pipefail"], example("curl", address))
    assert printed.count("event: complete") == 2
    predicted, solved = [
        json.loads(line.removeprefix("data: "))[0]
        for line in printed.splitlines()
        if line.startswith("data: ")
    ]
    assert predicted["words"][0]["word"] == "dragon" and len(predicted["words"]) == 3
    assert len(solved["results"]) == 10


def test_the_table_has_every_endpoint_its_arguments_and_defaults(address: str) -> None:
    told = {}
    for name, takes in re.findall(r"^\| `(/\w+)` \| (.*?) \|", DOCUMENT, re.MULTILINE):
        told[name] = dict(re.findall(r"`(\w+)`(?: = (\S+?))?(?:,|$)", takes))
    named = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"]
    real = {
        name: {
            one["parameter_name"]: json.dumps(one["parameter_default"])
            if one["parameter_default"] is not None
            else ""
            for one in endpoint["parameters"]
        }
        for name, endpoint in named.items()
    }
    assert told == real


def test_a_mistake_is_an_error_event(address: str) -> None:
    page = f"{address}gradio_api/call/arithmetic"
    event = httpx.post(page, json={"data": ["castle +"]}).json()["event_id"]
    said = httpx.get(f"{page}/{event}").text
    assert said.startswith("event: error\ndata: ")
    assert json.loads(said.splitlines()[1].removeprefix("data: "))["error"].endswith(".")
