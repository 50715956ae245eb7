"""dedup end to end: by brute force on made-up texts, and by the exact truth on real ones."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pretrain_data.cli import app
from pretrain_data.commands import open_pipeline
from pretrain_data.errors import PretrainDataError

pytestmark = pytest.mark.spark


def dedup(folder: Path, spark: Any, name: str = "w", **settings: Any) -> tuple[dict[str, Any], dict[str, Any], Path]:
    """Kept and dropped rows by source_id, and the stage's folder."""
    config = folder / "dedup.yaml"
    config.write_text(json.dumps({"workspace": name, "stages": {"dedup": {"input": "in.parquet", **settings}}}))
    pipeline = open_pipeline(config)
    pipeline._spark = spark
    (outcome,) = pipeline.run()
    assert outcome.state == "done"
    out = folder / name / "dedup"
    kept, dropped = (ds.dataset(out / part).to_table().to_pylist() for part in ("documents", "dropped"))
    return {r["source_id"]: r for r in kept}, {r["source_id"]: r for r in dropped}, out


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    words = text.split()
    return frozenset(tuple(words[i : i + 5]) for i in range(len(words) - 4))


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """Families of random texts with a growing number of edits; no two families are alike."""
    rng = random.Random(5)
    texts = {}
    for family in range(30):
        words = [f"w{rng.randrange(10**6)}" for _ in range(120)]
        for member in range(rng.randrange(1, 7)):
            edited = list(words)
            for at in rng.sample(range(120), member * rng.choice([0, 1, 2])):
                edited[at] = f"e{rng.randrange(10**6)}"
            texts[f"{family}-{member}"] = " ".join(edited)
    order = list(texts)
    rng.shuffle(order)
    table = pa.table({"id": order, "text": [texts[i] for i in order], "lang": ["en"] * len(order)})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=17)
    return tmp_path, texts


def true_pairs(texts: dict[str, str]) -> dict[tuple[str, str], float]:
    sets = {i: shingles(t) for i, t in texts.items()}
    return {
        (a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b]) for a, b in itertools.combinations(sorted(texts), 2)
    }


def test_exact_verification_gives_the_components_of_brute_force(
    corpus: tuple[Path, dict[str, str]], spark: Any
) -> None:
    folder, texts = corpus
    kept, dropped, out = dedup(folder, spark, threshold=0.7, verify="exact", chain="keep", miss_probability=1e-6)
    pairs = true_pairs(texts)
    graph = nx.Graph([pair for pair, j in pairs.items() if j >= 0.7])
    graph.add_nodes_from(texts)
    components = list(nx.connected_components(graph))
    assert len(kept) == len(components)
    for component in components:
        survivors = component & set(kept)
        assert len(survivors) == 1
        (survivor,) = survivors
        for member in component - survivors:
            row = dropped[member]
            assert (row["kept_id"], row["kept_doc_id"]) == (survivor, kept[survivor]["doc_id"])
            exact = pairs[min(member, survivor), max(member, survivor)]
            assert row["value"] == pytest.approx(exact, abs=1e-6)
            assert row["rule"] == ("exact_duplicate" if texts[member] == texts[survivor] else "near_duplicate")
            assert row["threshold"] == 0.7
            if row["rule"] == "near_duplicate":
                inside = len(shingles(texts[member]) & shingles(texts[survivor])) / len(shingles(texts[member]))
                assert row["detail"].startswith(f"contained {int(inside * 100 + 1e-4) / 100:.2f}; path ")
                assert best_way(graph, pairs, member, survivor) in row["detail"]
    assert all(row["cluster_id"] == row["doc_id"] for row in kept.values())
    forest = pq.read_table(out / "graph" / "forest.parquet")
    of = {row["doc_id"]: i for part in (kept, dropped) for i, row in part.items()}
    for row in forest.to_pylist():
        one, other = shingles(texts[of[row["first"]]]), shingles(texts[of[row["second"]]])
        assert row["first_in_second"] == pytest.approx(len(one & other) / len(one))
        assert row["second_in_first"] == pytest.approx(len(one & other) / len(other))
    assert forest.num_rows == len(texts) - len(components)


