"""The documents say what the files of the repository say."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def table_of_the_report() -> str:
    """The first table of docs/evaluation.md and the ratios below it."""
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    return text[text.index("| system |") : text.index("## F1@10 by source")].strip()


@pytest.mark.parametrize("name", ["README.md", "MODEL_CARD.md"])
def test_quoted_figures_are_the_reports(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    quoted = re.search(r"<!-- evaluation -->\n(.*?)<!-- /evaluation -->", text, re.DOTALL)
    assert quoted and quoted[1].strip() == table_of_the_report()


def test_the_report_is_of_the_shipped_files() -> None:
    from img2prompt.embedding import WordVectors

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


def test_front_matter_is_what_a_space_reads() -> None:
    from huggingface_hub import SpaceCardData, repocard

    card = repocard.RepoCard.load(ROOT / "README.md", ignore_metadata_errors=False)
    data = SpaceCardData(**card.data.to_dict())
    assert data.sdk == "gradio"
    assert data.app_file == "app.py" and (ROOT / data.app_file).exists()
    assert data.python_version == "3.12"
    assert data.license == "mit"
    assert data.datasets == ["poloclub/diffusiondb"]
    assert len(data.short_description) <= 60
    requirement = (ROOT / "requirements.txt").read_text()
    assert f"gradio>={'.'.join(data.sdk_version.split('.')[:2])}," in requirement


def test_links_inside_the_repository_lead_somewhere() -> None:
    for name in ("README.md", "MODEL_CARD.md", "CONTRIBUTING.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_the_shipped_models_are_small_enough() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "assets").rglob("*") if path.is_file()]
    assert sum(sizes) < 150 * 2**20
    assert (ROOT / "assets" / "gaze.keras").stat().st_size < 60 * 2**20
