"""A folder at a URL: in an object store, or wherever else pyarrow or fsspec can write."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from pyarrow import fs

from recsys.errors import CheckpointError

_CHUNK = 8 << 20
_FLAT = frozenset({"s3", "gcs", "abfs"})
"""Stores without folders: a name may have slashes."""
_REMEDIES = {
    ("ACCESS_DENIED", "INVALID_ACCESS_KEY", "SIGNATURE", "Forbidden", "403", "credential"): (
        "check the credentials (environment or role) and that they may list, read, write and delete there"
    ),
    ("NETWORK_CONNECTION", "curl", "onnect", "imeout", "resolve"): "check the network and the address of the store",
    ("NO_SUCH_BUCKET", "not found", "404", "does not exist"): "make the bucket, or name another",
}


class RemoteFolder:
    """Files by their path below `url`, such as `s3://BUCKET/PATH?region=eu-west-1`, of a scheme of pyarrow or fsspec.

    Credentials come from where the store's own tools look for them. All methods raise CheckpointError, which says what
    to do. A file is there as a whole or not at all only as far as the store promises it: write what proves that all are
    there last.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def make(self) -> None:
        """Make the folder if it is not there; whether it can be written to shows then."""
        with self._errors("cannot be made"):
            self._fs.create_dir(self._path(""), recursive=True)

    def folders(self) -> list[str]:
        """The names of the folders in it, sorted."""
        with self._errors("cannot be listed"):
            found = self._fs.get_file_info(fs.FileSelector(self._path(""), allow_not_found=True))
        return sorted(one.base_name for one in found if one.type == fs.FileType.Directory)

    def files(self, folder: str) -> list[str]:
        """Paths below `folder` of the files in it."""
        with self._errors("cannot be listed"):
            top = self._path(folder)
            found = self._fs.get_file_info(fs.FileSelector(top, allow_not_found=True, recursive=True))
        return sorted(str(PurePosixPath(one.path).relative_to(top)) for one in found if one.type == fs.FileType.File)

    def has(self, name: str) -> bool:
        with self._errors("cannot be read"):
            return bool(self._fs.get_file_info(self._path(name)).type == fs.FileType.File)

    def read(self, name: str) -> bytes:
        with self._errors(f"{name} cannot be read"), self._fs.open_input_stream(self._path(name)) as file:
            return bytes(file.read())

    def put(self, local: Path, name: str) -> None:
        """Copy a file there."""
        with self._errors(f"{name} cannot be written"):
            if self._fs.type_name not in _FLAT:
                self._fs.create_dir(str(PurePosixPath(self._path(name)).parent), recursive=True)
            with local.open("rb") as source, self._fs.open_output_stream(self._path(name)) as target:
                shutil.copyfileobj(source, target, _CHUNK)

    def get(self, name: str, local: Path) -> None:
        """Copy a file from there."""
        local.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._errors(f"{name} cannot be read"),
            self._fs.open_input_stream(self._path(name)) as source,
            local.open("wb") as target,
        ):
            shutil.copyfileobj(source, target, _CHUNK)

    def remove_file(self, name: str) -> None:
        with self._errors(f"{name} cannot be removed"):
            if self._fs.get_file_info(self._path(name)).type != fs.FileType.NotFound:
                self._fs.delete_file(self._path(name))

    def remove_folder(self, name: str) -> None:
        with self._errors(f"{name} cannot be removed"):
            self._fs.delete_dir(self._path(name))

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        return _opened(self.url)  # when it is needed, because a store may be asked for its region

    @property
    def _fs(self) -> fs.FileSystem:
        return self._place[0]

    def _path(self, name: str) -> str:
        return f"{self._place[1]}/{name}".rstrip("/")

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException, ValueError, ImportError) as error:
            said = str(error)
            known = (remedy for words, remedy in _REMEDIES.items() if any(word in said for word in words))
            remedy = next(known, "check [training] checkpoint_url")
            raise CheckpointError(f"{self.url}: {what}: {said}; {remedy}") from error


def _opened(url: str) -> tuple[fs.FileSystem, str]:
    """The file system and the path in it; fsspec's, if pyarrow does not know the scheme."""
    try:
        found, base = fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid as error:
        if "nrecognized filesystem" not in str(error):
            raise
        from fsspec.core import url_to_fs  # which torch brings

        opened: tuple[Any, str] = url_to_fs(url)
        found, base = fs.PyFileSystem(fs.FSSpecHandler(opened[0])), opened[1]
    return found, base.rstrip("/")
