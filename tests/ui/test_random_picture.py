"""One random picture of DiffusionDB over range requests, against a hub on this machine."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hub_server import COMMIT, Hub, serve, write_part
from PIL import Image
from waiting import PATIENCE

from img2prompt.data.images import open_image
from img2prompt.ui.play import random_picture
from img2prompt.ui.play.random_picture import PairError, RandomPairs

PART = "images/part-000003.zip"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Part 3 with 40 noisy pictures, four of which may be shown; the metadata of parts 1 to 5."""
    root = tmp_path_factory.mktemp("diffusiondb")
    rng = np.random.default_rng(0)
    files, prompts, rows = {}, {}, []
    for number in range(40):
        name = f"{number}.png"
        noise = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "PNG", compress_level=0)
        files[name] = buffer.getvalue()
        prompts[name] = {"p": f"a red fox number {number}", "se": 4_000_000_000 + number}
        rows.append((3, 4_000_000_000 + number, 0.5, 0.01))
    for number, (picture, prompt) in {
        0: (0.1, 0.01),
        1: (0.1, 0.01),
        2: (0.1, 0.01),
        3: (0.1, 0.01),
        4: (0.1, 0.5),  # a bad prompt
        5: (2.0, 0.01),  # blurred by the authors
        6: (None, 0.01),  # unrated
        7: (0.1, None),
        8: (0.1, 0.01),  # its prompt has a blocked word
        9: (0.1, 0.01),  # shares its seed with one that is bad
        10: (0.1, 0.01),  # has no rating of its own
    }.items():
        rows[number] = (3, 4_000_000_000 + number, picture, prompt)
    prompts["8.png"]["p"] = "an EROTIC fox"
    rows.append((3, 4_000_000_009, 0.9, 0.01))
    prompts["10.png"]["se"] = 5
    # The same seeds in other parts say nothing of part 3.
    rows += [(part, 4_000_000_000 + n, 0.9, 0.9) for part in (1, 2, 4, 5) for n in range(11)]
    write_part(root / PART, files, json.dumps(prompts))
    _write_ratings(root / "metadata.parquet", rows, row_group_size=2_000)
    return root


@pytest.fixture
def hub(repository: Path, tmp_path: Path) -> Iterator[Hub]:
    """A server over a copy of one's own, so a test may damage it."""
    root = shutil.copytree(repository, tmp_path / "hub")
    with serve(root) as server:
        yield server


def pairs(hub: Hub, **options) -> RandomPairs:
    return RandomPairs(endpoint=hub.endpoint, parts=[3], **options)


def test_only_what_may_be_shown_is_drawn_and_all_of_it(hub: Hub) -> None:
    source = pairs(hub, seed=0)
    drawn = [source.draw() for _ in range(30)]
    assert {pair.name for pair in drawn} == {"0.png", "1.png", "2.png", "3.png"}
    for pair in drawn:
        assert pair.prompt == f"a red fox number {pair.name[:-4]}"
        assert (pair.part, pair.revision) == (3, COMMIT)
        assert open_image(pair.data).size == (256, 256)


def test_a_picture_costs_a_fraction_of_its_part(hub: Hub) -> None:
    source = pairs(hub)
    source.draw()
    size = (hub.root / PART).stat().st_size
    gets = [entry for entry in hub.log if entry[0] == "GET"]
    assert all(asked for _, _, asked, _ in gets)  # ranges, every one
    assert size > 7_000_000 and 0 < hub.sent(PART) < size / 10
    ratings = hub.sent("metadata.parquet")
    hub.log.clear()
    source.draw()
    assert ratings > 0 and hub.sent("metadata.parquet") == 0  # read once
    assert len(hub.log) <= 7
    # The commit of the first answer holds from then on.
    assert all(f"resolve/{COMMIT}/" in path for method, path, *_ in hub.log if method == "HEAD")


def test_groups_of_rows_that_cannot_hold_the_part_are_left_alone(hub: Hub) -> None:
    rng = np.random.default_rng(1)
    path = hub.root / "metadata.parquet"
    few = pq.read_table(path).filter(pc.field("part_id") == 3).to_pylist()
    rows = [tuple(row[name] for name in random_picture.COLUMNS) for row in few]
    others = [(9, int(seed), 0.1, 0.1) for seed in rng.integers(0, 2**32, 2**17)]
    _write_ratings(path, rows + others, row_group_size=len(rows))
    _write_ratings(path, others + rows, row_group_size=2**13)
    hub.log.clear()
    assert pairs(hub).draw().part == 3
    assert hub.sent("metadata.parquet") < path.stat().st_size / 5


def test_prompts_of_no_use_are_passed_over(hub: Hub) -> None:
    source = pairs(hub, usable=lambda prompt: prompt.endswith("2"))
    assert {source.draw().name for _ in range(5)} == {"2.png"}
    with pytest.raises(PairError) as caught:
        pairs(hub, usable=lambda prompt: "dragon" in prompt).draw()
    assert caught.value.reason == "none"


def test_without_network_there_is_one_sentence_and_soon() -> None:
    with pytest.raises(PairError, match="no network") as caught:
        RandomPairs(endpoint="http://127.0.0.1:9").draw()
    assert caught.value.reason == "offline"


