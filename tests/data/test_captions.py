"""Captions, sidecars and tables beside pictures: used as their true prompts, never rows."""

import csv
import functools
import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data import captions
from img2prompt.data.captions import MAX_TABLE, read_caption
from img2prompt.evaluation.score import compare
from img2prompt.inference import archives, export
from img2prompt.inference.archives import list_set
from img2prompt.inference.batch import Run
from img2prompt.inference.predictor import Predictor


@pytest.fixture
def picture(make_picture: Callable, encode: Callable) -> bytes:
    return encode(make_picture(1))


@pytest.fixture
def pack(tmp_path: Path) -> Callable[..., Path]:
    """(name, {member: bytes or text}) → a zip of them."""

    def make(name: str, members: dict[str, bytes | str]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, data)
        return tmp_path / name

    return make


def truths(*files: Path) -> dict[str, str | None]:
    return {entry.name: entry.truth for entry in list_set(files).entries}


# --- which picture a text is about --------------------------------------------------------------


def test_a_stable_horde_zip_has_its_prompts(pack: Callable, picture: bytes) -> None:
    """As its pages download it: a JSON beside each picture; some have captions instead."""
    archive = pack(
        "stable_horde.zip",
        {
            "0-1-a dog.jpg": picture,
            "0-1-a dog.json": json.dumps({"prompt": "a dog ### blurry", "seed": "1", "steps": 30}),
            "1-2-b.jpg": picture,
            "1-2-b.txt": "a dog",
        },
    )
    assert truths(archive) == {
        "stable_horde.zip/0-1-a dog.jpg": "a dog",
        "stable_horde.zip/1-2-b.jpg": "a dog",
    }
    assert list_set([archive]).unused == 0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "a red fox"),
        ("a.caption", "a red fox\n"),
        ("a.png.txt", "a red fox"),
        ("A.TXT", "a red fox"),
        ("a.txt", "a red fox\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a"),
        ("a.txt", "a red fox\r\nSteps: 20, Sampler: Euler a"),
        ("a.json", '{"prompt": "a red fox"}'),
        ("a.json", '{"p": "a red fox", "se": 1}'),
        ("a.json", '{"caption": "a red fox"}'),
        ("part-000001.json", '{"a.png": {"p": "a red fox", "se": 1}}'),
        ("prompts.json", '{"a.png": "a red fox"}'),
        ("list.json", '[{"file_name": "a.png", "text": "a red fox"}]'),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "a red fox"}\n\n'),
        ("metadata.csv", "file_name,text\na.png,a red fox\n"),
        ("captions.tsv", "file\tcaption\na.png\ta red fox\n"),
        ("captions.txt", "a.png: a red fox\n"),
        ("captions.txt", "./a.png\ta red fox\n"),
    ],
)
def test_the_ways_to_tell_a_prompt(
    pack: Callable, picture: bytes, tmp_path: Path, name: str, text: str
) -> None:
    archive = pack("set.zip", {name: text, "a.png": picture})
    assert truths(archive) == {"set.zip/a.png": "a red fox"}
    inside = pack("folder.zip", {f"x/{name}": text, "x/a.png": picture, "y/a.png": picture})
    assert truths(inside) == {"folder.zip/x/a.png": "a red fox", "folder.zip/y/a.png": None}
    # Files handed over as they are, in any order.
    (tmp_path / "a.png").write_bytes(picture)
    (tmp_path / name).write_text(text)
    for files in ((tmp_path / name, tmp_path / "a.png"), (tmp_path / "a.png", tmp_path / name)):
        assert truths(*files) == {"a.png": "a red fox"}
    assert list_set([archive]).unused == list_set([inside]).unused == 0


def test_a_table_knows_pictures_in_folders_below_it(pack: Callable, picture: bytes) -> None:
    rows = [{"file_name": "train/a.png", "text": "a fox"}, {"file_name": "b.png", "text": "a dog"}]
    archive = pack(
        "set.zip",
        {
            "metadata.jsonl": "\n".join(map(json.dumps, rows)),
            "train/a.png": picture,
            "deep/er/b.png": picture,
        },
    )
    assert [*truths(archive).values()] == ["a fox", "a dog"]


def test_archives_do_not_share_their_captions(
    pack: Callable, picture: bytes, tmp_path: Path
) -> None:
    one = pack("one.zip", {"a.png": picture, "a.txt": "a fox"})
    two = pack("two.zip", {"a.png": picture})
    (tmp_path / "a.png").write_bytes(picture)
    assert [*truths(one, two, tmp_path / "a.png").values()] == ["a fox", None, None]


# --- what no text may do ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("Schloß".encode(), "Schloß"),
        ("Schloß".encode("utf-8-sig"), "Schloß"),
        ("Schloß".encode("utf-16"), "Schloß"),
        ("Schloß".encode("utf-16-be"), "Schloß"),
        ("Schloß".encode("utf-16-le"), "Schloß"),
        ("Schloß".encode("latin-1"), "Schloß"),
        (b"  \n", None),
        (b"\0\1\2\3" * 9, None),
        (b"a dog, " * 5_000, None),  # no prompt is that long
    ],
)
def test_texts_of_every_encoding(data: bytes, expected: str | None) -> None:
    assert read_caption("a.txt", data) == expected


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "{", "7", '{"prompt": 7}', '{"a.png": {"b": 1}}', "9" * 5_000, "[[1]]", "null"],
)
def test_json_of_another_kind_tells_nothing(text: str) -> None:
    assert not read_caption("a.json", text.encode())
    assert not read_caption("a.jsonl", text.encode())


