"""URL rules: blocklists of hosts and paths as data files.

A list is a text file `TOPIC.txt`, one entry a line; `#` behind white space or at the line's beginning starts a comment:

    example.com           the host and every host below it
    .museum               all hosts of a public suffix (without the dot that is an error, being most likely a slip)
    203.0.113.7  [::1]    an address
    example.com/private   on these hosts, paths that begin with these segments
    /wp-login.php         on any host, paths that hold these whole segments one after the other

Hosts are compared in lower case and in IDNA's ASCII form, without user, port and final dot; paths without query
and fragment, in lower case. Each topic gives the number `urls.TOPIC`: the line of the entry that a document's URL
meets (of several the first), or 0.
Public suffixes: publicsuffix.org, as carried by the package publicsuffixlist (nothing is fetched).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import ConfigError

BUNDLED = Path(__file__).resolve().parent.parent / "urllists"
_PARTS = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#\\]*@)?(?P<host>\[[^\]/?#]*\]|[^/:?#\\]+)(?::[0-9]*)?(?P<path>/[^?#]*)?"
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ADDRESS = re.compile(r"\[.*\]|[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
KNOWN_HOSTS = 1 << 16  # hosts whose verdict a process remembers


def split(url: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Host (lower case, without user and port) and path (lower case) of each URL; null where there is none."""
    found = pc.extract_regex(url.cast(pa.string()), _PARTS)
    host, path = (pc.utf8_lower(pc.struct_field(found, name)) for name in ("host", "path"))
    return host, path


def plain_host(host: str) -> str:
    """A host as lists hold it: lower case, IDNA's ASCII form, no final dot."""
    host = host.lower().rstrip(".")
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:  # a label too long or forbidden: nothing to compare with but itself
        return host


@cache
def _suffixes():  # type: ignore[no-untyped-def]
    from publicsuffixlist import PublicSuffixList

    return PublicSuffixList()


@dataclass
class UrlList:
    """One topic's entries; the numbers are lines of its file."""

    topic: str
    hosts: dict[str, int] = field(default_factory=dict)
    paths_of: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)
    entries: dict[int, str] = field(default_factory=dict)  # as written, by line
    _seen: dict[str, tuple[int, list[tuple[str, int]]]] = field(default_factory=dict)

    def of_host(self, host: str) -> tuple[int, list[tuple[str, int]]]:
        """The line of the entry that holds the whole host (0: none), and the paths that are listed for it."""
        if host not in self._seen:
            if len(self._seen) >= KNOWN_HOSTS:
                self._seen.clear()
            self._seen[host] = self._look_up(plain_host(host))
        return self._seen[host]

    def _look_up(self, host: str) -> tuple[int, list[tuple[str, int]]]:
        lines, paths = [], []
        for name in _above(host):
            lines.append(self.hosts.get(name, 0))
            paths += self.paths_of.get(name, [])
        return min((line for line in lines if line), default=0), paths

    def lines(self, host: pa.Array, path: pa.Array) -> npt.NDArray[np.int32]:
        """For each URL the line of the first entry that it meets, or 0. Hosts are looked up once each."""
        coded = host.dictionary_encode()
        names = coded.dictionary.to_pylist()
        found = [self.of_host(name) for name in names]
        none = len(names)  # stands for a URL without a host
        codes = pc.fill_null(coded.indices, none).to_numpy(zero_copy_only=False)
        result = np.array([*(line for line, _ in found), 0], np.int32)[codes]
        with_paths = np.array([*(bool(paths) for _, paths in found), False])[codes]
        if self.paths:
            with_paths |= np.asarray(pc.fill_null(pc.match_substring_regex(path, self._pattern), False))
        for row in np.flatnonzero(with_paths):
            whole = path[row].as_py() or "/"
            listed = found[codes[row]][1] if codes[row] < none else []
            hits = [line for start, line in listed if _begins(whole, start)]
            hits += [line for part, line in self.paths.items() if part + "/" in whole + "/"]
            hits += [int(result[row])] if result[row] else []
            result[row] = min(hits, default=0)
        return result

    @property
    def _pattern(self) -> str:
        return "(?:" + "|".join(re.escape(part) for part in self.paths) + ")(?:/|$)"


