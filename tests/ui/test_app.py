"""The page, served for real with small untrained models: its endpoint, its errors, its limits."""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from hosted import stranger
from paths import ROOT
from PIL import Image, PngImagePlugin
from small_page import SIDE, picture, write_manifest
from waiting import PATIENCE

from img2prompt.core.cli import run_command
from img2prompt.core.errors import UserError
from img2prompt.core.files import write_json
from img2prompt.core.texts import Texts
from img2prompt.data.block_list import BLOCKED_WORDS
from img2prompt.embedding.vectors import EMBEDDING_FILE, WordVectors
from img2prompt.embedding.word_map import MAP_FILE
from img2prompt.inference.artifacts import Assets
from img2prompt.inference.prediction import PredictedWord, Prediction
from img2prompt.ui.guess.answer import View, answer_html
from img2prompt.ui.page import page_texts

ENGLISH = Texts()
NOT_A_PICTURE = "This is not a picture we can read; use one of PNG, JPEG, WEBP, GIF, BMP, TIFF."
SVG = (
    "This file is SVG, not a picture we can read; use one saved as PNG, JPEG, WEBP, GIF, BMP, TIFF."
)


@pytest.fixture(scope="module")
def folder(small_folder: Path) -> Path:
    """Artifacts as they ship, but small; see `small_page`."""
    return small_folder


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Any]:
    """The page, served in this process."""
    from img2prompt.ui.page import launch

    app = launch(Assets(folder), host="127.0.0.1", block=False)
    yield app
    app.close()


@pytest.fixture(scope="module")
def address(served: Any) -> str:
    """The address of the served page."""
    return served.local_url


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    """Gradio's own client, connected to the page."""
    return Client(address, verbose=False, httpx_kwargs={"timeout": PATIENCE})


def test_a_picture_gets_words_as_plain_data(client: Client, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "noise.png")
    data = client.predict(handle_file(tmp_path / "noise.png"), "gaze", 10, api_name="/predict")
    words = [row["word"] for row in data["words"]]
    scores = [row["score"] for row in data["words"]]
    assert len(set(words)) == 10 and data["preset"] == "gaze"
    assert scores == sorted(scores, reverse=True) and all(-1 <= s <= 1 for s in scores)
    assert all(row["alternatives"] for row in data["words"])


def test_the_preset_and_the_number_of_words_count(client: Client, tmp_path: Path) -> None:
    picture(2).save(tmp_path / "noise.png")
    file = handle_file(tmp_path / "noise.png")
    for count in (1, 3, 20):
        data = client.predict(file, "notebook", count, api_name="/predict")
        assert data["preset"] == "notebook" and len(data["words"]) == count


def test_no_picture_means_no_answer(client: Client) -> None:
    with pytest.raises(AppError, match="as soon as there is a picture"):
        client.predict(None, "gaze", 10, api_name="/predict")


def test_a_picture_is_scored_against_the_truth(client: Client, tmp_path: Path) -> None:
    picture(2).save(tmp_path / "noise.png")
    file = handle_file(tmp_path / "noise.png")
    answer = client.predict(file, "gaze", 4, api_name="/predict")
    word = answer["words"][0]["word"]
    score = client.predict(file, "gaze", 4, f"{word} notaword", api_name="/score")
    assert score["found"] == [word] and len(score["invented"]) == 3
    assert score["unknown"] == ["notaword"] and score["f1"] == pytest.approx(2 / 5)
    for nothing in ("", None):
        with pytest.raises(AppError, match="carries no prompt"):
            client.predict(file, "gaze", 4, nothing, api_name="/score")
    # A blocked word is masked, though no vocabulary of ours has it.
    blocked = min(BLOCKED_WORDS)
    score = client.predict(file, "gaze", 4, f"{word} {blocked}", api_name="/score")
    assert blocked not in str(score) and score["found"] == [word]


def test_a_score_says_why_a_file_has_no_prompt(client: Client, tmp_path: Path) -> None:
    for parameters, told in (
        ("Negative prompt: blurry\nSteps: 20, Seed: 3, Size: 5x5", "prompt in this file is empty"),
        ('{"secret": "a fox"}', "in a form that we cannot read"),
    ):
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", parameters)
        picture(2).save(tmp_path / "told.png", pnginfo=info)
        file = handle_file(tmp_path / "told.png")
        with pytest.raises(AppError, match=told):
            client.predict(file, "gaze", 4, "", api_name="/score")
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "wordaa BREAK wordab\nNegative prompt: blurry\nSteps: 20, Seed: 3")
    picture(2).save(tmp_path / "told.png", pnginfo=info)
    score = client.predict(handle_file(tmp_path / "told.png"), "gaze", 4, "", api_name="/score")
    assert sorted(score["found"] + score["missed"]) == ["wordaa", "wordab"]
    assert score["unknown"] == []  # BREAK is no word


