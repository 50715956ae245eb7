"""From GPUs, days and tokens to a model and a schedule; each number with its reason and source.

The budget is C = GPUs · seconds · peak · utilisation · share of the time that trains, and C = 6 N D gives the
parameters (Kaplan et al. 2020, 2.1). What follows from them are starting points of published runs, not laws.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from typing import Any, Literal

import yaml

from pretrain_data.errors import InputError
from pretrain_data.experiments.shape import ModelShape, shape_for

Precision = Literal["bf16", "fp8", "int4"]
BYTES = {"bf16": 2.0, "fp8": 1.0, "int4": 0.56}  # int4 in groups of 64 with 16-bit scales and zero points

#: Besiroglu et al. 2024, the refit of Hoffmann et al.'s approach 3.
CHINCHILLA = {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658}
#: Bytes a parameter in mixed-precision training with Adam (Rajbhandari et al. 2020, ZeRO, section 3).
TRAINING_BYTES = 16
#: Beyond about four epochs repeated tokens are worth little (Muennighoff et al. 2023).
MOST_EPOCHS = 4
DAY = 86_400


@dataclass(frozen=True)
class Hardware:
    """A card: dense BF16 TFLOP/s, memory in GB (10^9 bytes), and where that is from."""

    name: str
    tflops: float
    memory: float
    source: str


def hardware(name: str) -> Hardware:
    """A card of hardware.yaml, by its name or the beginning of it, case aside. Raises InputError."""
    text = (files("pretrain_data.experiments") / "hardware.yaml").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = yaml.safe_load(text)
    found = [k for k in known if k.lower() == name.lower()] or [k for k in known if k.lower().startswith(name.lower())]
    if not found:
        raise InputError(f"no card {name!r}; there are {', '.join(known)}; or give --peak-tflops and --memory")
    return Hardware(found[0], **known[found[0]])


@dataclass(frozen=True)
class Request:
    """What there is: `days` of `gpus` cards, `tokens` to train on; the rest has defaults that `plan` explains."""

    gpus: int
    days: float
    tokens: float
    card: Hardware
    utilisation: float = 0.4
    uptime: float = 0.9
    vocab: int = 151_936
    sequence: int = 4096
    long_sequence: int = 32_768
    long_share: float = 0.1
    anneal_share: float = 0.1
    schedule: Literal["constant", "cosine"] = "constant"
    unique_tokens: float | None = None
    params: float | None = None
    serve_card: Hardware | None = None
    serve_cards: int = 1
    serve_precision: Precision = "bf16"
    serve_context: int = 32_768
    serve_requests: int = 8
    serve_margin: float = 0.1


@dataclass(frozen=True)
class Figure:
    """One number of the plan."""

    section: str
    name: str
    value: float | int | str
    unit: str
    why: str
    source: str = ""


@dataclass
class Plan:
    """The figures in order, the shape, and what to worry about."""

    request: Request
    shape: ModelShape
    figures: list[Figure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, *figure: Any) -> None:
        self.figures.append(Figure(*figure))

    def value(self, name: str) -> float:
        """The figure of this name."""
        [found] = [f.value for f in self.figures if f.name == name]
        return float(found)

    def record(self) -> dict[str, Any]:
        return {
            "request": asdict(self.request),
            "shape": asdict(self.shape),
            "figures": [asdict(f) for f in self.figures],
            "warnings": self.warnings,
        }


def plan(request: Request) -> Plan:
    """Make the plan. Raises InputError for a request that can't be."""
    _check(request)
    compute = request.gpus * request.days * DAY * request.card.tflops * 1e12 * request.utilisation * request.uptime
    wanted = request.params or compute / 6 / request.tokens
    found = Plan(request, shape_for(wanted, request.vocab))
    _budget(found, compute, wanted)
    _model(found)
    tokens = request.tokens
    if request.params:
        tokens = compute / 6 / found.shape.params
        found.add("budget", "tokens for this size", tokens, "tokens", "C / 6N: the parameters were given")
    _phases(found, tokens)
    _optimiser(found, compute, tokens)
    _memory(found)
    if request.serve_card is not None:
        _serving(found, request.serve_card, compute)
    return found


