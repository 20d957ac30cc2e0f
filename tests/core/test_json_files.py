"""JSON files that come from others: whatever is in them, a value or one sentence."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT

from img2prompt.core import files, forms
from img2prompt.core.errors import UserError
from img2prompt.core.files import misfit, read_json, sha256_of, write_json
from img2prompt.data.shards import PrepareSettings, origin_of, settings_of
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.examples import load_examples

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{", "line 1"),
        (b'{"a":\n1,}', "line 2"),
        (b"\xff{", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "nests too deep"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "nests too deep"),
        (b'{"size": ' + b"9" * 5_000 + b"}", "thousands of digits"),
        (b'{"a": 1, "a": 2}', "it holds a twice"),
        (b'{"a\\u001b[31m": 1, "a\\u001b[31m": 2}', r"it holds a\ufffd\[31m twice"),
        (b"<!DOCTYPE html><title>Hotel</title>", "web page: is this network asking to log in"),
        (b"\xef\xbb\xbf\n<html>", "web page"),
    ],
)
def test_what_is_no_json_is_one_sentence(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UserError, match=rf"a\.json is not a JSON file \(.*{reason}"):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_a_folder_is_no_json_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder"):
        read_json(tmp_path)


def test_a_large_file_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_JSON", 1_000)
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(2**30)  # a hole: no disk is used
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="more than"):
            read_json(tmp_path / "a.json")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


# --- forms ----------------------------------------------------------------------------------------

ENTRY = {"sha256": "0" * 64, "size": 1}
NAN = float("nan")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("files",), [], "lists no files"),
        (("files", "a.npz"), [], "lacks the SHA-256"),
        (("files", "a.npz", "size"), True, "lacks the SHA-256"),
        (("files", "a.npz", "size"), -1, "size: "),
        (("files", "a.npz", "size"), 10**400, "size: "),
        (("files", "a.npz", "made_by"), ["python"], "made_by: "),
        (("files", "a.npz", "figures"), [1], "figures: "),
        (("files", "a.npz", "figures"), {"f1": [0.1]}, "figures › f1"),
        (("files", "a.npz", "figures"), {"f1": NAN}, "figures › f1"),
        (("files", "a.npz", "figures"), {"a": {"b": {"c": 1}}}, "figures › a"),
        (("default",), ["original"], "default: "),
        (("default",), "../original", "default: "),
        (("default",), "", "default: "),
        (("data",), {"a": 1}, "data: "),
        (("files", "..\\up.npz"), ENTRY, "no plain file name"),
        (("files", "C:up.npz"), ENTRY, "no plain file name"),
        (("files", "a\0.npz"), ENTRY, "no plain file name"),
        (("files", "\ud800.npz"), ENTRY, "no plain file name"),
        (("files", "\u202egpj.npz"), ENTRY, "no plain file name"),
        (("files", "a" * 5_000), ENTRY, "no plain file name"),
    ],
)
def test_a_manifest_of_another_form_is_one_sentence(
    path: tuple[str, ...], value: Any, reason: str, tmp_path: Path
) -> None:
    manifest: dict = {"default": "a", "files": {"a.npz": dict(ENTRY)}}
    place = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=reason) as told:
        Assets(tmp_path)
    assert str(told.value).isprintable() and len(str(told.value)) < 6_000


@given(data=st.data())
@settings(max_examples=300)
def test_any_manifest_is_used_or_told(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One place of a good manifest is replaced by any value."""
    folder = tmp_path_factory.getbasetemp() / "any-manifest"
    folder.mkdir(exist_ok=True)
    entry = ENTRY | {"figures": {"f1": 0.1}, "made_by": "x"}
    manifest = {"default": "a", "data": "x", "files": {"a.keras": entry, "a.npz": entry}}
    whole = json.loads(json.dumps(manifest))
    table, steps = whole, data.draw(st.integers(0, 3))
    for _ in range(steps):
        inner = [value for value in table.values() if isinstance(value, dict)]
        table = data.draw(st.sampled_from(inner)) if inner else table
    table[data.draw(st.sampled_from(sorted(table)))] = data.draw(JSON)
    (folder / "manifest.json").write_text(json.dumps(whole))
    try:
        assets = Assets(folder)
        assert all(isinstance(name, str) for name in (assets.default, *assets.presets))
        assets.predictor()
    except UserError as error:
        assert "\n" not in str(error)


FORMS = [
    form
    for form in vars(forms).values()
    if isinstance(form, type)
    and form.__module__ == forms.__name__
    and not form.__name__.startswith("_")
]


@given(value=JSON)
def test_no_form_is_surprised(value: Any) -> None:
    for form in FORMS:
        assert isinstance(misfit(value, form), str)


def test_what_this_project_writes_has_its_form(tmp_path: Path) -> None:
    assert misfit(Assets().manifest, forms.Manifest) == ""
    docs = ROOT / "docs"
    assert misfit(read_json(docs / "evaluation.json"), forms.Evaluation) == ""
    write_json(tmp_path / "made.json", files.provenance(["python", "x"]))
    read_json(tmp_path / "made.json", forms.Made)
    assert load_examples(Assets().folder)


@pytest.mark.parametrize(
    "content",
    [
        "[1]",
        '{"size": "64"}',
        '{"size": 1e999}',
        '{"fit": []}',
        '{"languages": [1]}',
        '{"x": 1}',
        '{"max_image_nsfw": "a"}',
        '{"max_words": [1]}',
        '{"train_only": 3}',
        '{"min_size": NaN}',
    ],
)
def test_settings_that_are_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(content)
    with pytest.raises(UserError, match="settings"):
        settings_of(tmp_path)
    (tmp_path / "settings.json").write_text('{"size": 64, "languages": ["en"]}')
    assert settings_of(tmp_path) == PrepareSettings(64, languages=("en",))


@pytest.mark.parametrize("content", ["[]", '"a"', '{"revision": ["a"]}', '{"revision": 3}'])
def test_an_origin_that_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "origin.json").write_text(content)
    with pytest.raises(UserError, match=r"origin\.json is not what it should be"):
        origin_of(tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {},
        [],
        "a",
        {"file": 3, "title": "", "alt": ""},
        {"file": ["a"], "title": "", "alt": ""},
        {"file": "../manifest.json", "title": "", "alt": ""},
    ],
)
def test_examples_that_are_none(entry: Any, assets_folder: Path) -> None:
    (assets_folder / "examples").mkdir()
    write_json(assets_folder / "examples" / "examples.json", [entry])
    with pytest.raises(UserError, match=r"examples\.json"):
        load_examples(assets_folder)
    assert sha256_of(assets_folder / "manifest.json")