def best_way(graph: nx.Graph, pairs: dict[tuple[str, str], float], one: str, other: str) -> str:
    """What the ledger says of the way between two in the maximum spanning forest: it may list it, or its weakest."""
    weighted = nx.Graph([(a, b, {"weight": np.float32(pairs[min(a, b), max(a, b)])}) for a, b in graph.edges])
    way = nx.shortest_path(nx.maximum_spanning_tree(weighted), one, other)
    hops = [int(pairs[min(a, b), max(a, b)] * 100 + 1e-4) / 100 for a, b in itertools.pairwise(way)]
    return f"{min(hops):.2f}"


def test_split_chains_keep_what_nothing_stands_for(corpus: tuple[Path, dict[str, str]], spark: Any) -> None:
    folder, texts = corpus
    kept, dropped, _ = dedup(folder, spark, threshold=0.7, verify="exact", chain="split", miss_probability=1e-6)
    pairs = true_pairs(texts)
    for source_id, row in dropped.items():
        assert row["kept_id"] in kept
        assert pairs[min(source_id, row["kept_id"]), max(source_id, row["kept_id"])] >= 0.7
    for a, b in itertools.combinations(sorted(kept), 2):
        assert pairs[a, b] < 0.7, "of two documents that are alike one stands for the other"


def test_groups_are_looser_than_clusters(corpus: tuple[Path, dict[str, str]], spark: Any) -> None:
    folder, texts = corpus
    kept, _, _ = dedup(folder, spark, threshold=0.95, spacing_threshold=0.5, verify="exact", miss_probability=1e-6)
    graph = nx.Graph([pair for pair, j in true_pairs(texts).items() if j >= 0.5])
    for component in nx.connected_components(graph):
        groups = {kept[member]["similar_group"] for member in component & set(kept)}
        assert len(groups) == 1


def test_short_and_empty_texts_are_never_collapsed(tmp_path: Path, spark: Any) -> None:
    texts = ["一", "二", "一二", "！", "？", "hello", "Hello!", "hello world", "１２３", "123"]
    pq.write_table(pa.table({"id": [str(i) for i in range(len(texts))], "text": texts}), tmp_path / "in.parquet")
    kept, dropped, _ = dedup(tmp_path, spark)
    assert len(kept) == 8
    assert {frozenset((i, row["kept_id"])) for i, row in dropped.items()} == {frozenset("56"), frozenset("89")}


def test_the_real_truth(shared_data: Path, tmp_path: Path, spark: Any) -> None:
    """Pair recall, exact recall and both precisions, counted here as their definitions say."""
    (tmp_path / "in.parquet").symlink_to(shared_data / "text/dedup/docs.parquet")
    truth = pq.read_table(shared_data / "text/dedup/truth_pairs.parquet").to_pylist()
    near = {(r["id1"], r["id2"]): r["jaccard"] for r in truth}
    near |= {(b, a): j for (a, b), j in near.items()}
    kept, dropped, _ = dedup(tmp_path, spark, threshold=0.8, verify="exact")
    assert not set(kept) & set(dropped)
    alike = [r for r in truth if r["jaccard"] >= 0.85]
    assert sum(r["id1"] in dropped or r["id2"] in dropped for r in alike) / len(alike) >= 0.995
    same = [r for r in truth if r["jaccard"] == 1]
    assert all(r["id1"] in dropped or r["id2"] in dropped for r in same)
    right = sum(near.get((i, row["kept_id"]), 0) >= 0.75 for i, row in dropped.items())
    assert right / len(dropped) >= 0.99