@given(st.sampled_from(captions.TEXTS), st.binary(max_size=200))
def test_any_bytes_are_a_prompt_a_table_or_nothing(suffix: str, data: bytes) -> None:
    told = read_caption(f"a{suffix}", data)
    for prompt in told.values() if isinstance(told, dict) else [told]:
        assert prompt is None or (prompt.strip() and prompt.encode("utf-8"))


def test_large_texts_are_left_out_unread(
    pack: Callable, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack("set.zip", {"a.png": picture, "a.txt": b"x" * (MAX_TABLE + 1)})
    read = []
    real = archives._read_member
    monkeypatch.setattr(archives, "_read_member", lambda a, m: read.append(m) or real(a, m))
    listing = list_set([archive])
    assert listing.entries[0].truth is None and listing.unused == 1 and not read
    # Nor all together beyond a bound.
    monkeypatch.setattr(captions, "MAX_ALL", 30)
    many = pack("many.zip", {f"{n}.{kind}": picture if kind == "png" else "a cat" * 2
                             for n in range(5) for kind in ("png", "txt")})  # fmt: skip
    assert [*truths(many).values()] == ["a cata cat"] * 3 + [None] * 2


def test_a_damaged_caption_is_left_out(pack: Callable, picture: bytes) -> None:
    archive = pack("set.zip", {"a.png": picture, "a.txt": "a lovely red fox"})
    data = archive.read_bytes().replace(b"lovely", b"dreary")
    archive.write_bytes(data)
    listing = list_set([archive])
    assert listing.entries[0].truth is None and listing.unused == 1


def test_texts_alone_are_no_pictures(pack: Callable, tmp_path: Path, predictor: Predictor) -> None:
    (tmp_path / "a.txt").write_text("a dog")
    with pytest.raises(UserError, match="Choose pictures"):
        list_set([tmp_path / "a.txt"])
    listing = list_set([pack("set.zip", {"a.txt": "a dog", "b.json": "{}"})])
    assert "holds no picture" in str(listing.entries[0].error) and listing.unused == 2


# --- what becomes of it -------------------------------------------------------------------------


def test_rows_show_how_the_answer_compares(
    pack: Callable, picture: bytes, predictor: Predictor
) -> None:
    said = [word.word for word in predictor(picture, words=3).words]
    prompt = f"{said[0]}, =moonlit {said[2]}"
    archive = pack(
        "set.zip",
        {"a.png": picture, "a.txt": prompt, "b.png": picture, "c.png": picture, "c.txt": "qqq"},
    )
    compared = functools.partial(compare, vectors=predictor.vectors, hidden=frozenset({"moonlit"}))
    run = Run(predictor, [archive], words=3, compare=compared)
    first, second, third = run
    masked = prompt.replace("moonlit", "•••")
    assert first.truth is run.truths[0] and first.truth.prompt == masked
    assert first.truth.found == (said[0], said[2]) and first.truth.true == 2
    assert first.truth.f1 == pytest.approx(4 / 5)
    assert second.truth is None and third.truth.f1 is None and third.truth.prompt == "qqq"
    assert run.mean_f1() == (pytest.approx(0.8), 1)

    rows = json.loads(export.set_as_json(run.results, run.truths))
    assert [set(row) - {"file", "preset", "words"} for row in rows] == [
        {"truth", "found", "f1"},
        set(),
        {"truth"},
    ]
    assert rows[0]["f1"] == 0.8 and rows[0]["truth"] == masked
    table = list(csv.DictReader(io.StringIO(export.set_as_csv(run.results, run.truths))))
    assert [row["found"] for row in table] == ["yes", "no", "yes", *[""] * 6]
    assert table[0]["f1"] == "0.8000" and table[0]["truth"] == masked
    assert table[8]["truth"] == "qqq" and table[3]["truth"] == ""


SETTINGS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5"
GRAPH = {
    "1": {"class_type": "CLIPTextEncode", "inputs": {"text": "a dog"}},
    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad"}},
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 5, "steps": 20, "positive": ["1", 0], "negative": ["2", 0]},
    },
}


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("a.txt", f"Negative prompt: bad\n{SETTINGS}", None),
        ("a.txt", SETTINGS, None),
        ("a.txt", f"a dog\nnegative prompt: bad\n{SETTINGS}", "a dog"),
        ("a.txt", f"a dog Negative prompt: bad {SETTINGS}", "a dog"),
        ("a.txt", "Prompt: a dog\nWidth: 512\nSeed: 5\nSteps: 20\nNegative Prompt: bad", "a dog"),
        ("a.json", json.dumps({"parameters": f"a dog\n{SETTINGS}"}), "a dog"),
        ("a.json", json.dumps({"sui_image_params": {"prompt": "a dog", "seed": 5}}), "a dog"),
        ("a.json", json.dumps({"positive_prompt": "a dog", "seed": 5}), "a dog"),
        ("a.json", json.dumps(GRAPH), "a dog"),
    ],
)
def test_what_tools_write_beside_pictures_is_read_as_within_them(
    name: str, text: str, expected: str | None
) -> None:
    assert read_caption(name, text.encode()) == expected


@pytest.mark.parametrize("line", [" " * 10**6 + "x", "a .png " * 10**5, "a.png" + " " * 10**6])
def test_long_lines_are_read_soon(line: str) -> None:
    start = time.process_time()
    read_caption("a.txt", line.encode())
    assert time.process_time() - start < 2
