"""The documents say what the files of the repository say."""

import copy
import csv
import functools
import json
import re
from pathlib import Path

import ablate
import pytest
import update_docs
from paths import ROOT

from img2prompt.evaluation import tables


@functools.cache
def reports() -> dict:
    """What evaluate.py, ablate.py, fuzz.py and reliability.py measured."""
    return update_docs.read_reports(ROOT / "docs")


@pytest.mark.parametrize(
    "name",
    [
        *("README.md", "MODEL_CARD.md", "docs/results.md"),
        *("docs/why-the-original-failed.md", "docs/reliability.md"),
    ],
)
def test_quoted_figures_are_the_reports(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "<!-- " in text
    assert update_docs.fill(text, reports()) == text, "run scripts/dev/update_docs.py"


def test_a_block_is_filled_and_what_lies_around_it_stays() -> None:
    text = "before\n<!-- evaluation -->\nold\n<!-- /evaluation -->\nafter\n"
    filled = update_docs.fill(text, reports())
    assert filled.startswith("before\n<!-- evaluation -->\n| system |")
    assert filled.endswith("<!-- /evaluation -->\nafter\n") and "old" not in filled
    assert update_docs.fill(filled, reports()) == filled
    with pytest.raises(KeyError):
        update_docs.fill("<!-- nothing -->\n<!-- /nothing -->", reports())


def test_the_reports_are_the_pages_beside_them() -> None:
    page = (ROOT / "docs" / "ablations.md").read_text(encoding="utf-8")
    assert page == ablate.markdown(reports()["ablations"])
    for name in ("evaluation", "held-out-sources"):
        page = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        assert page == tables.page(reports()[name])


def test_a_page_explains_the_columns_that_it_has() -> None:
    figures = copy.deepcopy(reports()["evaluation"])
    system = figures["systems"][-1]
    system["subjects"] = {"named": 3, "pictures": 17}
    page = tables.page(figures)
    assert "*Subject in 3*" in page and "*Generic*" not in page
    system |= {"generic": 0.2, "specific_3": 0.1, "specific_5": 0.1}
    assert "*Subject in 3*" in (page := tables.page(figures)) and "*Generic*" in page


def test_figures_are_drawn_from_the_reports(tmp_path: Path) -> None:
    """The same reports give the same figures, and other reports others."""
    from figures import draw_all

    histories = {
        path.stem: list(csv.DictReader(path.open()))
        for path in (ROOT / "docs/history").glob("*.csv")
    }
    drawn = draw_all(histories, reports(), tmp_path / "a")
    assert {path.name for path in drawn} == {p.name for p in (ROOT / "docs/figures").glob("*.svg")}
    again = draw_all(histories, reports(), tmp_path / "b")
    assert [p.read_bytes() for p in drawn] == [p.read_bytes() for p in again]
    changed = json.loads(json.dumps(reports()))
    for row in changed["ablations"]["rows"]:
        row["abroad"]["f1"] /= 2
    other = draw_all(histories, changed, tmp_path / "c")
    differing = [
        a.name for a, b in zip(drawn, other, strict=True) if a.read_bytes() != b.read_bytes()
    ]
    assert differing == ["steps.svg"]


def test_the_report_is_of_the_shipped_files() -> None:
    from img2prompt.embedding.vectors import WordVectors

    report = json.loads((ROOT / "docs" / "evaluation.json").read_text(encoding="utf-8"))
    assert report["embedding"] == WordVectors.load(ROOT / "assets" / "embedding.npz").fingerprint
    manifest = json.loads((ROOT / "assets" / "manifest.json").read_text(encoding="utf-8"))
    for row in report["systems"]:
        entry = manifest["files"].get(f"{row['name']}.keras")
        if entry:
            assert entry["figures"]["f1"] == row["f1"]
    assert {"constant", "knn", "notebook", "original", "gaze"} <= {
        row["name"] for row in report["systems"]
    }


def test_links_inside_the_repository_lead_somewhere() -> None:
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


def test_the_readme_is_short_and_starts_with_a_picture() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert "\n|" not in text[: text.index("![")]


def test_the_index_lists_every_document() -> None:
    listed = re.findall(r"^\| \[.*?\]\((.*?)\)", (ROOT / "docs/README.md").read_text("utf-8"), re.M)
    documents = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").glob("*.md")}
    documents |= {f"../{path.name}" for path in ROOT.glob("*.md")}
    assert sorted(listed) == sorted(documents - {"README.md", "../README.md"})


@pytest.mark.parametrize("name", ["SECURITY.md", "docs/hosting.md", "docs/api.md"])
def test_documents_tell_the_limits_that_hold(name: str) -> None:
    """Every number beside these words is the one in the code."""
    from img2prompt.data import images
    from img2prompt.ui.server import arguments, gate, receive, uploads

    kept = (uploads.MAX_AGE + uploads.SWEEP_SECONDS) / 60
    told = {
        r"([\d,]+) MiB of JSON|JSON is limited to ([\d,]+) MiB": gate.JSON_BYTES / 2**20,
        r"JSON of a call has at most ([\d,]+) MiB": gate.JSON_BYTES / 2**20,
        r"([\d,]+) MiB for MCP|MCP to ([\d,]+) MiB|of MCP ([\d,]+) MiB": gate.MCP_BYTES / 2**20,
        r"and ([\d,]+) levels": gate.MAX_DEPTH,
        r"one argument may have ([\d,]+)": arguments.MAX_DEPTH,
        r"([\d,]+) MB a file|a file to ([\d,]+) MB": images.MAX_BYTES / 2**20,
        r"form (?:of|to) ([\d,]+) files": receive.MAX_FILES,
        r"stalls for ([\d,]+) seconds": receive.IDLE_SECONDS,
        r"slower than ([\d,]+) kB": receive.SLOWEST / 1000,
        r"takes ([\d,]+) minutes": receive.LONGEST / 60,
        r"([\d,]+) files and 2 GB|2 GB and ([\d,]+) files of a client": uploads.CLIENT_FILES,
        r"files and ([\d,]+) GB at a time|takes ([\d,]+) GB and": uploads.CLIENT_BYTES / 2**30,
        r"([\d,]+) files and 8 GB|8 GB and ([\d,]+) files": uploads.ALL_FILES,
        r"within ([\d,]+) minutes": kept,
        r"at most (\d+) MB and": images.MAX_BYTES / 2**20,
        r"longer side at most ([\d,]+)": images.MAX_SIDE,
    }
    text = " ".join((ROOT / name).read_text(encoding="utf-8").split())
    seen = 0
    for pattern, right in told.items():
        for found in re.finditer(pattern, text):
            number = next(group for group in found.groups() if group is not None)
            assert float(number.replace(",", "")) == right, (name, found[0])
            seen += 1
    assert seen >= 4


def test_examples_are_small_carry_their_prompt_and_are_described_in_every_language() -> None:
    from img2prompt.core.texts import languages
    from img2prompt.data.file_prompts.reading import read_making
    from img2prompt.data.images import open_image
    from img2prompt.inference.examples import load_examples

    folder = ROOT / "assets"
    english = load_examples(folder)
    assert {e.path.name for e in english} == {p.name for p in (folder / "examples").glob("*.jpg")}
    for example in english:
        assert example.path.stat().st_size <= 120_000
        assert open_image(example.path).size == (512, 512)
        reading = read_making(example.path)
        assert reading.state == "found" and reading.told.prompt == example.prompt
    for language in set(languages()) - {"en"}:
        for one, other in zip(english, load_examples(folder, language), strict=True):
            assert one.title != other.title and one.alt != other.alt


def test_the_shipped_models_are_small_enough() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "assets").rglob("*") if path.is_file()]
    assert sum(sizes) < 150 * 2**20
    assert (ROOT / "assets" / "gaze.keras").stat().st_size < 60 * 2**20
