# ruff: noqa: RET502, RET503  (handlers end by sending an answer)
"""A small Hugging Face hub on this machine, for tests. Repositories are in memory, and an unmodified `huggingface_hub`
accesses them over HTTP through `HF_ENDPOINT`. The server supports files with redirects and ranges, revisions, access
control and uploads. On request, it cuts a connection or sends damaged content."""
from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

NAME = r"((?:datasets/)?[^/]+/[^/]+)"  # of a repository; those of data sets begin with "datasets/"
API = rf"/api/(?:models/|(?=datasets/)){NAME}"
LARGE = (".safetensors", ".npz", ".pt", ".pth", ".parquet")  # files that the hub stores outside git, behind a redirect


def blob_id(content: bytes) -> str:
    "Return the name that git gives to a file"
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def file_entry(name: str, content: bytes) -> dict[str, Any]:
    "Return what the hub says about a file"
    entry: dict[str, Any] = {"type": "file", "path": name, "oid": blob_id(content), "size": len(content)}
    if name.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 1}
    return entry


def folder_entry(name: str) -> dict[str, Any]:
    "Return what the hub says about a folder"
    return {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}


@dataclass
class Repository:
    "Commits by id, each with all its files, and branches that point to commits"
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False

    def commit(self, files: dict[str, bytes], branch: str = "main") -> str:
        "Add files to a branch and return the id of the commit"
        content = {**self.commits.get(self.branches.get(branch, self.branches.get("main", "")), {}), **files}
        made = hashlib.sha1(b"".join(name.encode() + content[name] for name in sorted(content))).hexdigest()
        self.commits[made], self.branches[branch] = content, made
        return made


class _Server(ThreadingHTTPServer):
    connections: list[socket.socket] = []
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        "Ignore clients that close their connection"

    def get_request(self) -> tuple:
        "Remember the connection, so that it ends with the server"
        request = super().get_request()
        self.connections = [*self.connections, request[0]]
        return request


class Hub:
    "The server: `with Hub() as hub: ...`"

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.stored: dict[str, bytes] = {}  # large files by hash
        # by file name: "cut", "short", "damage", "error", or "after NAME", which waits until NAME is requested too; for
        # "commit": "lost", which makes the commit and closes the connection
        self.faults: dict[str, str] = {}  # each is used once
        # for requests "METHOD PATH" that match the pattern: a kind of `_Handler.trouble`, and how often
        self.troubles: dict[str, tuple[str, int]] = {}
        self.log: list[str] = []  # "GET /owner/name/resolve/main/cfg.json 200"
        self.token = "hf_test"

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            server_hub = hub
        self.server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.cdn = f"http://localhost:{self.server.server_port}/cdn"  # another host, as on the real hub
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        for connection in self.server.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def add(self, repo_id: str, folder: str | Path, branch: str = "main", gated: bool = False) -> str:
        "Publish the files in a folder and return the id of the commit"
        repository = self.repositories.setdefault(repo_id, Repository(gated=gated))
        return repository.commit({path.relative_to(folder).as_posix(): path.read_bytes()
                                  for path in Path(folder).rglob("*") if path.is_file()}, branch)

    def seen(self, pattern: str = "") -> list[str]:
        "Return the requests since the last call that match a pattern"
        found, self.log = [line for line in self.log if re.search(pattern, line)], []
        return found


