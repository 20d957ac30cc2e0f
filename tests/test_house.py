"""The rules of the house that no linter holds: sizes, and one sentence a mistake.

CONTRIBUTING.md tells them. What may import what holds import-linter (`make lint`).
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from paths import ROOT

from img2prompt.core.texts import Texts, languages

LINES, FUNCTION, PARAMETERS, ENTRIES = 400, 60, 6, 10
CODE = [ROOT / "app.py"] + [
    path for folder in ("img2prompt", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))
]
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions(path: Path) -> Iterator[FUNCTIONS]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, FUNCTIONS))


def length(function: FUNCTIONS) -> int:
    """Lines of a function without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        told = function.body[0]
        lines -= told.end_lineno - told.lineno + 1
    return lines


def parameters(function: FUNCTIONS) -> int:
    """Parameters of a function, `self` and `cls` aside."""
    taken = function.args
    names = [one.arg for one in taken.posonlyargs + taken.args + taken.kwonlyargs]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def test_the_package_has_few_entries() -> None:
    entries = [
        path.name
        for path in (ROOT / "img2prompt").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    ]
    assert len(entries) <= ENTRIES, entries


def test_no_file_and_no_function_is_long() -> None:
    long = [path.name for path in CODE if len(path.read_text("utf-8").splitlines()) > LINES]
    assert long == []
    assert [
        f"{path.name}: {one.name}"
        for path in CODE
        for one in functions(path)
        if length(one) > FUNCTION
    ] == []


def test_no_function_takes_many_parameters() -> None:
    assert [
        f"{path.name}: {one.name}"
        for path in CODE
        for one in functions(path)
        if parameters(one) > PARAMETERS
    ] == []


def errors() -> set[str]:
    """The names of `UserError` and of the classes that inherit from it and take its key."""
    names, found = {"UserError"}, {""}
    while found:
        found = {
            node.name
            for path in CODE
            for node in ast.walk(tree(path))
            if isinstance(node, ast.ClassDef)
            and any(ast.unparse(base).split(".")[-1] in names for base in node.bases)
            and not any(getattr(one, "name", None) == "__init__" for one in node.body)
        } - names
        names |= found
    return names


def raised() -> Iterator[tuple[str, ast.Call]]:
    """Every place where an error is made with a key: (where, the call)."""
    names = errors()
    for path in CODE:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in names:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node


@pytest.mark.parametrize("language", languages())
def test_every_error_has_a_sentence_that_gets_its_values(language: str) -> None:
    text = Texts(language)
    wrong = []
    for where, call in raised():
        if (
            call.args
            and isinstance(call.args[0], ast.JoinedStr)
            and " " in ast.unparse(call.args[0])
        ):
            wrong.append((where, "a sentence in place of a key"))
        if not call.args or not isinstance(call.args[0], ast.Constant):
            continue  # a key that is put together, or an error handed on
        key = call.args[0].value
        key = f"error.{key}" if f"error.{key}" in text else key
        given = {one.arg for one in call.keywords}
        if key not in text or (None not in given and not text.placeholders(key) <= given):
            wrong.append((where, key))
    assert wrong == []


def test_every_sentence_of_an_error_is_raised_somewhere() -> None:
    """A key stands in the code whole, or its beginning does where it is put together."""
    code = "".join(path.read_text("utf-8") for path in CODE)
    begun = tuple(re.findall(r"f[\"']([a-z_]+\.[a-z_.]*)\{", code))
    keys = [key.removeprefix("error.") for key in Texts().names("error.")]
    assert [k for k in keys if f'"{k}"' not in code and not k.startswith(begun)] == []
