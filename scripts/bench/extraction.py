"""Main-text extraction beside trafilatura and resiliparse: quality by source, and CPU time a page.

    python scripts/bench/extraction.py [--data ../shared/data] [--cache DIR] [--only ours] [--sample N] [--out FILE]

Three yardsticks on pages with human truth:
  gold      F1 of bags of four words (a Chinese character is a word), mean precision and recall, `crawl`
  segments  F1 of snippets that must, and must not, stand in the text, `crawl`
  en, zh    mean F1 of bags of words, `crawl_gold`, and the same by source
The pages come out of their WARC files decoded; every extractor gets the same text. The extractors take
turns page by page, so that a busy machine slows all alike; what is compared is CPU time. Decoded pages and
the answers of the other two are kept in --cache, by page, since trafilatura takes minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import pickle
import re
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretrain_data.formats.warc import read_records
from pretrain_data.kernels import charset, html

REPOSITORY = Path(__file__).resolve().parents[2]
WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")
CJK_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")
Truth = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REPOSITORY.parent / "shared/data")
    parser.add_argument("--cache", type=Path, help="folder for decoded pages and the others' answers")
    parser.add_argument("--only", help="only these extractors, separated by commas")
    parser.add_argument("--sample", type=int, default=1, help="every N-th page of the truth")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    options = parser.parse_args()
    truth = read_truth(options.data)
    kept = [item for item in truth if zlib.crc32(item["url"].encode()) % options.sample == 0]
    pages = read_pages(options.data, options.cache)
    names = options.only.split(",") if options.only else list(EXTRACTORS)
    answers = answer(names, {item["url"]: pages[item["set"]].get(item["url"], "") for item in kept}, options.cache)
    figures = {name: score(kept, answers[name]) for name in names}
    show(figures)
    if options.out:
        options.out.write_text(json.dumps(figures, indent=1, ensure_ascii=False), "utf-8")


# --- extractors -------------------------------------------------------------------------------------


def ours(page: str) -> str:
    found = html.extract(page)
    return found.text if found else ""


def trafilatura(page: str) -> str:
    from trafilatura import extract

    return extract(page, include_comments=False) or ""


def resiliparse(page: str) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    return str(extract_plain_text(page, main_content=True, alt_texts=False, links=False))


EXTRACTORS: dict[str, Callable[[str], str]] = {
    "ours": ours,
    "trafilatura": trafilatura,
    "resiliparse": resiliparse,
}


def answer(names: list[str], pages: dict[str, str], cache: Path | None) -> dict[str, dict[str, tuple[str, float]]]:
    """{extractor: {url: (text, CPU seconds)}}, one page after the other, extractors in turn."""
    known: dict[str, dict[str, tuple[str, float]]] = {name: {} for name in names}
    files = {name: cache / f"{name}.pickle" for name in names if cache and name != "ours"}
    for name, path in files.items():
        if path.exists():
            known[name] = pickle.loads(path.read_bytes())
    for warm in list(pages.values())[:20]:  # imports and compiled regular expressions aren't counted
        for name in names:
            EXTRACTORS[name](warm)
    for url, page in pages.items():
        for name in names:
            if url not in known[name]:
                start = time.process_time()
                text = EXTRACTORS[name](page)
                known[name][url] = text, time.process_time() - start
    for name, path in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(known[name]))
    return known


# --- pages and truth --------------------------------------------------------------------------------


def read_pages(data: Path, cache: Path | None) -> dict[str, dict[str, str]]:
    """{set: {url: decoded page}}; the first record of a URL counts."""
    path = cache / "pages.pickle" if cache else None
    if path and path.exists():
        return dict(pickle.loads(path.read_bytes()))
    pages: dict[str, dict[str, str]] = {}
    for name in ("crawl", "crawl_gold"):
        pages[name] = {}
        for warc in sorted((data / name / "warc").glob("*.warc.gz")):
            if warc.name.startswith("special"):
                continue
            for record in read_records(str(warc), 0, warc.stat().st_size, 20 << 20):
                if record.kind == "response" and record.status == 200 and record.error is None:
                    pages[name].setdefault(record.url, charset.decode(record.body, record.charset).text)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(pages))
    return pages


def read_truth(data: Path) -> list[Truth]:
    """Rows with url, set and what should be found: gold (a text) or with and without (snippets)."""
    rows: list[Truth] = []
    for name in ("extraction_truth", "extraction_segments"):
        for line in (data / "crawl" / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            rows.append({**row, "set": "crawl", "group": "gold" if "text" in row else "segments"})
    with gzip.open(data / "crawl_gold/extraction_truth.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row["gold_complete"] and row["source"] != "goose3":  # of goose3 only the beginning is known
                lang = "zh" if row["lang"].startswith("zh") else "en" if row["lang"] == "en" else "other"
                rows.append({**row, "set": "crawl_gold", "group": lang, "text": row["gold"]})
    return rows


# --- scores -----------------------------------------------------------------------------------------


def score(truth: list[Truth], answers: dict[str, tuple[str, float]]) -> dict[str, Any]:
    """Figures of one extractor: {group: [pages, F1]} and pages a CPU second."""
    shingled: list[tuple[float, float]] = []
    snippets: Counter[str] = Counter()
    by_group: dict[str, list[float]] = defaultdict(list)
    for row in truth:
        text = answers[row["url"]][0]
        if row["group"] == "gold":
            shingled.append(overlap(shingles(text), shingles(row["text"])))
        elif row["group"] == "segments":
            found = " ".join(WORD.findall(text.lower()))
            for kind in ("with", "without"):
                for snippet in row[kind] or []:
                    snippets[f"{kind} {' '.join(WORD.findall(snippet.lower())) in found}"] += 1
        else:
            precision, recall = overlap(bag(text), bag(row["text"]))
            one = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            by_group[row["group"]].append(one)
            by_group[f"{row['group']}/{row['source']}"].append(one)
    figures: dict[str, Any] = {}
    if shingled:
        precision, recall = (sum(side) / len(shingled) for side in zip(*shingled, strict=True))
        figures["gold"] = [len(shingled), harmonic(precision, recall), precision, recall]
    right = snippets["with True"]
    precision = right / max(1, right + snippets["without True"])
    recall = right / max(1, right + snippets["with False"])
    figures["segments"] = [snippets.total(), harmonic(precision, recall), precision, recall]
    figures.update({group: [len(f), sum(f) / len(f)] for group, f in sorted(by_group.items())})
    seconds = sum(answers[url][1] for url in {row["url"] for row in truth})
    figures["pages_per_cpu_second"] = len({row["url"] for row in truth}) / max(1e-9, seconds)
    return figures


def shingles(text: str, size: int = 4) -> Counter[tuple[str, ...]]:
    words = WORD.findall(text.lower())
    return Counter(tuple(words[i : i + size]) for i in range(max(1, len(words) - size + 1))) if words else Counter()


def bag(text: str) -> Counter[str]:
    return Counter(CJK_WORD.findall(text.lower()))


def overlap(found: Counter[Any], gold: Counter[Any]) -> tuple[float, float]:
    """Precision and recall of one bag against another."""
    both = (found & gold).total()
    return both / max(1, found.total()), both / max(1, gold.total())


def harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / max(1e-9, precision + recall)


def show(figures: dict[str, dict[str, Any]]) -> None:
    names = list(figures)
    print(f"{'':34}{'pages':>7}" + "".join(f"{name:>13}" for name in names))
    for group in figures[names[0]]:
        if group == "pages_per_cpu_second":
            print(f"{'pages per CPU second':41}" + "".join(f"{figures[name][group]:13.0f}" for name in names))
        else:
            line = "".join(f"{figures[name][group][1]:13.4f}" for name in names)
            print(f"{group:34}{figures[names[0]][group][0]:7}{line}")


if __name__ == "__main__":
    main()
