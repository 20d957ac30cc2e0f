"""What goes wrong at the hub: one condition each, and a sentence for every purpose and language."""

import errno

import httpx2
import pytest
from huggingface_hub import errors

from img2prompt.core.errors import SharedFailureError, UserError
from img2prompt.core.hub import _SENTENCES, Asked, condition, failure
from img2prompt.core.texts import Texts, languages


def refused(status: int, kind: type[errors.HfHubHTTPError] = errors.HfHubHTTPError) -> Exception:
    request = httpx2.Request("GET", "https://hub.example")
    return kind("refused", response=httpx2.Response(status, request=request))


def wrapped(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


CONDITIONS = [
    (refused(401), "token"),
    (refused(403), "forbidden"),
    (refused(404), "no_file"),
    (refused(410), "no_file"),
    (refused(412), "moved"),
    (refused(429), "busy"),
    (refused(503), "status"),
    (refused(401, errors.RepositoryNotFoundError), "no_repository"),
    (refused(403, errors.GatedRepoError), "gated"),
    (refused(404, errors.RevisionNotFoundError), "no_revision"),
    (refused(404, errors.RemoteEntryNotFoundError), "no_file"),
    (errors.OfflineModeIsEnabled("offline"), "offline"),
    (httpx2.ConnectError("no route"), "unreachable"),
    (ConnectionResetError(errno.ECONNRESET, "reset"), "unreachable"),
    (errors.LocalEntryNotFoundError("nothing cached"), "unreachable"),
    (wrapped(errors.LocalEntryNotFoundError("nothing cached"), refused(429)), "busy"),
    (wrapped(RuntimeError("in a thread"), refused(403)), "forbidden"),
    (RuntimeError("hf_xet"), "failed"),
    (ValueError("the content"), "refused"),
    (FileNotFoundError("of the repository"), "no_file"),
    (OSError(errno.ENOSPC, "full"), None),
    (FileNotFoundError(errno.ENOENT, "none", "/tmp/cache"), None),
]


@pytest.mark.parametrize(("error", "expected"), CONDITIONS, ids=str)
def test_what_went_wrong_is_told_apart(error: Exception, expected: str | None) -> None:
    assert condition(error) == expected


@pytest.mark.parametrize("purpose", _SENTENCES)
def test_each_has_its_sentence_in_every_language(purpose: str) -> None:
    asked = Asked("user/name", "model.keras", "0123456789abcdef" * 2 + "01234567", purpose)
    for error, found in CONDITIONS:
        told = failure(error, asked)
        assert (told is None) == (found not in _SENTENCES[purpose])
        if told is not None:
            for language in languages():
                sentence = told.told(Texts(language))
                assert sentence.endswith(".") and "{" not in sentence and "\n" not in sentence
            assert isinstance(told, SharedFailureError) == (
                purpose == "data" and found != "no_file"
            )
    assert set(_SENTENCES[purpose]) <= {found for _, found in CONDITIONS}


def test_a_file_is_named_with_its_repository_and_commit() -> None:
    asked = Asked("user/name", "a.zip", "0123456789abcdef" * 2 + "01234567", "data")
    told = UserError("hub.no_zip", name=asked.file)
    assert str(told).startswith("a.zip of user/name at 0123456789ab is not a readable zip")
    assert told.told(Texts("de")).startswith("a.zip von user/name bei 0123456789ab ist kein")
