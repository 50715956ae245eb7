"""What SECURITY.md promises: no code and no path from data, nothing handed to a shell."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

from pretrain_data.commands import open_pipeline
from pretrain_data.errors import ConfigError, InputError

ROOT = Path(__file__).resolve().parents[1]
#: Calls that run code or a shell, or read code from data; and those that are harmless with the keyword given.
FORBIDDEN = {
    "eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "marshal.loads", "shelve.open",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "torch.load", "joblib.load", "tarfile.open",
    "shutil.unpack_archive", "subprocess.getoutput", "subprocess.getstatusoutput", "numpy.fromregex",
}  # fmt: skip
SOURCES = sorted([*(ROOT / "pretrain_data").rglob("*.py"), *(ROOT / "jobs").glob("*.py")])


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if name in FORBIDDEN:
            found.append(name)
        for word, value in given.items():
            true = isinstance(value, ast.Constant) and value.value is True
            if word in ("shell", "allow_pickle", "trust_remote_code") and true:
                found.append(f"{name}({word}=True)")
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    bad = "os.system(x)\nyaml.load(f)\nsubprocess.run(c, shell=True)\nf(trust_remote_code=True)\neval('1')"
    assert sorted(dangers(bad)) == [
        "eval", "f(trust_remote_code=True)", "os.system", "subprocess.run(shell=True)", "yaml.load",
    ]  # fmt: skip
    assert dangers("re.compile('x')\nsubprocess.run([a], shell=False)\nyaml.safe_load(f)") == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_code_from_data_and_no_shell(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


NAMES = [
    "../../../../tmp/evil", "/etc/passwd", "..\\..\\evil", "a/../../b", "$(touch evil)", "`touch evil`; touch evil",
    "\u202egnp.exe",
]  # fmt: skip


def warc(path: Path) -> None:
    """One page for each name, which is its record id, its title and a part of its URL."""
    with path.open("wb") as file:
        for i, name in enumerate(NAMES):
            page = f"<html><title>{name}</title><body><p>{'正文内容，一段完整的话。' * 20}{i}</p></body></html>"
            http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + page.encode()
            head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <{name}>\r\nWARC-Date: 2026-01-31T00:00:00Z\r\n"
            head += (
                f"WARC-Target-URI: http://example.org/{name}\r\nContent-Type: application/http; msgtype=response\r\n"
            )
            file.write(f"{head}Content-Length: {len(http)}\r\n\r\n".encode() + http + b"\r\n\r\n")


@pytest.mark.spark
def test_no_path_comes_from_the_data(tmp_path: Path, spark: Any) -> None:
    crawl = tmp_path / "top" / "crawl"
    crawl.mkdir(parents=True)
    warc(crawl / "a.warc")
    rows = [{"id": name, "url": name, "source": name, "channel": name, "text": f"text {name} 正文"} for name in NAMES]
    (crawl / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (crawl / "$(touch evil).jsonl").write_text('{"text": "名字里有命令"}\n', encoding="utf-8")
    stages = {
        "ingest": {"input": str(crawl), "source": "$(touch evil); `touch evil`"},
        "pii": {},
        "mix": {},
        "export": {"jsonl": True, "megatron": True, "block_tokens": 1000},
    }
    config = tmp_path / "top" / "c.yaml"
    config.write_text(json.dumps({"workspace": "w", "stages": stages}))
    pipeline = open_pipeline(config)
    pipeline._spark = spark
    outcomes = list(pipeline.run())
    assert outcomes[0].manifest["documents_in"] == 2 * len(NAMES) + 1
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and not p.is_relative_to(tmp_path / "top" / "w")]
    assert sorted(p.name for p in outside) == ["$(touch evil).jsonl", "a.warc", "b.jsonl", "c.yaml"]
    own = {p.name for p in (tmp_path / "top" / "w").rglob("*") if p.is_file()}
    assert not [name for name in own if "evil" in name or "passwd" in name]
    assert not Path("evil").exists()


SECRET = "sEkReT-9f3b17c0"
WHERE = ("OPENAI_API_KEY", "OPENLINEAGE_API_KEY", "AWS_SECRET_ACCESS_KEY", "STORE_KEY")


@pytest.mark.spark
def test_no_secret_is_written_or_said(tmp_path: Path) -> None:
    """In the environment and in Spark's properties, through a night that is done and one that fails."""
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "请打13812345678联系"}\n', encoding="utf-8")
    conf = {"spark.hadoop.fs.s3a.secret.key": "${STORE_KEY}", "spark.hadoop.fs.azure.account.key.x": "${STORE_KEY}"}
    config = {
        "workspace": "w",
        "env": {"STORE_KEY": None},
        "spark": {"master": "local[1]", "driver_memory": "512m", "event_log": "events", "conf": conf},
        "stages": {"ingest": {"input": "*.[jp]*", "max_error_rate": 0.001}, "pii": {}},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(config))
    environment = {**os.environ, **dict.fromkeys(WHERE, SECRET), "PYTHONPATH": str(ROOT)}
    environment |= {"OPENLINEAGE_URL": "http://127.0.0.1:9", "OPENLINEAGE__TRANSPORT__RETRY": '{"total": 0}'}
    said = ""
    for log, expected in (("json", 0), ("plain", 1)):
        command = [sys.executable, "-m", "pretrain_data.cli", "nightly", str(tmp_path / "c.yaml")]
        done = subprocess.run(
            command,
            env=environment | {"PRETRAIN_DATA_LOG": log},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == (expected == 0), done.stderr[-2000:]
        said += done.stdout + done.stderr
        for i in range(11):  # more errors than are let pass
            (tmp_path / f"{i}.pdf").write_text("%PDF-1.4 and no more")
    assert "max_error_rate" in said
    assert SECRET not in said
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {"summary.json", "_manifest.json", "report.html"} <= {p.name for p in files}
    events = [p for p in files if "events" in p.parts and p.name.startswith("events_")]
    assert events
    for path in files:
        data = path.read_bytes()
        if path.suffix in (".zst", ".zstd"):
            data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
        assert SECRET.encode() not in data, path
        if path in events:
            assert b"fs.azure.account.key.x" in data, "the property itself is there"


def test_errors_name_variables_and_do_not_quote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_KEY", SECRET)
    (tmp_path / "c.yaml").write_text(
        'workspace: w\nenv: {STORE_KEY: null}\nspark: {conf: {a: ["${STORE_KEY}"]}, partitions: "${STORE_KEY}"}\n'
        "stages: {pii: {input: in}}\n"
    )
    with pytest.raises(ConfigError) as refused:
        open_pipeline(tmp_path / "c.yaml")
    assert SECRET not in str(refused.value)
    assert str(refused.value).count("${STORE_KEY}") >= 1


def test_no_password_in_an_address(tmp_path: Path) -> None:
    """It would stand in the manifest of each stage."""
    address = f"ftp://me:{SECRET}@example.org/crawl"
    (tmp_path / "c.yaml").write_text(json.dumps({"workspace": "w", "stages": {"ingest": {"input": address}}}))
    with pytest.raises(InputError, match=r"ftp://\.\.\.@example\.org/crawl: no password") as refused:
        open_pipeline(tmp_path / "c.yaml").source("ingest")
    assert SECRET not in str(refused.value)
