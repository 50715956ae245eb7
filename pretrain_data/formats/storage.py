"""Input files wherever they lie: local paths, and URLs of any file system that fsspec knows (s3, gs, hdfs …).

Where a file is remote is a matter of this module alone: readers get a seekable binary file, the plan gets names,
sizes and stamps from one listing. Credentials are the file system library's own affair: environment
variables, profiles, the role of the machine.
"""

from __future__ import annotations

import glob
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from pretrain_data.errors import InputError, PretrainDataError, StorageError
from pretrain_data.hashing import digest

_URL_PASSWORD = re.compile(r"//[^/@]*@")
#: Bytes of one request to a remote file system, at least: latency is paid once for so many.
REQUEST = 8 << 20
#: What a reader takes from the requests' cache at a time.
BUFFER = 1 << 20
#: By scheme: how the library that opens it is installed.
EXTRAS = {"s3": "pretrain-data[s3]", "s3a": "pretrain-data[s3]", "gs": "gcsfs", "gcs": "gcsfs"}
#: What a listing calls a hash of the content or the number of a version, in order of preference ...
_VERSIONS = ("ETag", "etag", "e_tag", "md5Hash", "content_md5", "checksum")
#: ... and the time of the last change.
_TIMES = ("LastModified", "last_modified", "mtime", "updated", "modified")


@dataclass(frozen=True)
class InputFile:
    """A file of the input: path or URL, path below the input's folder, bytes, and what tells its versions apart."""

    path: str
    label: str
    size: int
    stamp: str = ""  # of remote files; local ones are looked at when it matters

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]


def is_url(path: str) -> bool:
    """Whether a path is a URL, as against a local path."""
    return "://" in path


def list_files(spec: str, root: Path) -> list[InputFile]:
    """The files that `spec` (a file, folder or glob; a URL or a path from `root`) names, sorted by label.

    A label is the path below the folder, or below what the glob's files have in common. Hidden files and
    folders are left out. Raises InputError where nothing is found or the URL holds a password, StorageError where the
    file system can't be asked.
    """
    if is_url(spec) and urlsplit(spec).password is not None:  # it would stand in every manifest
        raise InputError(
            f"{_URL_PASSWORD.sub('//...@', spec)}: no password in an address; "
            "give it by the environment or a file, as the library of that file system wants it"
        )
    found, base = _remote(spec) if is_url(spec) else _local(root / spec)
    files = [InputFile(path, name[len(base) :].lstrip("/"), size, stamp) for path, name, size, stamp in found]
    files = [f for f in files if not any(part[:1] in (".", "_") for part in f.label.split("/"))]
    if not files:
        where = spec if is_url(spec) else root / spec
        raise InputError(
            f"{where}: no file there; set the stage's `input` to a file, folder or glob that has documents"
        )
    return sorted(files, key=lambda f: f.label)


def open_input(path: str) -> io.BufferedReader:
    """A local or remote file for reading, seekable. Remote trouble is a StorageError, now and in any later read."""
    if not is_url(path):
        return open(path, "rb")
    with _trouble(path):
        system, name = _system(path)
        file = system.open(name, "rb", block_size=REQUEST, cache_type="readahead")
    return io.BufferedReader(_Remote(file, path), BUFFER)


def size_of(path: str) -> int:
    """Bytes of a local or remote file."""
    if not is_url(path):
        return os.stat(path).st_size
    with _trouble(path):
        system, name = _system(path)
        return int(system.size(name))


def size_of_open(file: BinaryIO) -> int:
    """Bytes of an open file, which is then at its beginning."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


# --- listing --------------------------------------------------------------------------------------

_Found = tuple[str, str, int, str]  # path, name that the label is cut from, size, stamp


def _local(path: Path) -> tuple[list[_Found], str]:
    if path.is_dir():
        base, found = path, [p for p in path.rglob("*") if p.is_file()]
    else:
        found = [Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file()]
        base = Path(os.path.commonpath([p.parent for p in found])) if found else path
    return [(str(p), p.as_posix(), p.stat().st_size, "") for p in found], base.as_posix()


def _remote(spec: str) -> tuple[list[_Found], str]:
    with _trouble(spec):
        system, path = _system(spec.rstrip("/"))
        system.invalidate_cache()  # a listing of an earlier night isn't this one
        if glob.has_magic(path):
            listed, base = system.glob(path, detail=True), None
        elif system.isfile(path):
            listed, base = {path: system.info(path)}, None
        else:
            listed, base = system.find(path, detail=True), path
    entries = {
        name: info
        for name, info in listed.items()
        if info.get("type") == "file" and not name.endswith("/") and (base is None or name.startswith(f"{base}/"))
    }
    if base is None:
        base = os.path.commonpath([os.path.dirname(name) for name in entries]) if entries else path
    prefix = spec.rstrip("/").removesuffix(path)  # scheme and, for HDFS, the host, which its names lack
    whole = not spec.rstrip("/").endswith(path)
    return [
        (system.unstrip_protocol(name) if whole else prefix + name, name, int(info.get("size") or 0), _stamp(info))
        for name, info in entries.items()
    ], base


def _stamp(info: dict[str, Any]) -> str:
    """Changes with the file: by hash or version of its content, else by its time of change; and by its size."""
    version = next((info[key] for key in _VERSIONS if info.get(key)), None)
    if version is None:
        version = next((info[key] for key in _TIMES if info.get(key)), None)
    return digest([info.get("size"), str(version)])[:16]


# --- trouble --------------------------------------------------------------------------------------


def _system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    return system, str(path)


@contextmanager
def _trouble(path: str) -> Iterator[None]:
    """Raise what a file system's library raises as a StorageError that says what to do."""
    try:
        yield
    except PretrainDataError:
        raise
    except Exception as error:
        raise StorageError(f"{path}: {_advice(path.partition('://')[0], error)}") from error


def _advice(scheme: str, error: Exception) -> str:
    kind, said = type(error).__name__, " ".join(str(error).split())[:300]
    if isinstance(error, ImportError):
        return f'no library for {scheme}:// is installed: pip install "{EXTRAS.get(scheme, said)}"'
    if isinstance(error, ValueError) and "rotocol" in said:
        return f"{scheme}:// is no file system that fsspec knows"
    if "redential" in kind + said:
        return f"no credentials for {scheme}:// ({said}); set them as its library wants them, on every worker too"
    if isinstance(error, PermissionError) or "orbidden" in said:
        return f"access denied ({said}); see that the credentials may list and read it"
    if isinstance(error, FileNotFoundError):
        return "not there (any more)"
    if kind == "FileExpired":
        return "has changed since it was listed; run again"
    return f"{kind}: {said}"


class _Remote(io.RawIOBase):
    """A file of fsspec's whose trouble is a StorageError."""

    def __init__(self, file: Any, path: str) -> None:
        self._file, self._path = file, path

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with _trouble(self._path):
            block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
