"""Of all pairs, a gallery shows natural ones that it may show, and none of the figures' own."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_files import write_metadata, write_part

from img2prompt.core.errors import UserError
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.data.gallery_pairs import (
    MOST_OF_PHRASE,
    SOURCES_FILE,
    GalleryRules,
    choose_pairs,
    read_pairs,
)
from img2prompt.data.splits import split_of

BAD = sorted(word for word in BLOCKED_WORDS if word.isascii())[0]
RULES = """
[repositories]
horde = "someone/previews"
[[left_out]]
reason = "posts of third parties"
sources = ["collector/posts"]
"""


def trained(*prompts: str) -> list[str]:
    """The prompts, each with a word that lets it fall into the training split."""
    words = ("red", "blue", "green", "golden", "old", "tiny", "huge", "wild")
    found = []
    for prompt in prompts:
        found.append(next(p for w in words if split_of(p := f"{prompt} {w}") == "train"))
    return found


@pytest.fixture
def rules(tmp_path: Path) -> GalleryRules:
    (tmp_path / "sources.toml").write_text(RULES, encoding="utf-8")
    return GalleryRules.read(tmp_path / "sources.toml")


def write(root: Path, rows: list[tuple[str, str, str]]) -> Path:
    """A folder with one picture for each (prompt, source, licence)."""
    names = [f"{number}.png" for number in range(len(rows))]
    told = [(name, row[0], 1, 0.0, 0.0) for name, row in zip(names, rows, strict=True)]
    write_metadata(
        root / "metadata.parquet",
        told,
        source=[row[1] for row in rows],
        license=[row[2] for row in rows],
    )
    files = {name: name.encode() for name in names}
    prompts = {name: row[0] for name, row in zip(names, rows, strict=True)}
    write_part(root / "images" / "part-000001.zip", files, prompts)
    return root


def test_what_is_shown_and_why_the_rest_is_not(tmp_path: Path, rules: GalleryRules) -> None:
    fox, owl, ship, castle = trained("a fox in snow", "an owl", "a ship at sea", "a castle on a")
    cats = (f"a cat {number} in the sun" for number in range(99))
    other = next(prompt for prompt in cats if split_of(prompt) != "train")
    rows = [
        (fox, "a/b", "MIT"),
        (f"{fox}.".upper(), "a/b", "MIT"),  # the same words, so one of the two
        (owl, "horde", "CC BY 4.0"),
        (ship, "stock", "CC0-1.0"),
        (castle, "collector/posts", "MIT"),
        (castle, "a/b", "CC-BY-NC-4.0"),
        (castle, "a/b", "unknown"),
        (other, "a/b", "MIT"),
        (trained(f"a {BAD} one there")[0], "a/b", "MIT"),
        (trained("雪の中の狐 と 森 の 家")[0], "a/b", "MIT"),
    ]
    chosen, left_out = choose_pairs(write(tmp_path / "data", rows), rules)
    assert {row.prompt.lower().strip(".") for row in chosen} == {fox, owl, ship}
    by_source = {row.source: row for row in chosen}
    assert by_source["a/b"].address == "https://github.com/a/b"
    assert by_source["horde"].address == "https://github.com/someone/previews"
    assert by_source["horde"].licence == "CC-BY-4.0"
    assert by_source["stock"].address == ""
    assert left_out == {
        "near-duplicate prompt": 1,
        "source: posts of third parties": 1,
        "licence unknown or not allowed": 2,
        "not in the training split": 1,
        "block list": 1,
        "another script": 1,
    }


def test_a_phrase_is_not_shown_for_ever(tmp_path: Path, rules: GalleryRules) -> None:
    prompts = [f"a red car parked outside {n}" for n in range(80)]
    prompts = [prompt for prompt in prompts if split_of(prompt) == "train"]
    assert len(prompts) > MOST_OF_PHRASE
    chosen, left_out = choose_pairs(
        write(tmp_path / "data", [(prompt, "a/b", "MIT") for prompt in prompts]), rules
    )
    assert len(chosen) == MOST_OF_PHRASE
    assert left_out == {"phrase of many": len(prompts) - MOST_OF_PHRASE}
    # Words that every prompt may have between two others are no phrase.
    prompts = [f"{n} towers in the style of {n}" for n in range(60)]
    prompts = [prompt for prompt in prompts if split_of(prompt) == "train"]
    rows = [(prompt, "a/b", "MIT") for prompt in prompts]
    assert len(choose_pairs(write(tmp_path / "styles", rows), rules)[0]) == len(prompts)


def test_a_source_is_named_on_one_line(tmp_path: Path, rules: GalleryRules) -> None:
    """A gallery keeps its credits as lines of fields."""
    (fox,) = trained("a fox in snow")
    ((row,), _) = choose_pairs(write(tmp_path / "data", [(fox, "our\tstock\n", "MIT")]), rules)
    assert row.source == "our stock"


def test_where_there_are_too_many_every_source_has_its_share(
    tmp_path: Path, rules: GalleryRules
) -> None:
    names = [f"{a}{b}" for a in "bcdfg" for b in "aeiou"]
    prompts = [
        p for a in names for b in names[:3] if split_of(p := f"{a} {b} on a hill") == "train"
    ]
    rows = [(p, "x/few" if n < 3 else "y/many", "MIT") for n, p in enumerate(prompts)]
    few = GalleryRules(None, 8, rules.repositories, rules.left_out)
    chosen, _ = choose_pairs(write(tmp_path / "data", rows), few)
    assert sorted(row.source for row in chosen) == ["x/few"] * 3 + ["y/many"] * 5
    again, _ = choose_pairs(tmp_path / "data", few)
    assert again == chosen


def test_pictures_come_with_the_prompt_that_their_part_has(
    tmp_path: Path, rules: GalleryRules
) -> None:
    fox, owl = trained("a fox in snow", "an owl in a tree")
    data = write(tmp_path / "data", [(fox, "a/b", "MIT"), (owl, "a/b", "MIT")])
    chosen, _ = choose_pairs(data, rules)
    found = {row.prompt: content for row, content in read_pairs(data, chosen)}
    assert found == {fox: b"0.png", owl: b"1.png"}
    write_part(
        data / "images" / "part-000001.zip",
        {"0.png": b"x", "1.png": b"y"},
        {"0.png": fox, "1.png": "else"},
    )
    assert [row.prompt for row, _ in read_pairs(data, chosen)] == [fox]


def test_data_that_tells_no_licence_needs_one_told(tmp_path: Path, rules: GalleryRules) -> None:
    (fox,) = trained("a fox in snow")
    write_part(tmp_path / "images" / "part-000001.zip", {"0.png": b"0"}, {"0.png": fox})
    with pytest.raises(UserError, match=r"no metadata\.parquet"):
        choose_pairs(tmp_path, rules)
    write_metadata(tmp_path / "metadata.parquet", [("0.png", fox, 1, 0.0, 0.0)])
    with pytest.raises(UserError, match="no column license"):
        choose_pairs(tmp_path, rules)
    chosen, _ = choose_pairs(tmp_path, GalleryRules.read(SOURCES_FILE, "cc0"))
    assert [(row.source, row.licence) for row in chosen] == [("diffusiondb", "CC0-1.0")]
    unscored = [("0.png", fox, 1, float("nan"), 0.0)]
    write_metadata(tmp_path / "metadata.parquet", unscored)
    with pytest.raises(UserError, match="No picture of"):
        choose_pairs(tmp_path, GalleryRules.read(SOURCES_FILE, "cc0"))


@pytest.mark.parametrize("column", ["source", "license"])
def test_metadata_of_another_type_is_one_sentence(
    column: str, tmp_path: Path, rules: GalleryRules
) -> None:
    (fox,) = trained("a fox in snow")
    write(tmp_path, [(fox, "a/b", "MIT")])
    told = {"source": ["a/b"], "license": ["MIT"]} | {column: [[1, 2]]}
    write_metadata(tmp_path / "metadata.parquet", [("0.png", fox, 1, 0.0, 0.0)], **told)
    with pytest.raises(UserError, match=f"column {column} of .* must hold text"):
        choose_pairs(tmp_path, rules)


def test_rows_that_name_no_picture_are_left_out(tmp_path: Path, rules: GalleryRules) -> None:
    fox, owl, cat, dog = trained(
        "a fox in snow", "an owl in a tree", "a cat at sea", "a dog on ice"
    )
    path = tmp_path / "metadata.parquet"
    write(tmp_path, [(prompt, "a/b", "MIT") for prompt in (fox, owl, cat, dog)])
    table = pq.read_table(path)
    for name, values in (
        ("image_name", ["0.png", None, "2.png", "3.png"]),
        ("part_id", [1.0, 1.0, float("nan"), None]),
    ):
        table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
    pq.write_table(table, path)
    chosen, left_out = choose_pairs(tmp_path, rules)
    assert [row.prompt for row in chosen] == [fox]
    assert left_out == {"no picture named": 3}


def test_a_sources_name_stays_one_field(tmp_path: Path, rules: GalleryRules) -> None:
    """It reaches a table of credits; a link is made of an owner and a name alone."""
    fox, owl, cat = trained("a fox in snow", "an owl in a tree", "a cat at sea")
    rows = [
        (fox, "a/b](https://x)\tMIT\nc/d", "MIT"),
        (owl, " collector/posts\u200b ", "MIT"),
        (cat, "a/../b", "MIT"),
    ]
    chosen, left_out = choose_pairs(write(tmp_path / "data", rows), rules)
    assert {(row.source, row.address) for row in chosen} == {
        ("a/b](https://x) MIT c/d", ""),
        ("a/../b", ""),
    }
    assert left_out == {"source: posts of third parties": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": "CC-BY-NC-4.0"}, "is no licence under which"),
        ({"most": 0}, "1 to 4000 pictures"),
        ({"most": 4_001}, "1 to 4000 pictures"),
        ({"path": "none.toml"}, "no list of sources"),
    ],
)
def test_rules_that_are_none_are_refused(change: dict, message: str, tmp_path: Path) -> None:
    if "path" in change:
        change = {"path": tmp_path / change["path"]}
    with pytest.raises(UserError, match=message):
        GalleryRules.read(**change)


def test_collections_of_others_are_on_our_list() -> None:
    left_out = GalleryRules.read().left_out
    assert {"samuxbuilds/awesome-prompts", "artists-to-study", "gptimage2-evolink"} <= set(left_out)
    assert all(reason for reason in left_out.values())