def test_a_class_without_network_is_told_at_once_not_one_by_one(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random_picture, "TIMEOUT", 1.0)
    hub.delay = 5.0  # a firewall that swallows what is asked
    ahead, asked = 0.0, []
    clock = SimpleNamespace(monotonic=lambda: now + ahead)
    now = time.monotonic()
    monkeypatch.setattr(random_picture, "time", clock)
    real = RandomPairs._open
    monkeypatch.setattr(RandomPairs, "_open", lambda *a: asked.append(a) or real(*a))
    source = pairs(hub)
    with ThreadPoolExecutor(8) as pool:
        for failed in [pool.submit(_fails, source, "offline") for _ in range(8)]:
            failed.result()
    assert len(asked) == 1  # by the first one, not by eight
    hub.delay = 0.0
    ahead = random_picture.REST - 0.1
    _fails(source, "offline")
    assert len(asked) == 1  # not again so soon
    monkeypatch.setattr(random_picture, "TIMEOUT", PATIENCE)
    ahead = random_picture.REST + 0.1
    assert source.draw().part == 3


def test_waiting_for_another_draw_ends_with_the_deadline(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One draw that hangs does not hold the others for longer than they would take themselves."""
    entered, leave = threading.Event(), threading.Event()
    source = pairs(hub)
    source.draw()
    real = random_picture._Ratings.of_part

    def hang(*args: object) -> dict[int, bool]:
        entered.set()
        leave.wait(PATIENCE)
        return real(*args)

    monkeypatch.setattr(random_picture._Ratings, "of_part", hang)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(source.draw)
        try:
            assert entered.wait(PATIENCE)
            monkeypatch.setattr(random_picture, "DEADLINE", 0.3)
            _fails(source, "offline")
            assert not leave.is_set() and not first.done()  # it did not wait for the other
        finally:
            leave.set()
        assert first.result().part == 3


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("metadata.parquet", 404, "gone"),
        ("part-000003.zip", 404, "gone"),
        ("part-000003.zip", 401, "gone"),
        ("part-000003.zip", 429, "busy"),
        ("files/images/part-000003.zip", 503, "fault"),
        ("files/metadata.parquet", 429, "busy"),
    ],
)
def test_a_server_that_refuses_is_told_apart(hub: Hub, end: str, status: int, reason: str) -> None:
    hub.status[end] = status
    _fails(pairs(hub), reason)
    hub.status.clear()
    assert pairs(hub).draw().part == 3


def test_a_server_that_sends_whole_files_is_not_listened_to(hub: Hub) -> None:
    hub.ranges = False
    _fails(pairs(hub), "fault")


def test_answers_that_are_cut_off_are_damaged(hub: Hub) -> None:
    hub.cut = 10
    _fails(pairs(hub), "damaged")


def test_a_slow_server_is_as_good_as_none(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random_picture, "TIMEOUT", 0.2)
    hub.delay = 1.0
    _fails(pairs(hub), "offline")


@pytest.mark.parametrize("name", [PART, "metadata.parquet"])
@pytest.mark.parametrize("damage", ["noise", "empty", "holes"])
def test_damaged_files_are_told(hub: Hub, name: str, damage: str) -> None:
    path = hub.root / name
    data = bytearray(path.read_bytes())
    if damage == "noise":
        data = np.random.default_rng(0).bytes(len(data))
    elif damage == "empty":
        data = b""
    else:
        data[: len(data) * 9 // 10] = bytes(len(data) * 9 // 10)
    path.write_bytes(data)
    _fails(pairs(hub), "damaged")


def test_a_part_without_json_or_with_broken_pictures_is_told(hub: Hub) -> None:
    table = {f"{n}.png": {"p": "a red fox", "se": 4_000_000_000 + n} for n in range(4)}
    broken = dict.fromkeys(table, b"no picture")
    write_part(hub.root / PART, broken, json.dumps(table))
    _fails(pairs(hub), "damaged")
    for content, reason in (
        (None, "damaged"),
        ("[1, 2]", "damaged"),
        ("[" * 100_000, "damaged"),
        ('{"0.png": 5}', "none"),
    ):
        write_part(hub.root / PART, broken, content)
        _fails(pairs(hub), reason)


def test_without_ratings_nothing_is_shown(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hub.root / "metadata.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["image_nsfw"]), path)
    _fails(pairs(hub), "unrated")
    pq.write_table(table, path)
    monkeypatch.setattr(random_picture, "MAX_METADATA_ROWS", len(table) - 1)
    _fails(pairs(hub), "unrated")


def test_the_environments_endpoint_is_asked(hub: Hub) -> None:
    code = (
        "from img2prompt.ui.play.random_picture import RandomPairs\n"
        "pair = RandomPairs(parts=[3]).draw()\n"
        "print(pair.prompt)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("a red fox number ")


def _fails(source: RandomPairs, reason: str) -> None:
    with pytest.raises(PairError) as caught:
        source.draw()
    assert caught.value.reason == reason
    message = str(caught.value)
    assert message.endswith(".") and "\n" not in message


def _write_ratings(path: Path, rows: list[tuple], row_group_size: int) -> None:
    part, seed, picture, prompt = zip(*rows, strict=True)
    table = pa.table(
        {
            # What nobody asks for is most of the real file.
            "prompt": [f"a prompt of some length that nobody reads here {i}" for i in seed],
            "part_id": pa.array(part, pa.uint16()),
            "seed": pa.array(seed, pa.uint32()),
            "image_nsfw": pa.array(picture, pa.float32()),
            "prompt_nsfw": pa.array(prompt, pa.float32()),
        }
    )
    pq.write_table(table, path, row_group_size=row_group_size)
