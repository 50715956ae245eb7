"""The language of predicates: `signals.zh_share < 0.3 and lang == "zh"`.

Parsed by Python's own parser, of whose grammar only this is let through; nothing is ever executed:

    or, and, not, ( )
    <  <=  >  >=  ==  !=  (chains too: 3 <= x <= 10),  in, not in [list of literals]
    +  -  *  /
    numbers, strings, true, false
    columns (lang, format, source ...), signals.NAME, parameters of the rule
    abs(x)  min(x, y)  max(x, y)  per_thousand(x)  per_line(x)
    startswith(s, "...")  endswith(s, "...")  contains(s, "...")

Numbers follow IEEE 754, x / 0 is NaN; a comparison with a missing value or NaN is false (so that no
rule drops a document for what is not known), `!=` included. Comparisons of 32-bit signals with a
literal are made in 32 bits: 0.1 is not above 0.1.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pretrain_data.errors import ConfigError

NUMBER, STRING, BOOL = "number", "string", "true or false"

Batch = Mapping[str, Any]  # name → NumPy numbers, or an Arrow array of strings

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
    ast.Eq: np.equal,
    ast.NotEq: np.not_equal,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_SYMBOLS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}
_TEXT_TESTS = {
    "startswith": pc.starts_with,
    "endswith": pc.ends_with,
    "contains": pc.match_substring,
}
_NUMERIC = {"abs": 1, "min": 2, "max": 2, "per_thousand": 1, "per_line": 1}


@dataclass(frozen=True)
class Vocabulary:
    """The names that an expression may use: column or `signals.NAME` → NUMBER or STRING."""

    types: Mapping[str, str]

    def type_of(self, name: str, where: str) -> str:
        """Type of a name. Raises ConfigError with the nearest known one."""
        if name in self.types:
            return self.types[name]
        near = difflib.get_close_matches(name, self.types, n=1, cutoff=0.5)
        what = "signal" if name.startswith("signals.") else "column or parameter"
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{where}: unknown {what} {name}{hint}")


@dataclass(frozen=True)
class Atom:
    """One numeric comparison of a predicate: what was measured and what it was held against."""

    value: Callable[[Batch], Any]
    threshold: Callable[[Batch], Any]
    holds: Callable[[Batch], npt.NDArray[np.bool_]]  # true where it speaks for the predicate
    text: str
    names: frozenset[str]  # what `value` reads


@dataclass(frozen=True)
class Predicate:
    """A compiled predicate."""

    text: str
    test: Callable[[Batch], npt.NDArray[np.bool_]]
    atoms: tuple[Atom, ...]  # in the order written
    names: frozenset[str]

    def evidence(
        self, batch: Batch, rows: npt.NDArray[np.bool_]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """For each of `rows` the value and threshold of the first comparison that holds; else NaN."""
        value = np.full(len(rows), np.nan)
        threshold = np.full(len(rows), np.nan)
        open_rows = rows.copy()
        for atom in self.atoms:
            now = open_rows & atom.holds(batch)
            if now.any():
                value[now] = np.broadcast_to(atom.value(batch), rows.shape)[now]
                threshold[now] = np.broadcast_to(atom.threshold(batch), rows.shape)[now]
                open_rows &= ~now
        return value, threshold


@dataclass(frozen=True)
class _Node:
    type: str
    value: Callable[[Batch], Any]
    names: frozenset[str] = frozenset()
    constant: bool = False


def parse(
    text: object, vocabulary: Vocabulary, where: str, parameters: Mapping[str, float | str] | None = None
) -> Predicate:
    """Parse and type-check one predicate.

    `where` begins every message (the rule's name). Raises ConfigError for a syntax error, an unknown
    name (with the nearest known one), a type that doesn't fit, or anything outside the language.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{where}: a predicate is text such as 'signals.words < 50', not {text!r}")
    try:
        tree = ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ConfigError(f"{where}: {text!r} can't be read{place}: {_reason(error)}") from None
    parser = _Parser(vocabulary, where, parameters or {})
    try:
        node = parser.visit(tree, True)
    except RecursionError:
        raise ConfigError(f"{where}: the predicate is nested too deeply") from None
    if node.type != BOOL:
        raise ConfigError(f"{where}: {text!r} is a {node.type}, not a condition; compare it with something")
    test = node.value

    def rows(batch: Batch) -> npt.NDArray[np.bool_]:
        length = len(next(iter(batch.values())))
        return np.broadcast_to(np.asarray(test(batch), bool), (length,))

    return Predicate(text, rows, tuple(parser.atoms), node.names)


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, SyntaxError) else str(error) or type(error).__name__