def _check(request: Request) -> None:
    for name in ("gpus", "days", "tokens"):
        if getattr(request, name) <= 0:
            raise InputError(f"{name} must be more than 0, not {getattr(request, name)}")
    for name in ("utilisation", "uptime"):
        if not 0 < getattr(request, name) <= 1:
            raise InputError(f"{name} must be over 0 and at most 1, not {getattr(request, name)}")
    if not 0 <= request.long_share < 1 or not 0 <= request.anneal_share < 1 - request.long_share:
        raise InputError("the shares of the long and the annealing phase must leave something for the main one")


def _budget(found: Plan, compute: float, wanted: float) -> None:
    r, law = found.request, CHINCHILLA
    found.add("budget", "peak", r.card.tflops, "TFLOP/s a GPU", f"dense BF16 of a {r.card.name}", r.card.source)
    found.add(
        "budget",
        "utilisation",
        r.utilisation,
        "of the peak",
        "model FLOPs over peak; 0.38 to 0.43 at 8 to 16 thousand H100",
        "Dubey et al. 2024, table 4; Chowdhery et al. 2022 report 0.46",
    )
    found.add(
        "budget",
        "uptime",
        r.uptime,
        "of the time",
        "failures, restarts and checkpoints cost the rest",
        "Dubey et al. 2024, 3.3.4: over 0.9",
    )
    found.add("budget", "compute", compute, "FLOPs", f"{r.gpus:,} GPUs · {r.days:g} days · peak · utilisation · uptime")
    found.add(
        "budget",
        "parameters",
        wanted,
        "",
        "given" if r.params else "C / 6D: forward 2, backward 4 FLOPs a parameter and token",
        "Kaplan et al. 2020, 2.1",
    )
    ratio = law["alpha"] * law["A"] / (law["beta"] * law["B"])
    best = ratio ** (1 / (law["alpha"] + law["beta"])) * (compute / 6) ** (law["beta"] / (law["alpha"] + law["beta"]))
    found.add(
        "budget",
        "compute-optimal parameters",
        best,
        "",
        "least loss for this compute, if inference cost nothing",
        "Besiroglu et al. 2024: L = 1.8172 + 482.01/N^0.3478 + 2085.43/D^0.3658",
    )

    def loss(params: float) -> float:
        return law["E"] + law["A"] / params ** law["alpha"] + law["B"] / (compute / 6 / params) ** law["beta"]

    excess = loss(wanted) / loss(best) - 1
    found.add(
        "budget",
        "loss over the optimum",
        round(excess, 5),
        "relative",
        f"N is {wanted / best:.2f} of the optimum; a smaller model is cheaper to serve",
        "the same law",
    )
    if wanted > 1.5 * best:
        found.warnings.append(
            f"{wanted:.3g} parameters are {wanted / best:.1f} times the compute-optimal {best:.3g}: a smaller model on "
            f"more tokens ({compute / 6 / best:.3g}) would be better and cheaper to serve"
        )


def _model(found: Plan) -> None:
    s, r = found.shape, found.request
    found.add(
        "model",
        "layers",
        s.layers,
        "",
        f"width over layers is {s.hidden / s.layers:.0f}: both grow together",
        "Kaplan et al. 2020, 3.1; Dubey et al. 2024, table 3: 128, 102, 130",
    )
    found.add(
        "model",
        "hidden",
        s.hidden,
        "",
        f"a multiple of 128: {s.hidden} = {s.hidden // 128} · 128, whole tiles of the tensor cores",
        "Anthony et al. 2024 (arXiv:2401.14489)",
    )
    found.add(
        "model",
        "heads",
        s.heads,
        "",
        f"a multiple of 8, so that tensor parallelism splits them; {s.head_dim} each",
        "Anthony et al. 2024",
    )
    found.add(
        "model",
        "key-value heads",
        s.kv_heads,
        "",
        f"shared by groups of {s.heads // s.kv_heads}: the cache shrinks as much",
        "Ainslie et al. 2023",
    )
    found.add(
        "model",
        "feed-forward",
        s.ffn,
        "",
        "SwiGLU, 8/3 of hidden, rounded up to a multiple of 256",
        "Shazeer 2020; Touvron et al. 2023",
    )
    found.add(
        "model",
        "vocabulary",
        s.vocab,
        "",
        f"{r.vocab:,} of the tokenizer, rounded up to a multiple of 128",
        "Anthony et al. 2024",
    )
    found.add(
        "model",
        "embeddings",
        "tied" if s.tied else "untied",
        "",
        "tied where they would be a large part (under 4B)",
        "Qwen2.5 report: tied up to 3B",
    )
    found.add("model", "parameters of this shape", s.params, "", "counted from the sizes above, embeddings included")


