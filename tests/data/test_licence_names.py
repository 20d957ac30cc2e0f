"""Which licences let a gallery show a picture."""

import pytest

from img2prompt.data.licences import allowed_licence


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("CC0-1.0", "CC0-1.0"),
        ("cc0", "CC0-1.0"),
        ("MIT License", "MIT"),
        ("Apache-2.0", "Apache-2.0"),
        ("BSD 3-Clause", "BSD-3-Clause"),
        ("Unlicense", "Unlicense"),
        ("CC BY 4.0", "CC-BY-4.0"),
        ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
        ("public domain (author dedication)", "public domain"),
        # Not for everybody, not to be changed, with further duties, unclear or unknown.
        ("CC-BY-NC-4.0", None),
        ("CC-BY-ND-4.0", None),
        ("CC-BY-NC-SA-4.0", None),
        ("CC-BY-SA-4.0 or other", None),
        ("GPL", None),
        ("AGPL-3.0", None),
        ("CreativeML-OpenRAIL-M", None),
        ("public domain (old masters; per-file not stated)", None),
        ("MIT（非商用）", None),
        ("CC BY-ＮＣ 4.0", None),
        ("MIT, некоммерческое", None),
        ("other", None),
        ("", None),
        (None, None),
    ],
)
def test_a_licence_is_allowed_by_its_name_alone(written: str | None, name: str | None) -> None:
    assert allowed_licence(written) == name
