"""Rows of metadata.parquet by part, without holding the file in memory; the caps' plan."""

import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from img2prompt.core.errors import UserError
from img2prompt.data import metadata
from img2prompt.data.diffusiondb import LocalParts
from img2prompt.data.metadata import make_rows
from img2prompt.data.shards import PrepareSettings

PLAIN = PrepareSettings(size=32)


class Parts:
    """Parts of which only the names matter."""

    def __init__(self, *numbers: int) -> None:
        self.stems = [f"part-{number:06}" for number in numbers]
        self.origin: dict = {"somewhere": "else"}


def table_of(path: Path, *numbers: int, settings: PrepareSettings = PLAIN) -> metadata.RowTable:
    return make_rows(Parts(*numbers), path, settings, path.parent)


def scores(table: metadata.RowTable, part: int, name: str) -> tuple[float, float] | None:
    row = table.part(f"part-{part:06}").find(name)
    return None if row is None else (float(row["image_nsfw"]), float(row["prompt_nsfw"]))


def test_rows_know_scores_and_sources(tmp_path: Path, make_metadata) -> None:
    rows = [("a.png", "a dog", 1, 0.25, 0.5), ("b.png", "a cat", 1, 2.0, 0.0)]
    path = make_metadata(tmp_path / "metadata.parquet", rows, source=["mine", None])
    table = table_of(path, 1)
    assert scores(table, 1, "a.png") == (0.25, 0.5) and scores(table, 1, "b.png") == (2.0, 0.0)
    assert scores(table, 1, "unknown.png") is None
    part = table.part("part-000001")
    assert [part.source(part.find(name)) for name in ("a.png", "b.png", "unknown.png")] == [
        "mine",
        "diffusiondb",
        "diffusiondb",
    ]


def test_unknown_scores_stay_unknown(tmp_path: Path, make_metadata) -> None:
    """A missing score is not a score of 0: the NSFW filter must be able to tell them apart."""
    rows = [("a.png", "a dog", 1, None, float("nan")), ("b.png", "a cat", 1, 0.5, None)]
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    table = table_of(path, 1)
    assert np.isnan(scores(table, 1, "a.png")).all()
    assert scores(table, 1, "b.png")[0] == 0.5 and np.isnan(scores(table, 1, "b.png")[1])


@pytest.mark.parametrize("other", [0.99, None, -1.0])
@pytest.mark.parametrize("turned", [False, True])
def test_of_two_rows_of_one_picture_the_worse_counts(
    tmp_path: Path, make_metadata, other: float | None, turned: bool
) -> None:
    rows = [("a.png", "a dog", 1, 0.01, 0.02), ("a.png", "a dog", 1, other, 0.01)]
    rows = rows[::-1] if turned else rows
    rows.append(("b.png", "a cat", 1, 0.25, 0.5))
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    for settings in (PLAIN, PrepareSettings(size=32, max_per_prompt=1)):
        table = table_of(path, 1, settings=settings)
        picture, prompt = scores(table, 1, "a.png")
        expected = pytest.approx((0.99 if other == 0.99 else np.nan, 0.02), abs=1e-6, nan_ok=True)
        assert (picture, prompt) == expected
        assert scores(table, 1, "b.png") == (0.25, 0.5)


def test_two_columns_of_one_name_are_refused(tmp_path: Path, make_metadata) -> None:
    path = make_metadata(tmp_path / "metadata.parquet", [("a.png", "a dog", 1, 0.9, 0.1)])
    table = pq.read_table(path)
    pq.write_table(table.append_column("image_nsfw", pa.array([0.0])), path)
    with pytest.raises(UserError, match="two columns image_nsfw"):
        table_of(path, 1)


def test_columns_within_columns_hide_no_rows(tmp_path: Path, make_metadata) -> None:
    path = make_metadata(tmp_path / "metadata.parquet", [("a.png", "a dog", 7, 0.5, 0.25)])
    table = pq.read_table(path)
    nested = pa.array([{"part_id": 1, "more": 2, "yet": 3}])
    pq.write_table(table.add_column(0, "nested", nested), path)
    assert scores(table_of(path, 7), 7, "a.png") == (0.5, 0.25)


def test_a_part_has_its_own_rows_and_no_others(tmp_path: Path, make_metadata, monkeypatch) -> None:
    monkeypatch.setattr(metadata, "BATCH", 7)  # parts go over batches and row groups
    numbers = np.random.default_rng(0).integers(1, 9, 100).tolist()
    rows = [(f"{i}.png", f"a dog {i}", part, i / 100, 0.0) for i, part in enumerate(numbers)]
    rows.append(("lost.png", "a dog", None, 0.5, 0.5))
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    pq.write_table(pq.read_table(path), path, row_group_size=13)
    table = table_of(path, 3, 5, 40)
    for i, part in enumerate(numbers):
        for asked in (3, 5, 40):
            expected = (i / 100, 0.0) if part == asked else None
            found = scores(table, asked, f"{i}.png")
            assert found == pytest.approx(expected, abs=1e-6) if expected else found is None
    assert len(table.part("part-000003").rows) == numbers.count(3)
    assert len(table.part("part-000040").rows) == 0
    # Only the parts asked for are kept.
    kept = (numbers.count(3) + numbers.count(5)) * metadata.ROW.itemsize
    assert table.path.stat().st_size == kept


