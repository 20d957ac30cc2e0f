"""What the Map tab tells in words: a word's card, a sum's answer, the map as tables."""

import json
from collections.abc import Sequence
from html import escape
from typing import Any

from img2prompt.core.texts import Texts
from img2prompt.embedding.analogy import Solution
from img2prompt.embedding.word_map import VocabularyMap
from img2prompt.inference.export import table_as_csv
from img2prompt.inference.predictor import Prediction

THEME_WORDS = 12  # of each theme, in the table
SUMS = ("portrait - painting + photo", "king - man + woman", "castle + night", "cat + robot")


def word_html(
    word: str,
    near: Sequence[tuple[str, float, int]],
    count: int,
    belongs: Sequence[str],
    part: dict[str, Any] | None,
    text: Texts,
) -> str:
    """A word's card.

    Args:
        word: in the vocabulary.
        near: (word, cosine, count) of its nearest words.
        count: how often the prompts hold it.
        belongs: its kind and its theme, as a reader calls them, where they are known.
        part: what of it lies on the map.
        text: the language.
    """
    facts = [*belongs, text("map.times", count=text.number(count, 0))]
    saved = table_as_csv(("word", "near", "cosine", "count"), [(word, *row) for row in near])
    return (
        f'<section class="card" data-word="{escape(word, quote=True)}"{_part(part)}>'
        f'<h2 lang="en">{escape(word)}</h2><p>{escape(" · ".join(facts))}</p>'
        f"<h3>{escape(text('map.near'))}</h3>{_ranked(near, text)}"
        f'<p class="save">{_save(f"{word}.csv", saved, text("map.save_near"))}</p></section>'
    )


def beginnings_html(typed: str, words: Sequence[str], text: Texts) -> str:
    """What stands in the card's place while the word is not (yet) one that the vocabulary has."""
    if not typed.strip():
        return (
            f'<section class="card"><h2>{escape(text("map.waiting_title"))}</h2>'
            f"<p>{escape(text('map.waiting'))}</p></section>"
        )
    buttons = "".join(f"<li>{_button(word)}</li>" for word in words)
    told = text("map.begins" if words else "map.unknown", word=typed.strip()[:40])
    return f'<section class="card"><p>{escape(told)}</p><ul class="chips">{buttons}</ul></section>'


def sum_html(solution: Solution, part: dict[str, Any] | None, text: Texts) -> str:
    """What a sum is near."""
    rows = [
        (word, score, count)
        for (word, score), count in zip(solution.words, solution.counts, strict=True)
    ]
    return (
        f'<section class="sum"{_part(part)}>'
        f"<h3>{escape(text('map.sum_near', sum=solution.expression))}</h3>"
        f"{_ranked(rows, text)}</section>"
    )


def sentence_html(sentence: str) -> str:
    """One sentence where an answer would be."""
    return f'<p class="sentence">{escape(sentence)}</p>'


def sums_html(text: Texts) -> str:
    """A few sums to begin with."""
    buttons = "".join(
        f'<li><button type="button" data-map-sum="{escape(sum_, quote=True)}" lang="en">'
        f"{escape(sum_.replace(' - ', ' − '))}</button></li>"
        for sum_ in SUMS
    )
    label = escape(text("map.sums"), quote=True)
    return f'<ul class="chips" aria-label="{label}">{buttons}</ul>'


def picture_html(
    prediction: Prediction,
    truth: Sequence[str],
    themes: dict[str, str],
    part: dict[str, Any] | None,
    text: Texts,
) -> str:
    """A picture's answer on the map, as a table.

    Args:
        prediction: the answer.
        truth: the words of the true prompt, where they are known.
        themes: word → the name of the region it lies in.
        part: what of it lies on the map.
        text: the language.
    """
    rows = ""
    for word in prediction.words:
        others = ", ".join(f"{other} {text.number(score)}" for other, score in word.alternatives)
        found = escape(text("map.yes" if word.word in truth else "map.no")) if truth else ""
        rows += (
            f'<tr><td>{word.step + 1}</td><th scope="row">{_button(word.word)}</th>'
            f'<td>{text.number(word.score)}</td><td lang="en">{escape(others)}</td>'
            f'<td lang="en">{escape(themes.get(word.word, "–"))}</td>'
            + (f"<td>{found}</td>" if truth else "")
            + "</tr>"
        )
    heads = ["vector", "word", "cosine", "others", "theme", *(["true"] if truth else [])]
    missed = [word for word in truth if word not in {w.word for w in prediction.words}]
    rest = ""
    if missed:
        chips = "".join(f"<li>{_button(word)}</li>" for word in missed)
        rest = f'<p>{escape(text("map.missed"))}</p><ul class="chips">{chips}</ul>'
    return (
        f'<section class="of-picture"{_part(part)}><h3>{escape(text("map.picture_title"))}</h3>'
        f"{_table(heads, rows, text)}{rest}</section>"
    )


def no_picture_html(text: Texts) -> str:
    """What stands there before there is a picture."""
    return (
        f'<section class="of-picture"><h3>{escape(text("map.picture_title"))}</h3>'
        f"<p>{escape(text('map.no_picture'))}</p></section>"
    )


def themes_html(vocabulary: VocabularyMap, text: Texts) -> str:
    """Every region of the map with its most frequent words."""
    by_theme: list[list[str]] = [[] for _ in vocabulary.labels]
    for word, theme in zip(vocabulary.words, vocabulary.themes, strict=True):
        by_theme[theme].append(word)
    rows = ""
    for name, words in sorted(zip(vocabulary.labels, by_theme, strict=True), key=lambda r: r[0]):
        shown = " ".join(_button(word) for word in words[:THEME_WORDS])
        rows += (
            f'<tr><th scope="row" lang="en">{escape(name)}</th>'
            f'<td>{text.number(len(words), 0)}</td><td class="words">{shown}</td></tr>'
        )
    return (
        f'<section class="themes"><h3>{escape(text("map.themes_title"))}</h3>'
        f"{_table(['theme', 'size', 'most'], rows, text)}</section>"
    )


def _table(columns: Sequence[str], rows: str, text: Texts) -> str:
    heads = "".join(
        f'<th scope="col">{escape(text(f"map.column_{name}"))}</th>' for name in columns
    )
    # Wider than a phone, so it scrolls on its own; a keyboard has to reach it for that.
    return (
        f'<div class="wide" tabindex="0" role="group"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _ranked(rows: Sequence[tuple[str, float, int]], text: Texts) -> str:
    items = "".join(
        f'<li>{_button(word)}<span class="track" aria-hidden="true"><span class="bar" '
        f'style="width:{max(score, 0) * 100:.1f}%"></span></span>'
        f'<span class="score">{text.number(score)}</span>'
        f'<span class="count">{text.number(count, 0)}</span></li>'
        for word, score, count in rows
    )
    heads = (
        f'<p class="heads" aria-hidden="true"><span>{escape(text("map.column_cosine"))}</span>'
        f"<span>{escape(text('map.column_count'))}</span></p>"
    )
    return f'{heads}<ol class="near">{items}</ol>'


def _button(word: str) -> str:
    safe = escape(word, quote=True)
    return f'<button type="button" data-map-word="{safe}" lang="en">{safe}</button>'


def _save(name: str, content: str, label: str) -> str:
    return (
        f'<button type="button" data-save="{escape(name, quote=True)}" '
        f'data-type="text/csv;charset=utf-8" data-content="{escape(content, quote=True)}">'
        f"{escape(label)}</button>"
    )


def _part(part: dict[str, Any] | None) -> str:
    return f' data-part="{escape(json.dumps(part), quote=True)}"' if part is not None else ""
