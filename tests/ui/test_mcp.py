"""The page as tools of a language model, asked as one asks: Gradio's MCP server over HTTP."""

import ast
import base64
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import browser_kit
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from gradio_client import Client, handle_file
from hosted import stranger
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from waiting import PATIENCE

PUBLIC = {"predict", "score", "neighbours", "arithmetic", "compare", "batch"}


@contextlib.contextmanager
def meeting(address: str) -> Iterator[Callable[..., Any]]:
    """(method of `ClientSession`, *arguments) → its result, all in one session."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(streamablehttp_client(f"{address}gradio_api/mcp/")) as (
            read,
            write,
            _,
        ),
        portal.wrap_async_context_manager(ClientSession(read, write)) as session,
    ):
        portal.call(session.initialize)
        yield lambda method, *arguments: portal.call(getattr(session, method), *arguments)


def ask(address: str, method: str, *arguments: Any) -> Any:
    """The answer to a question put in a session of its own."""
    with meeting(address) as asked:
        return asked(method, *arguments)


def said_by(result: Any) -> tuple[bool, str]:
    """(whether it went wrong, what it said) of the result of one tool's call."""
    return result.isError, "".join(part.text for part in result.content)


def call(address: str, tool: str, **arguments: Any) -> tuple[bool, str]:
    """What `said_by` tells of one tool's call in a session of its own."""
    return said_by(ask(address, "call_tool", tool, arguments))


def answer(address: str, tool: str, **arguments: Any) -> Any:
    """A tool's answer; Gradio sends plain data as Python writes it."""
    failed, said = call(address, tool, **arguments)
    assert not failed, said
    return ast.literal_eval(said)


def upload(address: str, path: Path) -> str:
    """The address of an uploaded file, as Gradio's upload tool for models makes it."""
    with path.open("rb") as file:
        sent = httpx.post(f"{address}gradio_api/upload", files={"files": (path.name, file)})
    return f"{address}gradio_api/file={sent.raise_for_status().json()[0]}"


def test_the_public_endpoints_are_the_tools_and_no_others(address: str) -> None:
    tools = {t.name for t in ask(address, "list_tools").tools}
    named = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"]
    assert tools == {name.strip("/") for name in named} == PUBLIC
    failed, said = call(address, "en_restore")
    assert failed and "Unknown tool" in said


def test_a_model_is_told_what_a_tool_does_takes_and_gives(address: str) -> None:
    for tool in ask(address, "list_tools").tools:
        does, _, gives = tool.description.partition(" Returns: ")
        assert len(does.split(". ")[0]) > 40 and "{" in gives, tool.name
        for name, schema in tool.inputSchema["properties"].items():
            told = schema.get("description", "")
            # A description that goes on in a second line is cut by Gradio's reader.
            assert len(told) > 15 and told[-1] in '."', f"{tool.name}: {name}: {told!r}"
            if schema["type"] == "number":
                assert "1 to " in told, f"{tool.name}: {name}"
            if "preset" in name:
                assert all(f'"{preset}"' in told for preset in schema["enum"])


def test_an_uploaded_picture_is_answered_as_everybody_elses(address: str) -> None:
    image = upload(address, browser_kit.EXAMPLE)
    said = answer(address, "predict", image=image, words=5)
    assert said["words"][0]["word"] == "dragon" and len(said["words"]) == 5
    client = Client(address, verbose=False, httpx_kwargs={"timeout": PATIENCE})
    picture = handle_file(browser_kit.EXAMPLE)
    assert said == client.predict(picture, "gaze", 5, api_name="/predict")
    rows = answer(address, "batch", files=[image, image], words=2)
    assert [row["file"] for row in rows] == [browser_kit.EXAMPLE.name] * 2
    assert rows[0]["words"][0]["word"] == "dragon"
    both = answer(address, "compare", first=image, second=image)
    assert both["first"]["preset"] != both["second"]["preset"] and both["share"] < 1


def test_a_picture_may_come_as_data(address: str) -> None:
    data = base64.b64encode(browser_kit.EXAMPLE.read_bytes()).decode("ascii")
    said = answer(
        address, "score", image=f"data:image/jpeg;base64,{data}", truth="a dragon by Picasso"
    )
    assert said["found"] == ["dragon"] and said["missed"] == ["picasso"]


def test_text_is_answered(address: str) -> None:
    near = answer(address, "neighbours", word="castle", count=5)
    scores = [row["score"] for row in near["neighbours"]]
    assert near["word"] == "castle" and near["count"] > 100
    assert len(scores) == 5 and scores == sorted(scores, reverse=True) and scores[0] > 0.5
    total = answer(address, "arithmetic", expression="portrait - painting + photo")
    words = [row["word"] for row in total["results"]]
    assert len(words) == 10 and not {"portrait", "painting", "photo"} & set(words)


@pytest.mark.parametrize(
    "tool, arguments, sentence",
    [
        ("predict", {}, "“image” is missing; give it"),
        ("predict", {"image": "dog.jpg"}, "upload it and give its address"),
        ("neighbours", {"word": "qwertyuiop", "count": 5}, "qwertyuiop"),
        ("arithmetic", {"expression": "castle +"}, "word"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    address: str, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    failed, said = call(address, tool, **arguments)
    assert failed and sentence in said and "Traceback" not in said


def test_no_address_but_an_uploads_is_read(address: str, tmp_path: Path) -> None:
    """Neither another server's nor, dressed up as an upload's, a file of this machine."""
    private = tmp_path / "private.jpg"
    private.write_bytes(browser_kit.EXAMPLE.read_bytes())
    uploaded = upload(address, browser_kit.EXAMPLE)
    folder = uploaded.partition("/file=")[2].rpartition("/")[0]
    with stranger() as (host, asked):
        for image in (
            f"{host}/picture.png",
            f"{host}/gradio_api/file={private}",
            f"{address}gradio_api/file={private}",
            f"{address}gradio_api/file={folder}/../../..{private}",
            f"{address}gradio_api/file=",
        ):
            for tool, arguments in (("predict", {"image": image}), ("batch", {"files": [image]})):
                failed, said = call(address, tool, **arguments)
                assert failed and "takes no addresses" in said, (tool, image, said)
    assert asked == []
