"""What the explorer asks of a workspace: DuckDB over its Parquet, reading alone."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import duckdb

from pretrain_data.errors import InputError
from pretrain_data.report.samples import parquet_files
from pretrain_data.report.shown import shown
from pretrain_data.rules import auditfiles
from pretrain_data.stages import ORDER

MOST_ROWS = 100
MOST_CHARS = 20_000  # of a document's text
MOST_MEMBERS = 40
MOST_COMPARED = 4_000  # words (in Chinese: characters) of either side; the comparison is quadratic
SNIPPET = 240
_READ = "read_parquet(?, union_by_name = true, hive_partitioning = false)"
_WORD = re.compile(r"[A-Za-z0-9_]+|\s+|.", re.DOTALL)
_FOUND_IN = {"id": "doc_id", "url": "url", "text": "text", "stage": "stage", "rule": "rule", "cluster": "cluster_id"}


class Workspace:
    """The stages' documents and ledgers of one workspace."""

    def __init__(self, root: Path) -> None:
        """Raises InputError where no stage has run in `root`."""
        self.root = root
        self.stages = [name for name in ORDER if (root / name / "documents").is_dir()]
        if not self.stages:
            raise InputError(f"{root}: no stage has run there; name the workspace of a run")

    def search(self, asked: dict[str, str]) -> dict[str, Any]:
        """Documents that fit every field given: id (its beginning), url and text (a part), stage, rule, cluster.

        With a stage or rule: documents that were dropped there, or with the fate `kept`, that the stage kept, as
        they left it. With a cluster: its survivor and what was dropped for it. With none of these: the documents
        of the first stage. Parts are found in either case of letters. At most MOST_ROWS rows, by id.
        """
        kept = asked.get("fate") == "kept"
        asked = {key: value for key, value in asked.items() if key in _FOUND_IN and value}
        if "rule" in asked or ("stage" in asked and not kept):
            rows = self._dropped(asked)
        else:
            rows = self._kept(asked)
            if "cluster" in asked and not kept:
                rows = (rows + self._dropped(asked | {"stage": "dedup"}))[:MOST_ROWS]
        return {"rows": [_readable(row) for row in rows], "most": MOST_ROWS}

    def document(self, doc_id: str) -> dict[str, Any]:
        """The whole way of one document: what each stage that met it made of it, and its text where it changed."""
        steps, text = [], None
        for stage in self.stages:
            kept = self._one(stage, "documents", doc_id)
            dropped = self._one(stage, "dropped", doc_id)
            if kept is None and dropped is None:
                continue
            step: dict[str, Any] = {"stage": stage, "fate": "kept" if dropped is None else "dropped"}
            if dropped is not None:
                step["decision"] = {k: dropped[k] for k in ("rule", "value", "threshold", "kept_doc_id", "detail")}
            if kept is not None:
                now = kept.pop("text", None)
                if now != text:
                    step["text"], step["changes"] = shown(now or "", MOST_CHARS), difference(text, now)
                    text = now
            elif stage == "rules":  # the audit has what the rules read, of those too that they dropped
                kept = self._one(stage, auditfiles.DOCUMENTS, doc_id)
            if kept is not None:
                step["columns"] = kept
            steps.append(_readable(step))
            if dropped is not None:
                break
        return {"doc_id": doc_id, "steps": steps}

    def cluster(self, cluster_id: str) -> dict[str, Any]:
        """The survivor of a cluster and what was dropped in its favour, each with how it differs from the survivor."""
        if "dedup" not in self.stages:
            return {"members": []}
        gone = self._query("dedup", "dropped", "kept_doc_id = ?", [cluster_id], "doc_id, rule, value", MOST_MEMBERS)
        ids = [cluster_id, *(row["doc_id"] for row in gone)]
        marks = ",".join("?" * len(ids))
        texts = self._query(
            self._before("dedup"), "documents", f"doc_id IN ({marks})", ids, "doc_id, url, title, text", len(ids)
        )
        by_id = {row["doc_id"]: row for row in texts}
        survivor = by_id.get(cluster_id, {}).get("text")
        members = []
        for row in [{"doc_id": cluster_id, "rule": None, "value": None}, *gone]:
            about = by_id.get(row["doc_id"], {})
            text = about.get("text")
            member = row | {"url": about.get("url"), "title": about.get("title"), "text": shown(text or "", MOST_CHARS)}
            members.append(_readable(member | {"changes": difference(survivor, text)}))
        return {"cluster_id": cluster_id, "members": members}

    def overview(self) -> dict[str, Any]:
        """Names of stages, and of the rules that dropped something at each."""
        rules = {}
        for stage in self.stages:
            rows = self._query(stage, "dropped", "TRUE", [], "DISTINCT rule", 500, order="rule")
            rules[stage] = [shown(row["rule"]) for row in rows]
        return {"workspace": shown(self.root.name), "stages": self.stages, "rules": rules}

    # --- DuckDB -----------------------------------------------------------------------------------

    def _kept(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        asked = dict(asked)
        stage = asked.pop("stage", "dedup" if "cluster" in asked else self.stages[0])
        if stage not in self.stages:
            return []
        where, values = _where(asked)
        columns = "doc_id, url, title, lang, source, text"
        return [{"stage": stage} | row for row in self._query(stage, "documents", where, values, columns)]

    def _dropped(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        own = {key: value for key, value in asked.items() if key in ("id", "url", "rule")}
        for stage in [asked["stage"]] if "stage" in asked else self.stages:
            if stage not in self.stages:
                continue
            where, values = _where(own)
            if "cluster" in asked:
                where, values = f"{where} AND starts_with(kept_doc_id, ?)", [*values, asked["cluster"]]
            if "text" in asked:  # a ledger has no text: that of the stage before is looked into
                files = [str(path) for path in parquet_files(self.root / self._before(stage) / "documents")]
                if not files:
                    continue
                has = f"SELECT doc_id FROM {_READ} WHERE contains(lower(text), lower(?))"
                where, values = f"{where} AND doc_id IN ({has})", [*values, files, asked["text"]]
            columns = "doc_id, url, rule, value, threshold, kept_doc_id AS cluster_id"
            found = self._query(stage, "dropped", where, values, columns, MOST_ROWS - len(rows))
            rows += [{"stage": stage} | row for row in self._told(stage, found)]
            if len(rows) >= MOST_ROWS:
                break
        return rows

    def _before(self, stage: str) -> str:
        return self.stages[max(0, self.stages.index(stage) - 1)]

    def _told(self, stage: str, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Ledger rows with title and text, from the stage before."""
        if not found:
            return []
        where, ids = f"doc_id IN ({','.join('?' * len(found))})", [row["doc_id"] for row in found]
        rows = self._query(self._before(stage), "documents", where, ids, "doc_id, title, text", len(found))
        about = {row["doc_id"]: row for row in rows}
        return [row | about.get(row["doc_id"], {}) for row in found]

    def _one(self, stage: str, folder: str, doc_id: str) -> dict[str, Any] | None:
        rows = self._query(stage, folder, "doc_id = ?", [doc_id], "*", 1)
        return rows[0] if rows else None

    def _query(
        self,
        stage: str,
        folder: str,
        where: str,
        values: list[Any],
        columns: str,
        most: int = MOST_ROWS,
        order: str = "doc_id",
    ) -> list[dict[str, Any]]:
        """Rows of one stage's folder; a column that its files lack is null. Values are bound, never pasted."""
        files = [str(path) for path in parquet_files(self.root / stage / folder)]
        if not files:
            return []
        with duckdb.connect(config={"threads": 2, "memory_limit": "2GB"}) as connection:
            connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
            present = {row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {_READ}", [files]).fetchall()}
            wanted = ("url", "title", "lang", "source", "text", "cluster_id", "rule", "kept_doc_id")
            filled = "".join(f", NULL::VARCHAR AS {name}" for name in wanted if name not in present)
            whole = f"SELECT *{filled if columns != '*' else ''} FROM {_READ}"
            found = connection.execute(
                f"SELECT {columns} FROM ({whole}) WHERE {where} ORDER BY {order} LIMIT ?", [files, *values, most]
            )
            names = [column[0] for column in found.description]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _where(asked: dict[str, str]) -> tuple[str, list[Any]]:
    """A condition with one bound value for each field asked for."""
    terms, values = ["TRUE"], []
    for key, value in asked.items():
        column = _FOUND_IN[key]
        if key in ("id", "cluster"):
            terms.append(f"starts_with({column}, ?)")
        elif key == "rule":
            terms.append(f"{column} = ?")
        else:
            terms.append(f"contains(lower({column}), lower(?))")
        values.append(value)
    return " AND ".join(terms), values


def _readable(value: Any) -> Any:
    """Values as JSON can hold them, texts fit to be shown; `text` of a row is a snippet unless it was cut already."""
    if isinstance(value, dict):
        return {
            shown(key): shown(v, MOST_CHARS if key == "text" and "changes" in value else SNIPPET)
            if key in ("text", "title", "url") and v is not None
            else _readable(v)
            for key, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [_readable(v) for v in value[:1000]]
    if value is None or isinstance(value, bool | int | float):
        return value
    return shown(value, MOST_CHARS)


def difference(old: str | None, new: str | None) -> list[list[str]] | None:
    """Pieces of both texts in order, each with `=`, `-` (in the old alone) or `+` (in the new alone).

    By words, in Chinese by characters; None where a side is missing, both are equal or one is too long.
    """
    if old is None or new is None or old == new:
        return None
    a, b = _WORD.findall(old[: 4 * MOST_CHARS]), _WORD.findall(new[: 4 * MOST_CHARS])
    if max(len(a), len(b)) > MOST_COMPARED:
        return None
    pieces = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            pieces.append(["=", shown("".join(a[i:j]), MOST_CHARS)])
            continue
        pieces += [[mark, shown("".join(part), MOST_CHARS)] for mark, part in (("-", a[i:j]), ("+", b[k:m])) if part]
    return pieces
