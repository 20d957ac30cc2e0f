"""Which parts a subset means, and lists of parts as text."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data.part_names import number_of
from img2prompt.data.subsets import format_parts, parse_parts, select, subset_names

LARGE = ("diffusiondb-large-part-1/part-010000.zip", "diffusiondb-large-part-2/part-010001.zip")


@pytest.mark.parametrize(
    ("subset", "count", "first", "last"),
    [
        ("2m", 2000, 1, 2000),
        ("2m_all", 2000, 1, 2000),
        ("2m_first_1k", 1, 1, 1),
        ("2m_first_10k", 10, 1, 10),
        ("2m_first_1m", 1000, 1, 1000),
        ("large", 14000, 1, 14000),
        ("large_first_10m", 10000, 1, 10000),
        ("large_all", 14000, 1, 14000),
    ],
)
def test_names_people_know(subset: str, count: int, first: int, last: int) -> None:
    chosen = select(subset)
    assert (len(chosen.numbers), chosen.numbers[0], chosen.numbers[-1]) == (count, first, last)
    assert chosen.collection.name == subset.split("_")[0] and not chosen.drawn


def test_every_name_of_the_loading_script_is_known() -> None:
    """2 × 2 × 7, 2 × 2 more of Large, all and text_only of both; and the two sets themselves."""
    names = subset_names()
    assert len(names) == len(set(names)) == 28 + 4 + 4 + 2
    for name in names:
        select(name)
    assert select("2m_text_only").numbers == select("large_text_only").numbers == ()


def test_a_random_subset_is_the_same_everywhere_and_grows() -> None:
    ten = select("2m_random_10k")
    assert ten.numbers == (856, 897, 904, 1259, 1302, 1306, 1358, 1534, 1770, 1914)  # for ever
    assert ten.drawn and set(ten.numbers) < set(select("2m_random_50k").numbers)
    million = select("large_random_1m").numbers
    assert len(set(million)) == 1000 and max(million) > 10_000
    assert abs(np.mean(million) - 7_000) < 500


def test_where_parts_lie() -> None:
    large = select("large").collection
    assert select("2m").collection.path(2000) == "images/part-002000.zip"
    assert large.path(10_000) == LARGE[0] and large.path(10_001) == LARGE[1]
    assert large.metadata == "metadata-large.parquet"


@pytest.mark.parametrize(
    ("subset", "parts", "mention"),
    [
        ("3m", None, "2m_first_10k"),
        ("2m_first_3k", None, "no subset"),
        ("2m_first_5m", None, "no subset"),
        ("", None, "no subset"),
        ("2m", "1-2001", "1 to 2,000, not 2,001"),
        ("large", "14001", "1 to 14,000"),
        ("2m", "0-3", "1-10,50,90-95"),
        ("2m", "7-3", "names no parts"),
        ("2m", "1..3", "names no parts"),
        ("2m", "", "names no parts"),
        ("2m", "-5", "names no parts"),
        ("2m_first_1k", "1-3", "--parts"),
    ],
)
def test_unknown_names_and_parts_are_refused(subset: str, parts: str | None, mention: str) -> None:
    with pytest.raises(UserError) as caught:
        select(subset, parts)
    assert mention in str(caught.value) and "\n" not in str(caught.value)


@given(st.sets(st.integers(1, 3000), min_size=1))
def test_part_lists_read_back(numbers: set[int]) -> None:
    assert parse_parts(format_parts(numbers)) == tuple(sorted(numbers))


@pytest.mark.parametrize("name", ["part-000001 (1)", "part-", "part-x", "000001", "part-١"])
def test_what_is_no_parts_name_is_told(name: str) -> None:
    with pytest.raises(UserError, match="not a part's name"):
        number_of(name)
    assert number_of("part-000007") == 7


@given(st.text("0123456789-, x", max_size=12))
def test_any_text_is_parts_or_one_sentence(text: str) -> None:
    try:
        numbers = parse_parts(text)
    except UserError:
        return
    assert numbers and min(numbers) >= 1 and list(numbers) == sorted(set(numbers))
