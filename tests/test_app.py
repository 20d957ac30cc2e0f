"""The page, served for real with small untrained models: its endpoint, its errors, its limits."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from img2prompt.artifacts import Assets
from img2prompt.embedding import EMBEDDING_FILE, WordVectors
from img2prompt.errors import UserError
from img2prompt.files import sha256_of, write_json
from img2prompt.prediction import PredictedWord, Prediction
from img2prompt.projection import MAP_FILE, VocabularyMap

ROOT = Path(__file__).resolve().parent.parent
SIDE = 32
NOT_A_PICTURE = "This is not a picture we can read; use one of PNG, JPEG, WEBP, GIF, BMP, TIFF."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts as they ship, but small: two untrained models, an embedding, a map, an example."""
    from img2prompt.models import notebook, original

    folder = tmp_path_factory.mktemp("assets")
    random = np.random.default_rng(1)
    words = [f"word{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(80)]
    vectors = WordVectors(
        words, random.normal(size=(80, 100)).astype(np.float32), np.arange(80, 0, -1)
    )
    vectors.save(folder / EMBEDDING_FILE)
    positions = random.uniform(-1, 1, size=(60, 2)).astype(np.float32)
    VocabularyMap(vectors, tuple(words[:60]), positions, vectors.counts[:60], "chance").save(
        folder / MAP_FILE
    )
    original.build(vectors, SIDE).save(folder / "gaze.keras")
    notebook.build(vectors, SIDE).save(folder / "notebook.keras")
    _write_manifest(folder)
    (folder / "examples").mkdir()
    _picture(9).save(folder / "examples" / "noise.png")
    entry = {"file": "noise.png", "title": "Noise", "alt": 'Coloured "noise" & nothing else'}
    write_json(folder / "examples" / "examples.json", [entry])
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """The address of the served page."""
    from img2prompt.ui.page import launch

    app = launch(Assets(folder), host="127.0.0.1", block=False)
    yield app.local_url
    app.close()


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    """Gradio's own client, connected to the page."""
    return Client(address, verbose=False)


def test_a_picture_gets_words_a_prompt_and_a_map(client: Client, tmp_path: Path) -> None:
    _picture(1).save(tmp_path / "noise.png")
    html, prompt, plot, data = client.predict(
        handle_file(tmp_path / "noise.png"), "gaze", 10, api_name="/predict"
    )
    words = [row["word"] for row in data["words"]]
    scores = [row["score"] for row in data["words"]]
    assert len(set(words)) == 10 and data["preset"] == "gaze"
    assert scores == sorted(scores, reverse=True) and all(-1 <= s <= 1 for s in scores)
    assert all(row["alternatives"] for row in data["words"])
    assert prompt == ", ".join(words)
    assert html.count('class="word"') == 10
    for row in data["words"]:
        assert f">{row['word']}<" in html
    figure = json.loads(plot["plot"])
    assert [trace["name"] for trace in figure["data"]][:1] == ["vocabulary"]
    assert list(figure["data"][3]["text"]) == words
    assert figure["config"]["displaylogo"] is False


def test_the_preset_and_the_number_of_words_count(client: Client, tmp_path: Path) -> None:
    _picture(2).save(tmp_path / "noise.png")
    file = handle_file(tmp_path / "noise.png")
    for count in (1, 3, 20):
        data = client.predict(file, "notebook", count, api_name="/predict")[3]
        assert data["preset"] == "notebook" and len(data["words"]) == count


def test_no_picture_means_no_answer(client: Client) -> None:
    html, prompt, plot, data = client.predict(None, "gaze", 10, api_name="/predict")
    assert "waiting" in html and prompt == "" and data is None
    assert [trace["name"] for trace in json.loads(plot["plot"])["data"]] == ["vocabulary"]


@pytest.mark.parametrize(
    "name, content, sentence",
    [
        ("text.png", b"no <b>picture</b>", NOT_A_PICTURE),
        ("empty.png", b"", "The file is empty; choose a picture."),
        ("vector.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_A_PICTURE),
        ("cut.png", None, "The picture is damaged or cut off; save or download it again."),
    ],
)
def test_files_that_cannot_be_used_get_one_sentence(
    client: Client, tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    if content is None:
        buffer = io.BytesIO()
        _picture(3, side=256).save(buffer, "PNG")
        content = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AppError) as failure:
        client.predict(handle_file(tmp_path / name), "gaze", 10, api_name="/predict")
    assert failure.value.message == sentence


def test_odd_pictures_are_answered(client: Client, tmp_path: Path) -> None:
    frames = [_picture(seed).convert("P") for seed in (4, 5)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    clear = _picture(6).convert("RGBA")
    clear.putalpha(90)
    clear.save(tmp_path / "clear.png")
    deep = np.random.default_rng(7).integers(0, 65536, size=(40, 40)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    Image.new("1", (1, 1)).save(tmp_path / "dot.bmp")
    for name in ("moving.gif", "clear.png", "deep.png", "dot.bmp"):
        data = client.predict(handle_file(tmp_path / name), "gaze", 5, api_name="/predict")[3]
        assert len(data["words"]) == 5, name


def test_only_predict_is_public(client: Client) -> None:
    named = client.view_api(return_format="dict")["named_endpoints"]
    assert list(named) == ["/predict"]


def test_the_servers_own_files_stay_where_they_are(address: str, folder: Path) -> None:
    secret = folder / "manifest.json"
    assert httpx.get(f"{address}gradio_api/file={secret}").status_code in (403, 404)
    stolen = {"path": str(secret), "meta": {"_type": "gradio.FileData"}}
    call = f"{address}gradio_api/call/predict"
    event = httpx.post(call, json={"data": [stolen, "gaze", 10]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}", timeout=30).text
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
    from img2prompt.ui.guess import Guesser
    from img2prompt.ui.page import build_app

    for name in ("gaze.keras", EMBEDDING_FILE):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    _write_manifest(tmp_path)
    assets = Assets(tmp_path)
    assert build_app(assets) is not None
    guess = Guesser(assets)(str(folder / "examples" / "noise.png"), "gaze", 4)
    assert guess.figure is None and len(guess.prediction.words) == 4


def test_a_predictor_is_loaded_once(folder: Path) -> None:
    from img2prompt.ui.guess import Guesser

    guesser = Guesser(Assets(folder), "notebook")
    assert guesser.predictor("notebook") is guesser.predictor("notebook")
    assert guesser.predictor("gaze").vectors is guesser.vectors
    with pytest.raises(UserError, match="Unknown preset 'brilliant'"):
        guesser.predictor("brilliant")


def test_examples_are_buttons_with_descriptions(folder: Path) -> None:
    from img2prompt.ui.examples import examples_html, load_examples

    html = examples_html(load_examples(folder))
    assert html.count("<button") == 1 and 'data-example="0"' in html
    assert "Noise: Coloured &quot;noise&quot; &amp; nothing else" in html
    assert 'src="data:image/jpeg;base64,' in html and str(folder) not in html


def test_examples_stay_in_their_folder(tmp_path: Path) -> None:
    from img2prompt.ui.examples import load_examples

    assert load_examples(tmp_path) == []
    (tmp_path / "examples").mkdir()
    _picture(1).save(tmp_path / "outside.png")
    for name in ("../outside.png", "missing.png"):
        entry = {"file": name, "title": "x", "alt": "x"}
        write_json(tmp_path / "examples" / "examples.json", [entry])
        with pytest.raises(UserError, match="not beside it"):
            load_examples(tmp_path)


def test_negative_scores_grow_to_the_left() -> None:
    from img2prompt.ui.answer import answer_html

    def word(name: str, score: float, step: int) -> PredictedWord:
        return PredictedWord(name, score, 0.4, (0.0,), step, (("other", -0.3),))

    words = (word("up", 0.5, 0), word("same", 0.4, 0), word("down", -0.25, 1))
    html = answer_html(Prediction("<new>", words, np.zeros((2, 1), np.float32)))
    assert "&lt;new&gt;: 3 words" in html and "<new>" not in html
    assert ">0.50<" in html and ">−0.25<" in html and "0.50%" not in html
    assert html.count("negative") == 1
    # Zero lies at 0.25 of the way from −0.25 to 1, that is at 20 %.
    assert "left:20.00%;width:40.00%" in html  # 0.5 of 1.25
    assert "left:0.00%;width:20.00%" in html
    # Words of one vector share their neighbours, which are told once.
    assert html.count("close by") == 2
    only_positive = answer_html(Prediction("gaze", words[:1], np.zeros((1, 1), np.float32)))
    assert "left:0.00%;width:50.00%" in only_positive


def test_chances_stand_beside_the_scores_where_they_are_known() -> None:
    from img2prompt.ui import text
    from img2prompt.ui.answer import answer_html

    def answer(*chances: float | None) -> str:
        words = [PredictedWord(f"word{n}", 0.5, c, (0.0,), 0, ()) for n, c in enumerate(chances)]
        return answer_html(Prediction("gaze", tuple(words), np.zeros((1, 1), np.float32)))

    html = answer(0.873, 0.12, 0.001)
    assert ">87 %<" in html and ">12 %<" in html and ">&lt; 1 %<" in html
    assert f">{text.CHANCE}<" in html
    edges = answer(0.005, 0.0051, 0.995, 1.0)
    for shown in ("&lt; 1 %", "1 %", "100 %", "&gt; 99 %"):
        assert (f">{shown}<" in edges) == (shown != "100 %")
    assert "chance" not in answer(None, None) and ">0.50<" in answer(None, None)


@pytest.mark.parametrize("arguments", [["--assets", "nowhere"], ["--preset", "brilliant"]])
def test_the_command_tells_errors_in_one_line(folder: Path, arguments: list[str]) -> None:
    command = [sys.executable, str(ROOT / "app.py"), "--assets", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def _picture(seed: int, side: int = 48) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, size=(side, side, 3))
    return Image.fromarray(noise.astype(np.uint8))


def _write_manifest(folder: Path) -> None:
    files = {
        path.name: {"sha256": sha256_of(path), "size": path.stat().st_size}
        for path in folder.iterdir()
        if path.suffix in (".npz", ".keras")
    }
    write_json(folder / "manifest.json", {"default": "gaze", "files": files})
