"""Checks a workspace against its manifests: every byte, every file, every document accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pretrain_data import inventory
from pretrain_data.dataset import MANIFEST, read_manifest
from pretrain_data.errors import InputError
from pretrain_data.hashing import file_digest
from pretrain_data.seal import is_sealed

#: Files that a stage writes where it has no row to write, so that readers find the columns.
EMPTY = "part-empty.parquet"


@dataclass(frozen=True)
class Problem:
    """One thing that is not as the manifests say, and what to do about it."""

    stage: str
    path: str
    what: str
    remedy: str


def verify(workspace: Path, stages: list[str], quick: bool = False, threads: int = 4) -> list[Problem]:
    """All problems of the stages that have run, in the order of the stages; none is good news.

    `quick` compares sizes and counts and reads no file in full; else every byte is hashed.
    """
    problems: list[Problem] = []
    before: dict[str, Any] | None = None
    for name in stages:
        folder = workspace / name
        try:
            manifest = read_manifest(folder)
        except InputError as error:
            problems.append(Problem(name, MANIFEST, str(error), _again(name)))
            before = None
            continue
        if manifest is None:
            if folder.exists():
                problems.append(Problem(name, str(folder), "a folder without a manifest", _again(name)))
            before = None
            continue
        if not is_sealed((folder / MANIFEST).read_bytes()):
            problems.append(Problem(name, MANIFEST, "its bytes have changed since it was written", _again(name)))
            before = None
            continue  # what it says is worth nothing
        problems += _accounting(name, manifest)
        if before is not None and manifest["input"]["path"] == before["_path"]:
            problems += _lineage(name, manifest, before)
        problems += _files(name, folder, manifest, quick, threads)
        before = manifest | {"_path": str(folder.resolve())}
    return problems


def _again(name: str) -> str:
    return f"run it again: pretrain-data run CONFIG --from {name} --force"


def _accounting(name: str, manifest: dict[str, Any]) -> Iterator[Problem]:
    out = manifest["documents"] + manifest["dropped"]
    if manifest["documents_in"] != out:
        what = f"{manifest['documents_in']:,} documents in, {out:,} kept or dropped"
        yield Problem(name, MANIFEST, what, _again(name))
    dropped = sum(counts[0] for counts in manifest["rules"].values())
    if dropped != manifest["dropped"]:
        what = f"{manifest['dropped']:,} documents dropped, {dropped:,} of them by a rule"
        yield Problem(name, MANIFEST, what, _again(name))
    rows = sum(shard["rows"] for shard in manifest["shards"])
    if rows != manifest.get("uses", manifest["documents"]):
        what = f"{manifest['documents']:,} documents, {rows:,} rows in its shards"
        yield Problem(name, MANIFEST, what, _again(name))


def _lineage(name: str, manifest: dict[str, Any], before: dict[str, Any]) -> Iterator[Problem]:
    if manifest["input"]["fingerprint"] != before["content"]:
        what = f"was made from another output of {before['stage']} than the one that is there"
        yield Problem(name, MANIFEST, what, f"run it: pretrain-data run CONFIG --from {name}")
    elif manifest["documents_in"] != before["documents"]:
        what = f"{before['stage']} keeps {before['documents']:,} documents, {manifest['documents_in']:,} came in"
        yield Problem(name, MANIFEST, what, _again(name))


def _files(name: str, folder: Path, manifest: dict[str, Any], quick: bool, threads: int) -> list[Problem]:
    wanted = _listed(manifest)

    def check(path: str) -> Problem | None:
        stamp, rows = wanted[path]
        file = folder / path
        if not file.is_file():
            return Problem(name, path, "missing", _again(name))
        if file.stat().st_size != stamp["bytes"]:
            what = f"{file.stat().st_size:,} bytes, {stamp['bytes']:,} in the manifest"
            return Problem(name, path, what, _again(name))
        if not quick and file_digest(file) != stamp["xxh3"]:
            return Problem(name, path, "its bytes have changed since it was written", _again(name))
        if rows is not None:
            try:
                found = pq.read_metadata(file).num_rows
            except (OSError, pa.ArrowException) as error:
                return Problem(name, path, f"can't be read: {error}", _again(name))
            if found != rows:
                return Problem(name, path, f"{found:,} rows, {rows:,} in the manifest", _again(name))
        return None

    with ThreadPoolExecutor(threads) as pool:
        problems = [p for p in pool.map(check, sorted(wanted)) if p is not None]
    for path in inventory.files(folder):
        if path not in wanted:
            remedy = f"move it out of {folder}, or let `pretrain-data gc CONFIG --delete` remove it"
            problems.append(Problem(name, path, "not in the manifest", remedy))
    return problems


def strays(folder: Path) -> list[Path]:
    """Files of a stage's output that its manifest doesn't name; none where the manifest itself is not to be trusted."""
    try:
        manifest = read_manifest(folder)
    except InputError:
        return []
    if manifest is None or not is_sealed((folder / MANIFEST).read_bytes()):
        return []
    listed = _listed(manifest)
    return [folder / path for path in inventory.files(folder) if path not in listed]


def _listed(manifest: dict[str, Any]) -> dict[str, tuple[dict[str, Any], int | None]]:
    """By path each file of an output: its size and checksum, and its rows where it is a shard."""
    found: dict[str, tuple[dict[str, Any], int | None]] = {}
    for shard in manifest["shards"]:
        for kind, rows in (("documents", shard["rows"]), ("dropped", shard["dropped"])):
            if shard[f"{kind}_file"] is not None:
                found[f"{kind}/{shard['name']}.parquet"] = (shard[f"{kind}_file"], rows)
    return found | {path: (stamp, None) for path, stamp in manifest["files"].items()}
