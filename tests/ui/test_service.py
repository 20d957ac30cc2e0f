"""One picture: decoded once, predicted once, whatever the page's tabs ask of it."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import ImageFile, PngImagePlugin
from small_page import picture
from waiting import PATIENCE

from img2prompt.core.errors import UserError
from img2prompt.data.images import ImageError
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.hedging import Hedge
from img2prompt.inference.predictor import Look, Predictor
from img2prompt.ui.service import ModelService, Recent


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """How often a file was decoded, and a model asked about one picture, by the model's name."""
    counts: Counter[str] = Counter()
    load, look = ImageFile.ImageFile.load, Predictor.look

    def counted_load(self: ImageFile.ImageFile) -> object:
        counts["decoded"] += bool(self.tile)  # a decoded picture has no tiles left
        return load(self)

    def counted_look(self: Predictor, pixels: np.ndarray) -> Look:
        if pixels.any() and len(pixels) == 1:  # black: warming up; many: covered for the heat
            counts[self.preset] += 1
        return look(self, pixels)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted_load)
    monkeypatch.setattr(Predictor, "look", counted_look)
    yield counts


@pytest.fixture
def service(small_folder: Path) -> ModelService:
    """The small models, with nothing kept yet."""
    return ModelService(Assets(small_folder), "notebook")


def test_a_whole_page_decodes_and_predicts_once(
    small_folder: Path, tmp_path: Path, counted: Counter[str]
) -> None:
    from img2prompt.ui.page import build_app

    told = PngImagePlugin.PngInfo()
    told.add_text("parameters", "wordaa wordab\nNegative prompt: hands\nSteps: 20, Seed: 3")
    path = str(tmp_path / "a.png")
    picture(1).save(path, pnginfo=told)
    app = build_app(Assets(small_folder))
    handlers = {handler.api_name: handler.fn for handler in app.fns.values()}
    counted.clear()  # the examples' thumbnails

    answer = handlers["en_answer"](path, "gaze", 10, 0, "score", "", _read())
    words, truth, read = answer[0], answer[6], answer[7]
    assert "wordaa" in truth and counted == {"decoded": 1, "gaze": 1}
    assert 'class="mark' in handlers["en_compare_answered"](
        path, "gaze", 10, 0, "score", truth, read
    )
    assert "<table" in handlers["en_map_picture"](path, "gaze", 10, truth, "2-D", True)
    assert "data-step" in handlers["en_learn_changed"](path, "gaze", True, ())[0]
    word = words.split('data-word="')[1].split('"')[0]
    seen = handlers["en_see"](path, "gaze", 10, gr.EventData(None, {"word": word}))
    assert f"“{word}”" in seen
    assert counted == {"decoded": 1, "gaze": 1}
    # The Learn tab asks every model; another number of words asks no model again.
    handlers["en_learn_changed_compare"](path, True)
    handlers["en_answer"](path, "gaze", 12, 0, "score", "", read)
    assert counted == {"decoded": 1, "gaze": 1, "notebook": 1}


def _read() -> object:
    from img2prompt.ui.guess.handlers import Read

    return Read()


def test_answers_are_those_of_the_predictor(service: ModelService, tmp_path: Path) -> None:
    picture(2).save(tmp_path / "a.png")
    for words in (3, 20, 3):
        kept = service(tmp_path / "a.png", "notebook", words)
        asked = service.predictor("notebook")(tmp_path / "a.png", words)
        assert kept.words == asked.words and (kept.vectors == asked.vectors).all()
    assert service((tmp_path / "a.png").read_bytes(), "notebook", 3) == service(
        tmp_path / "a.png", "notebook", 3
    )


def test_an_answer_carries_the_noun_above_torn_classes(
    service: ModelService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noun = Hedge("dog", 0.7, ("collie", "pug"))
    monkeypatch.setattr(Predictor, "parents", lambda self, look, row: (noun,))
    picture(2).save(tmp_path / "a.png")
    answer = service(tmp_path / "a.png", "notebook", 3)
    assert answer.parents == (noun,) == service.predictor("notebook")(tmp_path / "a.png", 3).parents


def test_another_picture_under_the_same_name_is_another_picture(
    service: ModelService, tmp_path: Path
) -> None:
    path = tmp_path / "a.png"
    picture(1).save(path)
    first = service(path, "notebook", 5)
    picture(2, side=64).save(path)
    assert service.seen(path, "notebook").size == (64, 64)
    assert (service(path, "notebook", 5).vectors != first.vectors).any()


def test_heat_lies_on_the_picture_as_the_explanation_says(
    service: ModelService, tmp_path: Path
) -> None:
    from img2prompt.inference.occlusion import occlusion_maps

    picture(3).resize((90, 40)).save(tmp_path / "wide.png")
    words = tuple(word.word for word in service(tmp_path / "wide.png", "notebook", 3).words)
    kept = service.explain(tmp_path / "wide.png", "notebook", words)
    asked = occlusion_maps(service.predictor("notebook"), tmp_path / "wide.png", words)
    assert kept.scores == asked.scores and kept.heats.keys() == asked.heats.keys()
    assert all((kept.heats[word] == asked.heats[word]).all() for word in words)


def test_a_picture_asked_for_at_once_is_predicted_once(
    service: ModelService, tmp_path: Path, counted: Counter[str]
) -> None:
    picture(4).save(tmp_path / "a.png")
    gate, answers = threading.Barrier(8), []

    def ask() -> None:
        gate.wait()
        answers.append(service(tmp_path / "a.png", "notebook", 5))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and all(answer is answers[0] for answer in answers)
    assert counted == {"decoded": 1, "notebook": 1}


def test_a_failure_is_told_every_time(service: ModelService, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no picture")
    for _ in range(2):
        with pytest.raises(ImageError, match="not a picture"):
            service(path, "notebook", 5)
    picture(5).save(path)
    assert len(service(path, "notebook", 5).words) == 5


def test_another_one_s_failure_is_not_ours() -> None:
    """Two visitors bring the same bytes; the file of the first is deleted meanwhile."""
    recent: Recent[str] = Recent(4)
    begun, go = threading.Event(), threading.Event()

    def fails() -> str:
        begun.set()
        assert go.wait(PATIENCE)
        raise UserError("page.gone")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(recent.get, "key", fails)
        assert begun.wait(PATIENCE)
        second = pool.submit(recent.get, "key", lambda: "answered")
        go.set()
        assert second.result(PATIENCE) == "answered"
        assert isinstance(first.exception(PATIENCE), UserError)


def test_what_was_asked_for_long_ago_is_let_go() -> None:
    recent, computed = Recent[int](2), []

    def of(key: int) -> int:
        return recent.get(key, lambda: computed.append(key) or key)

    assert [of(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert computed == [1, 2, 3, 2]  # 2 had to go for 3, for 1 was asked for after it
