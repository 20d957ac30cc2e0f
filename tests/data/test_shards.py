"""Prepared shards: what is kept and skipped, the split by prompt, going on after a kill."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sharding import texts_of, write_table

from img2prompt.core.errors import UserError
from img2prompt.data import diffusiondb, images, shards, text
from img2prompt.data.prepare import prepare
from img2prompt.data.report import DataReport, count_shard, write_html
from img2prompt.data.sampling import balanced_weights, sampling_weights
from img2prompt.data.shards import (
    PrepareSettings,
    pixel_reader,
    read_shards,
    settings_of,
    shard_files,
)
from img2prompt.data.splits import SPLITS, hash64, source_group, split_of

SMALL = PrepareSettings(size=32)
UNRATED = PrepareSettings(size=32, keep_unscored=True)  # for folders without metadata


def run(source: Path, out: Path, settings: PrepareSettings = SMALL) -> dict:
    return prepare(source, out, settings, progress=False, workers=1)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a prepared folder, hidden ones too."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def skips(folder: Path) -> list[dict]:
    lines = (folder / "skipped.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture
def prepared(diffusiondb_folder: Path, tmp_path: Path) -> Path:
    run(diffusiondb_folder, tmp_path / "prepared")
    return tmp_path / "prepared"


# --- the split ----------------------------------------------------------------------------------


@given(
    prompt=st.text(),
    case=st.sampled_from([str, lambda p: p.translate(UPPER)]),
    space=st.sampled_from([" ", "  ", "\t", "\n\n", "\u00a0"]),
)
def test_no_prompt_crosses_by_case_or_spaces(prompt: str, case, space: str) -> None:
    other = space + case(prompt).replace(" ", space) + space
    assert split_of(other) == split_of(prompt)


UPPER = {ord(letter): ord(letter.upper()) for letter in "abcdefghijklmnopqrstuvwxyz"}


def test_the_split_of_a_prompt_never_changes() -> None:
    # Written down once: a change here would let test prompts into trained models.
    known = {
        "a red fox, snow": "train",
        "portrait of a robot": "train",
        "": "validation",
        "neon city 12": "validation",
        "neon city 13": "test",
        "東京": "test",
    }
    assert {prompt: split_of(prompt) for prompt in known} == known


def test_shares_are_80_10_10() -> None:
    splits = [split_of(f"a prompt number {number}") for number in range(20_000)]
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert splits.count(split) / len(splits) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_adding_parts_moves_no_prompt(
    tmp_path: Path, make_part, make_picture, encode, order: tuple
) -> None:
    picture = encode(make_picture())
    source, out = tmp_path / "source", tmp_path / "out"
    seen: dict[str, str] = {}
    for number in order:
        names = [f"{number}-{i}.png" for i in range(12)]
        # Half of the prompts come in both parts, in another case.
        prompts = [
            f"{'A CAT' if number == 2 else 'a cat'} {i + number // 2 * 6}" for i in range(12)
        ]
        make_part(
            source / "images" / f"part-{number:06}.zip",
            dict.fromkeys(names, picture),
            dict(zip(names, prompts, strict=True)),
        )
        run(source, out, UNRATED)
        pictures = read_shards(out)
        prompts = pictures.prompts(np.arange(len(pictures)))
        for prompt, split in zip(prompts, pictures.split, strict=True):
            assert seen.setdefault(text.fold(prompt), split) == split
    assert len(seen) == 18 and len(prompts) == 24


# --- what is kept, and what is not --------------------------------------------------------------


def test_shards_hold_the_pictures_as_preprocess_gives_them(
    diffusiondb_folder: Path, prepared: Path
) -> None:
    pictures, texts = read_shards(prepared), texts_of(prepared)
    original = {
        pair.name: pair
        for part in diffusiondb.find_parts(diffusiondb_folder)
        for pair in diffusiondb.read_part(part)
    }
    pixels = pixel_reader(pictures)(np.arange(len(pictures)))
    assert pixels.shape == (16, 32, 32, 3) and pixels.dtype == np.uint8
    for i, name in enumerate(texts.names):
        assert texts.prompts[i] == original[name].prompt
        assert SPLITS[pictures.split[i]] == split_of(original[name].prompt)
        expected = images.preprocess(original[name].data, 32)
        np.testing.assert_array_equal(images.to_float(pixels[i]), expected)


def test_pixels_follow_the_order_asked_for(prepared: Path) -> None:
    pictures = read_shards(prepared)
    index = np.array([15, 0, 7, 7])
    pixels = pixel_reader(pictures)(np.arange(16))
    np.testing.assert_array_equal(pixel_reader(pictures)(index), pixels[index])


def test_unusable_pictures_are_skipped_counted_and_named(
    prepared: Path, expected_skips: dict
) -> None:
    logged = {row["name"]: row for row in skips(prepared)}
    assert logged.keys() == expected_skips.keys()
    for name, reason in expected_skips.items():
        assert logged[name]["reason"].startswith(reason)
        assert logged[name]["part"] == "part-000002.zip"
    report = json.loads((prepared / "report.json").read_text())
    assert sum(report["skipped"].values()) == len(expected_skips)
    assert report["pictures"] == 16
    assert not set(expected_skips) & set(texts_of(prepared).names)


def test_thresholds_move_the_filter(diffusiondb_folder: Path, tmp_path: Path) -> None:
    def kept(name: str, **settings) -> set[str]:
        run(diffusiondb_folder, tmp_path / name, PrepareSettings(size=32, **settings))
        return set(texts_of(tmp_path / name).names) & {"nude.webp", "rude.webp", "blurred.webp"}

    assert kept("image", max_image_nsfw=0.95) == {"nude.webp"}
    assert kept("prompt", max_prompt_nsfw=0.95) == {"rude.webp"}
    assert kept("one", max_image_nsfw=1.0, max_prompt_nsfw=1.0) == {"nude.webp", "rude.webp"}
    assert len(kept("off", max_image_nsfw=None, max_prompt_nsfw=None)) == 3


def test_without_metadata_everything_readable_is_kept(
    diffusiondb_folder: Path, tmp_path: Path
) -> None:
    """If that is what a person wants; by default nothing passes the NSFW filter unrated."""
    (diffusiondb_folder / "metadata.parquet").unlink()
    with pytest.raises(UserError, match=r"metadata\.parquet .*--keep-unscored"):
        run(diffusiondb_folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert run(diffusiondb_folder, tmp_path / "out", UNRATED)["pictures"] == 19
    unfiltered = PrepareSettings(size=32, max_image_nsfw=None, max_prompt_nsfw=None)
    assert run(diffusiondb_folder, tmp_path / "all", unfiltered)["pictures"] == 19


def test_train_only_leaves_the_other_splits_out(diffusiondb_folder: Path, tmp_path: Path) -> None:
    run(diffusiondb_folder, tmp_path / "all")
    run(diffusiondb_folder, tmp_path / "train", PrepareSettings(size=32, train_only=True))
    everything = read_shards(tmp_path / "all")
    train, others = (
        everything.texts(np.flatnonzero(everything.in_split("train") == wanted)).names
        for wanted in (True, False)
    )
    assert others and set(texts_of(tmp_path / "train").names) == set(train)
    logged = {row["name"]: row["reason"] for row in skips(tmp_path / "train")}
    for name in others:
        assert logged[name] == "not in the training split"


def test_a_source_of_nothing_usable_still_reports(
    tmp_path: Path, make_part, make_picture, encode
) -> None:
    make_part(tmp_path / "part-000001.zip", {"a.png": encode(make_picture())}, {"b.png": "a dog"})
    report = run(tmp_path, tmp_path / "out", UNRATED)
    assert report["pictures"] == 0
    assert report["skipped"] == {"missing picture": 1, "missing prompt": 1}
    assert len(read_shards(tmp_path / "out")) == 0
    write_html(report, tmp_path / "report.html")


def test_a_prompt_no_file_can_hold_is_not_fatal(
    tmp_path: Path, make_part, make_picture, encode
) -> None:
    picture = encode(make_picture())
    prompts = {"a.png": "a dog \ud83d", "b.png": "a cat \0 \u2028 \U0001f680", "c\udc00.png": "x"}
    make_part(tmp_path / "part-000001.zip", {"a.png": picture, "b.png": picture}, prompts)
    report = run(tmp_path, tmp_path / "out", UNRATED)
    assert report["pictures"] == 2 and report["skipped"] == {"missing picture": 1}
    assert texts_of(tmp_path / "out").prompts[1] == prompts["b.png"]


# --- going on after a kill ----------------------------------------------------------------------


def unlink(*names: str):
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


def leave_temporary_files(folder: Path) -> None:
    (folder / "part-000002.parquet").unlink()
    (folder / ".part-000002.4711.tmp.npy").write_bytes(b"half")
    (folder / ".part-000002.4711.tmp.parquet").write_bytes(b"half")


def leave_half_an_array(folder: Path) -> None:
    (folder / "part-000001.parquet").unlink()
    (folder / "part-000001.npy").write_bytes((folder / "part-000001.npy").read_bytes()[:1000])


@pytest.mark.parametrize(
    "damage",
    [
        unlink("part-000001.parquet"),
        unlink("part-000002.parquet", "report.json"),
        unlink("part-000002.npy"),
        unlink("part-000002.npy", "part-000002.parquet"),
        unlink("skipped.jsonl", "report.json"),
        leave_temporary_files,
        leave_half_an_array,
    ],
    ids=[
        "first rows",
        "second rows",
        "pixels",
        "second shard",
        "log",
        "temporary files",
        "half an array",
    ],
)
def test_a_stopped_run_goes_on_to_the_same_result(
    diffusiondb_folder: Path, prepared: Path, damage
) -> None:
    whole = contents(prepared)
    damage(prepared)
    run(diffusiondb_folder, prepared)
    assert contents(prepared) == whole


def test_whole_shards_are_not_made_again(diffusiondb_folder: Path, prepared: Path) -> None:
    before = (prepared / "part-000001.npy").stat().st_mtime_ns
    (prepared / "part-000002.parquet").unlink()
    part = diffusiondb_folder / "images" / "part-000001.zip"
    part.write_bytes(b"damaged since".ljust(part.stat().st_size, b"."))
    run(diffusiondb_folder, prepared)
    assert (prepared / "part-000001.npy").stat().st_mtime_ns == before


def test_two_runs_give_the_same_bytes(
    diffusiondb_folder: Path, prepared: Path, tmp_path: Path
) -> None:
    run(diffusiondb_folder, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(prepared)


def test_a_damaged_zip_stops_the_run_and_a_good_one_finishes_it(
    diffusiondb_folder: Path, prepared: Path, tmp_path: Path
) -> None:
    part = diffusiondb_folder / "images" / "part-000002.zip"
    good = part.read_bytes()
    part.write_bytes(good[:-100])
    out = tmp_path / "out"
    with pytest.raises(UserError, match=r"part-000002\.zip"):
        run(diffusiondb_folder, out)
    assert not list(out.glob("part-000002*")) and not list(out.glob(".*"))
    part.write_bytes(good)
    run(diffusiondb_folder, out)
    assert contents(out) == contents(prepared)


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"size": 48}, {"fit": "crop"}, {"max_image_nsfw": None}, {"train_only": True}],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_refused(diffusiondb_folder: Path, prepared: Path, change: dict) -> None:
    before = contents(prepared)
    with pytest.raises(UserError, match="other settings"):
        run(diffusiondb_folder, prepared, PrepareSettings(**{"size": 32} | change))
    assert contents(prepared) == before


def test_shards_without_settings_are_refused(diffusiondb_folder: Path, prepared: Path) -> None:
    (prepared / "settings.json").unlink()
    with pytest.raises(UserError, match=r"settings\.json"):
        run(diffusiondb_folder, prepared)


def test_settings_of_a_run_that_made_nothing_bind_nobody(
    diffusiondb_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    parts = sorted((diffusiondb_folder / "images").glob("*.zip"))
    good = [part.read_bytes() for part in parts]
    for part in parts:
        part.write_bytes(b"damaged")
    with pytest.raises(UserError, match=r"part-000001\.zip"):
        run(diffusiondb_folder, out)
    for part, data in zip(parts, good, strict=True):
        part.write_bytes(data)
    assert run(diffusiondb_folder, out, PrepareSettings(size=40))["settings"]["size"] == 40
    assert pixel_reader(read_shards(out))(np.array([0])).shape == (1, 40, 40, 3)


@pytest.mark.parametrize(
    "text_",
    ["[]", '{"size": 32, "colour": 1}', '{"size": 3}', "{", '{"size": 32, "languages": [1]}'],
)
def test_unreadable_settings_are_refused(
    diffusiondb_folder: Path, prepared: Path, text_: str
) -> None:
    (prepared / "settings.json").write_text(text_)
    with pytest.raises(UserError):
        run(diffusiondb_folder, prepared)


@pytest.mark.parametrize("settings", [{"size": 8}, {"size": 5000}, {"fit": "squeeze"}])
def test_impossible_settings_are_refused(settings: dict) -> None:
    with pytest.raises(UserError):
        PrepareSettings(**settings)


def test_a_file_where_the_folder_should_be_is_refused(
    diffusiondb_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="out"):
        run(diffusiondb_folder, tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


# --- the table and weights ------------------------------------------------------------------------


def test_several_folders_are_read_as_one(
    diffusiondb_folder: Path, prepared: Path, tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "copy")
    pictures = read_shards([prepared, tmp_path / "copy"])
    assert len(pictures) == 32 and (pictures.folder == np.repeat([0, 1], 16)).all()
    pixels = pixel_reader(pictures)(np.arange(32))
    np.testing.assert_array_equal(pixels[:16], pixels[16:])
    run(diffusiondb_folder, tmp_path / "large", PrepareSettings(size=40))
    with pytest.raises(UserError, match="--size"):
        read_shards([prepared, tmp_path / "large"])
    with pytest.raises(UserError, match="no prepared shards"):
        read_shards(tmp_path)


def test_splits_part_the_pictures(prepared: Path) -> None:
    pictures = read_shards(prepared)
    parts = [pictures.in_split(split) for split in SPLITS]
    assert (np.sum(parts, axis=0) == 1).all() and len(parts[0]) == 16
    with pytest.raises(UserError, match="tests"):
        pictures.in_split("tests")


def test_texts_follow_the_order_asked_for(tmp_path: Path) -> None:
    """Whichever shards they lie in; of many, so many at a time."""
    for part, n in enumerate((3, 0, 2), start=1):
        prompts = [f"{part}: {row}" for row in range(n)]
        write_table(tmp_path, prompts, [f"{part}/{row}" for row in range(n)], part=part)
    pictures = read_shards(tmp_path)
    assert pictures.start.tolist() == [0, 3, 3, 5]
    index = np.array([4, 0, 3, 4])
    found = pictures.texts(index)
    assert found.prompts == pictures.prompts(index) == ["3: 1", "1: 0", "3: 0", "3: 1"]
    assert found.names == ["1.png", "0.png", "0.png", "1.png"]
    assert found.sources == [pictures.sources[pictures.source[i]] for i in index]
    assert found.sources[:2] == ["3/1", "1/0"] and set(found.groups) == {"small-repositories"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "TEXTS_BLOCK", 3)
        blocks = list(pictures.prompt_blocks(index))
    assert [prompts for _, prompts in blocks] == [found.prompts[:3], found.prompts[3:]]
    assert [index[block].tolist() for block, _ in blocks] == [[4, 0, 3], [4]]
    assert pictures.prompt_hash.tolist() == [hash64(p) for p in pictures.prompts(np.arange(5))]


def test_a_table_holds_twelve_bytes_a_picture(tmp_path: Path) -> None:
    """Split, source and hash of the prompt; more only where sources are very many."""
    pictures = read_shards(write_table(tmp_path / "few", ["a dog"] * 10))
    held = (pictures.split, pictures.source, pictures.prompt_hash)
    assert sum(array.itemsize for array in held) <= 12
    many = [f"owner/{i}" for i in range(40_000)]
    pictures = read_shards(write_table(tmp_path / "many", ["a dog"] * len(many), many))
    assert pictures.texts(np.array([0, 39_999])).sources == ["owner/0", "owner/39999"]
    assert pictures.of_sources(["owner/39999"]).sum() == 1


def reported(folder: Path, shards: Iterable[Path]) -> dict[str, Any]:
    report = DataReport()
    for path in shards:
        report.add(count_shard(path))
    return report.result(folder)


def test_the_report_counts_what_there_is(prepared: Path) -> None:
    report = reported(prepared, shard_files(prepared))
    pictures = read_shards(prepared)
    assert report["pictures"] == sum(report["splits"].values()) == 16
    assert report["prompts"] == 15 and ("a red fox, snow", 2) in report["most_repeated_prompts"]
    assert report["sources"].keys() == {"diffusiondb"}
    counts = dict(report["words"])
    assert counts["forest"] == 8 and counts["robot"] == 6 and "the" not in counts
    assert report["word_frequency_curve"][0] == (1, 8)
    assert report["distinct_content_words"] == len(counts)
    for split in SPLITS:
        assert report["splits"][split] == pictures.in_split(split).sum()


def test_the_report_is_the_same_in_any_order_of_the_shards(
    diffusiondb_folder: Path, prepared: Path
) -> None:
    shards = shard_files(prepared)
    told = [reported(prepared, order) for order in (shards, shards[::-1])]
    assert told[0] == told[1]
    words = told[0]["words"]
    assert words == sorted(words, key=lambda item: (-item[1], item[0]))


def test_settings_of_older_folders_mean_what_they_meant(prepared: Path) -> None:
    path = prepared / "settings.json"
    old = {"size": 32, "fit": "crop", "max_image_nsfw": None, "max_prompt_nsfw": 0.5}
    path.write_text(json.dumps(old))
    made = settings_of(prepared)
    assert made == PrepareSettings(size=32, fit="crop", max_image_nsfw=None)
    assert not made.caps and made.languages == ()
    path.write_text(json.dumps(old | {"languages": ["en", "de"]}))
    assert settings_of(prepared).languages == ("de", "en")


def test_weights_balance_sources_and_repeated_prompts(make_table: Callable) -> None:
    sources = ["big"] * 16 + ["small"] * 4
    prompts = ["walter white"] * 8 + [f"big {i}" for i in range(8)] + list("abcd")
    pictures = make_table(prompts, sources)
    weights = sampling_weights(pictures, power=0.5)
    assert weights.sum() == pytest.approx(1)
    assert weights[:16].sum() == pytest.approx(4 / 6)  # √16 : √4
    assert weights[:8].sum() == pytest.approx(weights[8])  # eight pictures of one prompt
    equal = sampling_weights(pictures, power=0)
    assert equal[:16].sum() == pytest.approx(0.5)
    np.testing.assert_allclose(sampling_weights(pictures, power=1), 1 / 20)


def test_every_repository_is_weighed_by_itself(make_table: Callable) -> None:
    """Together they are one group, of figures alone; so are the two collections of a generator."""
    counts = {"big": 16, "owner/one": 9, "other/two": 4, "gptimage2-a": 4, "gptimage2-b": 1}
    sources = [source for source, n in counts.items() for _ in range(n)]
    order = np.random.default_rng(0).permutation(len(sources))
    sources = [sources[place] for place in order]
    pictures = make_table([f"a dog {i}" for i in range(len(sources))], sources)
    for word_power in (0.0, 0.5):
        weights = balanced_weights(pictures, 0.5, word_power)
        shares = {name: weights[pictures.of_sources([name])].sum() for name in counts}
        assert shares == pytest.approx({name: np.sqrt(n) / 12 for name, n in counts.items()})
        weights = balanced_weights(pictures, 0, word_power)
        assert weights[pictures.of_sources(["small-repositories"])].sum() == pytest.approx(2 / 5)
    chosen = np.flatnonzero(~pictures.of_sources(["big", "owner/one"]))
    weights = sampling_weights(pictures, 0.5, chosen)
    mine = pictures.of_sources(["other/two"])[chosen]
    assert weights[mine].sum() == pytest.approx(2 / 5)


def test_sources_are_chosen_by_their_own_name_or_their_groups(make_table: Callable) -> None:
    sources = ["met", "owner/one", "other/two", "gptimage2-a", "gptimage2-b"]
    pictures = make_table(["a dog"] * 5, sources)

    def chosen(*names: str) -> list[int]:
        return np.flatnonzero(pictures.of_sources(names)).tolist()

    assert chosen() == [] and chosen("met") == [0]
    assert chosen("small-repositories") == [1, 2] and chosen("other/two") == [2]
    assert chosen("gptimage2") == [3, 4] and chosen("gptimage2-b", "met") == [0, 4]
    assert not pictures.of_sources(["owner/three"], strict=False).any()
    with pytest.raises(UserError, match="no source owner/three; there are gptimage2, gptimage2-a"):
        chosen("owner/three", "met")


def test_small_repositories_are_one_group() -> None:
    assert source_group("owner/one") == source_group("other/two")
    assert source_group("gptimage2-a") == source_group("gptimage2-b")
    assert source_group("met") == "met"


def test_a_part_of_another_data_set_does_not_pass_for_a_finished_one(
    diffusiondb_folder: Path, tmp_path: Path, make_part: Callable, make_picture, encode
) -> None:
    out = tmp_path / "shards"
    run(diffusiondb_folder, out)
    files = {"other.png": encode(make_picture(77))}
    make_part(tmp_path / "b" / "images" / "part-000001.zip", files, {"other.png": "an owl"})
    shutil.copy(diffusiondb_folder / "metadata.parquet", tmp_path / "b")
    with pytest.raises(UserError, match="another data set"):
        run(tmp_path / "b", out)


def test_a_damaged_part_does_not_stop_the_others(diffusiondb_folder: Path, tmp_path: Path) -> None:
    part = diffusiondb_folder / "images" / "part-000001.zip"
    good = part.read_bytes()
    part.write_bytes(good[:100])
    with pytest.raises(UserError, match=r"1 of 2 parts .*part-000001\.zip"):
        run(diffusiondb_folder, tmp_path / "out")
    assert len(read_shards(tmp_path / "out")) == 6
    part.write_bytes(good)
    run(diffusiondb_folder, tmp_path / "out")
    assert len(read_shards(tmp_path / "out")) == 16


def test_metadata_that_comes_later_does_not_leave_unfiltered_shards(
    diffusiondb_folder: Path, tmp_path: Path
) -> None:
    metadata = diffusiondb_folder / "metadata.parquet"
    metadata.rename(tmp_path / "metadata.parquet")
    assert not run(diffusiondb_folder, tmp_path / "out", UNRATED)["metadata"]
    (tmp_path / "metadata.parquet").rename(metadata)
    with pytest.raises(UserError, match="NSFW filter differs"):
        run(diffusiondb_folder, tmp_path / "out", UNRATED)


def test_a_shard_that_was_copied_is_not_read_twice(prepared: Path) -> None:
    for suffix in ("npy", "parquet"):
        shutil.copy(prepared / f"part-000001.{suffix}", prepared / f"part-000001 (1).{suffix}")
    with pytest.raises(UserError, match=r"part-000001 \(1\)\.parquet is not a shard's name"):
        read_shards(prepared)


@pytest.mark.parametrize("name", ["part-000001.parquet", "part-000002.npy"])
@pytest.mark.parametrize("content", [b"", b"junk"])
def test_a_damaged_shard_is_made_again(
    name: str, content: bytes, diffusiondb_folder: Path, prepared: Path
) -> None:
    whole = contents(prepared)
    (prepared / name).write_bytes(content)
    run(diffusiondb_folder, prepared)
    assert contents(prepared) == whole


def test_a_damaged_shard_is_told_in_one_sentence(prepared: Path) -> None:
    pictures = read_shards(prepared)
    (prepared / "part-000001.npy").write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        pixel_reader(pictures)(np.array([0]))
