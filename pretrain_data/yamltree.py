"""YAML read safely into plain values, each with the file and line it came from.

Only the YAML 1.2 core scalars exist here: null, true/false, integers, floats and strings. `no` and `on` stay
strings (Norwegian is a language), `1e-3` is a number, a date stays text. A tag other than these is
an error, so nothing in a file can ever be executed. Duplicate keys are errors, aliases are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pretrain_data.errors import ConfigError

Key = tuple[str | int, ...]

MAX_NODES = 200_000  # an alias bomb multiplies nodes; no real config comes near this

_YAML = "tag:yaml.org,2002:"
_CONTAINERS = {f"{_YAML}seq", f"{_YAML}map"}
_SCALARS = {f"{_YAML}{kind}" for kind in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")}

_NULL = re.compile(r"^(~|null|Null|NULL|)$")
_BOOL = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9][0-9_]*$|^0x[0-9a-fA-F]+$|^0o[0-7]+$")
_FLOAT = re.compile(
    r"^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$"
)


@dataclass(frozen=True)
class Position:
    """Where a value was written: a file and a line (from 1), or a command-line option."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line is not None else self.file


@dataclass
class Tree:
    """A value and, for every key path in it, its position."""

    value: Any
    positions: dict[Key, Position] = field(default_factory=dict)

    def position(self, path: Key) -> Position | None:
        """The position of `path`, or of its nearest ancestor that has one."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions:
                return self.positions[path[:length]]
        return None


def dotted(path: Key) -> str:
    """`("stages", "rules", 0)` as `stages.rules[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def load(path: Path) -> Tree:
    """Read one YAML file. Raises ConfigError with file and line on anything that isn't plain data."""
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """The text of one file. Raises ConfigError where there is none in UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a config that is there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text: {error}") from None


def parse(text: str, name: str) -> Tree:
    """Read YAML text; `name` stands for the file in positions and messages."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        raise ConfigError(f"{where}: not valid YAML: {getattr(error, 'problem', None) or error}") from None
    if node is None:
        return Tree({}, {(): Position(name, 1)})
    builder = _Builder(name)
    value = builder.build(node, (), frozenset())
    return Tree(value, builder.positions)


def parse_scalar(text: str) -> Any:
    """The value that `text` would have as a YAML value on a line of its own (for --set)."""
    return parse(text, "--set").value if text.strip() else ""


class _Builder:
    def __init__(self, name: str) -> None:
        self.name = name
        self.positions: dict[Key, Position] = {}
        self.nodes = 0

    def build(self, node: yaml.Node, path: Key, above: frozenset[int]) -> Any:
        position = Position(self.name, node.start_mark.line + 1)
        self.nodes += 1
        if self.nodes > MAX_NODES or id(node) in above:
            raise ConfigError(f"{position}: {dotted(path) or 'the file'} expands without end (aliases)")
        self.positions[path] = position
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, position, path)
        if node.tag not in _CONTAINERS:
            raise _tag_error(node, position, path)
        above = above | {id(node)}
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i), above) for i, item in enumerate(node.value)]
        return dict(self._pairs(node, path, above))

    def _pairs(self, node: yaml.Node, path: Key, above: frozenset[int]) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{self.name}:{line}: keys must be plain text")
            key = key_node.value
            if key in seen:
                raise ConfigError(
                    f"{self.name}:{line}: duplicate key {dotted((*path, key))} (first on line {seen[key]})"
                )
            seen[key] = line
            value = self.build(value_node, (*path, key), above)
            self.positions[(*path, key)] = Position(self.name, line)
            yield key, value

    def _scalar(self, node: yaml.ScalarNode, position: Position, path: Key) -> Any:
        text = node.value
        if node.tag not in _SCALARS:
            raise _tag_error(node, position, path)
        if node.style is not None:  # quoted or block: always text
            return text
        if _NULL.match(text):
            return None
        if _BOOL.match(text):
            return text.lower() == "true"
        if _INT.match(text):
            return int(text.replace("_", ""), 0 if text[:2] in ("0x", "0o") else 10)
        if _FLOAT.match(text):
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
        return text


def _tag_error(node: yaml.Node, position: Position, path: Key) -> ConfigError:
    tag = node.tag.replace(_YAML, "!!")
    return ConfigError(
        f"{position}: {dotted(path) or 'the file'}: the tag {tag} is not allowed; "
        "a config is plain data and nothing in it is executed"
    )


def merge(base: Tree, over: Tree) -> Tree:
    """`over` laid on `base`: mappings merge by key, everything else replaces."""
    positions = dict(base.positions)

    def lay(low: Any, high: Any, path: Key) -> Any:
        if isinstance(low, dict) and isinstance(high, dict):
            merged = dict(low)
            for key, value in high.items():
                merged[key] = lay(low[key], value, (*path, key)) if key in low else value
            return merged
        for known in [p for p in positions if p[: len(path)] == path]:
            del positions[known]
        return high

    value = lay(base.value, over.value, ())
    positions.update(over.positions)
    return Tree(value, positions)
