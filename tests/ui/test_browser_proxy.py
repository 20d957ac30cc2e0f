"""The page behind a proxy, in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import browser_kit
import hosted
import pytest
import small_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def proxied(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with hosted.proxied(tmp_path_factory.mktemp("proxied"), small_folder) as address:
        yield address


def test_a_picture_is_answered_behind_a_proxy(proxied: str, browser: Any, tmp_path: Path) -> None:
    small_page.picture(1).save(tmp_path / "a.png")
    with browser_kit.pages(browser, proxied) as open_page:
        page = open_page()
        browser_kit.choose(page, tmp_path / "a.png")
        assert len(browser_kit.words(page, 10)) == 10
        shown = page.locator("#guess-picture img").first
        page.wait_for_function("(image) => image.naturalWidth > 0", arg=shown.element_handle())
