"""Which pairs are kept: lengths, languages, near-duplicates, caps."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.core.errors import UserError
from img2prompt.data.filters import LanguageFilter, PairFilter, beyond_cap
from img2prompt.data.shards import PrepareSettings
from img2prompt.data.splits import near_duplicate_key

ENGLISH = (
    "an old man sits at the window and reads a book, oil painting, warm light",
    "portrait of a robot by greg rutkowski, alphonse mucha, artgerm, trending on artstation, 8k",
    "hyperrealistic cyberpunk city, neon, octane render, unreal engine, intricate details",
)
FOREIGN = {
    "de": "Ein alter Mann sitzt am Fenster und liest ein Buch, Ölgemälde, warmes Licht",
    "fr": "portrait d'une jeune femme aux cheveux roux dans la forêt, très détaillé, 8k",
    "es": "una ciudad futurista de noche con luces de neón y coches voladores",
    "ru": "Старик сидит у окна и читает книгу, масляная живопись, тёплый свет",
    "ja": "窓辺に座って本を読む老人、油絵、暖かい光",
    "zh": "一位老人坐在窗边看书,油画,温暖的光线,非常细致",
}


def reason(prompt: str, image: float = 0.0, rude: float = 0.0, **settings) -> str | None:
    return PairFilter(PrepareSettings(**settings)).reason(prompt, image, rude)


@pytest.mark.parametrize(
    ("settings", "image", "rude", "expected"),
    [
        ({}, 0.5, 0.5, None),
        ({}, 0.51, 0.0, "image_nsfw"),
        ({}, 0.0, 0.51, "prompt_nsfw"),
        ({}, 2.0, 0.0, "blurred"),
        ({"keep_blurred": True}, 2.0, 0.0, None),
        ({"keep_blurred": True}, 0.9, 0.0, "image_nsfw"),
        ({"keep_blurred": True}, 2.0, 0.9, "prompt_nsfw"),
        ({"max_image_nsfw": None}, 2.0, 0.0, None),
        ({"max_image_nsfw": 1.0}, 2.0, 0.0, "blurred"),
    ],
)
def test_scores_and_the_mark_of_blurred_pictures(settings, image, rude, expected) -> None:
    assert reason("a dog", image, rude, **settings) == expected


def test_lengths_count_all_words() -> None:
    prompt = "a dog's portrait, 8k"  # a, dog, portrait, 8k
    assert reason(prompt, min_words=4, max_words=4) is None
    assert reason(prompt, min_words=5) == "too short"
    assert reason(prompt, max_words=3) == "too long"
    assert reason("…", min_words=1) == "too short"


@pytest.mark.parametrize("prompt", ENGLISH)
def test_english_stays(prompt: str) -> None:
    assert reason(prompt, languages=("en",)) is None


@pytest.mark.parametrize(("language", "prompt"), FOREIGN.items())
def test_another_language_goes_and_its_own_stays(language: str, prompt: str) -> None:
    assert reason(prompt, languages=("en",)) == "language"
    assert reason(prompt, languages=("en", language)) is None
    assert reason(prompt) is None


@pytest.mark.parametrize("prompt", ["", "ein Hund", "東京", "a dog, 8k", "lorem ipsum dolor"])
def test_prompts_too_short_to_tell_stay(prompt: str) -> None:
    assert reason(prompt, languages=("en",)) is None


@given(st.text())
def test_no_text_breaks_the_language_filter(prompt: str) -> None:
    assert LanguageFilter(("en",)).is_foreign(prompt) in (True, False)


def test_an_unknown_language_is_named() -> None:
    with pytest.raises(UserError, match="xx"):
        LanguageFilter(("en", "xx"))


@pytest.mark.parametrize(
    "settings",
    [
        {"min_size": -1},
        {"max_per_prompt": -1},
        {"max_image_nsfw": float("nan")},
        {"max_prompt_nsfw": -0.1},
        {"max_prompt_nsfw": float("inf")},
        {"max_words": 0},
        {"min_words": 5, "max_words": 4},
        {"languages": "en"},
    ],
)
def test_impossible_filters_are_refused(settings: dict) -> None:
    with pytest.raises(UserError):
        PrepareSettings(**settings)


def test_languages_in_any_order_are_the_same_settings() -> None:
    one, other = PrepareSettings(languages=["en", "DE "]), PrepareSettings(languages=("de", "en"))
    assert one == other


def test_near_duplicates_have_the_same_words() -> None:
    key = near_duplicate_key("A red fox, snow")
    same = ["snow a RED fox", "fox, fox, red!! snow — a", "(a red:fox) snow"]
    assert all(near_duplicate_key(prompt) == key for prompt in same)
    other = ["a red fox", "a red fox, snow, 8k", "an red fox, snow"]
    assert all(near_duplicate_key(prompt) != key for prompt in other)
    # Without a word the symbols are the prompt.
    assert near_duplicate_key("☆☆") != near_duplicate_key("♡")


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=60),
    st.integers(1, 4),
)
def test_a_cap_keeps_the_first(rows: list[tuple[int, bool]], most: int) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for key, eligible in rows:
        seen[key] += eligible
        expected.append(eligible and seen[key] > most)
    keys = np.array([key for key, _ in rows], np.uint64)
    eligible = np.array([eligible for _, eligible in rows], bool)
    assert beyond_cap(keys, eligible, most).tolist() == expected
