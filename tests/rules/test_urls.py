"""URL lists: what an entry meets, what it doesn't, what is no entry, and what the ledger says of a drop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrain_data.errors import ConfigError
from pretrain_data.rules import urls
from pretrain_data.stage import Shard
from pretrain_data.stages.rules import Rules, RulesConfig


def met(tmp_path: Path, entries: str, *addresses: str | None) -> list[int]:
    path = tmp_path / "topic.txt"
    path.write_text(entries, encoding="utf-8")
    found = urls.columns({"topic": urls.read(path)}, pa.array(addresses, pa.string()))
    return found["urls.topic"].tolist()


@pytest.mark.parametrize(
    ("entry", "url", "meets"),
    [
        ("example.com", "http://example.com/", True),
        ("example.com", "https://www.example.com/a?b#c", True),
        ("example.com", "HTTPS://WWW.EXAMPLE.COM:8443", True),
        ("EXAMPLE.com", "http://example.com./x", True),  # final dot
        ("example.com", "http://user:p@ss@example.com/", True),
        ("example.com", "http://example.com@other.org/", False),  # example.com is the user
        ("example.com", "http://other.org/?u=http://example.com/", False),
        ("example.com", "http://notexample.com/", False),
        ("example.com", "http://example.com.cn/", False),
        ("example.co.uk", "http://a.b.example.co.uk/", True),
        ("blog.example.com", "http://example.com/", False),
        ("例子.中国", "http://www.例子.中国/页", True),
        ("例子.中国", "http://xn--fsqu00a.xn--fiqs8s/", True),
        ("xn--fsqu00a.xn--fiqs8s", "http://例子.中国/", True),
        ("bücher.example", "http://xn--bcher-kva.example/", True),
        ("例子.com", "http://例子。com/", True),  # full-width dot
        (".museum", "http://a.b.museum/", True),
        (".museum", "http://museum.com/", False),
        ("203.0.113.7", "http://203.0.113.7:80/x", True),
        ("0.113.7", "http://203.0.113.7/", False),
        ("[2001:db8::1]", "http://[2001:DB8::1]:8080/x", True),
        ("[2001:db8::1]", "http://[2001:db8::2]/", False),
        ("example.com/private", "http://www.example.com/private/x", True),
        ("example.com/private", "http://example.com/PRIVATE?x=1", True),
        ("example.com/private", "http://example.com/privateer", False),
        ("example.com/private", "http://example.com/a/private", False),
        ("example.com/private", "http://example.org/private", False),
        ("/login", "http://a.cn/login", True),
        ("/login", "http://a.cn/user/Login/?next=/", True),
        ("/login", "http://a.cn/loginfo", False),
        ("/login", "http://a.cn/a?/login", False),
        ("/a/b", "http://a.cn/x/a/b/c", True),
        ("/关于", "http://a.cn/关于/我们", True),
        ("example.com", "not a url", False),
        ("example.com", "", False),
        ("localhost", "http://localhost:3000/", None),
    ],
)
def test_one_entry(tmp_path: Path, entry: str, url: str, meets: bool | None) -> None:
    if meets is None:
        with pytest.raises(ConfigError, match="public suffix"):
            met(tmp_path, entry, url)
        return
    assert met(tmp_path, entry, url) == [int(meets)]


def test_the_first_entry_counts_and_comments_do_not(tmp_path: Path) -> None:
    entries = "# a list\n\nexample.com/a # one page\nexample.com\n/z\nother.org\n"
    found = met(tmp_path, entries, "http://example.com/a", "http://example.com/z", "http://other.org/z", None, "x:")
    assert found == [3, 4, 5, 0, 0]


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("com", "public suffix"),
        ("co.uk", "public suffix"),
        ("中国", "public suffix"),
        ("http://example.com", "no scheme"),
        ("two words", "no scheme"),
        ("/", "no scheme"),
        ("example.com:80", "no host"),
        ("me@example.com", "no host"),
        ("a..b.com", "no host"),
    ],
)
def test_what_is_no_entry(tmp_path: Path, entry: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"topic\.txt:2: .*{fault}"):
        met(tmp_path, f"# first\n{entry}\n", "http://a.b/")


HOSTS = st.lists(st.sampled_from(["a", "b", "cd"]), min_size=1, max_size=3).map(lambda parts: ".".join([*parts, "com"]))


@settings(max_examples=100, deadline=None)
@given(st.lists(HOSTS, min_size=1, max_size=4, unique=True), st.lists(HOSTS, min_size=1, max_size=8))
def test_hosts_like_a_plain_search(listed: list[str], hosts: list[str]) -> None:
    one = urls.UrlList("t", hosts={host: line for line, host in enumerate(listed, 1)})
    host, path = urls.split(pa.array([f"http://{h}/" for h in hosts]))
    plain = [next((line for line, name in enumerate(listed, 1) if f".{h}".endswith(f".{name}")), 0) for h in hosts]
    assert one.lines(host, path).tolist() == plain


def stage(tmp_path: Path, **config: object) -> Rules:
    (tmp_path / "shops.txt").write_text("shop.example.com\n/cart\n")
    return Rules(RulesConfig(files=[], url_lists=[tmp_path / "shops.txt"], audit=False, **config))


def judged(rules: Rules, *addresses: str | None) -> list[tuple[object, ...]]:
    text = pa.array(["一段正文。"] * len(addresses))
    batch = pa.record_batch({"text": text, "url": pa.array(addresses, pa.string())})
    (done,) = rules.process(iter([batch]), Shard("s", ()))
    columns = (done.rule, done.value, done.threshold, done.detail)
    return list(zip(*(c.to_pylist() for c in columns if c is not None), strict=True))


def test_a_list_drops_by_itself_and_the_ledger_says_why(tmp_path: Path) -> None:
    rows = judged(stage(tmp_path), "http://shop.example.com/", "http://x.cn/cart/1", "http://x.cn/", None)
    kept = (None, None, None, None)
    assert rows == [("url_shops", 1.0, 0.0, "shop.example.com"), ("url_shops", 2.0, 0.0, "/cart"), kept, kept]


def test_a_rule_that_reads_the_list_takes_its_place(tmp_path: Path) -> None:
    rule = {"name": "paths", "drop_if": "urls.shops > 1 and lang == 'zh'"}
    rules = stage(tmp_path, rules=[rule])
    assert [r.name for r in rules.rule_set.rules] == ["paths"]
    rows = judged(rules, "http://shop.example.com/", "http://x.cn/cart/1")
    assert [row[0] for row in rows] == [None, "paths"]
    assert rows[1][3] == "/cart"


def test_faults_are_told_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no list .*nowhere.txt \(bundled: no_text\)"):
        Rules(RulesConfig(url_lists=[tmp_path / "nowhere.txt"]))
    with pytest.raises(ValueError, match=r"unknown column or parameter urls\.shop; did you mean urls\.shops"):
        stage(tmp_path, rules=[{"name": "paths", "drop_if": "urls.shop > 1"}])
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "shops.txt").write_text("x.example.com\n")
    twice = RulesConfig(url_lists=[tmp_path / "shops.txt", tmp_path / "a" / "shops.txt"])
    with pytest.raises(ConfigError, match="already"):
        Rules(twice)


def test_the_bundled_list(tmp_path: Path) -> None:
    one = urls.read(urls.find("no_text"))
    assert one.paths
    host, path = urls.split(pa.array(["http://a.cn/user/login", "http://a.cn/2026/login-with-passkeys.html"]))
    assert np.flatnonzero(one.lines(host, path)).tolist() == [0]
    assert Rules(RulesConfig(url_lists=["no_text"])).resources()[-1].name == "no_text.txt"