def test_words_are_looked_up_and_added(client: Client) -> None:
    near = client.predict("wordab", 3, api_name="/neighbours")
    assert near["word"] == "wordab" and len(near["neighbours"]) == 3 and near["kind"] is None
    total = client.predict("wordab - wordac", api_name="/arithmetic")
    assert total["expression"] == "wordab − wordac" and len(total["results"]) == 10
    blocked = min(BLOCKED_WORDS)
    for word, told in (("unheard", "unheard"), (None, "“”"), (blocked, "•••")):
        with pytest.raises(AppError, match=told) as caught:
            client.predict(word, 3, api_name="/neighbours")
        assert blocked not in str(caught.value)
    for count in (0, 51, None):
        with pytest.raises(AppError, match="1 to 50"):
            client.predict("wordab", count, api_name="/neighbours")
    for expression, told in ((None, "Write words"), (f"wordab + {blocked}", "•••")):
        with pytest.raises(AppError, match=told) as caught:
            client.predict(expression, api_name="/arithmetic")
        assert blocked not in str(caught.value)


def test_the_server_never_fetches_an_address(client: Client, address: str) -> None:
    with stranger() as (other, asked):
        url = f"{other}/picture.png"
        with pytest.raises(AppError, match="takes no addresses"):
            client.predict(
                {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}},
                "gaze",
                3,
                api_name="/predict",
            )
    assert asked == []


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("text.png", b"no <b>picture</b>", NOT_A_PICTURE),
        ("empty.png", b"", "The file is empty; choose a picture."),
        ("vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", SVG),
        (
            "cut.png",
            None,
            "The picture is cut off: its last part is missing; save or download it again.",
        ),
    ],
)
def test_files_that_cannot_be_used_get_one_sentence(
    client: Client, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is None:
        buffer = io.BytesIO()
        picture(3, side=256).save(buffer, "PNG")
        content = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError) as failure:
        client.predict(handle_file(tmp_path / name), "gaze", 10, api_name="/predict")
    assert failure.value.message == sentence


