"""The tables of docs/reliability.md, and that promises name tests that are there."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import reliability
from paths import ROOT

from img2prompt.core.errors import UserError

REPORT = json.loads((ROOT / "docs" / "reliability.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "name",
    ["SECURITY.md", "CONTRIBUTING.md"]
    + [
        f"docs/{name}.md"
        for name in ("api", "hosting", "prompts-in-files", "reliability", "training", "usage")
    ],
)
def test_named_tests_and_files_are_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    named = set(re.findall(r"`((?:tests|scripts|img2prompt|docs)/[\w/.]+\.\w+)`", text))
    assert named and not [path for path in sorted(named) if not (ROOT / path).exists()]


def test_every_promise_of_security_names_a_test() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    holds = text.partition("## What holds\n")[2].partition("\n## ")[0]
    promises = re.findall(r"^\*\*(.+?)\*\*(.*?)(?=^\*\*|\Z)", holds, re.MULTILINE | re.DOTALL)
    assert len(promises) >= 8
    for title, told in promises:
        assert "`tests/" in told, title


def test_every_family_has_tests() -> None:
    names = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    for tried in reliability.TRIED:
        assert any(Path(name).match(pattern) for name in names for pattern in tried.files)
    counts = {row["name"]: row["tests"] for row in REPORT["tests"]}
    assert counts.keys() == {*(tried.name for tried in reliability.TRIED), "all tests"}
    assert min(counts.values()) > 0


def test_what_was_measured_is_what_is_promised() -> None:
    assert not [row for row in REPORT["fuzzing"]["families"] if row["findings"]]
    whole = {r["module"]: r for r in REPORT["mutation"]["modules"] if r["mutants"] == r["of"]}
    assert whole.keys() >= {
        "data.text",
        "data.images",
        "data.file_prompts.reading",
        "inference.decoder",
        "inference.predictor",
    }
    for row in whole.values():
        assert row["killed"] / row["mutants"] >= reliability.KILLED, row["module"]
    assert REPORT["coverage"]["percent"] >= reliability.COVERED


def test_tests_are_counted_by_file_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    printed = """
tests/data/test_images.py::test_a[x::y z]
tests/data/test_images.py::test_a_full_disk
tests/data/test_hub_parts.py::test_a_killed_run_goes_on
tests/data/test_text.py::test_words[killed]

4 tests collected in 1.00s
"""
    done: Any = subprocess.CompletedProcess([], 0, printed, "")
    monkeypatch.setattr(reliability.subprocess, "run", lambda *args, **options: done)
    rows = {row["name"]: row["tests"] for row in reliability.count_tests(ROOT)}
    assert rows["all tests"] == 4
    assert rows["pictures: damaged, huge, odd formats and modes"] == 2
    assert rows["killed and resumed"] == 1 and rows["disks that are full"] == 1
    done.returncode = 2
    with pytest.raises(UserError, match="could not collect"):
        reliability.count_tests(ROOT)


def test_mutants_are_counted_by_module() -> None:
    printed = """
    img2prompt.data.text.x_fold__mutmut_1: killed
    img2prompt.data.text.x_fold__mutmut_2: survived
    img2prompt.data.text.x_words__mutmut_1: timeout
    img2prompt.data.text.x_words__mutmut_2: no tests
    img2prompt.data.text.x_words__mutmut_3: not checked
    img2prompt.inference.decoder.xǁDecoderǁrank__mutmut_1: killed
    img2prompt.data.images.x_a__mutmut_1: not checked
"""
    assert reliability.mutants_of(printed) == [
        {"module": "data.text", "of": 5, "mutants": 4, "killed": 2},
        {"module": "inference.decoder", "of": 1, "mutants": 1, "killed": 1},
    ]
    assert reliability.mutants_of("nothing") == []
    block = reliability.mutation_block(
        {
            "mutation": {
                "modules": reliability.mutants_of(printed),
                "made_by": "make mutation",
                "date": "today",
            }
        }
    )
    assert "| inference.decoder | 1 | all | 1 | 100.0% |" in block
    assert "| data.text | 5 | 4 | 2 | 50.0% |" in block


def test_mutants_whose_tests_did_not_run_are_no_noticed_ones(tmp_path: Path) -> None:
    meta = tmp_path / "text.py.meta"
    meta.write_text(
        json.dumps({"exit_code_by_key": {"img2prompt.data.text.x_a__mutmut_1": 1}}), "utf-8"
    )
    reliability.check_started(tmp_path)
    codes = {"img2prompt.data.text.x_a__mutmut_1": 1, "img2prompt.data.text.x_a__mutmut_2": 255}
    meta.write_text(json.dumps({"exit_code_by_key": codes}), "utf-8")
    with pytest.raises(UserError, match=r"of 1 mutants, img2prompt\.data\.text\.x_a__mutmut_2"):
        reliability.check_started(tmp_path)


def test_a_sample_is_drawn_of_modules_that_were_not_tried() -> None:
    names = [f"img2prompt.data.images.x_a__mutmut_{n}" for n in range(1, 30)]
    printed = "img2prompt.data.text.x_b__mutmut_1: killed\n"
    printed += "img2prompt.data.text.x_b__mutmut_2: not checked\n"
    printed += "".join(f"    {name}: not checked\n" for name in names)
    sample = reliability.sample_of(printed, 7)
    assert len(set(sample)) == 7 and set(sample) <= set(names)
    assert sample == reliability.sample_of(printed, 7)  # the same on any machine
    assert sample != reliability.sample_of(printed, 7, seed=1)
    assert sorted(reliability.sample_of(printed, 100)) == sorted(names)


def summary(percent: float, statements: int = 10) -> dict:
    """A file of coverage.py's report."""
    return {"summary": {"percent_covered": percent, "num_statements": statements}}


def test_coverage_is_read_from_its_report(tmp_path: Path) -> None:
    totals = {
        "percent_covered": 93.456,
        "covered_lines": 90,
        "num_statements": 100,
        "covered_branches": 40,
        "num_branches": 50,
    }
    files = {"a.py": summary(99.0), "b.py": summary(50.04), "empty.py": summary(100.0, 0)}
    path = tmp_path / "coverage.json"
    path.write_text(json.dumps({"totals": totals, "files": files}), "utf-8")
    read = reliability.read_coverage(path)
    assert read == {
        "percent": 93.5,
        "lines": [90, 100],
        "branches": [40, 50],
        "lowest": [["b.py", 50.0], ["a.py", 99.0]],
    }
    block = reliability.coverage_block(
        {"coverage": {**read, "made_by": "make coverage", "date": "today"}}
    )
    assert "**93.5 %**" in block and "40 of 50 branches (80.0%)" in block
    for damage in ("", "{}", "no JSON"):
        path.write_text(damage, "utf-8")
        with pytest.raises(UserError, match="make coverage"):
            reliability.read_coverage(path)
    with pytest.raises(UserError, match="make coverage"):
        reliability.read_coverage(tmp_path / "none.json")
