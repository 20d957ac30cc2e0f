"""The list of licences: complete, of the locked versions, and none that we do not take."""

import json
from typing import Any

import licences
import pytest
from paths import ROOT

from img2prompt.core.errors import UserError

DOCUMENT = (ROOT / licences.DOCUMENT).read_text("utf-8")


def test_every_locked_package_has_a_licence_that_we_take() -> None:
    assert licences.problems(DOCUMENT, licences.locked(ROOT)) == []


def test_the_list_names_nothing_that_is_not_locked() -> None:
    assert set(licences.rows(DOCUMENT)) - {"package"} == {name for name, _, _ in licences.locked()}


def test_a_note_is_for_a_locked_package() -> None:
    names = {name for name, _, _ in licences.locked()}
    assert set(licences.NOTED) <= names and set(licences.ASKING) <= names


def test_what_is_shipped_is_there() -> None:
    for what, _ in licences.SHIPPED:
        if what.startswith("`"):
            path = what.split("`")[1]
            assert path in DOCUMENT and (ROOT / path).exists()


@pytest.mark.parametrize(
    "name, licence, told",
    [
        ("tqdm", "MIT", None),
        ("six", "GPL-3.0-only", "six has the licence GPL-3.0-only"),
        ("six", "AGPL-3.0-or-later", "six has the licence"),
        ("six", "unknown", "six has the licence unknown"),
        ("six", "MIT AND GPL-2.0-only", "six has the licence"),
        ("gensim", "LGPL-2.1-only", None),  # noted, with a reason
    ],
)
def test_a_licence_that_we_do_not_take_is_noticed(
    name: str, licence: str, told: str | None
) -> None:
    document = f"| {name} | 1.0 | {licence} | the page |  |"
    found = licences.problems(document, [(name, ["1.0"], "the page")])
    assert (told is None and not found) or found[0].startswith(told)


def test_a_package_that_is_missing_or_newer_is_noticed() -> None:
    document = "| six | 1.0 | MIT | the page |  |"
    assert "seven 2.0" in licences.problems(document, [("seven", ["2.0"], "the page")])[0]
    assert "six 1.1" in licences.problems(document, [("six", ["1.1"], "the page")])[0]


@pytest.mark.parametrize(
    "expression, metadata, classifier, licence",
    [
        ("MIT AND PSF-2.0", "UNKNOWN", "UNKNOWN", "MIT AND PSF-2.0"),
        ("UNKNOWN", "Apache 2.0", "Apache Software License", "Apache-2.0"),
        ("UNKNOWN", "Copyright (c) 2015, all of it …", "BSD License", "BSD"),
        ("UNKNOWN", "mit", "UNKNOWN", "MIT"),
        ("UNKNOWN", "UNKNOWN", "UNKNOWN", "unknown"),
        ("UNKNOWN", "my own", "Other/Proprietary License", "unknown"),
    ],
)
def test_old_names_become_spdx(
    expression: str, metadata: str, classifier: str, licence: str
) -> None:
    row = {
        "Name": "six",
        "License-Expression": expression,
        "License-Metadata": metadata,
        "License-Classifier": classifier,
    }
    assert licences.licence_of(row) == licence
    assert licences.licence_of(row | {"Name": "namex"}) == "Apache-2.0"  # from its own file


def test_the_table_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        {
            "Name": name,
            "Version": versions[0],
            "License-Expression": "MIT",
            "License-Metadata": "UNKNOWN",
            "License-Classifier": "UNKNOWN",
        }
        for name, versions, _ in licences.locked()
    ]
    done: Any = type("Done", (), {"returncode": 0, "stdout": json.dumps(found)})
    monkeypatch.setattr(licences.subprocess, "run", lambda *args, **options: done)
    table = licences.table(licences.installed())
    assert licences.problems(table, licences.locked(ROOT)) == []
    done.returncode = 1
    with pytest.raises(UserError, match="make licences"):
        licences.installed()