@pytest.mark.parametrize("chain", ["split", "keep"])
def test_the_curve_is_what_reruns_keep(corpus: tuple[Path, dict[str, str]], spark: Any, chain: str) -> None:
    folder, texts = corpus
    same = {"spacing_threshold": 0.5, "verify": "exact", "chain": chain, "margin": 0.05, "token_sample": 10**6}
    _, _, out = dedup(folder, spark, "planned", threshold=0.75, curve_step=0.1, **same)
    rows = pq.read_table(out / "graph" / "curve.parquet").to_pylist()
    found = {row["threshold"]: row for row in rows}
    assert sorted(found) == [0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0, 2.0]
    assert (found[2.0]["documents"], found[2.0]["chars"]) == (len(texts), sum(map(len, texts.values())))
    tokens = token_counts(texts)
    assert found[2.0]["tokens"] == sum(tokens.values()), "all documents are in the sample"
    for threshold in (0.5, 0.6, 0.8, 1.0):
        kept, _, _ = dedup(folder, spark, f"at-{threshold}", threshold=threshold, curve_step=0.5, **same)
        assert found[threshold]["documents"] == len(kept)
        assert found[threshold]["chars"] == sum(len(texts[i]) for i in kept)


def token_counts(texts: dict[str, str]) -> dict[str, int]:
    from pretrain_data.tokenizers import load_tokenizer

    tokenizer = load_tokenizer("default")
    return {i: len(tokenizer.encode([text])[0]) for i, text in texts.items()}


def test_a_token_target_chooses_the_threshold(corpus: tuple[Path, dict[str, str]], spark: Any) -> None:
    folder, texts = corpus
    whole = sum(token_counts(texts).values())
    same = {"verify": "exact", "token_sample": 10**6, "curve_step": 0.05}
    kept, dropped, out = dedup(folder, spark, "target", target_tokens=round(whole * 0.6), **same)
    manifest = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))
    chosen = manifest["metrics"]["threshold"]
    left = sum(token_counts({i: texts[i] for i in kept}).values())
    assert left >= whole * 0.6
    assert {row["threshold"] for row in dropped.values()} == {chosen}
    stricter, _, _ = dedup(folder, spark, "stricter", threshold=chosen - 0.05, lowest_threshold=0.5, **same)
    assert sum(token_counts({i: texts[i] for i in stricter}).values()) < whole * 0.6
    _, dropped, out = dedup(folder, spark, "too-much", target_tokens=whole * 2, **same)
    manifest = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))
    assert "more data is needed" in manifest["warnings"][0]
    assert {row["rule"] for row in dropped.values()} <= {"exact_duplicate"}


def test_plan_dedup_reads_the_curve(corpus: tuple[Path, dict[str, str]], spark: Any) -> None:
    folder, texts = corpus
    dedup(folder, spark, verify="exact", lowest_threshold=0.5, curve_step=0.25, token_sample=10**6)
    whole = sum(token_counts(texts).values())
    command = ["plan", "dedup", str(folder / "dedup.yaml"), "--json", "--target-tokens"]
    found = json.loads(CliRunner().invoke(app, [*command, "1000"]).stdout)
    assert found["threshold"] == 0.5
    assert [point["threshold"] for point in found["points"]] == [0.5, 0.75, 0.8, 1.0, 2.0]
    assert "a stricter one may still leave enough" in found["advice"][-1]
    found = json.loads(CliRunner().invoke(app, [*command, str(whole * 3)]).stdout)
    assert found["threshold"] is None
    assert f"Even with no deduplication at all {whole * 2:,} are missing" in found["advice"][-1]
    found = json.loads(CliRunner().invoke(app, [*command, str(whole * 3), "--corpus-tokens", str(whole * 10)]).stdout)
    assert found["points"][-1]["tokens"] == pytest.approx(whole * 10)
    assert found["threshold"] == 0.5
    shown = CliRunner().invoke(app, [*command[:3], "--by-group"])
    assert shown.exit_code == 0
    assert "none" in shown.stdout


