"""What the page shows of a file's making: whole, escaped, masked, bounded, in every language."""

from img2prompt.core.texts import Texts, languages
from img2prompt.data.block_list import BLOCKED_WORDS, MASK
from img2prompt.data.file_prompts.reading import NOTHING, Reading
from img2prompt.data.file_prompts.records import FilePrompt
from img2prompt.evaluation.score import Score
from img2prompt.ui.guess.truth import MAX_SHOWN, file_html, truth_html

TOLD = FilePrompt("a fox", "hands", "Forge", "dream", "Euler a", 5, 20)
ENGLISH = Texts()


def test_every_setting_is_shown_in_every_language() -> None:
    for language in languages():
        text = Texts(language)
        html = file_html(Reading("found", TOLD), text, BLOCKED_WORDS)
        for name, value in (
            ("model", "dream"),
            ("sampler", "Euler a"),
            ("steps", "20"),
            ("seed", "5"),
            ("negative", "hands"),
        ):
            assert f"<dt>{text(f'truth.{name}')}</dt><dd>{value}</dd>" in html
        assert text("truth.file") in html and "note" not in html


def test_only_what_is_known_is_shown() -> None:
    assert file_html(NOTHING, ENGLISH, BLOCKED_WORDS) == ""
    bare = FilePrompt("a fox", "", "Forge")
    assert file_html(Reading("found", bare), ENGLISH, BLOCKED_WORDS) == ""
    zero = file_html(Reading("found", FilePrompt("a", "", "Forge", seed=0)), ENGLISH, BLOCKED_WORDS)
    assert "<dd>0</dd>" in zero and zero.count("<dt>") == 1


def test_a_file_without_a_readable_prompt_is_told_honestly() -> None:
    empty = FilePrompt("", "hands", "Forge")
    html = file_html(Reading("empty", empty), ENGLISH, BLOCKED_WORDS)
    assert "The prompt in this file is empty (Forge)." in html and "hands" in html
    html = file_html(Reading("unreadable"), ENGLISH, BLOCKED_WORDS)
    assert "in a form that we cannot read" in html and "<dl>" not in html


def test_what_a_file_says_is_escaped_masked_and_bounded() -> None:
    blocked = min(BLOCKED_WORDS)
    evil = f"<img src=x onerror=alert(1)> {blocked} "
    told = FilePrompt("", evil * 100, evil, evil, evil, 2**66, 20)
    html = file_html(Reading("empty", told), ENGLISH, BLOCKED_WORDS)
    assert "<img" not in html and blocked not in html and MASK in html
    assert len(html) < 10 * MAX_SHOWN


def test_a_command_is_not_marked_as_a_word() -> None:
    score = Score(("break",), (), (), (), 1.0, 1.0, 1.0, 1.0, 1.0)
    html = truth_html("a tea break BREAK", score, "", ENGLISH, frozenset())
    assert html.count('class="mark') == 1 and html.index("mark found") < html.index("BREAK")
