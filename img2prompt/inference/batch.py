"""Answers many pictures at once: files and zip archives → a row each, an answer or a reason.

The set is listed before the first picture is read, so the number of rows is known. Then one
picture at a time is decoded. An error of one picture is that row's reason, and takes no answer from
the others.
"""

import contextlib
import io
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from img2prompt.core.errors import UserError
from img2prompt.data import images
from img2prompt.inference.archives import Entry, contents, list_set
from img2prompt.inference.export import Truth
from img2prompt.inference.prediction import Prediction
from img2prompt.inference.predictor import Predictor, check_word_count

BATCH_SIZE = 8  # pictures answered together: few enough that a table grows while one looks
# Seconds for a whole set: seven times what MAX_FILES ordinary pictures take. Sets are answered one
# after the other, so without an end one of slow pictures would keep everybody else's waiting.
LONGEST = 600.0
FLUSH_SECONDS = 1.0  # of decoding, after which the pictures read so far are answered
THUMBNAIL = 96  # pixels; shown half as large, for dense screens


@dataclass(frozen=True)
class Row:
    """The result of one picture.

    Attributes:
        name: for display.
        result: the answer, or the `UserError` that says why there is none.
        thumbnail: JPEG bytes, `THUMBNAIL` pixels square; None where nothing could be decoded.
        prompt: the true one that lay beside the picture; None where there is none.
        truth: how the answer compares to it; None where nothing compares it.
    """

    name: str
    result: Prediction | UserError
    thumbnail: bytes | None = None
    prompt: str | None = None
    truth: Truth | None = None


class Run:
    """One pass over a set, which another thread may stop.

    Iterating gives the rows in the order of the set. Rows before a stop stay. Pictures that are
    not read `LONGEST` seconds after the start become rows that say so. Holds one decoded picture
    and the inputs of `BATCH_SIZE`; closing the iterator closes the archives.

    Args:
        predictor: answers.
        files: as `list_set` takes them.
        words: how many words a picture, 1–50.
        compare: an answer and its true prompt → how they compare; unset, nothing compares them.

    Attributes:
        total: how many rows there will be.
        unused: how many texts of the set belong to no picture.
        results: (name, answer without its vectors, or error) of the rows so far.
        truths: how each of them compares to its true prompt, None where that is not known.
        counts: word → how many pictures of the set got it.
        failed: how many of the rows are errors.

    Raises:
        UserError: as `list_set`, or `words` out of range.
    """

    def __init__(
        self,
        predictor: Predictor,
        files: Iterable[str | os.PathLike[str]],
        words: int = 10,
        compare: Callable[[Prediction, str], Truth] | None = None,
    ) -> None:
        listing = list_set(files)
        self.unused, self.total = listing.unused, len(listing.entries)
        self.truths: list[Truth | None] = []
        self.results: list[tuple[str, Prediction | UserError]] = []
        self.counts: Counter[str] = Counter()
        self.failed = 0
        self.stopped = False
        self._compare = compare
        check_word_count(words)
        self._started = time.monotonic()
        self._answers = _answers(predictor, listing.entries, words, self._started + LONGEST)
        self._pace: float | None = None  # seconds a picture

    def __iter__(self) -> Iterator[Row]:
        with contextlib.closing(self._answers):
            for rows in self._answers:
                # Of all that were answered together: the first alone did not take so long.
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
            if row.prompt is not None and self._compare is not None:
                row = replace(row, truth=self._compare(result, row.prompt))
            result = _without_vectors(result)
        self.results.append((row.name, result))
        self.truths.append(row.truth)
        return row


def thumbnail(image: Image.Image, side: int = THUMBNAIL) -> bytes:
    """The middle square of an RGB picture, `side` pixels wide, as JPEG bytes."""
    buffer = io.BytesIO()
    ImageOps.fit(image, (side, side)).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _answers(
    predictor: Predictor, entries: Iterable[Entry], words: int, deadline: float
) -> Generator[list[Row]]:
    """Rows in the order of the entries, `BATCH_SIZE` at a time, fewer where decoding is slow."""
    with contextlib.closing(contents(entries, deadline)) as found:
        for first in found:
            yield _answer_some(predictor, itertools.chain([first], found), words)


def _answer_some(
    predictor: Predictor, contents: Iterator[tuple[Entry, bytes | Path | UserError]], words: int
) -> list[Row]:
    rows: list[Row | tuple[Entry, bytes]] = []  # done, or (entry, thumbnail) to be answered
    deadline = time.monotonic() + FLUSH_SECONDS

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
                rows.append(Row(entry.name, UserError("inference.unreadable")))
            else:
                rows.append((entry, small))
                yield image
                del image, content  # two large pictures at once would be too many
            if len(rows) == BATCH_SIZE or time.monotonic() > deadline:
                return

    answers = iter(list(predictor.predict_many(pictures(), words)))
    return [
        row
        if isinstance(row, Row)
        else Row(row[0].name, next(answers), row[1], prompt=row[0].truth)
        for row in rows
    ]


def _unnamed(error: UserError, entry: Entry) -> UserError:
    """The error without the server's own path, which `open_image` tells of a missing file."""
    path = str(entry.path)
    values = {
        name: str(value).replace(path, entry.name) if isinstance(value, str | Path) else value
        for name, value in error.values.items()
    }
    return UserError(error.key, **values)


def _without_vectors(prediction: Prediction) -> Prediction:
    """The part that exports need; vectors are nine tenths of a prediction's memory."""
    words = tuple(replace(word, vector=()) for word in prediction.words)
    return replace(prediction, words=words, vectors=np.empty((0, 0), np.float32))
