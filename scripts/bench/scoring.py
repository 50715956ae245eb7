"""Documents and tokens a second of a scorer: ours beside a plain transformers pipeline, and how near the GPU's limit.

    python scripts/bench/scoring.py [--texts FILE] [--model FOLDER | --size base|small] [--documents 2000] [--json OUT]

Needs torch, transformers, numpy and this folder's parent on PYTHONPATH; Parquet needs pyarrow; no Spark. Everything is
measured in one process, in turns, on the device that the first line names.

On a CPU (one thread, CPU seconds): the pipeline with batch size 32 and a truncated length, in the order of the
documents; ours in fp32, in bf16 and with weights in int8 (torch's dynamic quantisation), each with its largest
difference of a score from fp32. On a GPU: real (unpadded) tokens a second with tokenisation in the loop, and the share
of a bf16 matmul of this device, measured in the same run, that the model's floating point operations come to.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
CARRIED = ROOT / "pretrain_data" / "models" / "default" / "quality"
SHAPES = {  # layers, hidden size: BERT-base; MiniLM and multilingual-e5-small
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "small": {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536},
}
WINDOW = 8192  # documents that are sorted by length together
MATMUL = 8192  # rows and columns of the matrices of the device's limit


def main() -> None:
    """Measure and print; with --json also write."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, nargs="*", default=[], help="Parquet or JSONL with a column text.")
    parser.add_argument("--model", type=Path, default=CARRIED, help="Folder of a checkpoint; default: the carried one.")
    parser.add_argument("--size", choices=sorted(SHAPES), help="Random weights of that shape, no checkpoint.")
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--tokens-per-batch", type=int, help="Padding included; default: as the stages do.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    import torch

    from pretrain_data.kernels import scoring

    os.environ["TOKENIZERS_PARALLELISM"] = "false" if not torch.cuda.is_available() else "true"
    texts = documents(args.texts, args.documents)
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else f"CPU, {platform.machine()}, one thread"
    if not cuda:
        torch.set_num_threads(1)
    model, tokenizer = load(args.model, args.size)
    print(
        f"device: {name}; {len(texts):,} documents, model of {weights(model) / 1e6:.1f} M parameters beside embeddings"
    )
    most = min(args.max_tokens, scoring.limit_of(model, args.max_tokens))
    found: dict[str, Any] = {"device": name, "documents": len(texts), "parameters": weights(model)}
    found["host"] = host(tokenizer, texts, most)
    budget = args.tokens_per_batch or (scoring.BATCH_GPU if cuda else scoring.BATCH_CPU)
    measure = on_gpu if cuda else on_cpu
    found |= measure(model, tokenizer, texts, most, budget, args.rounds, found["host"])
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")


def documents(paths: list[Path], count: int) -> list[str]:
    """A spread of the files' texts; without any, paragraphs of this project's documentation in lengths as on the web.

    Lengths then are lognormal: median 1,200 characters, a tenth above 6,000.
    """
    rng = np.random.default_rng(0)
    texts: list[str] = []
    for path in paths:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            texts += [t for t in pq.read_table(path, columns=["text"])["text"].to_pylist() if t]
        else:
            texts += [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]
    if texts:
        return [texts[i] for i in rng.permutation(len(texts))[:count]]
    pool = [p for f in sorted((ROOT / "docs").rglob("*.md")) for p in f.read_text(encoding="utf-8").split("\n\n")]
    for size in np.minimum(rng.lognormal(np.log(1200), 1.25, count), 60_000):
        text = ""
        while len(text) < size:
            text += pool[rng.integers(len(pool))] + "\n\n"
        texts.append(text[: int(size)])
    return texts