def test_the_guard_speaks_before_anything_is_deleted(tmp_path: Path, spark: Any) -> None:
    words = [f"w{i}" for i in range(50)]
    rows = [{"id": f"mirror-{i}", "text": " ".join([*words, f"copy{i}"]), "source": "mirror"} for i in range(12)]
    rows += [{"id": f"own-{i}", "text": " ".join(f"{w}x{i}" for w in words), "source": "own"} for i in range(12)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    guard = {"source_loss": 0.9, "cluster_share": 0.4, "min_documents": 10}
    kept, dropped, out = dedup(tmp_path, spark, verify="exact", guard=guard)
    assert (len(kept), len(dropped)) == (13, 11)
    warnings = json.loads((out / "_manifest.json").read_text(encoding="utf-8"))["warnings"]
    assert "source mirror loses 11 of 12 documents (91.7%" in warnings[0]
    assert "one cluster holds 12 of 24 documents and keeps 1" in warnings[1]
    assert len(warnings) == 2
    with pytest.raises(PretrainDataError, match="source mirror loses 11 of 12"):
        dedup(tmp_path, spark, "refused", verify="exact", guard=guard | {"then": "fail"})
    assert not (tmp_path / "refused" / "dedup").exists()
    loose = {"source_loss": 0.95, "cluster_share": 0.6, "min_documents": 10, "then": "fail"}
    dedup(tmp_path, spark, "fine", verify="exact", guard=loose)


def test_a_large_bucket_is_found_whole_and_what_it_spared_is_counted(tmp_path: Path, spark: Any) -> None:
    """300 copies meet in every band; each is paired with the first four and the eight before it, as configured."""
    text = " ".join(f"w{i}" for i in range(60))
    names = [f"c{i:03}" for i in range(300)]
    table = pa.table({"id": names, "text": [text] * 300, "lang": ["en"] * 300})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=50)
    kept, dropped, out = dedup(tmp_path, spark, threshold=0.8, anchors=4, window=8)
    assert (len(kept), len(dropped)) == (1, 299)
    manifest = json.loads((out / "_manifest.json").read_text())
    # A pair (i, j), i before j, is left out where i ≥ 4 and j > i + 8: for j = 13 … 299 that is j − 12 pairs.
    left_out = sum(j - 12 for j in range(13, 300))
    bands = manifest["metrics"]["bands"]
    assert manifest["metrics"]["pairs_left_out_of_large_buckets"] == bands * left_out


def test_documents_that_meet_nowhere_all_stay(tmp_path: Path, spark: Any) -> None:
    """One document alone: no bucket has a pair, in any partition."""
    table = pa.table({"id": ["only"], "text": ["一个人的文字，与谁都不相同，也没有谁与它相同。"], "lang": ["zh"]})
    pq.write_table(table, tmp_path / "in.parquet")
    kept, dropped, out = dedup(tmp_path, spark)
    assert (list(kept), dropped) == (["only"], {})
    assert json.loads((out / "_manifest.json").read_text())["metrics"]["pairs_left_out_of_large_buckets"] == 0


def test_more_edges_than_the_driver_holds_come_to_the_same(corpus: tuple[Path, dict[str, str]], spark: Any) -> None:
    """With a bound just above the forest's size; one below it is an error that says what to do."""
    folder, _ = corpus
    same = {"threshold": 0.7, "spacing_threshold": 0.5, "verify": "exact", "chain": "keep"}
    _, _, out = dedup(folder, spark, "driver", **same)
    forest = pq.read_table(out / "graph" / "forest.parquet")
    edges = json.loads((out / "_manifest.json").read_text())["metrics"]["edges"]
    assert edges > forest.num_rows + 5
    for bound in (forest.num_rows, forest.num_rows - 1):
        config = folder / "bound.yaml"
        config.write_text(
            json.dumps({"workspace": f"bound-{bound}", "stages": {"dedup": {"input": "in.parquet", **same}}})
        )
        pipeline = open_pipeline(config)
        pipeline._spark = spark
        pipeline.stages["dedup"].most_edges = bound
        if bound < forest.num_rows:
            with pytest.raises(PretrainDataError, match="more than the driver holds"):
                list(pipeline.run())
            continue
        (outcome,) = pipeline.run()
        assert outcome.manifest["metrics"]["edges_left_by_parts"] == forest.num_rows
        other = folder / f"bound-{bound}" / "dedup"
        for part in ("documents", "dropped", "graph"):
            files = sorted(p.relative_to(out) for p in (out / part).rglob("*.parquet"))
            assert files
            assert all((out / f).read_bytes() == (other / f).read_bytes() for f in files)