def test_row_groups_of_other_parts_are_not_read(tmp_path: Path, make_metadata, monkeypatch) -> None:
    rows = [(f"{i}.png", "a dog", i // 10 + 1, 0.0, 0.0) for i in range(100)]
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    pq.write_table(pq.read_table(path), path, row_group_size=10)
    read = []
    iterate = pq.ParquetFile.iter_batches

    def spy(self, size, groups, *rest, **named):
        read.extend(groups)
        return iterate(self, size, groups, *rest, **named)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", spy)
    assert scores(table_of(path, 4), 4, "35.png") == (0.0, 0.0)
    assert set(read) == {3}


def test_a_killed_runs_rows_are_used_again_unless_the_file_is_another(
    tmp_path: Path, make_metadata, monkeypatch
) -> None:
    path = make_metadata(tmp_path / "metadata.parquet", [("a.png", "a dog", 1, 0.25, 0.5)])
    first = table_of(path, 1)
    made = first.path.stat().st_mtime_ns
    again = table_of(path, 1)
    assert again == first and again.path.stat().st_mtime_ns == made
    make_metadata(path, [("a.png", "a dog", 1, 0.75, 0.5), ("b.png", "a dog", 1, 0.75, 0.5)])
    assert scores(table_of(path, 1), 1, "a.png") == (0.75, 0.5)


def test_rows_of_which_only_the_index_is_left_are_made_again(tmp_path: Path, make_metadata) -> None:
    path = make_metadata(tmp_path / "metadata.parquet", [("a.png", "a dog", 1, 0.25, 0.5)])
    table_of(path, 1).path.unlink()
    assert scores(table_of(path, 1), 1, "a.png") == (0.25, 0.5)


def test_memory_does_not_grow_with_the_file(tmp_path: Path, make_metadata, monkeypatch) -> None:
    monkeypatch.setattr(metadata, "BATCH", 256)

    def peak(parts: int) -> int:
        rows = [
            (f"{part}-{i}.png", f"a long prompt of a dog {i}", part, 0.1, 0.1)
            for part in range(1, parts + 1)
            for i in range(200)
        ]
        path = make_metadata(tmp_path / f"{parts}" / "metadata.parquet", rows)
        pq.write_table(pq.read_table(path), path, row_group_size=500)
        tracemalloc.start()
        table = table_of(path, *range(1, parts + 1))
        table.part("part-000001")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(5)  # imports and caches
    assert peak(100) < 1.5 * peak(5)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"image_name": ["a"], "nsfw": [0.1]}, r"image_nsfw, prompt_nsfw.*it has image_name, nsfw"),
        (
            {"image_name": ["a.png"], "image_nsfw": ["high"], "prompt_nsfw": [0.1], "part_id": [1]},
            "image_nsfw",
        ),
        ({"image_name": ["a.png"], "image_nsfw": [0.1], "prompt_nsfw": [0.1]}, "part_id"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, columns: dict, told: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "metadata.parquet")
    with pytest.raises(UserError, match=told):
        table_of(tmp_path / "metadata.parquet", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.parquet"]


def test_metadata_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metadata.parquet").write_text("image_name,prompt")
    with pytest.raises(UserError, match="not a parquet file"):
        table_of(tmp_path / "metadata.parquet", 1)


def test_metadata_damaged_inside_is_refused_and_leaves_nothing(
    tmp_path: Path, make_metadata
) -> None:
    rows = [(f"{i}.png", f"a dog {i}", 1, i / 100, i / 100) for i in range(100)]
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    data = bytearray(path.read_bytes())
    footer = int.from_bytes(data[-8:-4], "little")
    for place in range(4, len(data) - footer - 16):
        data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"metadata\.parquet is damaged"):
        table_of(path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["metadata.parquet"]


# --- caps ---------------------------------------------------------------------------------------


def capped(table: metadata.RowTable, rows: list[tuple]) -> dict[str, str]:
    told = {}
    for name, _, part, *_ in rows:
        row = table.part(f"part-{part:06}").find(name)
        if reason := metadata.CAPS[row["cap"]]:
            told[name] = reason
    return told


def test_the_cap_per_user_counts_what_the_cap_per_prompt_left(
    tmp_path: Path, make_metadata, monkeypatch
) -> None:
    monkeypatch.setattr(metadata, "CHUNK", 2)
    rows = [
        ("a.png", "a dog", 1, 0.0, 0.0),
        ("b.png", "Dog, a", 2, 0.0, 0.0),  # a near-duplicate
        ("c.png", "a cat", 3, 0.0, 0.0),
        ("d.png", "a fox", 4, 0.0, 0.0),
        ("e.png", "a fox", 4, 0.9, 0.0),  # filtered: counts for nobody
        ("f.png", "an owl", 5, 0.0, 0.0),
        ("g.png", "a bee", 5, 0.0, 0.0),
    ]
    users = ["u", "u", "u", "u", "v", None, metadata.NO_USER]
    path = make_metadata(tmp_path / "metadata.parquet", rows, user_name=users)
    settings = PrepareSettings(size=32, max_per_prompt=1, max_per_user=2)
    told = capped(table_of(path, 1, 2, 3, 4, 5, settings=settings), rows)
    assert told == {"b.png": "duplicate prompt", "d.png": "cap per user"}
    only = PrepareSettings(size=32, max_per_user=1)
    told = capped(table_of(path, 1, 2, 3, 4, 5, settings=only), rows)
    assert told == dict.fromkeys(["b.png", "c.png", "d.png"], "cap per user")


def test_a_picture_that_the_metadata_knows_to_be_too_small_counts_for_no_cap(
    tmp_path: Path, make_metadata
) -> None:
    rows = [(f"{name}.png", "a dog", part, 0.0, 0.0) for part, name in enumerate("abcd", start=1)]
    path = make_metadata(
        tmp_path / "metadata.parquet", rows, width=[90, 31, None, 90], height=[31, 90, 32, 90]
    )
    settings = PrepareSettings(size=32, max_per_prompt=1, min_size=32)
    told = capped(table_of(path, 1, 2, 3, 4, settings=settings), rows)
    assert told == {"d.png": "duplicate prompt"}
    any_size = PrepareSettings(size=32, max_per_prompt=1)
    assert len(capped(table_of(path, 1, 2, 3, 4, settings=any_size), rows)) == 3
    make_metadata(path, rows, width=["wide"] * 4, height=[None] * 4)  # of no use, and no harm
    assert len(capped(table_of(path, 1, 2, 3, 4, settings=settings), rows)) == 3


def test_parts_added_behind_change_no_plan_and_parts_before_do(
    tmp_path: Path, make_metadata
) -> None:
    rng = np.random.default_rng(3)
    rows = [
        (f"{i}.png", f"a dog {rng.integers(20)}", int(rng.integers(1, 7)), 0.0, 0.0)
        for i in range(120)
    ]
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    settings = PrepareSettings(size=32, max_per_prompt=2)
    few, all_ = (table_of(path, *range(1, n + 1), settings=settings) for n in (3, 6))
    for stem in few.places:
        assert few.part(stem).plan() == all_.part(stem).plan()
    behind = table_of(path, 2, 3, settings=settings)
    assert behind.part("part-000003").plan() != few.part("part-000003").plan()
    kept = [row for row in rows if row[0] not in capped(all_, rows)]
    prompts = [row[1] for row in kept]
    assert all(prompts.count(prompt) == 2 for prompt in prompts)
    assert len(set(prompts)) == len({row[1] for row in rows})


def test_the_plan_is_the_same_from_metadata_and_from_the_parts(
    tmp_path: Path, make_metadata, make_part
) -> None:
    rng = np.random.default_rng(4)
    rows = []
    for part in (1, 2, 3):
        own = [(f"{part}-{i}.png", f"a dog {rng.integers(9)}", part, 0.0, 0.0) for i in range(15)]
        rows += own
        prompts = {row[0]: row[1] for row in own}
        make_part(tmp_path / "images" / f"part-{part:06}.zip", dict.fromkeys(prompts, b""), prompts)
    path = make_metadata(tmp_path / "metadata.parquet", rows)
    settings = PrepareSettings(size=32, max_per_prompt=1, keep_unscored=True)
    local = LocalParts(tmp_path)
    by_metadata = make_rows(local, path, settings, tmp_path)
    by_parts = make_rows(local, None, settings, tmp_path)
    for stem in local.stems:
        assert by_metadata.part(stem).plan() == by_parts.part(stem).plan()
    assert len(capped(by_parts, rows)) == 45 - len({row[1] for row in rows})


def test_caps_without_metadata_need_the_parts_at_hand(tmp_path: Path) -> None:
    settings = PrepareSettings(size=32, max_per_prompt=1)
    with pytest.raises(UserError, match=r"metadata\.parquet"):
        make_rows(Parts(1), None, settings, tmp_path)
    assert make_rows(Parts(1), None, PLAIN, tmp_path) is None
