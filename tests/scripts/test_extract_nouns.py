"""WordNet's database files → the nouns around ImageNet's classes."""

import sys
import tarfile
from pathlib import Path

import extract_nouns
import pytest

from img2prompt.core.errors import UserError
from img2prompt.embedding.class_names import read_class_names
from img2prompt.embedding.taxonomy import Noun, read_nouns

# As in wndb(5WN): offset, file, type, words in hexadecimal, each with a number, pointers, gloss.
DATA = """\
  1 This software and database is being provided to you, the LICENSEE, by
00000001 03 n 01 entity 0 000 | all there is
00000002 05 n 02 beast 0 Living_thing 0 001 @ 00000001 n 0000 | what lives
00000003 05 n 01 puppy 0 002 @ 00000002 n 0000 ~ 00000001 n 0000 | a young one
"""
INDEX = """\
  1 This software and database is being provided to you, the LICENSEE, by
beast n 2 1 @ 2 0 00000002 00000009
entity n 1 1 ~ 1 0 00000001
puppy n 1 1 @ 1 0 00000003
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """The classes are beasts, the second half of them in a file of its own; few are anything."""
    folder = tmp_path / "dict"
    folder.mkdir()
    rows = [
        f"{row.synset[1:]} 05 n 01 thing_{number} 0 001 @ "
        f"{'00000002' if number < 300 else '00000001'} n 0000 | one\n"
        for number, row in enumerate(read_class_names())
    ]
    (folder / "data.noun1").write_text(DATA + "".join(rows[:500]), encoding="latin-1")
    (folder / "data.noun2").write_text("".join(rows[500:]), encoding="latin-1")
    (folder / "index.noun").write_text(INDEX, encoding="latin-1")
    return folder


def extract(monkeypatch: pytest.MonkeyPatch, wordnet: Path, out: Path) -> None:
    monkeypatch.setattr(
        sys, "argv", ["extract_nouns", "--wordnet", str(wordnet), "--out", str(out)]
    )
    extract_nouns.main()


def test_folder_and_archive_give_the_same_nouns(
    wordnet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract(monkeypatch, wordnet, tmp_path / "a.txt")
    nouns = read_nouns(tmp_path / "a.txt")
    assert len(nouns) == 1002
    # The puppy is no class: it is one of the beast's words. The entity stands for all classes.
    assert nouns["n00000002"] == Noun(("n00000001",), ("beast",), ("puppy",))
    assert nouns["n00000001"] == Noun((), ("entity",), ())
    assert nouns[read_class_names()[0].synset] == Noun(("n00000002",))
    with tarfile.open(tmp_path / "wordnet.tar.gz", "w:gz") as archive:
        archive.add(wordnet, "package/dict")
    extract(monkeypatch, tmp_path / "wordnet.tar.gz", tmp_path / "b.txt")
    text = (tmp_path / "a.txt").read_text("utf-8")
    assert (tmp_path / "b.txt").read_text("utf-8") == text
    assert "provided to you, the LICENSEE" in text  # WordNet asks for its notice on all copies


def test_a_folder_without_wordnet_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"data\.noun"):
        extract(monkeypatch, tmp_path, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()
