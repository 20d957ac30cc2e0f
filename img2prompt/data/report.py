"""The report of a prepared folder: what is counted of each shard, and how the counts add up."""

import dataclasses
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from img2prompt.data import text
from img2prompt.data.shards import prompt_hashes, read_table, settings_of
from img2prompt.data.splits import SPLITS


@dataclass(frozen=True)
class ShardCounts:
    """What the report needs of one shard, small enough to go from process to process.

    Attributes:
        stem: the shard's name.
        prompts: `hash64` of each picture's folded prompt, uint64 (n,).
        sources: the shard's sources.
        source: each picture's position among them, uint16 (n,).
        splits: (source, split) → pictures.
        words: content word → pictures.
        skipped: reason → pictures left out.
        unrated: pictures kept that the metadata has no score of.
        without_user: pictures kept that no cap per user could count.
    """

    stem: str
    prompts: NDArray[np.uint64]
    sources: tuple[str, ...]
    source: NDArray[np.uint16]
    splits: Counter[tuple[str, str]]
    words: Counter[str]
    skipped: Counter[str]
    unrated: int
    without_user: int


def count_rows(stem: str, rows: dict[str, list[str]], stamp: dict[str, str]) -> ShardCounts:
    """Count one shard.

    Args:
        stem: its name.
        rows: its columns `prompt`, `source`, `split`.
        stamp: what its parquet file carries: `skipped`, and, since there are such,
            `unrated` and `without_user`.
    """
    places = {source: place for place, source in enumerate(dict.fromkeys(rows["source"]))}
    words: Counter[str] = Counter()
    for prompt in rows["prompt"]:
        words.update(text.content_words(prompt))
    return ShardCounts(
        stem,
        prompt_hashes(rows["prompt"]),
        tuple(places),
        np.array([places[source] for source in rows["source"]], np.uint16),
        Counter(zip(rows["source"], rows["split"], strict=True)),
        words,
        Counter(row["reason"] for row in json.loads(stamp.get("skipped", "[]"))),
        int(stamp.get("unrated", 0)),
        int(stamp.get("without_user", 0)),
    )


def count_shard(path: str | os.PathLike[str]) -> ShardCounts:
    """Count the shard whose rows lie in `path`, a parquet file.

    Raises:
        UserError: it is damaged.
    """
    path = Path(path)
    table = read_table(path, ["prompt", "source", "split"])
    stamp = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return count_rows(path.stem, table.to_pydict(), stamp)


