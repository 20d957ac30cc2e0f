"""Words, artists and prompts by share, before and after a cap; weights from them."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import ROOT

from img2prompt.core.errors import UserError
from img2prompt.data.artists import artists_of
from img2prompt.data.imbalance import concentration, imbalance_report, markdown
from img2prompt.data.prepare import prepare
from img2prompt.data.sampling import balanced_weights, cap_mask, sampling_weights
from img2prompt.data.shards import read_shards

# --- cap and weights ----------------------------------------------------------------------------


def test_a_cap_keeps_the_first_of_near_duplicates(make_table: Callable) -> None:
    pictures = make_table(["a dog, snow", "a cat", "SNOW: a dog", "dog a snow", "a cat!", "a fox"])
    assert cap_mask(pictures, 0).all()
    assert cap_mask(pictures, 1).tolist() == [True, True, False, False, False, True]
    assert cap_mask(pictures, 2).tolist() == [True, True, True, False, True, True]
    assert cap_mask(pictures, 1, np.array([2, 3, 5])).tolist() == [True, False, True]
    with pytest.raises(UserError):
        cap_mask(pictures, -1)


@given(
    st.lists(
        st.tuples(st.sampled_from(["a dog", "dog a", "cat", "", "☆"]), st.sampled_from("ab")),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_weights_are_chances(
    make_table: Callable, rows: list, power: float, word_power: float
) -> None:
    pictures = make_table([prompt for prompt, _ in rows], [source for _, source in rows])
    weights = balanced_weights(pictures, power, word_power)
    assert weights.shape == (len(rows),) and weights.sum() == pytest.approx(1)
    assert (weights > 0).all()
    base = sampling_weights(pictures, power)
    if word_power == 0:
        np.testing.assert_array_equal(weights, base)
    for source in pictures.sources:  # they keep their shares
        mine = pictures.of_sources([source])
        assert weights[mine].sum() == pytest.approx(base[mine].sum())


def test_rare_words_gain_what_frequent_ones_lose(make_table: Callable) -> None:
    prompts = [f"a dog {i}" for i in range(60)] + [f"a castle {i}" for i in range(20)]
    prompts += [f"a dog in a castle {i}" for i in range(20)]
    pictures = make_table(prompts)
    weights = balanced_weights(pictures, 1.0, 0.5)
    dog, castle, both = weights[0], weights[60], weights[80]
    assert castle / dog == pytest.approx(np.sqrt(0.8 / 0.4))  # shares of the two words
    assert both == pytest.approx((dog + castle) / 2)
    strong = balanced_weights(pictures, 1.0, 1.0)
    assert strong[60] / strong[0] == pytest.approx(2)


def test_a_word_of_few_pictures_does_not_drown_the_rest(make_table: Callable) -> None:
    prompts = [f"a dog {i}" for i in range(990)] + ["a xylophone"] + ["a castle"] * 9
    weights = balanced_weights(make_table(prompts), 1.0, 1.0)
    # The dog is in 990 of 1,000; both rare words count as in ten.
    assert weights[990] / weights[0] == pytest.approx(99)
    assert weights[990] == pytest.approx(weights[991])


@pytest.mark.parametrize("power", [-0.1, 1.1])
def test_impossible_powers_are_refused(make_table: Callable, power: float) -> None:
    with pytest.raises(UserError):
        balanced_weights(make_table(["a dog"]), 0.5, power)


# --- artists ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        ("a dog by Claude Monet", ["claude monet"]),
        ("style of E. H. Shepard, woman", ["e h shepard"]),
        ("art by George B. Bridgman. oil", ["george b bridgman"]),
        ("painted by Degas and the Brothers Hildebrandt", ["degas", "brothers hildebrandt"]),
        ("a house (by Syd Mead:1.2)", ["syd mead"]),
        ("attributed, by attributed to Sandro Botticelli", ["sandro botticelli"]),
        ("lit by a soft gradient that goes from pink to mint", []),
        ("by an unknown artist", []),
        ("a dog", []),
        ("by", []),
    ],
)
def test_artists_follow_by(prompt: str, names: list[str]) -> None:
    assert artists_of([prompt]) == [names]


def test_names_further_down_a_list_are_known_from_other_prompts() -> None:
    prompts = ["a dog by Greg Rutkowski, Alphonse Mucha, sharp focus"]
    assert artists_of(prompts) == [["greg rutkowski"]]
    prompts += ["a cat by alphonse mucha", "by Alphonse Mucha", "alphonse mucha"]
    assert artists_of(prompts)[0] == ["greg rutkowski", "alphonse mucha"]
    assert artists_of(prompts)[3] == ["alphonse mucha"]


@given(st.lists(st.text(), max_size=5))
def test_no_prompt_breaks_the_artists(prompts: list[str]) -> None:
    assert len(artists_of(prompts)) == len(prompts)


# --- the report ---------------------------------------------------------------------------------


def test_concentration_of_what_is_known() -> None:
    even = concentration(np.full(200, 3.0))
    assert even["items"] == 200 and even["gini"] == pytest.approx(0)
    assert even["effective"] == pytest.approx(200)
    assert [even[f"top_{n}"] for n in (1, 10, 100)] == pytest.approx([1 / 200, 1 / 20, 1 / 2])
    one = concentration(np.array([5.0, 0.0]))
    assert one == {"items": 1, "top_1": 1, "top_10": 1, "top_100": 1, "gini": 0, "effective": 1}
    uneven = concentration(np.array([1.0, 3.0]))
    assert uneven["gini"] == pytest.approx(0.25) and uneven["top_1"] == pytest.approx(0.75)
    assert concentration(np.zeros(3))["items"] == 0


def test_the_report_tells_the_data_before_and_after(make_table: Callable) -> None:
    prompts = ["walter white by Monet"] * 8 + ["a castle", "a dog by Degas"]
    report = imbalance_report(make_table(prompts), max_per_prompt=2)
    lies, capped, *rest = report["views"]
    assert (lies["pictures"], capped["pictures"]) == (10, 4)
    assert lies["effective"] == pytest.approx(10) and capped["effective"] == pytest.approx(4)
    assert report["with_artist"] == pytest.approx(0.9)
    shares = {row["item"]: row["shares"] for row in report["top"]["words"]}
    assert shares["walter"][:2] == pytest.approx([0.8, 0.5])
    assert report["top"]["artists"][0]["item"] == "monet"
    assert report["top"]["prompts"][0]["item"] == "walter white by monet"
    assert report["top"]["prompts"][0]["shares"][:2] == pytest.approx([0.8, 0.5])
    assert capped["prompts"]["gini"] < lies["prompts"]["gini"]
    for view in (lies, capped, *rest):
        assert view["prompts"]["items"] == 3 and view["sources"]["items"] == 1
    json.dumps(report)
    assert "walter" in markdown(report) and "| at most 2 a prompt | 4 |" in markdown(report)


def test_a_report_of_nothing_is_refused(make_table: Callable) -> None:
    with pytest.raises(UserError):
        imbalance_report(make_table([]))
    with pytest.raises(UserError):
        imbalance_report(make_table(["a dog"]), max_per_prompt=0)


def test_the_command_writes_what_it_prints(diffusiondb_folder: Path, tmp_path: Path) -> None:
    prepare(diffusiondb_folder, tmp_path / "prepared", progress=False, workers=1)
    script = ROOT / "scripts" / "report_imbalance.py"
    arguments = ["--data", tmp_path / "prepared", "--out", tmp_path / "docs" / "imbalance"]
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = {path.name: path for path in (tmp_path / "docs").iterdir()}
    assert written.keys() == {"imbalance.md", "imbalance.json", "imbalance.html"}
    report = json.loads(written["imbalance.json"].read_text(encoding="utf-8"))
    pictures = read_shards(tmp_path / "prepared")
    assert report["pictures"] == len(pictures) == 16
    assert report["views"][1]["pictures"] == cap_mask(pictures, 1).sum() == 15
    assert done.stdout.strip() in written["imbalance.md"].read_text(encoding="utf-8")
    assert "a red fox, snow" in written["imbalance.html"].read_text(encoding="utf-8")
    arguments[1] = tmp_path / "none"
    done = subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: ")