def _begins(path: str, start: str) -> bool:
    return (path.rstrip("/") + "/").startswith(start.rstrip("/") + "/")


def _above(host: str) -> list[str]:
    """The host, the hosts above it down to its registered domain, and its public suffix as `.suffix`."""
    if _ADDRESS.fullmatch(host):
        return [host]
    suffix = _suffixes().publicsuffix(host) or ""
    labels = host.split(".")
    own = len(labels) - (suffix.count(".") + 1 if suffix else 0)
    return [".".join(labels[k:]) for k in range(max(own, 0))] + [f".{suffix}"]


def find(path: Path | str) -> Path:
    """The file that `path` names: itself, or the bundled list of that name. Raises ConfigError."""
    path = Path(path)
    bundled = BUNDLED / (path.name if path.suffix else f"{path.name}.txt")
    if path.is_file() or not (len(path.parts) == 1 and bundled.is_file()):
        if path.is_file():
            return path
        names = ", ".join(sorted(p.stem for p in BUNDLED.glob("*.txt")))
        raise ConfigError(f"stages.rules.url_lists: no list {path} (bundled: {names})")
    return bundled


def topic(path: Path | str) -> str:
    """The topic of a list: its name up to the first dot. Raises ConfigError unless it is a plain name."""
    name = Path(path).name.split(".")[0]
    if not name.isidentifier() or not name.islower():
        raise ConfigError(f"{path}: the file's name begins with the topic, in a-z, 0-9 and _: topic.txt")
    return name


def read(path: Path) -> UrlList:
    """One list. Raises ConfigError that names file and line for what is no entry."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text: {error}") from None
    result = UrlList(topic(path))
    for number, line in enumerate(lines, 1):
        entry = _COMMENT.sub("", line).strip()
        if entry:
            _add(result, entry, number, f"{path}:{number}")
            result.entries[number] = entry
    return result


def _add(to: UrlList, entry: str, number: int, where: str) -> None:
    if "://" in entry or any(c.isspace() for c in entry) or entry == "/":
        raise ConfigError(f"{where}: {entry!r} is no host, path or host/path (no scheme, no white space)")
    head, slash, tail = entry.partition("/")
    path = (slash + tail).lower()
    if not head:
        to.paths.setdefault(path.rstrip("/"), number)
        return
    whole_suffix = head.startswith(".")
    host = plain_host(head.removeprefix("."))
    if not _ADDRESS.fullmatch(host):
        if ":" in host or "@" in host or ".." in host:
            raise ConfigError(f"{where}: {head!r} is no host")
        if not whole_suffix and _suffixes().publicsuffix(host) == host:
            raise ConfigError(f"{where}: {head} is a public suffix; write .{head} for all of its hosts")
    name = f".{host}" if whole_suffix else host
    if path.rstrip("/"):
        to.paths_of.setdefault(name, []).append((path, number))
    else:
        to.hosts.setdefault(name, number)


def read_all(paths: Sequence[Path | str]) -> dict[str, UrlList]:
    """The lists by topic. Raises ConfigError for two of one topic."""
    found: dict[str, UrlList] = {}
    for path in paths:
        one = read(find(path))
        if one.topic in found:
            raise ConfigError(f"{path}: there is a list of the topic {one.topic} already")
        found[one.topic] = one
    return found


def columns(lists: Mapping[str, UrlList], url: pa.Array) -> dict[str, npt.NDArray[np.int32]]:
    """`urls.TOPIC` for each list, as rules see it."""
    if not lists:
        return {}
    host, path = split(url)
    return {f"urls.{name}": one.lines(host, path) for name, one in lists.items()}


__all__ = ["UrlList", "columns", "find", "plain_host", "read", "read_all", "split", "topic"]
