"""What is wanted: a tree of shares over any columns, and which leaf a document belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pretrain_data.errors import InputError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[0-9]+)?)\s*([KMBT]?)", re.IGNORECASE)


def token_count(value: Any) -> Any:
    """Read 1500000, "1.5M", "2B" or "1e9" as a number of tokens."""
    if isinstance(value, str):
        match = _AMOUNT.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"{value!r} is not a number of tokens such as 1500000, 1.5M, 2B or 1e9")
        value = float(match[1]) * _UNITS[match[2].upper()]
    return int(value) if isinstance(value, float) and value.is_integer() else value


Tokens = Annotated[int, BeforeValidator(token_count)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Model):
    """A condition on a number: min ≤ value < max. A null value never fits."""

    min: float | None = Field(default=None, description="Smallest value that fits.")
    max: float | None = Field(default=None, description="Values from here on do not fit.")

    @model_validator(mode="after")
    def _some(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


Condition = str | list[str] | Range


class Part(_Model):
    """A part of the mixture: documents that fit `where`, given `weight` of the part around it."""

    name: str = Field(description="Its name in the plan; unique among its siblings.")
    weight: float = Field(ge=0, description="Share of the tokens, relative to its siblings.")
    where: dict[str, Condition] = Field(
        default_factory=dict,
        description="Column → a value, a list of values, or {min, max}; all must fit. `tokens` is known.",
    )
    max_epochs: float | None = Field(
        default=None, gt=0, description="Uses of a document at most; default: the phase's."
    )
    mix: list[Part] = Field(default_factory=list, description="Parts of this part.")

    @model_validator(mode="after")
    def _distinct(self) -> Part:
        distinct_names(self.mix)
        return self


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def distinct_names(parts: Sequence[_Named]) -> None:
    """Raise ValueError where two have the same name."""
    names = [part.name for part in parts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two are named {name!r}")


class Leaf(_Model):
    """A part with no parts of its own, with all conditions from the root down."""

    path: str
    conditions: tuple[tuple[str, Condition], ...]
    max_epochs: float

    def fits(self, batch: pa.RecordBatch) -> np.ndarray:
        """Boolean mask over the rows."""
        mask = np.ones(batch.num_rows, bool)
        for column, condition in self.conditions:
            if column not in batch.schema.names:
                raise InputError(f"the mixture's part {self.path} looks at {column}, which the input lacks")
            values = batch.column(column)
            if isinstance(condition, Range):
                if condition.min is not None:
                    mask &= _true(pc.greater_equal(values, condition.min))
                if condition.max is not None:
                    mask &= _true(pc.less(values, condition.max))
            else:
                accepted = [condition] if isinstance(condition, str) else list(condition)
                mask &= _true(pc.is_in(values.cast(pa.string()), pa.array(accepted, pa.string())))
        return mask


def _true(mask: pa.Array) -> np.ndarray:
    return mask.fill_null(False).to_numpy(zero_copy_only=False)


def leaves(parts: Sequence[Part], max_epochs: float) -> list[Leaf]:
    """All leaves, in the order written."""

    def walk(part: Part, path: str, above: tuple[tuple[str, Condition], ...], cap: float) -> Iterator[Leaf]:
        conditions = (*above, *part.where.items())
        cap = part.max_epochs or cap
        if part.mix:
            for child in part.mix:
                yield from walk(child, f"{path}/{child.name}", conditions, cap)
        else:
            yield Leaf(path=path, conditions=conditions, max_epochs=cap)

    return [leaf for part in parts for leaf in walk(part, part.name, (), max_epochs)]


def assign(found: Sequence[Leaf], batch: pa.RecordBatch) -> np.ndarray:
    """Number of the first leaf that each row fits, −1 where none does; int16."""
    result = np.full(batch.num_rows, -1, np.int16)
    for number in range(len(found) - 1, -1, -1):
        result[found[number].fits(batch)] = number
    return result


def columns_used(found: Sequence[Leaf]) -> list[str]:
    """Columns that the conditions look at, `tokens` left out (it is counted, not read)."""
    return sorted({column for leaf in found for column, _ in leaf.conditions} - {"tokens"})
