"""Publishing to a hub repository and loading from one, against a loopback hub and its client."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hub_repository
import numpy as np
import pytest
import yaml
from hub_repository import OWNER, READER, WRITER, Hub, Repository
from hypothesis import given, settings
from hypothesis import strategies as st
from paths import ROOT
from toy_gallery import gallery_of
from waiting import PATIENCE

from img2prompt.__main__ import main
from img2prompt.core.errors import UserError
from img2prompt.core.files import sha256_of, write_json
from img2prompt.embedding.taxonomy import TAXONOMY_FILE
from img2prompt.inference import artifacts
from img2prompt.inference.artifacts import Assets, load, open_assets
from img2prompt.inference.gallery import GALLERY_FILE
from img2prompt.training.publish import plan_publication, publish

REPO = f"{OWNER}/words"
CARD = """# Words of a toy

It learned from [nothing](docs/data.md#why "why"), see ![this](docs/a%20dot.svg), the
[files](manifest.json), the [web](https://example.org/x.md) and [below](#below).

## Below
"""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub, which `publish` and `load` of this process use with an empty cache."""
    with hub_repository.serve_models(monkeypatch, tmp_path / "cache") as served:
        yield served


@pytest.fixture
def folder(assets_folder: Path) -> Path:
    """Artifacts with a model card that links to a document and a picture."""
    (assets_folder / "docs").mkdir()
    (assets_folder / "MODEL_CARD.md").write_text(CARD)
    (assets_folder / "docs" / "data.md").write_text("Read [the card](../MODEL_CARD.md).\n")
    (assets_folder / "docs" / "a dot.svg").write_text("<svg/>\n")
    return assets_folder


@pytest.fixture
def published(hub: Hub, folder: Path) -> Repository:
    """The repository after `folder` was published to it."""
    publish(plan_publication(REPO, folder), hub.endpoint)
    return hub.repositories[REPO]


def change(path: Path) -> None:
    """Flip one bit; the size stays."""
    path.write_bytes(changed(path.read_bytes()))


def changed(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def edit(repository: Repository, manifest: Callable[[dict], object]) -> str:
    """Put a changed manifest on the main branch; the commit."""
    head = repository.head()
    told = json.loads(head.files["manifest.json"])
    manifest(told)
    files = head.files | {"manifest.json": json.dumps(told).encode()}
    return repository.commit("main", "edited", files, set(head.lfs)).id


def environment(hub: Hub, home: Path, **more: str) -> dict[str, str]:
    """Of another process whose hub is this one, and whose cache lies in `home`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return kept | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": WRITER,
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **more,
    }


def script(
    hub: Hub, home: Path, *arguments: str | Path, **environ: str
) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "scripts/publish.py", "--repo", REPO, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        stdin=subprocess.DEVNULL,
        env=environment(hub, home, PYTHONPATH=str(ROOT), **environ),
    )


def is_one_sentence(done: subprocess.CompletedProcess) -> bool:
    lines = done.stderr.splitlines()
    return done.returncode == 2 and len(lines) == 1 and lines[0].startswith("error: ")


# --- there and back -------------------------------------------------------------------------------


def test_published_by_the_script_and_loaded_by_a_fresh_process(
    hub: Hub, folder: Path, tmp_path: Path, make_picture, encode
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(encode(make_picture(5)))
    done = script(hub, tmp_path / "home", "--assets", folder, "--yes")
    assert done.returncode == 0, done.stderr
    commit = hub.repositories[REPO].head().id
    url, line = done.stdout.splitlines()[-2:]
    assert url == f"{hub.endpoint}/{REPO}/commit/{commit}"
    assert line == f'img2prompt.load("{REPO}", revision="{commit}")'

    code = (
        "import sys, json, img2prompt\n"
        f"predictor = {line}\n"
        "answer = predictor(sys.argv[1], words=5)\n"
        "print(json.dumps([predictor.preset, answer.prompt, answer.vectors.tolist()]))\n"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code, picture],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(hub, tmp_path / "empty", PYTHONPATH=str(ROOT)),
    )
    assert fresh.returncode == 0, fresh.stderr
    preset, prompt, vectors = json.loads(fresh.stdout.splitlines()[-1])
    here = load(folder)(picture, words=5)
    assert (preset, prompt) == ("original", here.prompt)
    np.testing.assert_allclose(vectors, here.vectors, atol=1e-6)
    assert hub.asked(r"/objects/.*/original\.keras") == 1
    assert not hub.asked("notebook.keras")  # nobody asked for it


def test_a_publication_is_one_commit_of_all_that_the_manifest_lists(hub: Hub, folder: Path) -> None:
    plan = plan_publication(REPO, folder, message="the first")
    done = publish(plan, hub.endpoint)
    repository = hub.repositories[REPO]
    head = repository.head()
    assert done.changed and done.commit == head.id and head.message == "the first"
    assert len(repository.commits) == 2 and repository.commits[head.parent].parent is None
    listed = set(json.loads((folder / "manifest.json").read_text())["files"])
    documents = {"README.md", "manifest.json", "docs/data.md", "docs/a dot.svg", ".gitattributes"}
    assert set(head.files) == listed | documents
    assert {upload.name for upload in plan.uploads} == listed | documents - {".gitattributes"}
    assert plan.size == sum(len(head.files[upload.name]) for upload in plan.uploads)
    assert not repository.private


def test_a_second_publication_of_the_same_makes_no_commit(
    hub: Hub, folder: Path, published: Repository, tmp_path: Path
) -> None:
    commits, uploads = dict(published.commits), hub.asked("PUT /upload")
    done = script(hub, tmp_path / "home", "--assets", folder, "--yes")
    assert done.returncode == 0, done.stderr
    assert "Nothing has changed" in done.stdout
    assert (
        done.stdout.splitlines()[-1]
        == f'img2prompt.load("{REPO}", revision="{published.head().id}")'
    )
    assert published.commits == commits
    assert hub.asked("PUT /upload") == uploads


def test_only_what_changed_is_sent_again(hub: Hub, folder: Path, published: Repository) -> None:
    before, uploads = published.head(), hub.asked("PUT /upload")
    (folder / "MODEL_CARD.md").write_text(CARD.replace("toy", "toy of mine"))
    done = publish(plan_publication(REPO, folder), hub.endpoint)
    assert done.changed and published.head().parent == before.id
    assert hub.asked("PUT /upload") == uploads
    files, old = published.head().files, before.files
    assert [name for name in files if files[name] != old[name]] == ["README.md"]


def test_a_branch_of_its_own(hub: Hub, folder: Path, published: Repository) -> None:
    main = published.head().id
    (folder / "docs" / "data.md").write_text("Changed.\n")
    done = publish(plan_publication(REPO, folder, branch="trial"), hub.endpoint)
    assert published.branches == {"main": main, "trial": done.commit}
    assert b'revision="trial"' in published.head("trial").files["README.md"]
    assert open_assets(REPO, "trial").folder.name == done.commit
    assert open_assets(REPO).folder.name == main


def test_private_is_private(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(plan_publication(REPO, folder, private=True), hub.endpoint)
    assert hub.repositories[REPO].private
    assert open_assets(REPO).default == "original"
    monkeypatch.setenv("HF_TOKEN", READER)
    with pytest.raises(UserError, match="or it is private"):
        load(REPO)


def test_what_had_to_be_private_is_not_pushed_to_the_public(hub: Hub, folder: Path) -> None:
    repository = hub.create(REPO)
    with pytest.raises(UserError, match="is public"):
        publish(plan_publication(REPO, folder, private=True), hub.endpoint)
    assert len(repository.commits) == 1


# --- the card -------------------------------------------------------------------------------------


def head_and_text(readme: bytes) -> tuple[dict, str]:
    _, head, text = readme.decode().split("---\n", 2)
    return yaml.safe_load(head), text


def test_the_card_has_the_hubs_metadata_and_no_broken_link(published: Repository) -> None:
    files = published.head().files
    head, text = head_and_text(files["README.md"])
    assert head["library_name"] == "keras" and head["pipeline_tag"] == "image-to-text"
    assert "stable-diffusion" in head["tags"]
    assert "license" not in head  # of somebody's own model only they can say it
    assert f'img2prompt.load("{REPO}")' in text
    for target in ("docs/data.md#why", "docs/a%20dot.svg", "manifest.json", "#below"):
        assert f"]({target}" in text
    assert files["docs/data.md"] == b"Read [the card](../README.md).\n"
    assert files["docs/a dot.svg"] == b"<svg/>\n"


def test_what_a_card_says_itself_stays(folder: Path) -> None:
    head = "---\nlicense: cc0-1.0\nlibrary_name: other\nlanguage: en\n---\n"
    (folder / "MODEL_CARD.md").write_text(head + CARD)
    plan = plan_publication(REPO, folder)
    readme = next(upload.content for upload in plan.uploads if upload.name == "README.md")
    said, _ = head_and_text(readme)
    assert (said["license"], said["library_name"], said["language"]) == ("cc0-1.0", "other", "en")
    assert said["pipeline_tag"] == "image-to-text"


def test_the_shipped_card_and_its_documents() -> None:
    plan = plan_publication("user/img2prompt")
    files = {upload.name: upload.content for upload in plan.uploads}
    head, text = head_and_text(files["README.md"])
    assert head["license"] == "mit" and head["datasets"] == ["poloclub/diffusiondb"]
    assert "`assets/" not in text and "`embedding.npz`" in text
    for name, content in files.items():
        if name.endswith(".md"):
            said = content.decode() if isinstance(content, bytes) else content.read_text()
            for target in re.findall(r"\]\(([^)#:]+)\)", said):
                there = os.path.normpath(Path(name).parent / target)
                assert there in files, f"{name} links to {target}"


def test_a_link_into_the_artifacts_becomes_one_beside_the_card(
    folder: Path, tmp_path: Path
) -> None:
    card = tmp_path / "CARD.md"
    card.write_text(
        "# A\n\n[m](assets/manifest.json) `assets/original.keras` [d](assets/docs/data.md)"
    )
    (folder / "docs" / "data.md").write_text("[back](../../CARD.md) [v](../embedding.npz)")
    plan = plan_publication(REPO, folder, card=card)
    files = {upload.name: upload.content for upload in plan.uploads}
    text = files["README.md"].decode()
    assert "[m](manifest.json) `original.keras` [d](assets/docs/data.md)" in text
    assert files["assets/docs/data.md"] == b"[back](../../README.md) [v](../../embedding.npz)"


def test_code_in_a_card_is_no_link(folder: Path) -> None:
    code = '`a["b"](c)` ``d[0](`e)``\n\n```python\nshown = f[0](picture)\n```\n\n~~~\n[x]: y\n~~~\n'
    (folder / "MODEL_CARD.md").write_text(f"# A\n\n{code}[data](docs/data.md)\n")
    files = {upload.name: upload.content for upload in plan_publication(REPO, folder).uploads}
    assert code in files["README.md"].decode() and "docs/data.md" in files


@pytest.mark.parametrize(
    ("card", "expected"),
    [
        ("[gone](docs/gone.md)", "docs/gone.md"),
        ("[out](../secret.txt)", "secret.txt"),
        ('<img src="docs">', "docs"),
        ("[a]\n\n[a]: nowhere.png", "nowhere.png"),
        ("[readme](README.md)", "another file takes"),
        ("---\ntags: [\n---\n", "not valid YAML"),
        ("---\n- a list\n---\n", "not valid YAML"),
    ],
)
def test_a_card_that_would_be_broken_is_refused(
    folder: Path, tmp_path: Path, card: str, expected: str
) -> None:
    (tmp_path / "secret.txt").write_text("no")
    (folder / "README.md").write_text("another")
    (folder / "MODEL_CARD.md").write_text(card)
    with pytest.raises(UserError, match=re.escape(expected)):
        plan_publication(REPO, folder)


# --- what is not published ------------------------------------------------------------------------


def test_pictures_are_not_published_without_their_credits(folder: Path) -> None:
    assert not any("credits" in upload.name for upload in plan_publication(REPO, folder).uploads)
    path = folder / GALLERY_FILE
    gallery_of(np.eye(3, dtype=np.float32)).save(path)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["files"][path.name] = {"sha256": sha256_of(path), "size": path.stat().st_size}
    write_json(folder / "manifest.json", manifest)
    uploads = {upload.name: upload.content for upload in plan_publication(REPO, folder).uploads}
    assert b"https://github.com/a/b" in uploads["gallery-credits.md"]
    assert uploads[GALLERY_FILE] == path


def test_a_taxonomy_that_nobody_could_load_is_not_published(folder: Path) -> None:
    path = folder / TAXONOMY_FILE
    path.write_bytes((folder / "embedding.npz").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["files"][path.name] = {"sha256": sha256_of(path), "size": path.stat().st_size}
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(UserError, match="is not a taxonomy"):
        plan_publication(REPO, folder)


def test_a_changed_file_is_found_before_anything_is_sent(hub: Hub, folder: Path) -> None:
    change(folder / "notebook.keras")
    with pytest.raises(UserError, match=r"notebook\.keras.*SHA-256"):
        publish(plan_publication(REPO, folder), hub.endpoint)
    assert hub.log == []


def test_a_run_is_sent_to_build_assets(folder: Path) -> None:
    (folder / "original.keras").rename(folder / "model.keras")
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"scripts/build_assets\.py --runs"):
        plan_publication(REPO, folder)


def test_a_folder_without_what_it_needs_is_refused(assets_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"MODEL_CARD\.md.*--card"):
        plan_publication(REPO, assets_folder)
    with pytest.raises(UserError, match="no file"):
        plan_publication(REPO, assets_folder, card=tmp_path / "none.md")
    with pytest.raises(UserError, match=r"no manifest\.json"):
        plan_publication(REPO, tmp_path / "nowhere")


@pytest.mark.parametrize("repo", ["words", "a/b/c", "a//b", "ann/", "../up", "a/b c", "a/b.git"])
def test_a_malformed_name_is_refused(folder: Path, repo: str) -> None:
    with pytest.raises(UserError, match="user/name"):
        plan_publication(repo, folder)


@pytest.mark.parametrize("branch", ["", "a b", "../x", "a..b", "0" * 40])
def test_a_malformed_branch_is_refused(folder: Path, branch: str) -> None:
    with pytest.raises(UserError, match=r"is not a revision|is a commit"):
        plan_publication(REPO, folder, branch=branch)


def test_a_dry_run_sends_nothing(hub: Hub, folder: Path, tmp_path: Path) -> None:
    done = script(hub, tmp_path / "home", "--assets", folder, "--dry-run", HF_TOKEN="")
    assert done.returncode == 0 and done.stderr == ""
    assert "original.keras" in done.stdout and f"to {REPO}, branch main" in done.stdout
    assert hub.log == []


def test_nobody_to_ask_nothing_sent(hub: Hub, folder: Path, tmp_path: Path) -> None:
    done = script(hub, tmp_path / "home", "--assets", folder)
    assert is_one_sentence(done) and "--yes" in done.stderr
    assert hub.log == []


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
def test_the_question_is_asked_at_a_terminal(
    hub: Hub, folder: Path, tmp_path: Path, answer: str, code: int
) -> None:
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        done = subprocess.run(
            [sys.executable, "scripts/publish.py", "--repo", REPO, "--assets", folder],
            cwd=ROOT,
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env=environment(hub, tmp_path / "home", PYTHONPATH=str(ROOT)),
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Publish? [y/N]" in done.stdout
    assert (REPO in hub.repositories) == (code == 0)
    assert ("Nothing was sent." in done.stdout) == bool(hub.log == [])


def test_a_missing_token_is_told_before_the_question(
    hub: Hub, folder: Path, tmp_path: Path
) -> None:
    done = script(hub, tmp_path / "home", "--assets", folder, "--yes", HF_TOKEN="")
    assert is_one_sentence(done) and "hf auth login" in done.stderr
    assert hub.log == []


@pytest.mark.parametrize(
    ("token", "repo", "expected"),
    [
        ("hf_wrong", REPO, "does not take your token"),
        (READER, REPO, f"may not write to {REPO}"),
        (WRITER, "eve/words", "may not write to eve/words"),
    ],
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "existing"])
def test_a_token_that_may_not_write_is_refused(
    hub: Hub, folder: Path, monkeypatch, token: str, repo: str, expected: str, there: bool
) -> None:
    if there:
        hub.create(repo)
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(UserError, match=expected):
        publish(plan_publication(repo, folder), hub.endpoint)
    assert there == (repo in hub.repositories)
    assert not there or len(hub.repositories[repo].commits) == 1


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"GET /api/models": 503}, "answers 503"),
        ({"POST /api/repos/create": 500}, "answers 500.*confirmed no commit"),
        ({"PUT /upload": 500}, "answers 500.*confirmed no commit"),
        ({"PUT /upload": 403}, "may not write"),
        ({"objects/batch": 404}, "answers 404"),
        ({"/commit/main": 500}, r"answers 500 \(as the test asked\)"),
        ({"/commit/main": 429}, "too many requests"),
        ({"/preupload/main": 401}, "does not take your token"),
    ],
)
def test_a_hub_that_refuses_gets_no_commit(
    hub: Hub, folder: Path, status: dict, expected: str
) -> None:
    hub.status = status
    with pytest.raises(UserError, match=expected) as told:
        publish(plan_publication(REPO, folder), hub.endpoint)
    assert "\n" not in str(told.value)
    repository = hub.repositories.get(REPO)
    assert repository is None or len(repository.commits) == 1


def test_what_the_hub_says_of_the_card_is_told(hub: Hub, folder: Path) -> None:
    (folder / "MODEL_CARD.md").write_text("---\nlicense: 5\n---\n" + CARD)
    with pytest.raises(UserError, match='"license" must be a string'):
        publish(plan_publication(REPO, folder), hub.endpoint)


def test_an_upload_that_breaks_off_is_tried_again(hub: Hub, folder: Path) -> None:
    hub.drops = {"PUT /upload": 2}
    publish(plan_publication(REPO, folder), hub.endpoint)
    assert hub.asked("PUT /upload") == 5  # of three files
    head = hub.repositories[REPO].head()
    assert head.files["original.keras"] == (folder / "original.keras").read_bytes()


def test_a_connection_that_stays_broken_leaves_no_commit_and_goes_on_later(
    hub: Hub, folder: Path
) -> None:
    lost = sha256_of(folder / "original.keras")
    hub.drops = {f"PUT /upload/{lost}": 1000}
    with pytest.raises(UserError, match=f"confirmed a commit to {REPO}"):
        publish(plan_publication(REPO, folder), hub.endpoint)
    assert len(hub.repositories[REPO].commits) == 1
    hub.drops, hub.log[:] = {}, []
    publish(plan_publication(REPO, folder), hub.endpoint)
    assert [path for method, path in hub.log if method == "PUT"] == [f"/upload/{lost}"]


def test_a_commit_whose_confirmation_was_lost_is_found(hub: Hub, folder: Path) -> None:
    hub.lost = {"/commit/main": 1}
    with pytest.raises(UserError, match="broke off before it confirmed"):
        publish(plan_publication(REPO, folder), hub.endpoint)
    done = publish(plan_publication(REPO, folder), hub.endpoint)
    assert not done.changed and done.commit == hub.repositories[REPO].head().id
    assert len(hub.repositories[REPO].commits) == 2


def test_a_branch_that_moves_meanwhile_is_not_written_over(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = hub.create(REPO)
    posted = Repository.head

    def moved(self: Repository, branch: str = "main") -> object:
        # Just before the commit arrives somebody else's does.
        monkeypatch.setattr(Repository, "head", posted)
        self.commit(branch, "somebody else's", {"a.txt": b"theirs"}, set())
        return posted(self, branch)

    monkeypatch.setattr(Repository, "head", moved)
    with pytest.raises(UserError, match="another commit meanwhile"):
        publish(plan_publication(REPO, folder), hub.endpoint)
    assert repository.head().message == "somebody else's"


def test_no_network_is_one_sentence(hub: Hub, folder: Path, tmp_path: Path) -> None:
    hub.down = True
    done = script(hub, tmp_path / "home", "--assets", folder, "--yes")
    assert is_one_sentence(done) and "cannot be reached" in done.stderr
    done = script(hub, tmp_path / "home", "--assets", folder, "--yes", HF_HUB_OFFLINE="1")
    assert is_one_sentence(done) and "HF_HUB_OFFLINE" in done.stderr


# --- loading --------------------------------------------------------------------------------------


def test_shipped_names_and_folders_come_before_the_hub(
    hub: Hub, published: Repository, folder: Path, tmp_path: Path, monkeypatch, vectors
) -> None:
    hub.log.clear()
    monkeypatch.setattr(artifacts, "ASSETS", folder)
    monkeypatch.chdir(tmp_path)
    assert load("notebook").preset == "notebook"
    (tmp_path / OWNER).mkdir()
    folder.rename(tmp_path / REPO)
    assert load(REPO).preset == "original"
    with pytest.raises(UserError, match="no folder"):
        load(Path("ann/other"))  # a path is a folder's
    (tmp_path / OWNER / "file.keras").write_bytes(b"x")
    with pytest.raises(UserError, match="no folder"):
        load("ann/file.keras")
    assert hub.log == []


@pytest.mark.parametrize("place", [None, "gaze", "folder"])
def test_what_is_not_on_the_hub_has_no_revision(hub: Hub, folder: Path, place) -> None:
    place = folder if place == "folder" else place
    for ask in (lambda: load(place, revision="main"), lambda: open_assets(place, "main")):
        with pytest.raises(UserError, match="Only a repository on the hub has revisions"):
            ask()
    assert hub.log == []


def test_a_commit_is_pinned_while_the_branch_moves(
    hub: Hub, published: Repository, vectors
) -> None:
    old = published.head()
    assets = Assets.from_hub(REPO)
    # What comes to the branch now must not be mixed with the manifest from before.
    files = old.files | {"embedding.npz": b"\0new", "manifest.json": b"{}"}
    published.commit("main", "new", files, {"embedding.npz", *old.lfs})
    assert assets.embedding().fingerprint == vectors.fingerprint
    assert assets.predictor().preset == "original"
    for revision in (old.id, old.id):  # the second from the cache
        assert load(REPO, revision=revision).preset == "original"
    with pytest.raises(UserError, match=r"manifest\.json of ann/words at .* lists no files"):
        load(REPO)


def test_another_preset_of_a_repository(hub: Hub, published: Repository) -> None:
    assert Assets.from_hub(REPO).predictor("notebook").preset == "notebook"
    assert not hub.asked(r"original\.keras")
    with pytest.raises(UserError, match="original, notebook"):
        Assets.from_hub(REPO).predictor("gazelle")


@pytest.mark.parametrize("name", ["original.keras", "embedding.npz"])
def test_a_file_tampered_with_on_the_hub_is_refused(
    hub: Hub, published: Repository, name: str
) -> None:
    good = published.head().files[name]
    hub.swapped[name] = changed(good)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"{name} of {REPO} at .*SHA-256 differs"):
            load(REPO)
    del hub.swapped[name]
    assert load(REPO).preset == "original"  # the bad bytes in the cache are not kept


def test_a_file_of_another_size_is_refused(hub: Hub, published: Repository) -> None:
    hub.swapped["original.keras"] = b"short"
    with pytest.raises(UserError, match="broke off"):
        load(REPO)


def test_what_the_transfer_library_raises_is_one_sentence(
    hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("Data processing error:\nconnection reset.")

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.lfs._upload_single_part", failing)
        with pytest.raises(UserError, match=r"failed \(Data processing error: connection reset\)"):
            publish(plan_publication(REPO, folder), hub.endpoint)
    publish(plan_publication(REPO, folder), hub.endpoint)
    monkeypatch.setattr("huggingface_hub.file_download.http_get", failing)
    with pytest.raises(UserError, match="broke off"):
        load(REPO)


def test_a_disk_that_cannot_be_written_is_not_the_hubs_fault(
    hub: Hub, published: Repository, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_bytes(b"a file in the place of the folder")
    with pytest.raises(OSError) as told:
        load(REPO)
    assert told.value.filename is not None


def test_a_damaged_cache_is_mended_with_a_network_and_refused_without(
    hub: Hub, published: Repository
) -> None:
    commit = published.head().id
    load(REPO)
    path = Assets.from_hub(REPO).path("original.keras")
    change(path.resolve())
    hub.down = True
    for revision in (None, commit):
        with pytest.raises(UserError, match=r"cached original\.keras of .* is damaged"):
            load(REPO, revision=revision)
    hub.down = False
    assert load(REPO, revision=commit).preset == "original"
    assert sha256_of(path) == Assets.from_hub(REPO, commit).files["original.keras"]["sha256"]


def test_a_warm_cache_needs_no_network(hub: Hub, published: Repository) -> None:
    load(REPO)
    commit = published.head().id
    hub.down, hub.log[:] = True, []
    assert load(REPO, revision=commit).preset == "original"
    assert hub.log == []
    assert load(REPO).preset == "original"  # what the cache last knew of the branch
    with pytest.raises(UserError, match=r"cache lacks notebook\.keras"):
        Assets.from_hub(REPO).predictor("notebook")
    with pytest.raises(UserError, match=r"cannot be reached.*cache lacks manifest\.json"):
        load(REPO, revision="trial")
    hub.down, hub.status = False, {"/": 503}
    assert load(REPO).preset == "original"


def test_offline_by_setting(hub: Hub, published: Repository, monkeypatch) -> None:
    load(REPO)
    hub.log.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load(REPO).preset == "original"
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        load("ann/other")
    assert hub.log == []


@pytest.mark.parametrize(
    "name",
    ["../up.keras", "/etc/passwd", "a/b.npz", "..\\up.npz", "C:x.npz", ".hidden", "", "..", "a\n"],
)
def test_a_manifest_that_names_paths_is_refused(hub: Hub, published: Repository, name: str) -> None:
    entry = {"sha256": "0" * 64, "size": 1}
    edit(published, lambda manifest: manifest["files"].update({name: entry}))
    hub.log.clear()
    with pytest.raises(UserError, match="no plain file name"):
        load(REPO)
    assert all(path.endswith("manifest.json") for _, path in hub.log[1:])


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (b"", "not a JSON file"),
        (b"\xff", "not a JSON file"),
        (b"[]", "lists no files"),
        (b'{"files": {"a.npz": {"size": 1}}}', r"lacks the SHA-256 or size of a\.npz"),
        (b'{"files": {"a.npz": {"size": "1", "sha256": "0"}}}', "lacks the SHA-256"),
        (b'{"files": {}}', "Unknown preset 'gaze'"),
    ],
)
def test_a_malformed_manifest_is_refused(
    hub: Hub, published: Repository, manifest: bytes, expected: str
) -> None:
    head = published.head()
    published.commit("main", "bad", head.files | {"manifest.json": manifest}, set(head.lfs))
    with pytest.raises(UserError, match=expected):
        load(REPO)


def test_a_listed_file_that_is_not_there_is_told(hub: Hub, published: Repository) -> None:
    head = published.head()
    files = {name: data for name, data in head.files.items() if name != "original.keras"}
    published.commit("main", "lost", files, set(head.lfs))
    with pytest.raises(UserError, match=r"holds no original\.keras"):
        load(REPO)


def test_repositories_that_cannot_be_read(hub: Hub, published: Repository, monkeypatch) -> None:
    hub.create("ann/empty")
    hub.create("eve/gated", gated=True)
    hub.create("eve/private", private=True)
    for repo, revision, expected in [
        ("ann/nothing", None, "no model ann/nothing"),
        ("eve/private", None, "or it is private"),
        ("ann/empty", None, r"holds no manifest\.json"),
        (REPO, "nowhere", f"{REPO} has no revision nowhere"),
        (REPO, "1" * 40, f"{REPO} has no revision 111111111111;"),
        (REPO, "../x", "is not a revision"),
        (REPO, "", "is not a revision"),
    ]:
        with pytest.raises(UserError, match=expected) as told:
            load(repo, revision=revision)
        assert "\n" not in str(told.value)
    head = hub.repositories["eve/gated"]
    head.commit("main", "x", published.head().files, set(published.head().lfs))
    with pytest.raises(UserError, match="is gated"):
        load("eve/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(UserError, match="does not take your token"):
        load(REPO)
    hub.status = {"/resolve/": 403}
    monkeypatch.setenv("HF_TOKEN", WRITER)
    with pytest.raises(UserError, match="may not read"):
        load("ann/empty")


def test_predict_takes_a_repository_and_a_revision(
    hub: Hub, published: Repository, tmp_path: Path, make_picture, encode, capsys
) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(encode(make_picture()))
    commit = published.head().id
    asked = ["predict", "--preset", REPO, "--revision", commit, "--words", "3", str(picture)]
    assert main(asked) == 0
    assert len(capsys.readouterr().out.strip().split(", ")) == 3
    with pytest.raises(UserError, match="no revision nowhere"):
        main(["predict", "--preset", REPO, "--revision", "nowhere", str(picture)])


def test_the_page_takes_a_repository(
    hub: Hub, published: Repository, make_picture, encode, tmp_path: Path
) -> None:
    from img2prompt.ui.service import ModelService

    picture = tmp_path / "picture.png"
    picture.write_bytes(encode(make_picture()))
    models = ModelService(open_assets(REPO, published.head().id), show_all=True)
    assert not hub.asked("notebook.keras")
    assert len(models(picture, "notebook", 4).words) == 4


def test_the_app_refuses_a_revision_of_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "app.py", "--revision", "main"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert is_one_sentence(done) and "Only a repository on the hub" in done.stderr


@settings(max_examples=50)
@given(name=st.text() | st.text("./\\:ab~\0", max_size=6))
def test_no_name_in_a_manifest_leads_out_of_the_folder(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    write_json(folder / "manifest.json", {"files": {name: {"sha256": "0" * 64, "size": 1}}})
    try:
        assets = Assets(folder)
    except UserError as error:
        assert "no plain file name" in str(error)
        return
    for listed in assets.files:
        assert (folder / listed).resolve().parent == folder.resolve()
        assert not listed.startswith(".") and "\\" not in listed


def test_a_local_manifest_that_names_paths_is_refused_too(assets_folder: Path) -> None:
    manifest = json.loads((assets_folder / "manifest.json").read_text())
    manifest["files"]["../up.keras"] = {"sha256": "0" * 64, "size": 1}
    write_json(assets_folder / "manifest.json", manifest)
    with pytest.raises(UserError, match="no plain file name"):
        load(assets_folder)


def test_a_plain_name_is_told_apart_without_the_hubs_client() -> None:
    code = "import sys; from img2prompt.core.hub import is_repo_id as f; "
    code += "print(f('assets'), f('a/b/c'), 'huggingface_hub' in sys.modules, f('user/name'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False", "False", "True"], done.stderr
