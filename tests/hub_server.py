"""A Hub on loopback that the real huggingface_hub client downloads from and uploads to.

Standard library only. It keeps commits in memory, speaks the part of the protocol that a model
repository needs (without Xet), counts every request and misbehaves on demand:

    with HubServer() as hub:
        revision = hub.commit("acme/x", {"config.json": b"{}"})
        hub.fault = lambda method, path: 503 if path.endswith(".safetensors") else None
        ...
        assert hub.log == [("GET", f"/acme/x/resolve/{revision}/config.json")]
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote

__all__ = ["HubServer", "Reply", "Request"]


class Request(NamedTuple):
    """One request as it came in; the keys of `headers` are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """An answer: status, headers and body. As a fault it is sent instead of the right answer."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


Fault = None | int | str | Reply
"""What a fault hook may ask for:

None (behave), a status such as 503, a `Reply`, or one of the words "corrupt" (same size, other
bytes), "truncate" (half of the body, then the connection closes), "stall" (half of the body, and
the rest after `HubServer.resume` is set) and "oversize" (no length, and a body that does not end).
"""


@dataclass
class _Repo:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    head: str = ""


class HubServer:
    """A context manager; `url` is the endpoint to give to the client.

    Attributes:
        requests: Every request so far, in order of arrival.
        fault: The hook `(method, path) -> Fault`, asked for every request.
        objects: The LFS objects that were uploaded or committed, by sha256.
        resume: Set it to let the stalled answers go on.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.fault: Callable[[str, str], Fault] = lambda method, path: None
        self.objects: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self.closing = threading.Event()
        self.resume = threading.Event()
        self._repos: dict[str, _Repo] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.hub = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def url(self) -> str:
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    @property
    def log(self) -> list[tuple[str, str]]:
        """Method and path of every request so far."""
        return [(request.method, request.path) for request in self.requests]

    def count(self, method: str, ending: str = "") -> int:
        """How many requests had this method and a path with this ending."""
        return sum(m == method and path.endswith(ending) for m, path in self.log)

    def commit(self, repo: str, files: Mapping[str, bytes]) -> str:
        """Put `files` into the repository, beside what it holds; returns the 40-hex revision."""
        with self.lock:
            state = self._repos.setdefault(repo, _Repo())
            return self._advance(state, {**state.commits.get(state.head, {}), **files})

    def files(self, repo: str, revision: str | None = None) -> dict[str, bytes]:
        """What a revision of the repository holds; the newest, unless told."""
        state = self._repos[repo]
        return state.commits[revision or state.head]

    def revisions(self, repo: str) -> list[str]:
        """The commits of the repository, oldest first."""
        return list(self._repos[repo].commits)

    def delete(self, repo: str) -> None:
        """Forget the repository, with all its commits."""
        del self._repos[repo]

    def close(self) -> None:
        """Stop serving: from now on connections are refused."""
        self.closing.set()
        self.resume.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HubServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.closing.is_set():
            self.close()

    def answer(self, method: str, path: str, body: bytes) -> Reply:
        """The right answer to a request."""
        with self.lock:
            for verb, pattern, respond in _ROUTES:
                match = pattern.fullmatch(path)
                if match and method in verb:
                    return respond(self, body, **{k: unquote(v) for k, v in _groups(match)})
        return _problem(404, "EntryNotFound", f"no such route: {method} {path}")

    def _advance(self, state: _Repo, files: dict[str, bytes]) -> str:
        content = repr([state.head, len(state.commits), sorted(files.items())])
        state.head = hashlib.sha1(content.encode()).hexdigest()
        state.commits[state.head] = files
        self.objects |= {_sha256(data): data for name, data in files.items() if _is_lfs(name)}
        return state.head

    def _find(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | Reply:
        state = self._repos.get(repo)
        if state is None:
            return _problem(404, "RepoNotFound", f"no such repository: {repo}")
        revision = state.head if revision == "main" else revision
        if revision not in state.commits:
            return _problem(404, "RevisionNotFound", f"no such revision: {revision}")
        return revision, state.commits[revision]

    def resolve(self, body: bytes, repo: str, revision: str, name: str) -> Reply:
        found = self._find(repo, revision)
        if isinstance(found, Reply):
            return found
        commit, files = found
        if name not in files:
            return _problem(404, "EntryNotFound", f"no such file: {name}")
        data = files[name]
        headers = {
            "X-Repo-Commit": commit,
            "ETag": f'"{_oid(name, data)}"',
            "Accept-Ranges": "bytes",
        }
        if _is_lfs(name):
            headers |= {"X-Linked-Etag": f'"{_sha256(data)}"', "X-Linked-Size": str(len(data))}
        return Reply(200, headers, data)

    def info(self, body: bytes, repo: str, revision: str = "main") -> Reply:
        found = self._find(repo, revision)
        if isinstance(found, Reply):
            return found
        siblings = [{"rfilename": name} for name in sorted(found[1])]
        facts = {"private": False, "downloads": 0, "likes": 0, "tags": []}
        return _json({"id": repo, "modelId": repo, "sha": found[0], "siblings": siblings, **facts})

    def tree(self, body: bytes, repo: str, revision: str) -> Reply:
        found = self._find(repo, revision)
        if isinstance(found, Reply):
            return found
        return _json([_tree_entry(name, data) for name, data in sorted(found[1].items())])

    def create(self, body: bytes) -> Reply:
        asked = json.loads(body)
        repo = f"{asked['organization']}/{asked['name']}"
        status = 409 if repo in self._repos else 200
        if status == 200:
            self.commit(repo, {".gitattributes": b"*.safetensors filter=lfs\n"})
        return _json({"url": f"{self.url}/{repo}", "id": repo, "name": repo}, status)

    def preupload(self, body: bytes, repo: str, revision: str) -> Reply:
        found = self._find(repo, revision)
        if isinstance(found, Reply):
            return found
        answers = []
        for file in json.loads(body)["files"]:
            name = file["path"]
            mode = "lfs" if _is_lfs(name) else "regular"
            oid = _oid(name, found[1][name]) if name in found[1] else None
            answers.append({"path": name, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return _json({"files": answers})

    def batch(self, body: bytes, repo: str) -> Reply:
        objects = []
        for item in json.loads(body)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.objects:
                entry["actions"] = {"upload": {"href": f"{self.url}/lfs/{item['oid']}"}}
            objects.append(entry)
        return _json({"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> Reply:
        if _sha256(body) != oid:
            return _problem(400, "BadRequest", f"the content is not {oid}")
        self.objects[oid] = body
        return Reply()

    def accept_commit(self, body: bytes, repo: str, revision: str) -> Reply:
        state = self._repos.get(repo)
        if state is None:
            return _problem(404, "RepoNotFound", f"no such repository: {repo}")
        files = dict(state.commits[state.head])
        for line in body.splitlines():
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if key == "header" and value.get("parentCommit", state.head) != state.head:
                return _problem(412, "PreconditionFailed", "A commit has happened since")
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
        commit = self._advance(state, files)
        return _json({"commitOid": commit, "commitUrl": f"{self.url}/{repo}/commit/{commit}"})

    def validate_yaml(self, body: bytes) -> Reply:
        return _json({"errors": [], "warnings": []})


_ID = r"(?P<repo>[^/]+/[^/]+)"
_REVISION = r"(?P<revision>[^/]+)"
_ROUTES = [
    (verb, re.compile(pattern), respond)
    for verb, pattern, respond in [
        (("HEAD", "GET"), f"/{_ID}/resolve/{_REVISION}/(?P<name>.+)", HubServer.resolve),
        (("GET",), f"/api/models/{_ID}(/revision/{_REVISION})?", HubServer.info),
        (("GET",), f"/api/models/{_ID}/tree/{_REVISION}", HubServer.tree),
        (("POST",), "/api/repos/create", HubServer.create),
        (("POST",), f"/api/models/{_ID}/preupload/{_REVISION}", HubServer.preupload),
        (("POST",), rf"/{_ID}\.git/info/lfs/objects/batch", HubServer.batch),
        (("PUT",), "/lfs/(?P<oid>[0-9a-f]{64})", HubServer.put),
        (("POST",), f"/api/models/{_ID}/commit/{_REVISION}", HubServer.accept_commit),
        (("POST",), "/api/validate-yaml", HubServer.validate_yaml),
    ]
]


class _Handler(BaseHTTPRequestHandler):
    """Logs a request, asks the fault hook and sends the answer."""

    protocol_version = "HTTP/1.1"

    @property
    def hub(self) -> HubServer:
        return self.server.hub  # type: ignore[attr-defined, no-any-return]

    def handle(self) -> None:
        # A client that was killed, or one that has had enough, is nothing to report.
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def respond(self) -> None:
        body = self._read_body()
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        fault = self._record(Request(self.command, path, headers))
        if isinstance(fault, int):
            reply = _problem(fault, "Fault", "a fault that the test asked for")
        elif isinstance(fault, Reply):
            reply = fault
        else:
            reply = self._ranged(self.hub.answer(self.command, path, body))
            if fault == "corrupt":
                reply = Reply(reply.status, reply.headers, bytes(b ^ 0xFF for b in reply.body))
        self._send(reply, fault if isinstance(fault, str) else "")

    do_GET = do_HEAD = do_POST = do_PUT = respond

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what came in is in `HubServer.requests`."""

    def _record(self, request: Request) -> Fault:
        # Under the lock, so that a fault hook may count.
        with self.hub.lock:
            self.hub.requests.append(request)
            return self.hub.fault(request.method, request.path)

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _ranged(self, reply: Reply) -> Reply:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not match or reply.status != 200:
            return reply
        first, size = int(match[1]), len(reply.body)
        last = min(int(match[2] or size - 1), size - 1)
        if first > last:
            return Reply(416, {"Content-Range": f"bytes */{size}"})
        headers = {**reply.headers, "Content-Range": f"bytes {first}-{last}/{size}"}
        return Reply(206, headers, reply.body[first : last + 1])

    def _send(self, reply: Reply, fault: str) -> None:
        endless = fault == "oversize"
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if endless:
            self.send_header("Connection", "close")
        elif "Content-Length" not in reply.headers:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(reply.body) // 2 if fault in ("truncate", "stall") else len(reply.body)
        self.wfile.write(reply.body[:half])
        if fault == "truncate":
            self.close_connection = True
        if fault == "stall":
            self.wfile.flush()
            self.hub.resume.wait()
            self.wfile.write(reply.body[half:])
        while endless and not self.hub.closing.is_set():
            self.wfile.write(bytes(1 << 16))


def _groups(match: re.Match[str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in match.groupdict().items() if value is not None]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _is_lfs(name: str) -> bool:
    return name.endswith(".safetensors")


def _oid(name: str, data: bytes) -> str:
    """The sha256 of an LFS file, git's object name of any other."""
    if _is_lfs(name):
        return _sha256(data)
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _tree_entry(name: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": name, "size": len(data), "oid": _oid(name, data)}
    if not _is_lfs(name):
        return entry
    return {**entry, "lfs": {"oid": _sha256(data), "size": len(data), "pointerSize": 130}}


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())


def _problem(status: int, code: str, message: str) -> Reply:
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return Reply(status, headers, json.dumps({"error": message}).encode())
