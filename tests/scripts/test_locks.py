"""Lock files: what is installed is what the ranges ask for, by hash, on every machine we take."""

import re
import shutil
from importlib import metadata
from pathlib import Path

import lock
import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

from img2prompt.core.errors import UserError


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The requirements, the locks and pyproject.toml, to be changed."""
    for path in [*ROOT.glob("requirements*"), ROOT / "pyproject.toml"]:
        shutil.copy(path, tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_the_locks_fit_their_ranges_and_one_another() -> None:
    assert lock.problems(ROOT) == []


def test_every_file_of_ranges_is_locked() -> None:
    ranges = {path.name for path in ROOT.glob("requirements*.txt")}
    assert ranges == {name for one in lock.LOCKS for name in one.ranges}
    assert {path.name for path in ROOT.glob("*.lock")} == {one.name for one in lock.LOCKS}


@pytest.mark.parametrize("name", [one.name for one in lock.LOCKS])
def test_every_release_has_hashes_and_no_address(name: str) -> None:
    pins = lock.read_pins(ROOT / name)
    assert pins and all(pin.hashes for pin in pins)
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text


@pytest.mark.parametrize("environment", lock.environments(), ids=lambda e: " ".join(e.values()))
def test_no_machine_gets_two_releases_of_one_package(environment: dict[str, str]) -> None:
    for one in lock.LOCKS:
        names = [pin.name for pin in lock.read_pins(ROOT / one.name) if pin.holds_on(environment)]
        assert len(names) == len(set(names))


def test_one_tensorflow_on_every_machine() -> None:
    pins = lock.read_pins(ROOT / lock.SERVING)
    for environment in lock.environments():
        found = {pin.name for pin in pins if pin.holds_on(environment)}
        light = environment["sys_platform"], environment["platform_machine"]
        expected = "tensorflow-cpu" if light == ("linux", "x86_64") else "tensorflow"
        assert found & {"tensorflow", "tensorflow-cpu"} == {expected}


@pytest.mark.parametrize(
    "file, old, new, told",
    [
        ("requirements.txt", "gensim>=4.4,<5", "gensim>=4.3,<5", "older than its ranges"),
        ("requirements.txt", "pillow>=12.3,<13", "pillow>=13,<14", "has no pillow"),
        ("requirements-dev.txt", "pytest>=9.1,<10", "pytest>=9.1,<9.2", "has no pytest"),
        ("pyproject.toml", "setuptools>=77", "setuptools>=900", "has no setuptools"),
        ("requirements.lock", "numpy==2.4.6", "numpy==2.4.5", "differ in numpy"),
        ("requirements-dev.lock", "ruff==", "tuff==", "has no ruff"),
        ("requirements.lock", "# Ranges: sha256 ", "# Ranges: ", "older than its ranges"),
    ],
)
def test_a_lock_that_does_not_fit_is_noticed(
    copied: Path, file: str, old: str, new: str, told: str
) -> None:
    change(copied / file, old, new)
    assert any(told in problem for problem in lock.problems(copied))


def test_comments_and_order_leave_a_lock_valid(copied: Path) -> None:
    path = copied / "requirements.txt"
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join(["# another comment", *reversed(lines)]), "utf-8")
    assert lock.problems(copied) == []


@pytest.mark.parametrize(
    "line",
    [
        "six==1.17.0",
        "six>=1.17 --hash=sha256:" + "0" * 64,
        "six==1.17.0 --hash=md5:" + "0" * 32,
        "six @ https://example.org/six.whl --hash=sha256:" + "0" * 64,
        "--extra-index-url https://example.org/simple",
        "-r other.txt",
    ],
)
def test_what_is_not_pinned_by_hash_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "requirements.lock"
    path.write_text(line + "\n", "utf-8")
    with pytest.raises(UserError, match=r"requirements\.lock: .*run make lock"):
        lock.read_pins(path)


def here(marker: Marker | None, extra: str = "") -> bool:
    """Whether a marker holds on this machine, for somebody who asked for `extra`."""
    return marker is None or marker.evaluate({"extra": extra})


def recipes() -> str:
    return (ROOT / "Makefile").read_text("utf-8")


def test_make_installs_nothing_but_locks() -> None:
    """Whatever `make` installs is a lock file by hash, or our own package without the network."""
    lines = [line.strip() for line in recipes().splitlines() if line.startswith("\t")]
    installs = [line for line in lines if line.startswith(("$(PIP)", "$(LOCKED)"))]
    assert not [line for line in lines if "pip install" in line]
    own = "$(PIP) --no-deps --no-index --no-build-isolation -e ."
    locked = [line for line in installs if line != own]
    assert len(locked) == len(lock.LOCKS) and installs.count(own) == 1
    for line in locked:
        assert re.fullmatch(r"\$\(LOCKED\) -r requirements(-\w+)?\.lock", line)
    defined = re.search(r"^LOCKED := (.*)$", recipes(), re.MULTILINE)[1]
    assert defined == "$(PIP) --require-hashes --no-deps --only-binary :all:"


def test_the_lock_of_all_holds_what_its_releases_need() -> None:
    """pip is told to look for nothing beyond a lock, so nothing may be missing in it."""
    everything = next(one for one in lock.LOCKS if one.name == lock.ALL)
    pinned = {pin.name: pin.version for pin in lock.read_pins(ROOT / lock.ALL) if here(pin.marker)}
    open_, seen = [one for one in lock.wanted(ROOT, everything) if here(one.marker)], set()
    while open_:
        wanted = open_.pop()
        name = canonicalize_name(wanted.name)
        assert wanted.specifier.contains(pinned[name], prereleases=True), wanted
        needs = [Requirement(line) for line in metadata.requires(name) or ()]
        for extra in {"", *wanted.extras}:
            new = {str(one) for one in needs if here(one.marker, extra)} - seen
            open_ += map(Requirement, new)
            seen |= new


def test_continuous_integration_installs_by_make_alone() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "pip install" not in script and script.rstrip().endswith("make test")


def test_locking_writes_all_locks_and_a_failure_none(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv itself needs the network; what stands around it does not."""

    def resolve(command: list[str], cwd: Path, **options: object) -> object:
        assert cwd == copied and "--generate-hashes" in command
        target = Path(command[command.index("--output-file") + 1])
        kept.append(target.read_text("utf-8") if target.exists() else "")
        target.write_text("six==1.17.0 \\\n    --hash=sha256:" + "0" * 64 + "\n", "utf-8")
        return type("Done", (), {"returncode": failing})

    monkeypatch.setattr(lock.subprocess, "run", resolve)
    before = {one.name: (copied / one.name).read_text("utf-8") for one in lock.LOCKS}
    kept: list[str] = []
    failing = 1
    with pytest.raises(UserError, match=r"could not lock requirements-dev\.lock"):
        lock.make_locks(copied)
    assert {name: (copied / name).read_text("utf-8") for name in before} == before
    failing = 0
    lock.make_locks(copied)
    assert kept[1] == before[lock.ALL]  # so that versions which still fit stay
    for one in lock.LOCKS:
        assert [pin.name for pin in lock.read_pins(copied / one.name)] == ["six"]
        assert lock.digest(copied, one) in (copied / one.name).read_text("utf-8")
    lock.make_locks(copied, upgrade=True)
    assert kept[-1] == ""
    assert not list(copied.glob(".*tmp*"))