def _phases(found: Plan, tokens: float) -> None:
    r = found.request
    long, anneal = tokens * r.long_share, tokens * r.anneal_share
    main = tokens - long - anneal
    for name, amount, sequence in (("main", main, r.sequence), ("long", long, r.long_sequence)):
        if amount:
            found.add(
                "schedule",
                f"{name} phase",
                amount,
                "tokens",
                f"{amount / tokens:.0%} at {sequence:,} tokens a "
                "sequence"
                + ("" if name == "main" else ": attention over long sequences costs, and long documents are few"),
                "Xiong et al. 2023; Dubey et al. 2024, 3.4.2",
            )
            found.add(
                "schedule",
                f"RoPE base, {name}",
                rope_base(sequence),
                "",
                "the least for this length, rounded up",
                "Men et al. 2024 (arXiv:2405.14591), figure 1: 0.0424 · length^1.628",
            )
            share = found.shape.attention_flops(sequence) / (6 * found.shape.params)
            found.add(
                "schedule",
                f"attention beside 6ND, {name}",
                round(share, 4),
                "of 6N",
                "scores and weighted sums; days grow by as much in this phase",
                "Chowdhery et al. 2022, appendix B",
            )
    if anneal:
        found.add(
            "schedule",
            "annealing phase",
            anneal,
            "tokens",
            f"{r.anneal_share:.0%}, the best documents, learning rate to a tenth of the peak and below",
            "Hu et al. 2024 (MiniCPM), 4.3: a tenth of the tokens is enough",
        )
    extra = sum(
        share * found.shape.attention_flops(length) / (6 * found.shape.params)
        for share, length in ((1 - r.long_share, r.sequence), (r.long_share, r.long_sequence))
    )
    found.add(
        "schedule",
        "days with attention",
        round(r.days * (1 + extra), 2),
        "days",
        "what 6ND leaves out, over all phases",
    )
    if extra > 0.1:
        found.warnings.append(
            f"attention adds {extra:.0%} to 6ND: plan {r.days * (1 + extra):.0f} days, or fewer tokens"
        )
    if r.unique_tokens:
        epochs = tokens / r.unique_tokens
        found.add(
            "schedule",
            "epochs",
            round(epochs, 2),
            "",
            f"over {r.unique_tokens:.3g} tokens that there are",
            "Muennighoff et al. 2023: up to four are nearly as good as new tokens",
        )
        if epochs > MOST_EPOCHS:
            found.warnings.append(f"{epochs:.1f} epochs: beyond {MOST_EPOCHS} repeated tokens are worth little")


def rope_base(sequence: int) -> int:
    """Least RoPE base for a context (Men et al. 2024), rounded up to 1, 2 or 5 · 10^k; 10,000 at least."""
    least = max(10_000.0, 0.0424 * sequence**1.628)
    power = 10 ** math.floor(math.log10(least))
    return int(next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9)))


