"""Every finding of earlier fuzzing stays mended, and a few fixed seconds find no new one."""

from collections.abc import Iterator
from pathlib import Path

import fuzz_kit
import pytest
from fuzz_api import FAMILY as API
from fuzz_families import FAMILIES
from fuzz_kit import Family, outcome, run
from hypothesis import given, settings
from hypothesis import strategies as st

from img2prompt.core.errors import UserError

ALL = FAMILIES | {API.name: API}
# The same inputs on every machine; scripts/dev/fuzz.py throws others for longer.
EXAMPLES = {"pictures": 150, "metadata": 60, "archives": 30, "parts": 30, "artifacts": 60}


def kept() -> Iterator[tuple[Family, Path]]:
    for family in ALL.values():
        for path in family.kept():
            yield family, path


@pytest.mark.parametrize("family, path", kept(), ids=lambda value: getattr(value, "name", None))
@pytest.mark.filterwarnings("ignore")
def test_a_finding_stays_mended(family: Family, path: Path) -> None:
    family.start()
    outcome(family, path.read_bytes())


@pytest.mark.parametrize("family", ALL.values(), ids=list(ALL))
@pytest.mark.filterwarnings("ignore")
def test_near_misses_are_answers_or_sentences(family: Family) -> None:
    family.start()

    @settings(max_examples=EXAMPLES.get(family.name, 100), deadline=None, derandomize=True)
    @given(family.inputs)
    def throw(data: bytes) -> None:
        outcome(family, data)

    throw()


def test_kept_findings_are_small() -> None:
    for _, path in kept():
        assert path.stat().st_size < 20_000, path


def family_of(check: object) -> Family:
    return Family("made", "a door", st.binary(max_size=50), check)


def test_a_fault_is_found_cut_down_and_kept_once(tmp_path: Path) -> None:
    def check(data: bytes) -> None:
        if not data:
            raise UserError("images.empty")
        if b"!" in data:
            raise KeyError("a fault")

    result = run(family_of(check), seconds=600, keep=tmp_path, rounds=3)
    assert result.sentences and result.answers
    (place,) = result.findings
    assert (tmp_path / place).read_bytes() == b"!" and "KeyError" in result.findings[place]
    with pytest.raises(KeyError):
        outcome(family_of(check), b"!")
    again = run(family_of(check), seconds=600, keep=tmp_path, rounds=2)
    assert set(again.findings) == {place} and len(list((tmp_path / "made").iterdir())) == 1


@pytest.mark.parametrize(
    "told",
    ["", "no end", "two\nlines.", "Traceback (most recent call last).", "x" * 2_000 + "."],
)
def test_what_is_no_sentence_is_a_finding(told: str) -> None:
    def check(data: bytes) -> None:
        raise UserError(told)

    with pytest.raises(AssertionError, match="no sentence"):
        outcome(family_of(check), b"")
    assert not fuzz_kit.is_sentence(None)


def test_slow_work_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_kit, "SLOW", 0.05)

    def check(data: bytes) -> None:
        sum(range(10_000_000))

    with pytest.raises(AssertionError, match="took"):
        outcome(family_of(check), b"")
