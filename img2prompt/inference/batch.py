"""Many pictures at once: files and zip archives → a row each, with its answer or its reason.

The set is listed before the first picture is read, so the number of rows is known. Then one
picture at a time is decoded. What goes wrong with one of them is that row's reason, and takes no
answer from the others.
"""

import contextlib
import io
import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.data.block_list import mask
from img2prompt.evaluation import score as scoring
from img2prompt.inference.archives import UNREAD, Entry, contents, list_set
from img2prompt.inference.predictor import Prediction, Predictor, check_word_count

TOGETHER = 8  # pictures answered together: few enough that a table grows while one looks
# Seconds for a whole set: seven times what MAX_FILES ordinary pictures take. Sets are answered one
# after the other, so without an end one of slow pictures would keep everybody else's waiting.
LONGEST = 600.0
PATIENCE = 1.0  # seconds of decoding after which the pictures read so far are answered
THUMBNAIL = 96  # pixels; shown half as large, for dense screens


@dataclass(frozen=True)
class Truth:
    """How an answer compares to the prompt that lay beside the picture.

    Attributes:
        prompt: to be shown, hidden words masked.
        found: words of the answer that stand in it.
        true: how many of its content words the vocabulary knows.
        f1: of the answer, in [0, 1]; None where the vocabulary knows none of its words.
    """

    prompt: str
    found: tuple[str, ...] = ()
    true: int = 0
    f1: float | None = None

    @classmethod
    def of(
        cls, prediction: Prediction, prompt: str, predictor: Predictor, hidden: frozenset[str]
    ) -> "Truth":
        """Compare; `hidden` words are masked in what is shown."""
        shown = mask(prompt, hidden)
        words = [word.word for word in prediction.words]
        try:
            score = scoring.score_words(words, prompt, predictor.vectors, prediction.vectors)
        except UserError:  # no word of it is known
            return cls(shown)
        found = tuple(word for word in score.found if word not in hidden)
        return cls(shown, found, len(score.found) + len(score.missed), score.f1)

    def to_dict(self) -> dict[str, object]:
        """JSON-ready: `truth`, and where the vocabulary knows a word of it `found` and `f1`."""
        row: dict[str, object] = {"truth": self.prompt}
        return row if self.f1 is None else row | {"found": [*self.found], "f1": round(self.f1, 4)}


@dataclass(frozen=True)
class Row:
    """What became of one picture.

    Attributes:
        name: to be shown.
        result: the answer, or the `UserError` that says why there is none.
        thumbnail: JPEG bytes, `THUMBNAIL` pixels square; None where nothing could be decoded.
        prompt: the true one as it lay beside the picture; None where there is none.
        truth: how the answer compares to it; of a `Run`'s rows alone.
    """

    name: str
    result: Prediction | UserError
    thumbnail: bytes | None = None
    prompt: str | None = None
    truth: Truth | None = None


def predict_set(predictor: Predictor, entries: Sequence[Entry], words: int = 10) -> Iterator[Row]:
    """Rows in the order of the entries, `TOGETHER` at a time, fewer where decoding is slow.

    Holds one decoded picture and the inputs of as many. Closing the iterator closes the archives.

    Raises:
        UserError: `words` out of range.
    """
    check_word_count(words)
    return (row for rows in _answers(predictor, entries, words) for row in rows)


