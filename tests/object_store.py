"""A small object store on loopback that speaks as much of S3's protocol as checkpoints need."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape


class ObjectStore:
    """Buckets with objects. Requests of another access key than `key` are refused; signatures are not looked at.

    While it is `away`, connections end without an answer. `refuses` is called with method and path of each request, and
    may say that it is to fail as if the store were broken.
    """

    key = "tester"

    def __init__(self, *buckets: str) -> None:
        self.objects: dict[str, dict[str, bytes]] = {bucket: {} for bucket in buckets}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.away = False
        self.refuses: Callable[[str, str], bool] = lambda _method, _path: False
        self.requests: list[tuple[str, str]] = []
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def url(self, path: str) -> str:
        return f"s3://{path}?endpoint_override=127.0.0.1:{self._server.server_port}&scheme=http&region=us-east-1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    store: ObjectStore
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Nothing: a test does not print."""

    def _handle(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        bucket, _, name = unquote(parts.path).lstrip("/").partition("/")
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.store.requests.append((self.command, parts.path))
        if self.store.away:
            self.close_connection = True
        elif f"Credential={self.store.key}/" not in self.headers.get("Authorization", ""):
            self._fail(403, "InvalidAccessKeyId")
        elif self.store.refuses(self.command, parts.path):
            self._fail(400, "InvalidRequest")
        elif bucket not in self.store.objects:
            self._fail(404, "NoSuchBucket")
        elif name:
            self._of_object(self.store.objects[bucket], name, query, body)
        else:
            self._of_bucket(self.store.objects[bucket], query, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _handle

    def _of_bucket(self, objects: dict[str, bytes], query: dict[str, str], body: bytes) -> None:
        if "delete" in query:
            for key in ElementTree.fromstring(body).iter():
                if key.tag.endswith("Key"):
                    objects.pop(key.text or "", None)
            self._say("<DeleteResult/>")
        elif self.command == "GET":
            self._list(objects, query)
        else:
            self._answer(200, b"")

    def _list(self, objects: dict[str, bytes], query: dict[str, str]) -> None:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        found, folders = list[str](), set[str]()
        for name in sorted(name for name in objects if name.startswith(prefix)):
            head, cut, _ = name[len(prefix) :].partition(delimiter) if delimiter else (name, "", "")
            if cut:
                folders.add(prefix + head + delimiter)
            else:
                found.append(name)
        contents = "".join(
            f"<Contents><Key>{escape(name)}</Key><Size>{len(objects[name])}</Size>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for name in found
        )
        common = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in sorted(folders))
        count = len(found) + len(folders)
        self._say(
            f"<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>{count}</KeyCount>{contents}{common}"
            "</ListBucketResult>"
        )

    def _of_object(self, objects: dict[str, bytes], name: str, query: dict[str, str], body: bytes) -> None:
        if self.command in ("GET", "HEAD"):
            self._read(objects.get(name))
        elif self.command == "DELETE":
            objects.pop(name, None)
            self._answer(204, b"")
        elif "uploads" in query:
            upload = str(len(self.store.uploads))
            self.store.uploads[upload] = {}
            self._say(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        elif self.command == "PUT" and "partNumber" in query:
            self.store.uploads[query["uploadId"]][int(query["partNumber"])] = body
            self._answer(200, b"")
        elif self.command == "POST":
            parts = self.store.uploads.pop(query["uploadId"])
            objects[name] = b"".join(parts[number] for number in sorted(parts))
            self._say("<CompleteMultipartUploadResult><ETag>tag</ETag></CompleteMultipartUploadResult>")
        else:
            objects[name] = body
            self._answer(200, b"")

    def _read(self, content: bytes | None) -> None:
        if content is None:
            self._fail(404, "NoSuchKey")
            return
        first, last = 0, len(content) - 1
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked:
            first, last = int(asked[1]), min(int(asked[2] or last), last)
        part = content[first : last + 1]
        self._answer(206 if asked else 200, part, {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks(self.rfile.readline, self.rfile.read)
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            lines = body.split(b"\r\n", 1)
            body, rest = b"", body
            while size := int(lines[0].split(b";")[0], 16):
                start = rest.index(b"\r\n") + 2
                body, rest = body + rest[start : start + size], rest[start + size + 2 :]
                lines = rest.split(b"\r\n", 1)
        return body

    @staticmethod
    def _chunks(line: Any, read: Any) -> bytes:
        found = b""
        while size := int(line().split(b";")[0], 16):
            found += read(size)
            line()
        line()
        return found

    def _say(self, xml: str) -> None:
        self._answer(200, f'<?xml version="1.0" encoding="UTF-8"?>{xml}'.encode(), {"Content-Type": "application/xml"})

    def _fail(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "ETag": '"tag"', **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD" and status != 204:
            self.wfile.write(body)