def test_odd_pictures_are_answered(client: Client, tmp_path: Path) -> None:
    frames = [picture(seed).convert("P") for seed in (4, 5)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    clear = picture(6).convert("RGBA")
    clear.putalpha(90)
    clear.save(tmp_path / "clear.png")
    deep = np.random.default_rng(7).integers(0, 65536, size=(40, 40)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("1", (1, 1)).save(tmp_path / "dot.bmp")
    for name in ("moving.gif", "clear.png", "deep.png", "dot.bmp"):
        data = client.predict(handle_file(tmp_path / name), "gaze", 5, api_name="/predict")
        assert len(data["words"]) == 5, name


def test_only_named_endpoints_are_public(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert set(named) == {"/predict", "/score", "/neighbours", "/arithmetic", "/compare", "/batch"}


def test_a_session_holds_only_what_its_events_were_about(served: Any, client: Client) -> None:
    """Not the page's 250 components: they are 0.4 MB, and a thousand sessions are kept."""
    client.predict("wordab", 3, api_name="/neighbours")
    session = served.app.state_holder.session_data[client.session_hash]
    assert 0 < len(session.config_values) < len(session.blocks_config.blocks) / 10


def test_the_servers_own_files_stay_where_they_are(address: str, folder: Path) -> None:
    secret = folder / "manifest.json"
    assert httpx.get(f"{address}gradio_api/file={secret}").status_code in (403, 404)
    stolen = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    call = f"{address}gradio_api/call/predict"
    event = httpx.post(call, json={"data": [stolen, "gaze", 10]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}", timeout=PATIENCE).text
    assert "event: error" in answer and "event: complete" not in answer


def test_the_page_names_no_other_server(address: str) -> None:
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False
    css = httpx.get(f"{address}theme.css").text
    assert "@import" not in css and not re.search(r"url\(.?https?:", css)
    assert not config["stylesheets"]


def test_a_port_in_use_is_one_sentence(address: str, folder: Path) -> None:
    from img2prompt.ui.page import launch

    port = int(address.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(UserError, match=f"Port {port} is taken"):
        launch(Assets(folder), host="127.0.0.1", port=port, block=False)


def test_a_page_without_map_and_examples_still_answers(folder: Path, tmp_path: Path) -> None:
    from img2prompt.ui.page import launch

    for name in ("gaze.keras", EMBEDDING_FILE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    write_manifest(tmp_path)
    app = launch(Assets(tmp_path), host="127.0.0.1", block=False)
    try:
        client = Client(app.local_url, verbose=False, httpx_kwargs={"timeout": PATIENCE})
        file = handle_file(folder / "examples" / "noise.png")
        assert len(client.predict(file, "gaze", 4, api_name="/predict")["words"]) == 4
    finally:
        app.close()


def test_a_predictor_is_loaded_once(folder: Path) -> None:
    from img2prompt.ui.service import ModelService

    models = ModelService(Assets(folder), "notebook")
    assert models.predictor("notebook") is models.predictor("notebook")
    assert models.predictor("gaze").vectors is models.vectors
    with pytest.raises(UserError, match="Unknown preset 'brilliant'"):
        models.predictor("brilliant")


def test_an_explanation_is_kept_while_pictures_are_few(folder: Path) -> None:
    from img2prompt.ui.service import KEPT, ModelService

    models = ModelService(Assets(folder), "notebook")
    noise = folder / "examples" / "noise.png"
    words = tuple(word.word for word in models(noise, "notebook", 3).words)
    first = models.explain(noise, "notebook", words)
    assert models.explain(noise, "notebook", words) is first
    for word in models.vectors.words[:KEPT]:
        models.explain(noise, "notebook", (word,))
    assert models.explain(noise, "notebook", words) is not first
    with pytest.raises(UserError, match="no longer here"):
        models.explain(folder / "gone.png", "notebook", words)


def test_blocked_words_show_only_where_they_are_switched_on(folder: Path, tmp_path: Path) -> None:
    from img2prompt.ui.service import ModelService

    shutil.copytree(folder, tmp_path / "assets")
    vectors = WordVectors.load(folder / EMBEDDING_FILE)
    blocked = sorted(BLOCKED_WORDS)[:20]
    words = [*blocked, *vectors.words[20:]]
    renamed = WordVectors(words, vectors.vectors, vectors.counts)
    renamed.save(tmp_path / "assets" / EMBEDDING_FILE)
    from img2prompt.models import original

    original.build(renamed, SIDE).save(tmp_path / "assets" / "gaze.keras")
    (tmp_path / "assets" / MAP_FILE).unlink()
    (tmp_path / "assets" / "notebook.keras").unlink()
    write_manifest(tmp_path / "assets")
    noise = folder / "examples" / "noise.png"

    def shown(show_all: bool) -> set[str]:
        answer = ModelService(Assets(tmp_path / "assets"), show_all=show_all)(noise, "gaze", 50)
        near = {other for word in answer.words for other, _ in word.alternatives}
        return near | {word.word for word in answer.words}

    assert not shown(False) & BLOCKED_WORDS
    assert shown(True) & BLOCKED_WORDS


def test_examples_are_buttons_with_descriptions(folder: Path) -> None:
    from img2prompt.inference.examples import load_examples
    from img2prompt.ui.guess.examples import examples_html

    html = examples_html(load_examples(folder), "Take <one>")
    assert html.count("<button") == 1 and 'data-example="0"' in html
    assert "Noise: Coloured &#34;noise&#34; &amp; nothing else" in html
    assert "Take &lt;one&gt;" in html
    assert 'src="data:image/jpeg;base64,' in html and str(folder) not in html


def test_examples_stay_in_their_folder(tmp_path: Path) -> None:
    from img2prompt.inference.examples import load_examples

    assert load_examples(tmp_path) == []
    (tmp_path / "examples").mkdir()
    picture(1).save(tmp_path / "outside.png")
    for name in ("../outside.png", "missing.png"):
        entry = {"file": name, "title": "x", "alt": "x"}
        write_json(tmp_path / "examples" / "examples.json", [entry])
        with pytest.raises(UserError, match="not beside it"):
            load_examples(tmp_path)


def test_negative_scores_grow_to_the_left() -> None:
    def word(name: str, score: float, step: int) -> PredictedWord:
        return PredictedWord(name, score, 0.4, (0.0,), step, (("other", -0.3),))

    words = (word("up", 0.5, 0), word("<same>", 0.4, 0), word("down", -0.25, 1))
    html = str(answer_html(Prediction("<new>", words, np.zeros((2, 1), np.float32)), ENGLISH))
    assert "&lt;new&gt;: 3 words" in html and "<new>" not in html
    assert "&lt;same&gt;" in html and "<same>" not in html
    assert ">0.50<" in html.replace("</span>0", ">0") and "−0.25" in html
    assert html.count("negative") == 1
    # Zero lies at 0.25 of the way from −0.25 to 1, that is at 20 %.
    assert "left:20.00%;width:40.00%" in html  # 0.5 of 1.25
    assert "left:0.00%;width:20.00%" in html
    only_positive = answer_html(Prediction("gaze", words[:1], np.zeros((1, 1))), ENGLISH)
    assert "left:0.00%;width:50.00%" in only_positive


def test_a_limit_hides_words_and_says_so() -> None:
    words = tuple(
        PredictedWord(name, score, None, (0.0,), 0, ())
        for name, score in (("near", 0.6), ("far", 0.2), ("against", -0.1))
    )
    prediction = Prediction("gaze", words, np.zeros((1, 1), np.float32))

    def shown(minimum: float) -> str:
        return answer_html(prediction, ENGLISH, View(minimum))

    assert all(word in shown(0.0) for word in ("near", "far", "against"))
    assert "near" in shown(0.5) and ">far<" not in shown(0.5) and "2 more" in shown(0.5)
    assert "No word reaches a cosine of 0.90" in shown(0.9)


def test_words_are_grouped_by_kind_where_it_is_known() -> None:
    words = tuple(
        PredictedWord(name, score, None, (0.0,), 0, ())
        for name, score in (("oil", 0.6), ("dog", 0.5), ("hm", 0.4), ("cat", 0.3))
    )
    kinds = {"oil": "medium", "dog": "subject", "cat": "subject"}
    prediction = Prediction("gaze", words, np.zeros((1, 1), np.float32))
    html = answer_html(prediction, ENGLISH, View(by_kind=True), kinds.get)
    order = [html.index(text) for text in ("Subject<", ">dog<", ">cat<", "Medium<", ">oil<")]
    assert order == sorted(order)
    assert html.index(">hm<") > html.index("Other words<") > html.index(">oil<")


def test_generic_words_stand_under_their_own_heading() -> None:
    def answer(*names: str, by_kind: bool = False) -> str:
        words = tuple(
            PredictedWord(name, 0.5, None, (0.0,), 0, (), generic=name in ("art", "style"))
            for name in names
        )
        prediction = Prediction("gaze", words, np.zeros((1, 1), np.float32))
        return answer_html(prediction, ENGLISH, View(by_kind=by_kind), {"dog": "subject"}.get)

    html = answer("dog", "oil", "art", "style")
    order = [html.index(text) for text in (">dog<", ">oil<", "Fits any picture<", ">art<")]
    assert order == sorted(order) and html.count("prompts of any picture use this word") == 2
    assert "Fits any picture" not in answer("dog", "oil")
    assert html.count("<ol") == 2 and answer("art").count("<ol") == 1
    by_kind = answer("dog", "art", by_kind=True)
    assert "Fits any picture" not in by_kind and by_kind.count("of any picture use") == 1


def test_chances_stand_beside_the_scores_where_they_are_known() -> None:
    def answer(*chances: float | None) -> str:
        words = [PredictedWord(f"word{n}", 0.5, c, (0.0,), 0, ()) for n, c in enumerate(chances)]
        return answer_html(Prediction("gaze", tuple(words), np.zeros((1, 1))), ENGLISH)

    html = answer(0.873, 0.12, 0.001)
    assert ">87 % <" in html and ">12 % <" in html and ">&lt; 1 % <" in html
    assert "almost sure" in html and "a long shot" in html and "a wild guess" in html
    edges = answer(0.005, 0.0051, 0.995, 1.0)
    for told in ("&lt; 1 %", "1 %", "100 %", "&gt; 99 %"):
        assert (f">{told} <" in edges) == (told != "100 %")
    assert 'class="chance"' not in answer(None, None)


@pytest.mark.parametrize(
    "arguments",
    [[], ["--show-all-words", "--language", "de", "--allow-host", "a.org", "--allow-host", "b"]],
)
def test_the_options_reach_the_page(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    import app
    from img2prompt.ui import page

    launched: list[tuple] = []
    monkeypatch.setattr(page, "launch", lambda *given, **others: launched.append((given, others)))
    monkeypatch.setattr("sys.argv", ["app.py", *arguments])
    app.main()
    (((_, options, *_), others),) = launched
    chosen = page.Options(language="de", show_all=True), {"allow_hosts": ["a.org", "b"]}
    assert (options, others) == (chosen if arguments else (page.Options(), {"allow_hosts": []}))


@pytest.mark.parametrize(
    "arguments", [["--assets", "nowhere"], ["--preset", "brilliant"], ["--language", "xx"]]
)
def test_the_command_tells_errors_in_one_line(
    folder: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import app

    monkeypatch.setattr("sys.argv", ["app.py", "--assets", str(folder), *arguments])
    assert run_command(app.main) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: ")


def test_the_command_ends_with_an_exit_code() -> None:
    command = [sys.executable, str(ROOT / "app.py"), "--assets", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_an_unknown_language_is_one_sentence() -> None:
    with pytest.raises(UserError, match="There is no language 'tlh'; choose one of en, de"):
        page_texts("tlh")