class _Parser:
    def __init__(self, vocabulary: Vocabulary, where: str, parameters: Mapping[str, float | str]) -> None:
        self.vocabulary, self.where, self.parameters = vocabulary, where, parameters
        self.atoms: list[Atom] = []

    def fail(self, node: ast.AST, why: str) -> ConfigError:
        return ConfigError(f"{self.where}: {ast.unparse(node)!r}: {why}")

    def visit(self, node: ast.expr, positive: bool) -> _Node:
        """Compile `node`; `positive` is false under an odd number of `not`."""
        if isinstance(node, ast.BoolOp):
            parts = [self.need(v, BOOL, positive) for v in node.values]
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return _Node(BOOL, lambda b: combine.reduce([p.value(b) for p in parts]) if len(parts) == 1
                         else _fold(combine, [p.value(b) for p in parts]), _names(parts))  # fmt: skip
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            part = self.need(node.operand, BOOL, not positive)
            return _Node(BOOL, lambda b: np.logical_not(part.value(b)), part.names)
        if isinstance(node, ast.Compare):
            return self.compare(node, positive)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = self.need(node.left, NUMBER, positive), self.need(node.right, NUMBER, positive)
            operate = _ARITHMETIC[type(node.op)]
            return _Node(
                NUMBER,
                _quietly(lambda b: operate(left.value(b), right.value(b))),
                left.names | right.names,
                left.constant and right.constant,
            )
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            part = self.need(node.operand, NUMBER, positive)
            return _Node(NUMBER, lambda b: np.negative(part.value(b)), part.names, part.constant)
        if isinstance(node, ast.Constant):
            return self.literal(node, node.value)
        if isinstance(node, ast.Name) and node.id in ("true", "false"):
            return _constant(BOOL, node.id == "true")
        if isinstance(node, ast.Name):
            if node.id in self.parameters:
                return self.literal(node, self.parameters[node.id])
            return self.column(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            return self.column(f"{node.value.id}.{node.attr}")
        if isinstance(node, ast.Call):
            return self.call(node, positive)
        raise self.fail(node, "isn't part of the rule language")

    def need(self, node: ast.expr, kind: str, positive: bool) -> _Node:
        part = self.visit(node, positive)
        if part.type != kind:
            raise self.fail(node, f"is a {part.type} where a {kind} is needed")
        return part

    def literal(self, node: ast.AST, value: object) -> _Node:
        if isinstance(value, bool):
            return _constant(BOOL, value)
        if isinstance(value, int | float):
            return _constant(NUMBER, value)
        if isinstance(value, str):
            return _constant(STRING, value)
        raise self.fail(node, "isn't a number, a string, true or false")

    def column(self, name: str) -> _Node:
        known = [*self.vocabulary.types, *self.parameters]
        kind = Vocabulary({**self.vocabulary.types, **dict.fromkeys(self.parameters, NUMBER)}).type_of(name, self.where)
        assert name in known
        return _Node(kind, lambda b: b[name], frozenset([name]))

    def call(self, node: ast.Call, positive: bool) -> _Node:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if node.keywords or name not in {*_NUMERIC, *_TEXT_TESTS}:
            known = ", ".join([*_NUMERIC, *_TEXT_TESTS])
            raise self.fail(node, f"isn't a function of the rule language (these are: {known})")
        wanted = _NUMERIC.get(name, 2)
        if len(node.args) != wanted:
            raise self.fail(node, f"{name} takes {wanted} argument{'s' if wanted > 1 else ''}")
        if name in _TEXT_TESTS:
            column, pattern = (self.need(a, STRING, positive) for a in node.args)
            if column.constant or not pattern.constant:
                raise self.fail(node, f"{name} takes a column and a literal")
            test, wanted_text = _TEXT_TESTS[name], pattern.value({})
            return _Node(BOOL, lambda b: _truth(test(column.value(b), wanted_text)), column.names)
        parts = [self.need(a, NUMBER, positive) for a in node.args]
        constant = all(p.constant for p in parts)
        if name in ("per_thousand", "per_line"):
            base = "signals.chars" if name == "per_thousand" else "signals.lines"
            factor = 1000.0 if name == "per_thousand" else 1.0
            one = parts[0]
            return _Node(
                NUMBER,
                _quietly(lambda b: factor * one.value(b) / b[base]),
                one.names | {base},
            )
        operate: Callable[..., Any] = {"abs": np.abs, "min": np.minimum, "max": np.maximum}[name]
        return _Node(NUMBER, lambda b: operate(*(p.value(b) for p in parts)), _names(parts), constant)

    def compare(self, node: ast.Compare, positive: bool) -> _Node:
        operands = [node.left, *node.comparators]
        if isinstance(node.ops[0], ast.In | ast.NotIn):
            return self.membership(node, positive)
        parts = [self.visit(o, positive) for o in operands]
        tests: list[Callable[[Batch], Any]] = []
        for left, op, right, shown in zip(parts, node.ops, parts[1:], operands[1:], strict=False):
            if type(op) not in _COMPARE:
                raise self.fail(node, "isn't part of the rule language")
            if left.type != right.type:
                raise self.fail(node, f"compares a {left.type} with a {right.type}")
            if left.type != NUMBER and not isinstance(op, ast.Eq | ast.NotEq):
                raise self.fail(shown, f"a {left.type} can only be == or !=")
            if left.constant and right.constant:
                raise self.fail(node, "compares two constants")
            tests.append(self.one(node, left, op, right, positive))
        if len(tests) == 1:
            return _Node(BOOL, tests[0], _names(parts))
        return _Node(BOOL, lambda b: _fold(np.logical_and, [t(b) for t in tests]), _names(parts))

    def one(
        self, node: ast.Compare, left: _Node, op: ast.cmpop, right: _Node, positive: bool
    ) -> Callable[[Batch], Any]:
        if left.type == STRING:
            equal = isinstance(op, ast.Eq)
            compute = pc.equal if equal else pc.not_equal
            return lambda b: _truth(compute(left.value(b), right.value(b)))
        operate = _COMPARE[type(op)]

        def test(batch: Batch) -> Any:
            a, b = left.value(batch), right.value(batch)
            if isinstance(op, ast.NotEq):
                return np.not_equal(a, b) & ~np.isnan(a) & ~np.isnan(b)
            return operate(a, b)

        if left.type == NUMBER:
            measured, against = (right, left) if left.constant else (left, right)

            def holds(batch: Batch) -> npt.NDArray[np.bool_]:
                return np.asarray(test(batch) if positive else np.logical_not(test(batch)))

            self.atoms.append(Atom(measured.value, against.value, holds, ast.unparse(node), measured.names))
        return test

    def membership(self, node: ast.Compare, positive: bool) -> _Node:
        wanted = node.comparators[0]
        if len(node.ops) != 1 or not isinstance(wanted, ast.List | ast.Tuple | ast.Set):
            raise self.fail(node, "`in` needs a list of literals on its right")
        column = self.visit(node.left, positive)
        items = [self.visit(item, positive) for item in wanted.elts]
        if column.constant or not items or not all(i.constant and i.type == column.type for i in items):
            raise self.fail(node, f"`in` needs a column, and a list of literals that are {column.type}s")
        values = [i.value({}) for i in items]
        absent = isinstance(node.ops[0], ast.NotIn)
        if column.type == STRING:
            choices = pa.array(values)

            def member(batch: Batch) -> Any:
                array = column.value(batch)
                inside = np.asarray(pc.is_in(array, choices.cast(array.type)))
                return ~inside & np.asarray(pc.is_valid(array)) if absent else inside

            return _Node(BOOL, member, column.names)
        return _Node(BOOL, lambda b: np.isin(column.value(b), values, invert=absent), column.names)


def _constant(kind: str, value: object) -> _Node:
    return _Node(kind, lambda b: value, frozenset(), True)


def _names(parts: list[_Node]) -> frozenset[str]:
    return frozenset().union(*(p.names for p in parts))


def _fold(combine: Callable[[Any, Any], Any], values: list[Any]) -> Any:
    result = values[0]
    for value in values[1:]:
        result = combine(result, value)
    return result


def _truth(array: pa.Array) -> npt.NDArray[np.bool_]:
    """An Arrow boolean as NumPy; null is false."""
    return np.asarray(pc.fill_null(array, False))


def _quietly(compute: Callable[[Batch], Any]) -> Callable[[Batch], Any]:
    def run(batch: Batch) -> Any:
        with np.errstate(divide="ignore", invalid="ignore"):
            result = compute(batch)
        # x / 0 is not known, rather than endless
        return np.where(np.isfinite(result), result, np.nan) if isinstance(result, np.ndarray) else result

    return run
