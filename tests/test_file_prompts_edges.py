"""Pictures at the edges of what is taken: exact sentences, exact pixels, exact bounds."""


def test_nothing_yet() -> None:
    pass
