"""What the ImageNet classes are called, and which prompts name one."""

import pytest

from img2prompt.embedding.class_names import ClassName, NamedClasses, read_class_names
from img2prompt.embedding.vectors import WordVectors

CLASSES = [
    ClassName("golden retriever", "dog"),
    ClassName("hot dog", together=True),
    ClassName("castle"),
    ClassName("hen of the woods", "mushroom", together=True),
    ClassName("crane (machine)"),
    ClassName("milk can"),
]


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("A Golden Retriever in snow", {0: True}),
        ("a retriever, golden light", {0: False}),
        ("golden hour", {}),
        ("my dog", {0: False}),
        ("a hot dog with mustard", {1: True}),
        ("a hot day, a dog", {0: False}),
        ("castles and a castle", {2: False}),
        ("hen of the woods", {3: True}),
        ("hen in the woods", {}),
        ("mushroom", {3: False}),
        ("a washing machine", {}),
        ("a crane over the harbour", {4: False}),
        ("milk that you can drink", {}),
        ("a milk can", {5: True}),
        ("", {}),
    ],
)
def test_a_prompt_names_a_class_by_its_head_its_whole_name_or_its_kind(
    prompt: str, named: dict[int, bool]
) -> None:
    found = list(NamedClasses(CLASSES).named(prompt))
    assert dict(found) == named
    assert len(found) == len(named)


@pytest.mark.parametrize(
    ("name", "called"),
    [
        (ClassName("red fox"), ["red", "fox"]),
        (ClassName("red fox", "dog"), ["red", "fox", "dog"]),
        (ClassName("swift fox"), ["fox"]),
        (ClassName("red grouse"), []),
        (ClassName("red grouse", "dog"), ["dog"]),
        (ClassName("moon fox", together=True), ["moon", "fox"]),
        (ClassName("moon fox", "dog", together=True), ["dog"]),
        (ClassName("swift fox", together=True), []),
        (ClassName("dog (machine)", "dog"), ["dog"]),
    ],
)
def test_a_class_is_called_by_its_whole_name_else_by_its_head(
    vectors: WordVectors, name: ClassName, called: list[str]
) -> None:
    assert [vectors.words[position] for position in name.called(vectors)] == called


def test_imagenet_has_a_thousand_named_classes() -> None:
    rows = read_class_names()
    assert len(rows) == 1000
    assert len({row.name for row in rows}) == len({row.synset for row in rows}) == 1000
    assert rows[207] == ClassName("golden retriever", "dog", synset="n02099601")
    assert rows[934] == ClassName("hot dog", together=True, synset="n07697537")
    assert rows[954].name == "banana" and rows[980].name == "volcano"
    assert all(row.words and row.synset[1:].isdigit() for row in rows)