class _Handler(BaseHTTPRequestHandler):
    server_hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        "Drop the message instead of logging to stderr"

    def answer(self, status: int, content: bytes | dict | list = b"", **headers: str) -> None:
        "Send a complete answer"
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        span = self.headers.get("Range")
        self.server_hub.log.append(f"{self.command} {self.path} {status}" + (f" {span}" if span else ""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        "Send an error in the hub's format"
        self.answer(status, {"error": code}, X_Error_Code=code, X_Error_Message=code)

    def body(self) -> bytes:
        "Read the body of the request"
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def repository(self, repo_id: str, files: bool = False) -> Repository | None:
        "Return the repository; if there is none or no access, send an error and return None"
        known = self.server_hub.repositories.get(repo_id)
        if known is None:
            return self.refuse(404, "RepoNotFound")
        if known.gated and files and self.headers.get("Authorization") != f"Bearer {self.server_hub.token}":
            return self.refuse(401, "GatedRepo")
        return known

    def trouble(self) -> bool:
        "Answer as a broken server would, if the request matches one of the troubles; return True if it did"
        for pattern, (kind, times) in self.server_hub.troubles.items():
            if times and re.search(pattern, f"{self.command} {self.path}"):
                self.server_hub.troubles[pattern] = (kind, times - 1)
                self.break_down(kind)
                return True
        return False

    def break_down(self, kind: str) -> None:
        """Answer wrongly: "silent", "headers", "slow", "cut", "endless", "bomb" (gzip), "huge" (a length of 1e15), "html",
        "json" (not JSON), "list" (JSON, but nonsense), "loop", a status such as "503", or a status with "Retry-After" in
        seconds, such as "429 2" """
        self.close_connection = True
        if kind == "silent":
            self.server_hub.log.append(f"{self.command} {self.path} silent")
            time.sleep(300)
        elif kind == "headers":  # a byte per second from the first one on
            for letter in b"HTTP/1.1 200 OK\r\nServer: " + b"x" * 300:
                self.wfile.write(bytes([letter]))
                time.sleep(1)
        elif kind in ("slow", "cut"):
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            for _ in range(300 if kind == "slow" else 1):
                self.wfile.write(b" ")
                time.sleep(1 if kind == "slow" else 0)
        elif kind in ("endless", "bomb"):
            self.flood(packed=kind == "bomb")
        elif kind == "huge":
            self.server_hub.log.append(f"{self.command} {self.path} {kind}")
            self.send_response(200)
            for name, value in {"Content-Length": str(10 ** 15), "X-Repo-Commit": "0" * 40,
                                "ETag": '"0000"'}.items():
                self.send_header(name, value)
            self.end_headers()
        elif kind == "loop":
            self.answer(302, Location=f"{self.server_hub.url}{self.path}")
        elif kind[0].isdigit():
            status, _, after = kind.partition(" ")
            self.answer(int(status), b"broken", **({"Retry_After": after} if after else {}))
        else:
            page = b"<html><body>Please sign in to the network</body></html>"
            self.answer(200, {"html": page, "json": b"{broken", "list": b"[1, 2]"}[kind], Content_Type="text/html")

    def flood(self, packed: bool) -> None:
        "Send 4 GB, or 100 MB packed with gzip, without a length, until the client closes the connection"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        block = gzip.compress(bytes(100 * 2 ** 20), 1) if packed else b" " * 2 ** 20
        with suppress(OSError):
            for _ in range(1 if packed else 4000):
                self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
            self.wfile.write(b"0\r\n\r\n")

    def do_HEAD(self) -> None:
        "Answer like GET, without content"
        self.do_GET()

    def do_GET(self) -> None:
        "Send a file, a tree, or the description of a repository"
        if self.trouble():
            return
        path = unquote(urlsplit(self.path).path)
        if found := re.fullmatch(r"/cdn/(\w+)/(.+)", path):
            return self.send(self.server_hub.stored[found[1]], found[2])
        if found := re.fullmatch(rf"{API}(?:/(revision|tree)/([^/]+)/?(.*))?", path):
            return self.describe(*found.groups())
        if found := re.fullmatch(rf"/{NAME}/resolve/([^/]+)/(.+)", path):
            return self.resolve(*found.groups())
        self.refuse(404, "EntryNotFound")

    def describe(self, repo_id: str, what: str | None, revision: str | None, folder: str | None) -> None:
        "Send the list of files of a repository or folder"
        repository = self.repository(repo_id)
        if repository is None:
            return
        commit = repository.branches.get(revision or "main", revision or "main")
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        if what != "tree":
            return self.answer(200, {"id": repo_id, "sha": commit, "siblings": [{"rfilename": name} for name in files]})
        prefix = f"{folder}/" if folder else ""
        selected = {name: content for name, content in files.items() if name.startswith(prefix)}
        if folder and not selected:
            return self.refuse(404, "EntryNotFound")
        recursive = re.search(r"recursive=(true|1)", self.path, re.I)
        entries: dict[str, dict[str, Any]] = {}
        for name, content in selected.items():
            first, rest, _ = name[len(prefix):].partition("/")
            if rest and not recursive:
                entries[prefix + first] = folder_entry(prefix + first)
                continue
            entries[name] = file_entry(name, content)
        self.answer(200, list(entries.values()))

    def describe_paths(self, repo_id: str, revision: str, names: list[str]) -> None:
        "Send what is known about some files and folders of a repository"
        repository = self.repository(repo_id)
        if repository is None:
            return
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound")
        files = repository.commits[commit]
        found = [file_entry(name, files[name]) for name in names if name in files]
        folders = [name for name in names if any(other.startswith(f"{name}/") for other in files)]
        self.answer(200, [*found, *map(folder_entry, folders)])

    def resolve(self, repo_id: str, revision: str, name: str) -> None:
        "Send a file, or a redirect to it"
        repository = self.repository(repo_id, files=True)
        if repository is None:
            return
        commit = repository.branches.get(revision, revision)
        if commit not in repository.commits:
            return self.refuse(404, "RevisionNotFound")
        if name not in repository.commits[commit]:
            return self.refuse(404, "EntryNotFound")
        content = repository.commits[commit][name]
        if not name.endswith(LARGE):
            return self.send(content, name, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)
        key = hashlib.sha256(content).hexdigest()
        self.server_hub.stored[key] = content
        self.answer(302, Location=f"{self.server_hub.cdn}/{key}/{name}", X_Repo_Commit=commit,
                    X_Linked_Etag=f'"{key}"', X_Linked_Size=str(len(content)))

    def send(self, content: bytes, name: str, **headers: str) -> None:
        "Send a file or the requested range of it, with the fault that was set"
        fault = self.server_hub.faults.pop(name, None) if self.command == "GET" else None
        if fault == "error" or fault and fault.startswith("after ") and not self.wait_for(fault.removeprefix("after ")):
            return self.refuse(500, "Broken")
        if fault == "damage":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault == "short":
            content = content[:-10]
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(span[1]), int(span[2] or len(content) - 1) + 1) if span else (0, len(content))
        part = content[start:end]
        if span:
            headers["Content_Range"] = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part[:len(part) // 2])
            self.server_hub.log.append(f"GET {self.path} cut")
            self.close_connection = True
            return
        self.answer(206 if span else 200, part, **headers)

    def wait_for(self, name: str) -> bool:
        "Wait up to ten seconds for a file to be requested; return True if it is"
        for _ in range(1000):
            if any(f"/{name} " in line for line in self.server_hub.log):
                return True
            time.sleep(0.01)
        return False

    def do_PUT(self) -> None:
        "Receive a large file"
        content, key = self.body(), self.path.rpartition("/")[2]
        if hashlib.sha256(content).hexdigest() != key:
            return self.refuse(400, "BadHash")
        self.server_hub.stored[key] = content
        self.answer(200)

    def create_repository(self, request: dict) -> None:
        "Create a repository, or answer that it exists"
        hub = self.server_hub
        kind = "datasets/" if request.get("type") == "dataset" else ""
        repo_id = f"{kind}{request.get('organization') or 'me'}/{request['name']}"
        if repo_id in hub.repositories:
            return self.answer(409, {"error": "exists", "url": f"{hub.url}/{repo_id}"})
        hub.repositories[repo_id] = Repository()
        hub.repositories[repo_id].commit({".gitattributes": b"*.safetensors filter=lfs\n"})
        return self.answer(200, {"url": f"{hub.url}/{repo_id}", "name": repo_id})

    def do_POST(self) -> None:
        "Create a repository or a branch, prepare an upload, or commit"
        path = unquote(urlsplit(self.path).path)
        body, hub = self.body(), self.server_hub
        if self.trouble():
            return
        if self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.refuse(401, "NotLoggedIn")
        if path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create_repository(json.loads(body))
        if found := re.fullmatch(rf"/{NAME}\.git/info/lfs/objects/batch", path):
            objects = [{**wanted, "actions": {"upload": {"href": f"{hub.url}/lfs/{wanted['oid']}"}}}
                       for wanted in json.loads(body)["objects"]]
            return self.answer(200, {"transfer": "basic", "objects": objects})
        found = re.fullmatch(rf"{API}/(preupload|commit|branch|paths-info)/(.+)", path)
        repository = self.repository(found[1]) if found else self.refuse(404, "EntryNotFound")
        if repository is None or found is None:
            return
        if found[2] == "branch":
            repository.branches.setdefault(found[3], repository.branches["main"])
            return self.answer(201, {})
        if found[2] == "paths-info":
            return self.describe_paths(found[1], found[3], parse_qs(body.decode())["paths"])
        if found[2] == "preupload":
            return self.prepare_upload(json.loads(body)["files"])
        self.receive_commit(repository, found[1], found[3], body)

    def prepare_upload(self, files: list[dict]) -> None:
        "Answer which files are to be stored outside git"
        self.answer(200, {"files": [{"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LARGE) else
                                     "regular", "shouldIgnore": False} for file in files]})

    def receive_commit(self, repository: Repository, repo_id: str, branch: str, body: bytes) -> None:
        "Add files to a branch"
        hub = self.server_hub
        files = {}
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = hub.stored[value["oid"]]
        commit = repository.commit(files, branch)
        if hub.faults.pop("commit", None) == "lost":
            self.close_connection = True
            return
        self.answer(200, {"success": True, "commitOid": commit, "commitUrl": f"{hub.url}/{repo_id}/commit/{commit}",
                          "hookOutput": ""})


_loop = """
import ast, json, sys
results, sys.stdout, scope = sys.stdout, sys.stderr, {}
for line in sys.stdin:
    try:
        tree, value = ast.parse(json.loads(line)), None
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "request", "exec"), scope)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "request", "eval"), scope)
    except Exception as error:
        value = f"{type(error).__name__}: {error}"
    print(json.dumps(value, default=str), file=results, flush=True)
"""


class Client:
    "A separate process that talks to a hub: `client('1 + 1')` returns 2; an error is returned as text"

    def __init__(self, hub: Hub, home: str | Path, **environment: str):
        known = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        known |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1,localhost",
                  "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
        self.process = subprocess.Popen([sys.executable, "-c", _loop], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True, env=known)

    def __call__(self, code: str) -> Any:
        assert self.process.stdin and self.process.stdout
        print(json.dumps(code), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline() or '"the process has ended"')

    def close(self) -> None:
        "End the process"
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(20)
