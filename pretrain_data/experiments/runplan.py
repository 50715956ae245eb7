"""From GPUs, days and tokens to a model and a schedule; each number with its reason and source.

The budget is C = GPUs · seconds · peak · utilisation · share of the time that trains, and C = 6 N D gives the
parameters (Kaplan et al. 2020, 2.1). What follows from them are starting points of published runs, not laws.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import cache
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
    known: dict[str, dict[str, Any]] = yaml.safe_load(_data("hardware.yaml"))
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
    """One number of the plan; see figures.yaml."""

    section: str
    name: str
    value: float | int | str
    unit: str
    why: str
    source: str


@cache
def _known() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = yaml.safe_load(_data("figures.yaml"))
    return found


def _data(name: str) -> str:
    return (files("pretrain_data.experiments") / name).read_text(encoding="utf-8")


@dataclass
class Plan:
    """The figures in order, the shape, and what to worry about."""

    request: Request
    shape: ModelShape
    figures: list[Figure] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, name: str, value: float | int | str, **details: Any) -> None:
        """A figure of figures.yaml; `details` fill in its reason and source."""
        about = _known()[name]
        why, source = (about.get(key, "").format(**details) for key in ("why", "source"))
        self.figures.append(Figure(about["section"], name, value, about.get("unit", ""), why, source))

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
        found.add("tokens for this size", tokens)
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
    found.add("peak", r.card.tflops, card=r.card.name, source=r.card.source)
    found.add("utilisation", r.utilisation)
    found.add("uptime", r.uptime)
    found.add("compute", compute, gpus=r.gpus, days=r.days)
    how = "given" if r.params else "C / 6D: forward 2, backward 4 FLOPs a parameter and token"
    found.add("parameters", wanted, how=how)
    ratio = law["alpha"] * law["A"] / (law["beta"] * law["B"])
    best = ratio ** (1 / (law["alpha"] + law["beta"])) * (compute / 6) ** (law["beta"] / (law["alpha"] + law["beta"]))
    found.add("compute-optimal parameters", best)

    def loss(params: float) -> float:
        return law["E"] + law["A"] / params ** law["alpha"] + law["B"] / (compute / 6 / params) ** law["beta"]

    found.add("loss over the optimum", round(loss(wanted) / loss(best) - 1, 5), times=wanted / best)
    if wanted > 1.5 * best:
        found.warnings.append(
            f"{wanted:.3g} parameters are {wanted / best:.1f} times the compute-optimal {best:.3g}: a smaller model on "
            f"more tokens ({compute / 6 / best:.3g}) would be better and cheaper to serve"
        )


def _model(found: Plan) -> None:
    s = found.shape
    found.add("layers", s.layers, ratio=s.hidden / s.layers)
    found.add("hidden", s.hidden, tiles=s.hidden // 128)
    found.add("heads", s.heads, head_dim=s.head_dim)
    found.add("key-value heads", s.kv_heads, group=s.heads // s.kv_heads)
    found.add("feed-forward", s.ffn)
    found.add("vocabulary", s.vocab, vocab=found.request.vocab)
    found.add("embeddings", "tied" if s.tied else "untied")
    found.add("parameters of this shape", s.params)


def _phases(found: Plan, tokens: float) -> None:
    r = found.request
    long, anneal = tokens * r.long_share, tokens * r.anneal_share
    extra = 0.0
    for name, amount, sequence in (("main", tokens - long - anneal, r.sequence), ("long", long, r.long_sequence)):
        beside = found.shape.attention_flops(sequence) / (6 * found.shape.params)
        # Annealing goes on at the length of the main phase.
        extra += beside * (amount + (anneal if name == "main" else 0)) / tokens
        if amount:
            found.add(f"{name} phase", amount, share=amount / tokens, sequence=sequence)
            found.add(f"RoPE base, {name}", rope_base(sequence))
            found.add(f"attention beside 6ND, {name}", round(beside, 4))
    if anneal:
        found.add("annealing phase", anneal, share=r.anneal_share)
    found.add("days with attention", round(r.days * (1 + extra), 2))
    if extra > 0.1:
        found.warnings.append(
            f"attention adds {extra:.0%} to 6ND: plan {r.days * (1 + extra):.0f} days, or fewer tokens"
        )
    if r.unique_tokens:
        epochs = tokens / r.unique_tokens
        found.add("epochs", round(epochs, 2), unique=r.unique_tokens)
        if epochs > MOST_EPOCHS:
            found.warnings.append(f"{epochs:.1f} epochs: beyond {MOST_EPOCHS} repeated tokens are worth little")


def rope_base(sequence: int) -> int:
    """Least RoPE base for a context (Men et al. 2024), rounded up to 1, 2 or 5 · 10^k; 10,000 at least."""
    least = max(10_000.0, 0.0424 * sequence**1.628)
    power = 10 ** math.floor(math.log10(least))
    return int(next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9)))


def _optimiser(found: Plan, compute: float, tokens: float) -> None:
    r = found.request
    best, step = 0.2920 * compute**0.3271, r.gpus * r.sequence
    batch = max(1, round(best / step)) * step
    if batch > 2 * best:
        found.warnings.append(
            f"one sequence a GPU is {batch:.3g} tokens a step, over the best batch of {best:.3g}: use model parallelism"
        )
    steps = tokens / batch
    warm = min(2000, max(100, round(0.01 * steps)))
    found.add("batch", batch)
    found.add("peak learning rate", round(0.3118 * compute**-0.125, 7))
    found.add("steps", round(steps))
    found.add("warm-up", warm * batch, steps=warm)
    if r.schedule == "constant":
        found.add("constant", tokens * (1 - r.anneal_share) - warm * batch)
    else:
        found.add("cosine", tokens - warm * batch)


def _memory(found: Plan) -> None:
    r = found.request
    state = found.shape.params * TRAINING_BYTES
    least = math.ceil(state / (0.7 * r.card.memory * 1e9))
    found.add("training state", round(state / 1e9, 1))
    found.add("GPUs that hold it", least, memory=r.card.memory)
    if least > r.gpus:
        found.warnings.append(f"the training state needs {least} GPUs and there are {r.gpus}")


def _serving(found: Plan, card: Hardware, compute: float) -> None:
    r, s = found.request, found.shape
    room = r.serve_cards * card.memory * 1e9 * (1 - r.serve_margin)
    weights, cache_ = s.params * BYTES[r.serve_precision], s.kv_bytes(r.serve_context * r.serve_requests)
    found.add("weights", round(weights / 1e9, 1), bytes=BYTES[r.serve_precision], precision=r.serve_precision)
    found.add("key-value cache", round(cache_ / 1e9, 1), requests=r.serve_requests, context=r.serve_context)
    found.add(
        "room", round(room / 1e9, 1), cards=r.serve_cards, card=card.name, margin=r.serve_margin, source=card.source
    )
    fits = weights + cache_ <= room
    found.add("fits", "yes" if fits else "no", needed=(weights + cache_) / 1e9, room=room / 1e9)
    if not fits:
        cards = math.ceil((weights + cache_) / (card.memory * 1e9 * (1 - r.serve_margin)))
        most = largest_served(room, r)
        text = f"it doesn't fit {r.serve_cards} × {card.name}: take {2 ** math.ceil(math.log2(cards))} of them"
        if most:
            text += (
                f", or a model of {most / 1e9:.3g}B parameters, which this compute trains on "
                f"{compute / 6 / most / 1e12:.3g}T tokens"
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