class DataReport:
    """Adds up shards, in any order, to the report of a prepared folder.

    Holds ten bytes a picture and the vocabulary: 140 MB for DiffusionDB's 14 million pictures
    where their prompts would take gigabytes.
    """

    def __init__(self) -> None:
        self._stems: list[str] = []
        self._prompts: list[NDArray[Any]] = []
        self._source: list[NDArray[Any]] = []
        self._sources: dict[str, int] = {}
        self._splits: Counter[tuple[str, str]] = Counter()
        self._words: Counter[str] = Counter()
        self._skipped: Counter[str] = Counter()
        self._unrated = self._without_user = 0

    def add(self, shard: ShardCounts) -> None:
        """Add one shard; each may be added once."""
        self._stems.append(shard.stem)
        self._prompts.append(shard.prompts)
        own = [self._sources.setdefault(source, len(self._sources)) for source in shard.sources]
        self._source.append(np.array(own, np.uint16)[shard.source])
        self._splits.update(shard.splits)
        self._words.update(shard.words)
        self._skipped.update(shard.skipped)
        self._unrated += shard.unrated
        self._without_user += shard.without_user

    def result(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """The report, JSON-ready.

        Args:
            folder: the prepared folder, for its settings and the most repeated prompts' text.
        """
        folder = Path(folder)
        prompts = np.concatenate([np.empty(0, np.uint64), *self._prompts])
        source = np.concatenate([np.empty(0, np.uint16), *self._source])
        by_source = {}
        for name in sorted(self._sources):
            counts = {split: self._splits[name, split] for split in SPLITS}
            by_source[name] = {
                "pictures": sum(counts.values()),
                "prompts": len(np.unique(prompts[source == self._sources[name]])),
                **counts,
            }
        distinct, first, repeats = np.unique(prompts, return_index=True, return_counts=True)
        # Ties by word or hash and not by arrival: any order of the shards gives one report.
        top = np.lexsort((distinct, -repeats))[:30]
        ranked = sorted(self._words.items(), key=lambda item: (-item[1], item[0]))
        return {
            "settings": dataclasses.asdict(settings_of(folder)),
            "pictures": len(prompts),
            "prompts": len(distinct),
            "splits": {split: sum(row[split] for row in by_source.values()) for split in SPLITS},
            "skipped": dict(sorted(self._skipped.items())),
            "unrated": self._unrated,
            "without_user": self._without_user,
            "sources": by_source,
            "distinct_content_words": len(ranked),
            "words": ranked[:200],
            "word_frequency_curve": _curve([count for _, count in ranked]),
            "most_repeated_prompts": [
                (self._prompt_at(folder, int(first[place])), int(repeats[place])) for place in top
            ],
        }

    def _prompt_at(self, folder: Path, position: int) -> str:
        for stem, prompts in zip(self._stems, self._prompts, strict=True):
            if position < len(prompts):
                table = pq.read_table(folder / f"{stem}.parquet", columns=["prompt"])
                return text.fold(table.column("prompt")[position].as_py())
            position -= len(prompts)
        raise IndexError(position)


def _curve(counts: list[int], points: int = 200) -> list[tuple[int, int]]:
    """(rank, count) at logarithmically spaced ranks."""
    if not counts:
        return []
    ranks = np.unique(np.geomspace(1, len(counts), points).astype(int))
    return [(int(rank), int(counts[rank - 1])) for rank in ranks]


def write_html(report: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the report as a page: sources, word-frequency curve, repeated prompts."""
    # Here and not above: no worker needs plotly.
    import plotly.graph_objects as go

    from img2prompt.core.html_report import ACCENT, heading, table, write_page

    curve = go.Figure(
        go.Scatter(
            x=[rank for rank, _ in report["word_frequency_curve"]],
            y=[count for _, count in report["word_frequency_curve"]],
            mode="lines",
            line_color=ACCENT,
        )
    )
    curve.update_layout(
        title="How often the words come, by rank",
        xaxis={"type": "log", "title": "rank"},
        yaxis={"type": "log", "title": "pictures"},
        template="simple_white",
    )
    top = report["words"][:40]
    words = go.Figure(
        go.Bar(
            x=[count for _, count in top][::-1],
            y=[word for word, _ in top][::-1],
            orientation="h",
            marker_color=ACCENT,
        )
    )
    words.update_layout(
        title="The 40 most frequent content words",
        xaxis_title="pictures",
        template="simple_white",
        height=850,
    )
    splits = report["splits"]
    summary = (
        f"{report['pictures']:,} pictures, {report['prompts']:,} distinct prompts; "
        f"train {splits['train']:,}, validation {splits['validation']:,}, "
        f"test {splits['test']:,}. Skipped: "
        f"{', '.join(f'{reason} {n:,}' for reason, n in report['skipped'].items()) or 'none'}."
    )
    sources = table(
        ["source", "pictures", "prompts", "train", "validation", "test"],
        [
            [name, *(row[key] for key in ("pictures", "prompts", "train", "validation", "test"))]
            for name, row in sorted(report["sources"].items(), key=lambda i: -i[1]["pictures"])
        ],
    )
    repeated = table(
        ["pictures", "prompt"],
        [[count, prompt[:200]] for prompt, count in report["most_repeated_prompts"]],
    )
    blocks = [summary, heading("Sources"), sources, curve, words]
    write_page(path, "Prepared data", [*blocks, heading("The most repeated prompts"), repeated])
