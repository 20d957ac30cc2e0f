"""A loopback hub that takes and gives model repositories, as the real client asks for them.

It keeps commits in memory and speaks: create, info, branches, YAML validation, preupload, LFS
batch, upload and verification, commits as NDJSON, `resolve` with a file server of another name.
"""

import base64
import contextlib
import functools
import gzip
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from img2prompt.core.hub import HubRepository
from img2prompt.inference import artifacts

WRITER, READER = "hf_writer", "hf_reader"  # tokens: of the user `ann`, and one that only reads
OWNER = "ann"


@dataclass(frozen=True)
class Commit:
    """One state of a repository: path → content, of which LFS files are kept by checksum."""

    id: str
    parent: str | None
    message: str
    files: dict[str, bytes]
    lfs: frozenset[str]


@dataclass
class Repository:
    """A repository's commits and branches.

    Attributes:
        private, gated: who may read: its owner, or nobody but those on a list.
    """

    private: bool = False
    gated: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def head(self, branch: str = "main") -> Commit:
        """The newest commit of a branch."""
        return self.commits[self.branches[branch]]

    def commit(self, branch: str, message: str, files: dict[str, bytes], lfs: set[str]) -> Commit:
        """Put a new state of all files on a branch."""
        parent = self.branches.get(branch)
        told = json.dumps([parent, message, {n: _sha256(data) for n, data in files.items()}])
        made = Commit(
            hashlib.sha1(told.encode()).hexdigest(), parent, message, files, frozenset(lfs)
        )
        self.commits[made.id] = made
        self.branches[branch] = made.id
        return made


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    Attributes:
        endpoint: its address.
        repositories: `user/name` → repository.
        objects: SHA-256 → uploaded content.
        log: (method, path) of every request.
        status: regular expression on "METHOD path" → the status that is answered instead.
        drops: the same → how many more such requests end without an answer, body half read.
        lost: the same → how many more such requests are done and then not answered.
        swapped: name of a file → the bytes that are given out instead.
        down: whether every connection is closed without an answer.
        odd: regular expression on "METHOD path" → how the answer is odd: "page" (a login page),
            "unnamed page" (without saying so), "endless", "drip", "packed" (though nobody asked),
            or headers that it has besides.
        sent: bytes of endless answers that went out.
    """

    endpoint: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)
    status: dict[str, int] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    swapped: dict[str, bytes] = field(default_factory=dict)
    down: bool = False
    odd: dict[str, str | dict[str, str]] = field(default_factory=dict)
    sent: int = 0

    def create(self, repo: str, private: bool = False, gated: bool = False) -> Repository:
        """A new repository with the one commit that the real hub starts with."""
        made = self.repositories[repo] = Repository(private, gated)
        made.commit("main", "initial commit", {".gitattributes": b"*.npz filter=lfs\n"}, set())
        return made

    def asked(self, pattern: str) -> int:
        """How many requests fit "METHOD path"."""
        return sum(re.search(pattern, " ".join(entry)) is not None for entry in self.log)


class _Answer(Exception):
    """What a request ends with: status, headers, body."""

    def __init__(self, status: int, body: Any = b"", **headers: str) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._serve()

        def do_GET(self) -> None:
            self._serve()

        def do_POST(self) -> None:
            self._serve()

        def do_PUT(self) -> None:
            self._serve()

        def _serve(self) -> None:
            path = unquote(urlsplit(self.path).path)
            hub.log.append((self.command, path))
            line = f"{self.command} {path}"
            fault = next((p for p, left in hub.drops.items() if left and re.search(p, line)), None)
            if hub.down or fault:
                if fault:
                    hub.drops[fault] -= 1
                    self.rfile.read(min(16, int(self.headers.get("Content-Length") or 0)))
                self.close_connection = True
                return
            self.body = self._read()
            status = next((s for p, s in hub.status.items() if re.search(p, line)), None)
            try:
                if status:
                    raise _Answer(status, {"error": "as the test asked"})
                self._route(path)
            except _Answer as answer:
                lost = next(
                    (p for p, left in hub.lost.items() if left and re.search(p, line)), None
                )
                if lost:
                    hub.lost[lost] -= 1
                    self.close_connection = True
                    return
                self._send(answer)

        def _read(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def _send(self, answer: _Answer) -> None:
            line = f"{self.command} {unquote(urlsplit(self.path).path)}"
            odd = next((how for p, how in hub.odd.items() if re.search(p, line)), None)
            if isinstance(odd, dict):
                answer.headers |= odd
            elif odd in ("page", "unnamed page"):
                kind = "text/html; charset=utf-8" if odd == "page" else "text/plain"
                kept = answer.headers if odd == "unnamed page" and answer.status == 200 else {}
                answer = _Answer(200, b"<!DOCTYPE html><title>Hotel</title>" + b" " * 99)
                answer.headers = {**kept, "Content-Type": kind}
            elif odd == "packed":
                answer.body = gzip.compress(answer.body)
                answer.headers["Content-Encoding"] = "gzip"
            elif odd is not None:
                self._send_on(answer, odd)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def _send_on(self, answer: _Answer, odd: str) -> None:
            """An answer without a length that does not end, or hardly goes on."""
            self.close_connection = True
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            if self.command == "HEAD":
                return
            with contextlib.suppress(OSError):  # the client has had enough
                while hub.sent < 2**26:
                    self.wfile.write(b"x" * (2**16 if odd == "endless" else 1))
                    hub.sent += 2**16 if odd == "endless" else 1
                    threading.Event().wait(0 if odd == "endless" else 0.05)  # sleep is patched

        # --- who asks, and for what -------------------------------------------------------------

        def _user(self) -> str | None:
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if not token:
                return None
            if token not in (WRITER, READER):
                raise _Answer(
                    401,
                    {"error": "Invalid user token."},
                    X_Error_Message="Invalid credentials in Authorization header",
                )
            return OWNER if token == WRITER else "bob"

        def _repository(self, name: str, write: bool = False) -> Repository:
            user, found = self._user(), hub.repositories.get(name)
            if found is None or (found.private and user != name.split("/")[0]):
                raise _Answer(401 if user is None else 404, X_Error_Code="RepoNotFound")
            if write and user != name.split("/")[0]:
                raise _Answer(403, {"error": "You may not write here."})
            return found

        def _commit(self, repository: Repository, revision: str) -> Commit:
            revision = repository.branches.get(revision, revision)
            if revision not in repository.commits:
                raise _Answer(404, X_Error_Code="RevisionNotFound")
            return repository.commits[revision]

        def _route(self, path: str) -> None:
            routes = {
                r"POST /api/repos/create": self._create,
                r"POST /api/validate-yaml": self._validate,
                r"GET /api/models/([^/]+/[^/]+)(?:/revision/(.+))?": self._info,
                r"POST /api/models/([^/]+/[^/]+)/branch/(.+)": self._branch,
                r"POST /api/models/([^/]+/[^/]+)/preupload/(.+)": self._preupload,
                r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch": self._batch,
                r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/verify": self._verify,
                r"PUT /upload/([0-9a-f]{64})": self._upload,
                r"POST /api/models/([^/]+/[^/]+)/commit/(.+)": self._new_commit,
                r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._resolve,
                r"GET /objects/([0-9a-f]{64})/(.+)": self._object,
            }
            for pattern, answer in routes.items():
                if found := re.fullmatch(pattern, f"{self.command} {path}"):
                    answer(*found.groups())
            raise _Answer(404, {"error": f"this hub does not know {self.command} {path}"})

        # --- writing ----------------------------------------------------------------------------

        def _create(self) -> None:
            asked, user = json.loads(self.body), self._user()
            name = f"{asked['organization'] or user}/{asked['name']}"
            if user is None:
                raise _Answer(401, {"error": "Log in first."})
            if user != name.split("/")[0] or user != OWNER:
                raise _Answer(403, {"error": "You may not create a repository there."})
            url = {"url": f"{hub.endpoint}/{name}"}
            if name in hub.repositories:
                raise _Answer(409, {"error": "You have it already.", **url})
            hub.create(name, private=asked.get("visibility") == "private")
            raise _Answer(200, url)

        def _validate(self) -> None:
            content = json.loads(self.body)["content"]
            head = yaml.safe_load(content.split("---")[1]) if content.startswith("---") else None
            if not isinstance(head, dict):
                raise _Answer(200, {"warnings": [{"message": "empty metadata"}], "errors": []})
            if not isinstance(head.get("license", ""), str):
                raise _Answer(400, {"errors": [{"message": '"license" must be a string'}]})
            raise _Answer(200, {"warnings": [], "errors": []})

        def _branch(self, name: str, branch: str) -> None:
            repository = self._repository(name, write=True)
            if branch in repository.branches:
                raise _Answer(409, {"error": "The branch exists."})
            start = json.loads(self.body or b"{}").get("startingPoint", "main")
            repository.branches[branch] = self._commit(repository, start).id
            raise _Answer(200, {})

        def _preupload(self, name: str, revision: str) -> None:
            repository = self._repository(name, write=True)
            known = self._commit(repository, revision)
            files = []
            for file in json.loads(self.body)["files"]:
                path, sample = file["path"], base64.b64decode(file["sample"])
                large = b"\0" in sample or file["size"] > 10 * 2**20
                held = known.files.get(path)
                oid = None
                if held is not None:
                    oid = _sha256(held) if path in known.lfs else _git_oid(held)
                mode = "lfs" if large else "regular"
                files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
            raise _Answer(200, {"files": files})

        def _batch(self, name: str) -> None:
            self._repository(name, write=True)
            asked = json.loads(self.body)
            assert asked["operation"] == "upload" and "basic" in asked["transfers"]
            answers = []
            for wanted in asked["objects"]:
                entry = {"oid": wanted["oid"], "size": wanted["size"]}
                if wanted["oid"] not in hub.objects:
                    verify = f"{hub.endpoint}/{name}.git/info/lfs/objects/verify"
                    upload = f"{hub.endpoint}/upload/{wanted['oid']}"
                    entry["actions"] = {"upload": {"href": upload}, "verify": {"href": verify}}
                answers.append(entry)
            raise _Answer(200, {"transfer": "basic", "objects": answers})

        def _upload(self, oid: str) -> None:
            if _sha256(self.body) != oid:
                raise _Answer(400, {"error": "The content is not what the checksum says."})
            hub.objects[oid] = self.body
            raise _Answer(200)

        def _verify(self, name: str) -> None:
            self._repository(name, write=True)
            asked = json.loads(self.body)
            if len(hub.objects.get(asked["oid"], b"")) != asked["size"]:
                raise _Answer(400, {"error": "The object has not arrived."})
            raise _Answer(200, {})

        def _new_commit(self, name: str, branch: str) -> None:
            repository = self._repository(name, write=True)
            if branch not in repository.branches:
                raise _Answer(404, X_Error_Code="RevisionNotFound")
            before = repository.head(branch)
            files, lfs, head = dict(before.files), set(before.lfs), {}
            for line in self.body.splitlines():
                key, value = (entry := json.loads(line))["key"], entry["value"]
                if key == "header":
                    head = value
                elif key == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                    lfs.discard(value["path"])
                elif key == "lfsFile":
                    if value["oid"] not in hub.objects:
                        raise _Answer(400, {"error": f"{value['path']} was not uploaded."})
                    files[value["path"]] = hub.objects[value["oid"]]
                    lfs.add(value["path"])
                else:
                    raise _Answer(400, {"error": f"unknown operation {key}"})
            if head.get("parentCommit", before.id) != before.id:
                raise _Answer(412, {"error": "A commit has happened since. Please refresh."})
            made = repository.commit(branch, head["summary"], files, lfs)
            url = f"{hub.endpoint}/{name}/commit/{made.id}"
            raise _Answer(200, {"commitUrl": url, "commitOid": made.id, "success": True})

        # --- reading ----------------------------------------------------------------------------

        def _info(self, name: str, revision: str | None) -> None:
            repository = self._repository(name)
            commit = self._commit(repository, revision or "main")
            siblings = [{"rfilename": path} for path in sorted(commit.files)]
            raise _Answer(
                200,
                {
                    "_id": "0",
                    "id": name,
                    "modelId": name,
                    "sha": commit.id,
                    "private": repository.private,
                    "gated": "manual" if repository.gated else False,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "siblings": siblings,
                },
            )

        def _resolve(self, name: str, revision: str, path: str) -> None:
            repository = self._repository(name)
            if repository.gated and self._user() != name.split("/")[0]:
                raise _Answer(403, X_Error_Code="GatedRepo")
            commit = self._commit(repository, revision)
            if path not in commit.files:
                raise _Answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit.id)
            data = commit.files[path]
            if path not in commit.lfs:
                data = hub.swapped.get(path, data)
                head = {"ETag": f'"{_git_oid(data)}"', "X-Repo-Commit": commit.id}
                raise _Answer(200, data, **head)
            # The real hub's file servers have another name than the hub.
            files = hub.endpoint.replace("127.0.0.1", "localhost")
            raise _Answer(
                302,
                Location=f"{files}/objects/{_sha256(data)}/{path}",
                X_Repo_Commit=commit.id,
                X_Linked_Size=str(len(data)),
                X_Linked_Etag=f'"{_sha256(data)}"',
            )

        def _object(self, oid: str, path: str) -> None:
            if "Authorization" in self.headers:
                raise _Answer(400, {"error": "A token must not be sent to the file servers."})
            raise _Answer(200, hub.swapped.get(path, hub.objects[oid]))

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextmanager
def serve_models(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """A hub that `publish` and `load` of this process use, with an empty cache."""
    with serve() as served:
        monkeypatch.setenv("HF_TOKEN", WRITER)
        # The loopback hub has no Xet storage; the real client would ask for nothing else.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
        # huggingface_hub reads its address and folder when it is imported.
        there = functools.partial(HubRepository, endpoint=served.endpoint, cache=cache)
        monkeypatch.setattr(artifacts, "HubRepository", there)
        yield served


@contextmanager
def serve() -> Iterator[Hub]:
    """An empty hub."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