def _optimiser(found: Plan, compute: float, tokens: float) -> None:
    r = found.request
    step = r.gpus * r.sequence
    batch = max(1, round(0.2920 * compute**0.3271 / step)) * step
    if batch > 2 * 0.2920 * compute**0.3271:
        found.warnings.append(
            f"one sequence a GPU is {batch:.3g} tokens a step, over the best batch: use model parallelism"
        )
    steps = tokens / batch
    warm = min(2000, max(100, round(0.01 * steps)))
    found.add(
        "optimiser",
        "batch",
        batch,
        "tokens",
        "0.2920 · C^0.3271, in whole sequences a GPU",
        "Bi et al. 2024 (DeepSeek LLM), eq. 1",
    )
    found.add(
        "optimiser",
        "peak learning rate",
        round(0.3118 * compute**-0.125, 7),
        "",
        "0.3118 · C^-0.1250: a start to try from",
        "Bi et al. 2024, eq. 1",
    )
    found.add("optimiser", "steps", round(steps), "", "tokens over batch")
    found.add(
        "optimiser",
        "warm-up",
        warm * batch,
        "tokens",
        f"{warm:,} steps, linear",
        "Bi et al. 2024 and Touvron et al. 2023: 2,000 steps",
    )
    if r.schedule == "constant":
        flat = tokens * (1 - r.anneal_share) - warm * batch
        found.add(
            "optimiser",
            "constant",
            flat,
            "tokens",
            "at the peak: may be prolonged while data arrives, and any checkpoint annealed",
            "Hu et al. 2024 (WSD)",
        )
    else:
        found.add(
            "optimiser",
            "cosine",
            tokens - warm * batch,
            "tokens",
            "to a tenth of the peak; its length must be known from the start",
            "Hoffmann et al. 2022, appendix B",
        )


def _memory(found: Plan) -> None:
    r, s = found.request, found.shape
    state = s.params * TRAINING_BYTES
    least = math.ceil(state / (0.7 * r.card.memory * 1e9))
    found.add(
        "memory",
        "training state",
        round(state / 1e9, 1),
        "GB",
        "16 bytes a parameter: weights, gradients, Adam in mixed precision",
        "Rajbhandari et al. 2020, section 3",
    )
    found.add(
        "memory",
        "GPUs that hold it",
        least,
        "",
        f"at 70 % of {r.card.memory:g} GB each, activations in the rest; sharded or in tensor and pipeline parallel",
    )
    if least > r.gpus:
        found.warnings.append(f"the training state needs {least} GPUs and there are {r.gpus}")


def _serving(found: Plan, card: Hardware, compute: float) -> None:
    r, s = found.request, found.shape
    room = r.serve_cards * card.memory * 1e9 * (1 - r.serve_margin)
    weights = s.params * BYTES[r.serve_precision]
    cache = s.kv_bytes(r.serve_context * r.serve_requests)
    found.add(
        "serving",
        "weights",
        round(weights / 1e9, 1),
        "GB",
        f"{BYTES[r.serve_precision]:g} bytes a parameter in {r.serve_precision}",
    )
    found.add(
        "serving",
        "key-value cache",
        round(cache / 1e9, 1),
        "GB",
        f"{r.serve_requests} requests of {r.serve_context:,} tokens in 16 bits",
    )
    found.add(
        "serving",
        "room",
        round(room / 1e9, 1),
        "GB",
        f"{r.serve_cards} × {card.name} less {r.serve_margin:.0%} margin for activations and fragments",
        card.source,
    )
    fits = weights + cache <= room
    found.add(
        "serving", "fits", "yes" if fits else "no", "", f"{(weights + cache) / 1e9:.1f} GB of {room / 1e9:.1f} GB"
    )
    if not fits:
        cards = math.ceil((weights + cache) / (card.memory * 1e9 * (1 - r.serve_margin)))
        most = largest_served(room, r)
        text = f"it doesn't fit {r.serve_cards} × {card.name}: take {2 ** math.ceil(math.log2(cards))} of them"
        if most:
            text += (
                f", or a model of {most:.3g} parameters, which this compute trains on {compute / 6 / most:.3g} tokens"
            )
        found.warnings.append(text)


def largest_served(room: float, request: Request) -> float | None:
    """Most parameters whose weights and cache fit `room` bytes; None where not even a small model does."""
    best = None
    for tenth in range(80, 130):
        try:
            shape = shape_for(10 ** (tenth / 10), request.vocab)
        except InputError:
            continue
        cache = shape.kv_bytes(request.serve_context * request.serve_requests)
        if shape.params * BYTES[request.serve_precision] + cache <= room:
            best = float(shape.params)
    return best
