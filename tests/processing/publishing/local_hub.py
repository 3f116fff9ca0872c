"""Serve as much of the Hub as its client uses: repositories, commits, large files, downloads.

Files are held in memory; those that the client sends by Xet are in a folder.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from local_xet import XetFile, files_in
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "token-of-the-lab"
READING_TOKEN = "token-that-only-reads"
LARGE = (".safetensors", ".parquet", ".png")


@dataclass(frozen=True)
class StoredFile:
    """A file of a commit; a large one is known by its SHA-256, others by git's SHA-1."""

    content: bytes
    is_large: bool = False
    sha256: str = ""
    xet: XetFile | None = None

    @property
    def size(self) -> int:
        return self.xet.size if self.xet else len(self.content)

    @property
    def oid(self) -> str:
        if self.sha256:
            return self.sha256
        if self.is_large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class Repository:
    """Commits by id, each with all of its files, and the names of some."""

    private: bool
    commits: dict[str, dict[str, StoredFile]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def add(self, branch: str, files: dict[str, StoredFile], message: str) -> str:
        said = json.dumps([self.branches.get(branch), message, {name: file.oid for name, file in files.items()}])
        oid = hashlib.sha1(said.encode()).hexdigest()
        self.commits[oid], self.branches[branch] = files, oid
        self.messages.append(message)
        return oid

    def commit_of(self, revision: str) -> str | None:
        found = self.branches.get(revision) or self.tags.get(revision)
        return found or (revision if revision in self.commits else None)


class LocalHub:
    """The repositories by kind and id, what was asked, and the faults that a test injects.

    Attributes:
        sent: ids of the large files that a client sent, in order.
        refuse_after: large files that are taken before the next one is refused; None takes all.
        dies_after: large files that are taken before every connection breaks off; None lives.
        storage: folder that stands for the Hub's Xet storage; without it there is none.
        before_commit: called with the repository before a commit is taken.
        faults: statuses that requests are answered with, by method and a part of their path.
    """

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.sent: list[str] = []
        self.refuse_after: int | None = None
        self.dies_after: int | None = None
        self.storage: Path | None = None
        self.before_commit: Callable[[Repository], object] = lambda repository: None
        self.faults: dict[tuple[str, str], int] = {}
        self.address = ""

    def files(self, repo_id: str, revision: str = "main", kind: str = "models") -> dict[str, bytes]:
        repository = self.repositories[kind, repo_id]
        files = repository.commits[str(repository.commit_of(revision))]
        return {name: file.content for name, file in files.items()}

    def app(self) -> Starlette:
        api, place = "/api/{kind}/{owner}/{name}", "/{owner}/{name}"
        routes = [
            ("POST", "/api/repos/create", self.create),
            ("GET", "/api/whoami-v2", self.whoami),
            ("POST", "/api/validate-yaml", self.validate),
            ("GET", api, self.info),
            ("GET", api + "/revision/{revision}", self.info),
            ("GET", api + "/refs", self.refs),
            ("GET", api + "/tree/{revision}", self.tree),
            ("GET", api + "/tree/{revision}/{path:path}", self.tree),
            ("POST", api + "/paths-info/{revision}", self.paths_info),
            ("POST", api + "/preupload/{revision}", self.preupload),
            ("POST", api + "/commit/{revision}", self.commit),
            ("POST", api + "/branch/{branch}", self.branch),
            ("POST", api + "/tag/{revision}", self.tag),
            ("PUT", "/large/{oid}", self.take_large),
            ("GET", api + "/xet-write-token/{revision}", self.xet_token),
            ("GET", api + "/xet-read-token/{revision}", self.xet_token),
        ]
        for prefix in ("", "/datasets"):
            routes.append(("POST", f"{prefix}/{{owner}}/{{name}}.git/info/lfs/objects/batch", self.batch))
            routes.append(("GET", f"{prefix}{place}/resolve/{{revision}}/{{path:path}}", self.resolve))
        return Starlette(
            routes=[Route(path, self._checked(method, way), methods=[method]) for method, path, way in routes]
        )

    def _checked(self, method: str, way):
        """Let a client in that sends the token; without it there is nothing private to see and nothing to write."""

        async def answer(request: Request) -> Response:
            self.asked.append(f"{request.method} {request.url.path}")
            if self._is_dead():
                return BrokenConnection()
            for (asked, part), status in self.faults.items():
                if request.method == asked and part in request.url.path:
                    return refused(status, "Fault")
            knows = self._token(request) in (TOKEN, READING_TOKEN)
            found = self._repository(request)
            if not knows and method != "GET" and way != self.take_large:
                return refused(401, "Unauthorized")
            if method != "GET" and way != self.take_large and self._token(request) == READING_TOKEN:
                return refused(403, "Forbidden")
            if "name" in request.path_params and (found is None or found.private and not knows):
                return refused(404, "RepoNotFound")
            if found and "revision" in request.path_params and not found.commit_of(request.path_params["revision"]):
                return refused(404, "RevisionNotFound")
            return await way(request, found)

        return answer

    def _is_dead(self) -> bool:
        return self.dies_after is not None and len(self.sent) >= self.dies_after

    def _token(self, request: Request) -> str:
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    def _repository(self, request: Request) -> Repository | None:
        named = request.path_params
        kind = named.get("kind") or ("datasets" if request.url.path.startswith("/datasets/") else "models")
        return self.repositories.get((kind, f"{named.get('owner')}/{named.get('name')}"))

    async def create(self, request: Request, _) -> Response:
        asked = await request.json()
        kind = f"{asked.get('type') or 'model'}s"
        repo_id = f"{asked.get('organization') or 'lab'}/{asked['name']}"
        url = {"url": f"{self.address}/{'' if kind == 'models' else kind + '/'}{repo_id}"}
        if (kind, repo_id) in self.repositories:
            return JSONResponse(url, 409)
        # Clients of before say `private`, later ones `visibility`.
        repository = Repository(bool(asked.get("private")) or asked.get("visibility") == "private")
        repository.add("main", {".gitattributes": StoredFile(b"*.safetensors filter=lfs\n")}, "initial commit")
        self.repositories[kind, repo_id] = repository
        return JSONResponse(url)

    async def whoami(self, request: Request, _) -> Response:
        roles = {TOKEN: "write", READING_TOKEN: "read"}
        if self._token(request) not in roles:
            return refused(401, "Unauthorized")
        token = {"displayName": "lab", "role": roles[self._token(request)]}
        return JSONResponse({"name": "lab", "type": "user", "auth": {"type": "access_token", "accessToken": token}})

    async def validate(self, request: Request, _) -> Response:
        return JSONResponse({"warnings": [], "errors": []})

    async def info(self, request: Request, found: Repository) -> Response:
        commit = found.commit_of(request.path_params.get("revision", "main"))
        told = {"id": f"{request.path_params['owner']}/{request.path_params['name']}", "sha": commit}
        siblings = [{"rfilename": name} for name in found.commits[str(commit)]]
        return JSONResponse(told | {"private": found.private, "siblings": siblings, "tags": []})

    async def refs(self, request: Request, found: Repository) -> Response:
        told: dict[str, Any] = {"converts": [], "pullRequests": []}
        for kind, names in (("branches", found.branches), ("tags", found.tags)):
            told[kind] = [{"name": name, "ref": name, "targetCommit": commit} for name, commit in names.items()]
        return JSONResponse(told)

    async def tree(self, request: Request, found: Repository) -> Response:
        inside = request.path_params.get("path", "").strip("/")
        recursive = request.query_params.get("recursive", "").lower() in ("true", "1")
        return JSONResponse(listing(files_of(found, request), inside, recursive))

    async def paths_info(self, request: Request, found: Repository) -> Response:
        files, asked = files_of(found, request), parse_qs((await request.body()).decode())["paths"]
        entries = {entry["path"]: entry for entry in listing(files, "", recursive=True)}
        return JSONResponse([entries[path] for path in asked if path in entries])

    async def preupload(self, request: Request, found: Repository) -> Response:
        files, told = files_of(found, request), []
        for asked in (await request.json())["files"]:
            mode = "lfs" if asked["path"].endswith(LARGE) else "regular"
            there = files.get(asked["path"])
            told.append(
                {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": there.oid if there else None}
            )
        return JSONResponse({"files": told})

    async def batch(self, request: Request, found: Repository) -> Response:
        told = []
        for asked in (await request.json())["objects"]:
            actions = {"actions": {"upload": {"href": f"{self.address}/large/{asked['oid']}"}}}
            told.append(asked | ({} if asked["oid"] in self.objects else actions))
        return JSONResponse({"transfer": "basic", "objects": told})

    async def take_large(self, request: Request, _) -> Response:
        content, oid = await request.body(), request.path_params["oid"]
        if self._is_dead():
            return BrokenConnection()
        if self.refuse_after is not None and len(self.sent) >= self.refuse_after:
            return refused(403, "Forbidden")
        assert hashlib.sha256(content).hexdigest() == oid
        self.objects[oid] = content
        self.sent.append(oid)
        return Response()

    async def commit(self, request: Request, found: Repository) -> Response:
        self.before_commit(found)
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        files, message = dict(files_of(found, request)), ""
        for key, value in ((line["key"], line["value"]) for line in lines):
            if key == "header":
                message = value["summary"]
                parent = value.get("parentCommit")
                if parent and parent != found.branches[request.path_params["revision"]]:
                    return refused(412, "PreconditionFailed")
            elif key == "file":
                files[value["path"]] = StoredFile(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                files[value["path"]] = self._large(value["oid"])
            elif key == "deletedFile":
                del files[value["path"]]
        oid = found.add(request.path_params["revision"], files, message)
        address = request.url.path.replace("/api/", "/").replace("/models/", "/").rpartition("/")[0]
        return JSONResponse({"commitUrl": f"{self.address}{address}/{oid}", "commitOid": oid})

    def _large(self, oid: str) -> StoredFile:
        """Return a large file that was sent before; one that was not is an error of the client."""
        if oid in self.objects:
            return StoredFile(self.objects[oid], is_large=True)
        assert self.storage is not None
        return StoredFile(b"", is_large=True, sha256=oid, xet=files_in(self.storage)[oid])

    async def xet_token(self, request: Request, found: Repository) -> Response:
        if self._token(request) == READING_TOKEN and "write" in request.url.path:
            return refused(403, "Forbidden")
        address, ends = f"local://{self.storage}", int(time.time()) + 3600
        told = {"casUrl": address, "accessToken": "short-lived", "exp": ends}
        headers = {"X-Xet-Cas-Url": address, "X-Xet-Access-Token": "short-lived", "X-Xet-Token-Expiration": str(ends)}
        return JSONResponse(told, headers=headers)

    async def branch(self, request: Request, found: Repository) -> Response:
        name = request.path_params["branch"]
        if name in found.branches:
            return JSONResponse({}, 409)
        found.branches[name] = found.branches["main"]
        return JSONResponse({})

    async def tag(self, request: Request, found: Repository) -> Response:
        found.tags[(await request.json())["tag"]] = str(found.commit_of(request.path_params["revision"]))
        return JSONResponse({})

    async def resolve(self, request: Request, found: Repository) -> Response:
        commit = str(found.commit_of(request.path_params["revision"]))
        file = found.commits[commit].get(request.path_params["path"])
        if file is None:
            return refused(404, "EntryNotFound", {"X-Repo-Commit": commit})
        headers = {"X-Repo-Commit": commit, "ETag": f'"{file.oid}"'}
        if file.is_large:
            headers |= {"X-Linked-Etag": f'"{file.oid}"', "X-Linked-Size": str(file.size)}
        if file.xet:
            route = f"{self.address}/api/models/{request.path_params['owner']}/{request.path_params['name']}"
            headers |= {"X-Xet-Hash": file.xet.hash, "X-Xet-Refresh-Route": f"{route}/xet-read-token/{commit}"}
        return Response(file.content, headers=headers, media_type="application/octet-stream")


class BrokenConnection(Response):
    """The answer of a server that dies while it answers: its beginning, without the rest."""

    async def __call__(self, scope, receive, send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]}
        await send(start)


def files_of(found: Repository, request: Request) -> dict[str, StoredFile]:
    return found.commits[str(found.commit_of(request.path_params["revision"]))]


def listing(files: dict[str, StoredFile], inside: str, recursive: bool) -> list[dict[str, Any]]:
    """Return the entries of a folder as the Hub lists them: files, and the folders that hold some."""
    entries: dict[str, dict[str, Any]] = {}
    for path, file in files.items():
        if inside and path != inside and not path.startswith(f"{inside}/"):
            continue
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder = "/".join(parts[:depth])
            entries[folder] = {"type": "directory", "path": folder, "oid": "0" * 40, "size": 0}
        entries[path] = {"type": "file", "path": path, "size": file.size, "oid": file.oid[:40]}
        if file.is_large:
            entries[path]["lfs"] = {"oid": file.oid, "size": file.size, "pointerSize": 130}
    start = inside.count("/") + 1 if inside else 0
    return [
        entry
        for path, entry in entries.items()
        if path != inside and path.startswith(inside) and (recursive or path.count("/") == start)
    ]


def refused(status: int, code: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": code}, status, {"X-Error-Code": code, "X-Error-Message": code} | (headers or {}))
