"""The web UI's text, rule by rule: where the words end, what a setting is, whose program it was."""

import pytest

from img2prompt.data.file_prompts.records import FilePrompt
from img2prompt.data.file_prompts.web_ui import (
    MAX_PAIRS,
    MAX_SETTINGS,
    MAX_TEXT,
    looks_like,
    read_settings,
    read_web_ui,
)

STEPS = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Model: dream"
FULL = ("dream", "Euler a", 5, 20)


def fields(found: FilePrompt) -> tuple:
    return found.model, found.sampler, found.seed, found.steps


# --- what is such a text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "a fox\nNegative prompt: blurry",
        "  NEGATIVE PROMPT:",
        "a fox\nSteps: 20, Sampler: x",
        "a fox\nsteps:20",
        "\tSteps: 7 ",
        f"a fox {STEPS}",
        "a fox\nSteps: 20\nmore below",
    ],
)
def test_a_web_ui_s_text_looks_like_one(text: str) -> None:
    assert looks_like(text)
    assert looks_like("x" * (MAX_TEXT + 9) + "\n" + text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "a fox", "Steps: many", "Steps: 20 of them", "a fox, no Negative prompt: blurry"),
        *("a fox Steps: 20, Sampler: x", STEPS + "\n" + "x" * MAX_TEXT, "Canon EOS 5D: 1, a: 2"),
    ],
)
def test_another_comment_does_not(text: str) -> None:
    assert not looks_like(text)


# --- words and settings ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, prompt, negative",
    [
        (f"a fox\nNegative prompt: blurry\n{STEPS}", "a fox", "blurry"),
        (
            f"a fox\r\nin snow\r\nNegative prompt: blurry,\r\nugly\r\n{STEPS}",
            "a fox\nin snow",
            None,
        ),
        (f"a fox\n  negative prompt: blurry\n\t{STEPS}", "a fox", "blurry"),
        (f"Negative prompt: blurry\n{STEPS}", "", "blurry"),
        (f"a fox\n{STEPS}", "a fox", ""),
        (STEPS, "", ""),
        (f"a fox Negative prompt: blurry {STEPS}", "a fox", "blurry"),
        (f"a fox {STEPS}", "a fox", ""),
        (f"a fox, no Negative prompt: blurry\nin snow\n{STEPS}", None, ""),
        (f"a fox\nSteps: 9\nin snow\n{STEPS}", "a fox\nSteps: 9\nin snow", ""),
        (f"a fox\n{STEPS}\nTemplate: a {{fox|cat}}", "a fox", ""),
        (f"  \n a fox \n{STEPS}\n ", "a fox", ""),
    ],
)
def test_words_end_where_the_settings_begin(
    text: str, prompt: str | None, negative: str | None
) -> None:
    found = read_web_ui(text)
    assert fields(found) == FULL
    assert found.prompt == (prompt if prompt is not None else text[: text.index("\nSteps")])
    assert found.negative == (negative if negative is not None else "blurry,\nugly")


def test_settings_may_begin_with_any_three_that_are_known() -> None:
    line = "Sampler: Euler a, Seed: 5, Size: 8x8, Model: dream"
    assert fields(read_web_ui(f"a fox\n{line}")) == ("dream", "Euler a", 5, None)
    assert read_web_ui(f"a fox\n{line}").prompt == "a fox"
    assert read_web_ui(line).prompt == "" and read_web_ui(line).seed == 5
    for below, seed in ((4, 5), (5, None)):  # among the last five lines
        found = read_web_ui(f"a fox\n{line}" + "\nx" * below)
        assert found.seed == seed
    two = read_web_ui("a fox\nSampler: Euler a, Seed: 5")
    assert (two.prompt, two.seed) == ("a fox\nSampler: Euler a, Seed: 5", None)
    lost = f"a fox Negative prompt: blurry, {line}"
    assert read_web_ui(lost).prompt == "a fox"


def test_lost_line_ends_need_a_space_before_the_settings() -> None:
    assert read_web_ui(f"a fox,{STEPS}").prompt == f"a fox,{STEPS}"
    assert read_web_ui(f"a Steps: x fox {STEPS}").prompt == "a Steps: x fox"
    few = "a fox Steps: 20, Sampler: x"
    assert read_web_ui(few).prompt == few


