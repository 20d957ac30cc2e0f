"""`prepare_data.py` and `train_embedding.py` as commands: what they write, print and refuse."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import ROOT
from waiting import PATIENCE

from img2prompt.data.shards import read_shards
from img2prompt.embedding.vectors import WordVectors


def command(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        timeout=PATIENCE,
    )


def messages(done: subprocess.CompletedProcess) -> list[str]:
    """The lines on stderr without progress bars and the log's lines, which begin with the time."""
    lines = done.stderr.replace("\r", "\n").split("\n")
    passing = re.compile(r"\d\d:\d\d:\d\d |.*%\||corpus: [\d.k]+ prompts \[")
    return [line for line in lines if line.strip() and not passing.match(line)]


def assert_refused(done: subprocess.CompletedProcess, *mentions: str) -> None:
    assert done.returncode == 2, done.stderr
    (line,) = messages(done)
    assert line.startswith("error: ")
    for mention in mentions:
        assert mention in line
    assert done.stdout == ""


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Enough prompts for a small vocabulary, one of them in every split."""
    subjects = "dog cat castle forest robot dragon".split()
    lines = [f"a {subjects[i % 6]} in oil, detailed painting {i}" for i in range(120)]
    path = tmp_path / "prompts.parquet"
    pq.write_table(pa.table({"prompt": lines}), path)
    return path


# --- prepare_data -------------------------------------------------------------------------------


def test_prepare_data_writes_shards_and_a_report(diffusiondb_folder: Path, tmp_path: Path) -> None:
    arguments = ("--data", diffusiondb_folder, "--out", tmp_path / "out", "--size", 32)
    done = command("prepare_data.py", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert messages(done) == []
    assert "pictures kept" in done.stdout and "skipped: blurred" in done.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    shards = {f"part-00000{n}.{suffix}" for n in (1, 2) for suffix in ("npy", "parquet")}
    files = {"settings.json", "report.json", "report.html", "skipped.jsonl"}
    assert names == shards | files
    assert len(read_shards(tmp_path / "out")) == 16
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["pictures"] == 16 and report["settings"]["size"] == 32
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "Prepared data" in page and "a red fox, snow" in page


def test_prepare_data_takes_filters_and_says_what_they_left_out(
    diffusiondb_folder: Path, tmp_path: Path
) -> None:
    done = command(
        "prepare_data.py",
        *("--data", diffusiondb_folder, "--out", tmp_path / "out", "--size", 32),
        *("--keep-blurred", "--min-size", 10, "--min-words", 5, "--max-words", 60),
        *("--languages", "en, de", "--max-per-prompt", 1, "--max-per-user", 12, "--workers", 2),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    # Both foxes, the castles and the blurred one have fewer words.
    assert "skipped: too short" in done.stdout and "skipped: cap per user" in done.stdout
    report = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["pictures"] == 12
    assert (
        report["settings"]
        | {
            "keep_blurred": True,
            "min_size": 10,
            "min_words": 5,
            "max_words": 60,
            "languages": ["de", "en"],
            "max_per_prompt": 1,
            "max_per_user": 12,
        }
        == report["settings"]
    )


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        (["--languages", "en,klingon"], "klingon"),
        (["--max-words", 0], "--max-words"),
        (["--max-per-prompt", -1], "--max-per-prompt"),
        (["--workers", 0], "workers"),
    ],
)
def test_prepare_data_refuses_impossible_options_in_one_line(
    diffusiondb_folder: Path, tmp_path: Path, arguments: list, mention: str
) -> None:
    out = tmp_path / "out"
    given = ("--data", diffusiondb_folder, "--out", out, *arguments)
    assert_refused(command("prepare_data.py", *given, cwd=tmp_path), mention)
    assert not out.exists()


def missing_folder(folder: Path) -> list[str]:
    folder.rename(folder.with_name("elsewhere"))
    return [str(folder)]


def empty_folder(folder: Path) -> list[str]:
    missing_folder(folder)
    folder.mkdir()
    return ["images/part-*.zip"]


def wrong_columns(folder: Path) -> list[str]:
    table = pa.table({"file": ["a.png"], "nsfw": [0.5]})
    pq.write_table(table, folder / "metadata.parquet")
    return ["metadata.parquet", "image_name, image_nsfw, prompt_nsfw", "file, nsfw"]


def no_parquet(folder: Path) -> list[str]:
    (folder / "metadata.parquet").write_text("image_name,prompt\n")
    return ["metadata.parquet"]


def damaged_zip(folder: Path) -> list[str]:
    part = folder / "images" / "part-000002.zip"
    part.write_bytes(part.read_bytes()[:-40])
    return ["part-000002.zip"]


@pytest.mark.parametrize(
    "damage", [missing_folder, empty_folder, wrong_columns, no_parquet, damaged_zip]
)
def test_prepare_data_refuses_bad_input_in_one_line(
    diffusiondb_folder: Path, tmp_path: Path, damage
) -> None:
    mentions = damage(diffusiondb_folder)
    out = tmp_path / "out"
    arguments = ("--data", diffusiondb_folder, "--out", out, "--size", 32)
    done = command("prepare_data.py", *arguments, cwd=tmp_path)
    assert_refused(done, *mentions)
    if damage is damaged_zip:  # what was whole stays, and nothing else
        left = {"settings.json", "part-000001.npy", "part-000001.parquet"}
        left |= {"report.json", "skipped.jsonl"}
        assert {path.name for path in out.iterdir()} == left
        assert len(read_shards(out)) == 10
    else:
        assert not out.exists()


def test_prepare_data_refuses_bad_settings(diffusiondb_folder: Path, tmp_path: Path) -> None:
    data = ("--data", diffusiondb_folder, "--out", tmp_path / "out")
    assert_refused(command("prepare_data.py", *data, "--size", 4, cwd=tmp_path), "32…1024")
    assert not (tmp_path / "out").exists()
    done = command("prepare_data.py", *data, "--fit", "squeeze", cwd=tmp_path)
    assert done.returncode == 2 and "--fit" in done.stderr  # argparse's own


# --- train_embedding ----------------------------------------------------------------------------


def test_train_embedding_writes_vectors_exports_and_a_report(tmp_path: Path, prompts: Path) -> None:
    (tmp_path / "more.txt").write_text("a dragon by night\n" * 3, encoding="utf-8")
    out = tmp_path / "out" / "embedding.npz"
    done = command(
        "train_embedding.py",
        *("--prompts", prompts, tmp_path / "more.txt", "--out", out),
        *("--epochs", 2, "--dimensions", 9, "--min-count", 4, "--export", "text"),
        *("--workers", "all"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert messages(done) == []
    assert "vocabulary:" in done.stdout and "odd one out:" in done.stdout
    vectors = WordVectors.load(out)
    assert "dragon" in vectors and "night" not in vectors and vectors.dimensions == 9
    report = json.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))
    assert report["fingerprint"] == vectors.fingerprint and report["words"] == len(vectors)
    assert report["corpus"]["test_prompts"] > 0 and report["corpus"]["repeated"] >= 2
    assert "dog" in report["neighbours"]
    last = [line for line in done.stderr.splitlines() if "training:" in line][-1]
    assert re.search(r"[\d,]+ words/s, epoch 2 of 2 is over, 100.0 % done, 0.00 hours to go", last)
    names = {path.name for path in out.parent.iterdir()}
    assert names == {"embedding.npz", "embedding.report.json", "embedding.w2v.txt"}


def no_prompts(folder: Path) -> list[str]:
    (folder / "prompts.parquet").unlink()
    return ["prompts.parquet"]


def other_columns(folder: Path) -> list[str]:
    pq.write_table(pa.table({"text": ["a dog"]}), folder / "prompts.parquet")
    return ["prompts.parquet", "lacks the column prompt", "text"]


def text_as_parquet(folder: Path) -> list[str]:
    (folder / "prompts.parquet").write_text("a dog\n" * 100)
    return ["prompts.parquet", "not a parquet file"]


def too_few_prompts(folder: Path) -> list[str]:
    pq.write_table(pa.table({"prompt": ["a dog", "a cat"]}), folder / "prompts.parquet")
    return ["more prompts"]


@pytest.mark.parametrize("damage", [no_prompts, other_columns, text_as_parquet, too_few_prompts])
def test_train_embedding_refuses_bad_input_in_one_line(
    tmp_path: Path, prompts: Path, damage
) -> None:
    mentions = damage(tmp_path)
    out = tmp_path / "out" / "embedding.npz"
    done = command("train_embedding.py", "--prompts", prompts, "--out", out, cwd=tmp_path)
    assert_refused(done, *mentions)
    assert not out.parent.exists()


def test_train_embedding_refuses_a_folder_to_write_to(tmp_path: Path, prompts: Path) -> None:
    done = command("train_embedding.py", "--prompts", prompts, "--out", tmp_path, cwd=tmp_path)
    assert_refused(done, "folder")
    assert "epoch" not in done.stderr  # before the long training, not after it