def load(folder: Path, size: str | None) -> tuple[Any, Any]:
    """Model in fp32 on the CPU, and its tokenizer (the carried one's for random weights)."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if size is None:
        found = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
        return found.eval(), tokenizer
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30_522, num_labels=2, **SHAPES[size])
    return AutoModelForSequenceClassification.from_config(config).eval(), tokenizer


def weights(model: Any) -> int:
    """Parameters beside the embeddings: those that each token is multiplied with."""
    return sum(p.numel() for n, p in model.named_parameters() if "embeddings" not in n)


def flops(model: Any, lengths: Any) -> float:
    """Floating point operations of one forward pass over texts of these lengths: 2 a weight and token, and attention.

    Attention multiplies queries with keys and weights with values: 4 · length · hidden size a token and layer.
    """
    config = model.config
    lengths = np.asarray(lengths, np.float64)
    attention = 4 * config.num_hidden_layers * config.hidden_size * float((lengths**2).sum())
    return 2 * weights(model) * float(lengths.sum()) + attention


def host(tokenizer: Any, texts: list[str], most: int) -> dict[str, float]:
    """Tokens tokenised a second and core: of what is kept of the documents, the way it is done ahead of the device."""
    from pretrain_data.kernels import scoring

    was = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    scoring.read(tokenizer, texts[:50], most)
    cpu = time.process_time()
    read = scoring.read(tokenizer, texts, most)
    seconds = time.process_time() - cpu
    os.environ["TOKENIZERS_PARALLELISM"] = was or "true"
    tokens = int(read.lengths.sum())
    print(
        f"documents: {tokens:,} tokens of at most {most}, median {int(np.median(read.lengths))}, "
        f"{np.mean(read.lengths >= most):.0%} at the limit"
    )
    rate = tokens / seconds
    print(f"tokenisation: {rate / 1e6:.2f} M tokens a second and core")
    for device in (0.69e6, 2e6):
        print(f"  cores for a GPU that scores {device / 1e6:.2f} M tokens a second: {device / rate:.1f}")
    return {"tokens": tokens, "tokens_per_core_second": rate}


def ours(model: Any, tokenizer: Any, texts: list[str], most: int, budget: int) -> Any:
    """Scores by windows, each tokenised while the device works on the one before."""
    from pretrain_data.kernels import scoring

    windows = [texts[i : i + WINDOW] for i in range(0, len(texts), WINDOW)]
    pad = int(tokenizer.pad_token_id or 0)
    read = scoring.ahead(windows, lambda window: scoring.read(tokenizer, window, scoring.limit_of(model, most)))
    return np.concatenate([scoring.forward(model, tokens, budget, pad) for _, tokens in read])


def on_cpu(
    model: Any, tokenizer: Any, texts: list[str], most: int, budget: int, rounds: int, host: dict[str, float]
) -> dict[str, Any]:
    """Documents a CPU second of the pipeline and of ours in three precisions, in turns."""
    import copy

    import torch
    from transformers import pipeline

    plain = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")
    half = copy.deepcopy(model).to(torch.bfloat16)
    small = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8)
    runs: dict[str, Callable[[], Any]] = {
        "pipeline, batch 32, fp32": lambda: plain(texts, batch_size=32, truncation=True, max_length=most, top_k=None),
        "ours, fp32": lambda: ours(model, tokenizer, texts, most, budget),
        "ours, bf16": lambda: ours(half, tokenizer, texts, most, budget),
        "ours, int8": lambda: ours(small, tokenizer, texts, most, budget),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    scores: dict[str, Any] = {}
    for _ in range(rounds):
        for name, run in runs.items():
            cpu = time.process_time()
            scores[name] = run()
            seconds[name].append(time.process_time() - cpu)
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    first = "pipeline, batch 32, fp32"
    scores[first] = np.array(
        [[{e["label"]: e["score"] for e in row}[name] for name in labels] for row in scores[first]]
    )
    out: dict[str, Any] = {}
    base = statistics.median(seconds[first])
    for name, taken in seconds.items():
        middle = statistics.median(taken)
        off = float(np.abs(scores[name] - scores["ours, fp32"]).max())
        out[name] = {"documents_per_cpu_second": len(texts) / middle, "ratio": base / middle, "largest_difference": off}
        spread = f"{base / max(taken):.2f} to {base / min(taken):.2f}"
        print(
            f"{name:26}{len(texts) / middle:9.1f} documents/CPU s  {base / middle:5.2f}x ({spread})  off by {off:.4f}"
        )
    return {"cpu": out}


def on_gpu(
    model: Any, tokenizer: Any, texts: list[str], most: int, budget: int, rounds: int, host: dict[str, float]
) -> dict[str, Any]:
    """Real tokens a second with tokenisation in the loop, beside the pipeline in bf16 and a bf16 matmul."""
    import torch
    from transformers import pipeline

    from pretrain_data.kernels import scoring

    model = model.to("cuda", torch.bfloat16)
    plain = pipeline("text-classification", model=model, tokenizer=tokenizer, device="cuda")
    few = texts[: min(len(texts), 2000)]
    read = scoring.read(tokenizer, texts, scoring.limit_of(model, most))
    tokens, work = int(read.lengths.sum()), flops(model, read.lengths)
    pad = int(tokenizer.pad_token_id or 0)
    runs: dict[str, tuple[Callable[[], Any], float]] = {
        "pipeline, batch 32, bf16": (lambda: plain(few, batch_size=32, truncation=True, max_length=most), len(few)),
        "ours, tokenisation in the loop": (lambda: ours(model, tokenizer, texts, most, budget), len(texts)),
        "ours, tokenised before": (lambda: scoring.forward(model, read, budget, pad), len(texts)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    limit = 0.0
    for turn in range(rounds + 1):
        limit = max(limit, matmul())
        for name, (run, _) in runs.items():
            torch.cuda.synchronize()
            began = time.monotonic()
            run()
            torch.cuda.synchronize()
            if turn:  # the first turn warms up
                seconds[name].append(time.monotonic() - began)
    print(f"bf16 matmul of {MATMUL}: {limit / 1e12:.0f} TFLOP/s; {os.cpu_count()} cores for tokenisation")
    out: dict[str, Any] = {"matmul_flops": limit}
    for name, (_, count) in runs.items():
        middle = statistics.median(seconds[name])
        share = count / len(texts)
        rate, used = tokens * share / middle, work * share / middle / limit
        out[name] = {"documents_per_second": count / middle, "tokens_per_second": rate, "utilisation": used}
        print(
            f"{name:32}{count / middle:10.0f} documents/s {rate / 1e6:8.2f} M real tokens/s  {used:6.1%} of the matmul"
        )
    rate = out["ours, tokenised before"]["tokens_per_second"] / host["tokens_per_core_second"]
    print(f"cores needed so that tokenisation keeps up with this GPU: {rate:.1f}")
    return {"gpu": out}


def matmul() -> float:
    """Floating point operations a second of a large bf16 matrix product on this device."""
    import torch

    a, b = (torch.randn(MATMUL, MATMUL, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    began = time.monotonic()
    for _ in range(20):
        a @ b
    torch.cuda.synchronize()
    return 20 * 2 * MATMUL**3 / (time.monotonic() - began)


if __name__ == "__main__":
    main()
