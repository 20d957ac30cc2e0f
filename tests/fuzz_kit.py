"""Fuzzing: inputs near to real ones, thrown at one door of the house for a fixed time.

Hypothesis makes the inputs and, where one is a finding, cuts it down to a small one. A finding is
anything but an answer or one sentence (`UserError`): another exception, a missing answer, or
seconds of work for a few bytes. Its bytes are kept in `tests/fuzz/FAMILY/`, and `test_fuzz.py`
replays every file there. `scripts/dev/fuzz.py` runs all families by the clock.
"""

import dataclasses
import hashlib
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from img2prompt.core.errors import UserError

KEPT = Path(__file__).resolve().parent / "fuzz"
SLOW = 5.0  # seconds of processor time; ordinary inputs of these sizes take milliseconds
ROUND = 200  # inputs between two looks at the clock
ANSWER, SENTENCE = "answers", "sentences"


@dataclass(frozen=True)
class Family:
    """One kind of input and the door that takes it.

    Attributes:
        name: also of its folder of kept findings.
        door: what is called, for the report.
        inputs: makes inputs, as the bytes that are kept.
        check: takes one; returns when it was answered, raises `UserError` with the sentence, and
            anything else for a finding.
        start: called before the first input, for what takes time.
    """

    name: str
    door: str
    inputs: st.SearchStrategy[bytes]
    check: Callable[[bytes], None]
    start: Callable[[], object] = bool

    def kept(self) -> list[Path]:
        """The findings of earlier runs."""
        return sorted(path for path in (KEPT / self.name).glob("*") if path.is_file())


@dataclass
class Result:
    """What a run of one family came to."""

    family: str
    door: str
    seed: int
    seconds: float = 0.0
    inputs: int = 0
    answers: int = 0
    sentences: int = 0
    findings: dict[str, str] = field(default_factory=dict)  # kept file → what happened

    def to_dict(self) -> dict:
        """JSON-ready."""
        return dataclasses.asdict(self) | {"seconds": round(self.seconds)}


def outcome(family: Family, data: bytes) -> str:
    """`ANSWER` or `SENTENCE`.

    Raises:
        AssertionError: slow, or a sentence that is none.
        Exception: whatever the door let through.
    """
    started = time.process_time()
    try:
        family.check(data)
        what = ANSWER
    except UserError as error:
        sentence = str(error)
        assert is_sentence(sentence), f"no sentence: {sentence!r}"
        what = SENTENCE
    took = time.process_time() - started
    assert took < SLOW, f"took {took:.1f} s for {len(data)} bytes"
    return what


def is_sentence(told: object) -> bool:
    """Whether an error is told as house style has it: a text, one line, no traceback, an end."""
    return (
        isinstance(told, str)
        and "\n" not in told.strip()
        and "Traceback" not in told
        and told.strip().endswith((".", "?", "!", ")"))
        and len(told) < 1_000
    )


def run(
    family: Family, seconds: float, seed: int = 0, keep: Path = KEPT, rounds: float = math.inf
) -> Result:
    """Throw inputs for some seconds, or rounds; findings are written below `keep`.

    Each round has a seed of its own, so a run with the same seed throws the same inputs, as many
    as the time allows. A kind of finding (the exception's type and where it was raised) is kept
    once.
    """
    family.start()
    result = Result(family.name, family.door, seed)
    started = time.monotonic()
    known: set[str] = set()
    number = 0
    while number < rounds and (left := seconds - (time.monotonic() - started)) > 0:
        _round(family, seed + number, result, known, keep, left)
        number += 1
    result.seconds = time.monotonic() - started
    return result


def _round(
    family: Family, seed: int, result: Result, known: set[str], keep: Path, seconds: float
) -> None:
    counts: Counter[str] = Counter()
    smallest: list[tuple[bytes, str, str]] = []
    end = time.monotonic() + seconds

    @hypothesis.seed(seed)
    @settings(
        max_examples=ROUND,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.quiet,
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(family.inputs)
    def throw(data: bytes) -> None:
        if time.monotonic() > end and not smallest:
            return
        try:
            counts[outcome(family, data)] += 1
        except Exception as error:
            kind = _kind(error)
            if kind in known:
                return
            smallest.append((data, kind, f"{type(error).__name__}: {error}"))
            raise

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of damaged metadata
            throw()
    except Exception:
        if not smallest:
            raise  # not the door's but ours
        # Hypothesis ends with the smallest input that it found.
        data, kind, told = smallest[-1]
        known.add(kind)
        folder = keep / family.name
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()[:12]
        (folder / name).write_bytes(data)
        result.findings[f"{family.name}/{name}"] = told[:300]
    result.answers += counts[ANSWER]
    result.sentences += counts[SENTENCE]
    result.inputs += counts.total() + len(smallest)


def _kind(error: Exception) -> str:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else ""
    # Our own assertions stand in one line for many faults, so their text counts too.
    told = str(error)[:60] if isinstance(error, AssertionError) else ""
    return f"{type(error).__name__} {where} {told}"