def test_a_text_may_be_as_long_as_two_prompts_and_settings() -> None:
    text = f"\nNegative prompt: {'x' * MAX_TEXT}"[:MAX_TEXT]
    assert len(read_web_ui(text).negative) == 20_000
    with pytest.raises(ValueError, match=r"^too long$"):
        read_web_ui(text + "x")
    with pytest.raises(ValueError, match=r"^too long for a prompt$"):
        read_web_ui("x" * 20_001)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, expected",
    [
        ("", {}),
        ("no setting", {}),
        ("Steps: 20", {"steps": "20"}),
        ("Steps: 20,", {"steps": "20"}),
        ("Steps:20,Seed:5", {"steps": "20", "seed": "5"}),
        (" , Steps:\t20 , Seed: 5 ", {"steps": "20", "seed": "5"}),
        ("CFG scale: 7, A/b (c)-d: x", {"cfg scale": "7", "a/b (c)-d": "x"}),
        ("Sampler: Euler, Karras, Seed: 5", {"sampler": "Euler, Karras", "seed": "5"}),
        ("Seed: 5, Seed: 6", {"seed": "5"}),
        ("Seed: , Steps: 20", {"seed": "", "steps": "20"}),
        ('Prompt: "a, Steps: 9, b", Seed: 5', {"prompt": "a, Steps: 9, b", "seed": "5"}),
        (r'Prompt: "say \"x\", y: z", Seed: 5', {"prompt": 'say "x", y: z', "seed": "5"}),
        ('Prompt: "a" and more, Seed: 5', {"prompt": "a", "seed": "5"}),
        ('Prompt: "never ends, Seed: 5', {"prompt": '"never ends', "seed": "5"}),
        ('Hashes: {"a": "b, c: d"}, Seed: 5', {"hashes": "", "seed": "5"}),
        ("List: [1, 2], Seed: 5", {"list": "", "seed": "5"}),
        ("List: [odd, Seed: 5", {"list": "[odd", "seed": "5"}),
        ("1st: x", {}),
        (f"{'k' * 60}: x", {"k" * 60: "x"}),
        (f"{'k' * 61}: x", {}),
    ],
)
def test_a_line_of_settings(line: str, expected: dict[str, str]) -> None:
    assert read_settings(line) == expected


def test_settings_are_few_and_bounded() -> None:
    line = ", ".join(f"key{'a' * number}: {number}" for number in range(40))
    assert len(read_settings(line)) == 40
    many = ", ".join(f"k{chr(97 + n // 26)}{chr(97 + n % 26)}: {n}" for n in range(MAX_PAIRS + 1))
    assert len(read_settings(many)) == MAX_PAIRS
    assert read_settings("a: " + "x" * MAX_SETTINGS) == {"a": "x" * (MAX_SETTINGS - 3)}
    deep = "Hashes: " + "[" * 15_000 + ", Seed: 5"
    assert read_settings(deep)["seed"] == "5"


@pytest.mark.parametrize(
    "more, model",
    [
        ("Model: dream, Unet: other, Model hash: abc", "dream"),
        ("Model hash: abc, Unet: other", "other"),
        ("Model hash: abc", "abc"),
        ("VAE: abc", None),
    ],
)
def test_the_model_is_named_or_at_least_its_hash(more: str, model: str | None) -> None:
    found = read_web_ui(f"a fox\nSteps: 20, Seed: 5, {more}")
    assert (found.model, found.sampler, found.seed, found.steps) == (model, None, 5, 20)


def test_of_several_seeds_and_steps_the_first_counts() -> None:
    found = read_web_ui('a fox\nSteps: 20, Seed: "5,6", Sampler: x')
    assert (found.seed, found.steps) == (5, 20)
    assert read_web_ui('a fox\nSampler: x, Seed: 5, Size: 8x8, Steps: "20,30"').steps == 20
    assert read_web_ui("a fox\nSteps: 20, Seed: 5, 6, Sampler: x").seed == 5


@pytest.mark.parametrize(
    "more, tool",
    [
        ("Version: v1.10.1", "AUTOMATIC1111"),
        ("Version: f2.0.1v1.10.1", "Forge"),
        ("Version: F2", "Forge"),
        ("Version: final", "AUTOMATIC1111"),
        ("Version: neo", "Forge"),
        ("Version: Classic 2", "Forge"),
        ("Version: Fooocus v2.5", "Fooocus"),
        ("Version: ComfyUI", "ComfyUI"),
        ("Version: stable-diffusion.cpp", "stable-diffusion.cpp"),
        ("App: SD.Next", "SD.Next"),
        ("App: another", "AUTOMATIC1111"),
        ("Civitai resources: [], Version: v1", "Civitai"),
        ("Model: civitai", "AUTOMATIC1111"),
    ],
)
def test_the_settings_tell_whose_program_it_was(more: str, tool: str) -> None:
    assert read_web_ui(f"a fox\nSteps: 20, Seed: 5, {more}").tool == tool