class Run:
    """One pass over a set that another thread may stop, and what is known of it so far.

    Iterating gives the rows. What was done before a stop stays. Pictures that are not read
    `LONGEST` seconds after the start become rows that say so.

    Args:
        predictor: answers.
        files: as `list_pictures` takes them.
        words: how many words a picture, 1–50.
        hidden: words to mask in true prompts.

    Attributes:
        total: how many rows there will be.
        unused: how many texts of the set are about no picture.
        results: (name, answer without its vectors, or error) of the rows so far.
        truths: how each of them compares to its true prompt, None where nobody knows that.
        counts: word → how many pictures of the set got it.
        failed: how many of the rows are errors.

    Raises:
        UserError: as `list_pictures`, or `words` out of range.
    """

    def __init__(
        self,
        predictor: Predictor,
        files: Iterable[str | os.PathLike],
        words: int = 10,
        hidden: frozenset[str] = frozenset(),
    ) -> None:
        listing = list_set(files)
        entries, self.unused = listing.entries, listing.unused
        self.total = len(entries)
        self.truths: list[Truth | None] = []
        self.results: list[tuple[str, Prediction | UserError]] = []
        self.counts: Counter[str] = Counter()
        self.failed = 0
        self.stopped = False
        self._predictor, self._hidden = predictor, hidden
        check_word_count(words)
        self._started = time.monotonic()
        self._answers = _answers(predictor, entries, words, self._started + LONGEST)
        self._pace: float | None = None  # seconds a picture

    def __iter__(self) -> Iterator[Row]:
        with contextlib.closing(self._answers):
            for rows in self._answers:
                # Of all that were answered together: the first of them did not take so long.
                self._pace = (time.monotonic() - self._started) / (self.done + len(rows))
                for row in rows:
                    if self.stopped:
                        return
                    yield self._take(row)

    def stop(self) -> None:
        """End the pass before its next row; callable from any thread, more than once."""
        self.stopped = True

    @property
    def done(self) -> int:
        """How many rows there are already."""
        return len(self.results)

    def seconds_left(self) -> float | None:
        """How long the rest takes at the pace so far; None before there is a pace."""
        return None if self._pace is None else self._pace * (self.total - self.done)

    def most_common(self) -> list[tuple[str, int]]:
        """(word, pictures), most frequent first, equal ones in alphabetical order."""
        return sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))

    def mean_f1(self) -> tuple[float, int]:
        """The mean F1 over the rows whose true prompt is known, and how many those are."""
        known = [truth.f1 for truth in self.truths if truth is not None and truth.f1 is not None]
        return (sum(known) / len(known) if known else 0.0), len(known)

    def _take(self, row: Row) -> Row:
        result = row.result
        if isinstance(result, UserError):
            self.failed += 1
        else:
            self.counts.update(word.word for word in result.words)
            if row.prompt is not None:
                truth = Truth.of(result, row.prompt, self._predictor, self._hidden)
                row = replace(row, truth=truth)
            result = _without_vectors(result)
        self.results.append((row.name, result))
        self.truths.append(row.truth)
        return row


def thumbnail(image: Image.Image, side: int = THUMBNAIL) -> bytes:
    """The middle square of an RGB picture, small, as JPEG bytes."""
    buffer = io.BytesIO()
    ImageOps.fit(image, (side, side)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _answers(
    predictor: Predictor, entries: Sequence[Entry], words: int, deadline: float = math.inf
) -> Iterator[list[Row]]:
    with contextlib.closing(contents(entries, deadline)) as found:
        for first in found:
            yield _answer_some(predictor, itertools.chain([first], found), words)


def _answer_some(
    predictor: Predictor, contents: Iterator[tuple[Entry, bytes | Path | UserError]], words: int
) -> list[Row]:
    rows: list[Row | tuple[Entry, bytes]] = []  # done, or (entry, thumbnail) to be answered
    deadline = time.monotonic() + PATIENCE

    def pictures() -> Iterator[Image.Image]:
        for entry, content in contents:
            try:
                if isinstance(content, UserError):
                    raise content
                image = images.open_image(content)
                small = thumbnail(image)
            except UserError as error:
                rows.append(Row(entry.name, _unnamed(error, entry)))
            except OSError:  # one file that cannot be read takes no answer from the others
                rows.append(Row(entry.name, UserError(UNREAD)))
            else:
                rows.append((entry, small))
                yield image
                del image, content  # two large pictures at once would be too many
            if len(rows) == TOGETHER or time.monotonic() > deadline:
                return

    answers = iter(list(predictor.predict_many(pictures(), words)))
    return [
        row
        if isinstance(row, Row)
        else Row(row[0].name, next(answers), row[1], prompt=row[0].truth)
        for row in rows
    ]


def _unnamed(error: UserError, entry: Entry) -> UserError:
    """The reason without the server's own path, which `open_image` tells of a missing file."""
    return UserError(str(error).replace(str(entry.path), entry.name))


def _without_vectors(prediction: Prediction) -> Prediction:
    """What exports need; vectors are nine tenths of a prediction's memory."""
    words = tuple(replace(word, vector=()) for word in prediction.words)
    return Prediction(prediction.preset, words, np.empty((0, 0), np.float32))
