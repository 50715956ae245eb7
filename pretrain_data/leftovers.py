"""What lies in a workspace that nothing refers to: outputs half made by dead runs, files under hidden names."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pretrain_data.verify import strays

STAGING = ".staging"
_HIDDEN = re.compile(r"^\..+\.[0-9a-f]{32}$")  # written by an attempt, or an output on its way out


@dataclass(frozen=True)
class Leftover:
    """A file or folder that can go."""

    path: Path
    bytes: int
    why: str


def find(workspace: Path, resumable: set[str], older_than: float = 0.0, outputs: Iterable[Path] = ()) -> list[Leftover]:
    """What no output refers to and no run will go on with, sorted by path.

    `resumable` holds names of staging folders that the next run would go on in; in the folders `outputs` all files
    count that their manifests don't name. Whatever changed in the last `older_than` seconds is left alone. The caller
    holds the workspace's lock, so that no living run owns any of it.
    """
    newest = time.time() - older_than
    found = {leftover.path: leftover for leftover in _candidates(workspace, resumable)}
    for path in (path for folder in outputs for path in strays(folder)):
        found.setdefault(path, Leftover(path, _size(path), "not in the manifest of its stage"))
    return sorted((f for f in found.values() if _changed(f.path) <= newest), key=lambda f: f.path)


def remove(leftovers: list[Leftover]) -> None:
    """Delete them."""
    for leftover in leftovers:
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)


def _candidates(workspace: Path, resumable: set[str]) -> Iterator[Leftover]:
    staging = workspace / STAGING
    for path in sorted(staging.iterdir()) if staging.is_dir() else []:
        if path.name not in resumable:
            yield Leftover(path, _size(path), "a run that was cut off and whose config or input has changed since")
    for path in sorted(p for p in workspace.iterdir() if p.name != STAGING):
        if _HIDDEN.match(path.name):
            yield Leftover(path, _size(path), "left behind while an output was exchanged")
        elif path.is_dir():
            for inner in sorted(p for p in path.rglob(".*") if _HIDDEN.match(p.name)):
                yield Leftover(inner, _size(inner), "left behind by an attempt that was killed")


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _changed(path: Path) -> float:
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return max(p.lstat().st_mtime for p in paths)
