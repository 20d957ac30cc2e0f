"""The lesson's little pictures: what is written on them can be read on every picture."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from img2prompt.ui.learn import steps

NUMBER = re.compile(
    r'<span style="background:rgb\((\d+), (\d+), (\d+)\)">'
    r'<b style="background:rgb\((\d+), (\d+), (\d+)\);color:(#000|#fff)">(\d+)</b></span>'
)
CHANNEL = st.integers(0, 255)


def readable(colour: tuple[int, int, int]) -> None:
    """The square has the pixel's colour, and the number stands out from what is below it."""
    *numbers, ink, value = NUMBER.fullmatch(steps._number(colour, 123)).groups()
    square, plate = tuple(map(int, numbers[:3])), tuple(map(int, numbers[3:]))
    assert (square, value) == (colour, "123")
    ink = (0, 0, 0) if ink == "#000" else (255, 255, 255)
    # Also where the number is larger than its plate.
    assert steps.contrast(square, ink) >= 4.5
    assert steps.contrast(plate, ink) >= 7
    assert all(0 <= channel <= 255 for channel in plate)


def test_numbers_can_be_read_on_every_grey() -> None:
    for grey in range(256):
        readable((grey, grey, grey))


@given(st.tuples(CHANNEL, CHANNEL, CHANNEL))
def test_numbers_can_be_read_on_every_colour(colour: tuple[int, int, int]) -> None:
    readable(colour)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 0), (255, 255, 255), 21.0),
        ((119, 119, 119), (255, 255, 255), 4.48),  # #777, known to fail by a hair
        ((118, 118, 118), (255, 255, 255), 4.54),
        ((255, 0, 0), (255, 255, 255), 4.0),
        ((9, 9, 9), (9, 9, 9), 1.0),
    ],
)
def test_contrast_is_wcags(one: tuple, other: tuple, expected: float) -> None:
    assert steps.contrast(one, other) == pytest.approx(expected, abs=0.005)
    assert steps.contrast(one, other) == steps.contrast(other, one)


@given(st.floats(-1, 1))
def test_cosines_can_be_read_on_their_tint(cosine: float) -> None:
    assert steps.contrast(steps._tint(cosine), (20, 32, 61)) >= 7  # the colour in learn.css
