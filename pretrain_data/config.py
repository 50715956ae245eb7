"""One YAML file into typed, validated models; an error names file, line, dotted path and the nearest key.

A config is a mapping with `workspace`, `stages` and a few optional keys (see PipelineConfig). Files
named under `include:` are laid below it, in order. `${NAME}` stands for an environment variable only
if `env:` declares NAME. Relative paths start from the folder of the config file; those given with
`--set` from the current folder.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from pretrain_data import yamltree
from pretrain_data.errors import ConfigError
from pretrain_data.stage import Stage, StageConfig
from pretrain_data.yamltree import Key, Position, Tree, dotted

#: Characters; a shorter value of a variable is quoted in errors.
SHORTEST_SECRET = 6
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


class SparkConfig(BaseModel):
    """The SparkSession. Under spark-submit what was given there wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    master: str = Field(default="local[*]", description="Spark master URL.")
    driver_memory: str = Field(default="2g", pattern=r"^\d+[kmgtKMGT]$", description="JVM heap of the driver.")
    partitions: int | None = Field(
        default=None,
        ge=1,
        description="Tasks of a pass and shuffle partitions; never changes an output. Default: one a shard.",
    )
    event_log: Path | None = Field(
        default=None, description="Folder for Spark's event logs, which its history server shows; default: none."
    )
    conf: dict[str, str | int | float | bool] = Field(default_factory=dict, description="Any further Spark properties.")


class PipelineConfig(BaseModel):
    """The whole config."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: Path = Field(description="Folder that holds all outputs, one sub-folder a stage.")
    seed: int = Field(default=1, ge=0, description="Root of every random choice.")
    spark: SparkConfig = Field(default_factory=SparkConfig)
    include: list[str] = Field(default_factory=list, description="YAML files laid below this one.")
    env: dict[str, str | None] = Field(
        default_factory=dict,
        description="Environment variables that ${NAME} may name, with defaults (null: must be set).",
    )
    stages: Any = Field(description="The stages to run; those absent are left out.")

    def stage_config(self, name: str) -> StageConfig | None:
        """The typed config of a stage, or None where the config leaves it out."""
        return getattr(self.stages, name, None)

    def configured(self) -> list[str]:
        """Names of the configured stages, in running order."""
        return [name for name in type(self.stages).model_fields if self.stage_config(name) is not None]


def load_config(
    path: Path | str, stages: Mapping[str, type[Stage[Any]]], overrides: Iterable[str] = ()
) -> PipelineConfig:
    """Read and validate a config file.

    `stages` maps each known stage's name to its class; `overrides` are `dotted.key=value` settings.
    Raises ConfigError that lists every fault found, each with its place and, for an unknown key, the
    nearest known one. Nothing is executed.
    """
    path = Path(path)
    tree = _with_includes(path, ())
    for override in overrides:
        tree = yamltree.merge(tree, _override(override))
    if not isinstance(tree.value, dict):
        raise ConfigError(f"{path}: a config is a mapping with workspace and stages")
    model = _model(stages)
    filled = _with_environment(tree)
    try:
        config = model.model_validate(filled.value)
    except ValidationError as error:
        raise ConfigError(_without_values(_explain(error, filled, model), tree)) from None
    tree = filled
    config = _resolve_paths(config, path.resolve().parent)
    _check_inputs(config, tree)
    return config


P = TypeVar("P", bound=BaseModel)


def load_part(path: Path | str, model: type[P], overrides: Iterable[str] = ()) -> P:
    """Read and validate a YAML file that is not a pipeline's config, with the same includes and errors."""
    path = Path(path)
    tree = _with_includes(path, ())
    for override in overrides:
        tree = yamltree.merge(tree, _override(override))
    if not isinstance(tree.value, dict):
        raise ConfigError(f"{path}: a config is a mapping")
    tree = Tree({k: v for k, v in tree.value.items() if k != "include"}, tree.positions)
    try:
        found = model.model_validate(tree.value)
    except ValidationError as error:
        raise ConfigError(_explain(error, tree, model)) from None
    resolved: P = _resolve_paths(found, path.resolve().parent)
    return resolved


def _model(stages: Mapping[str, type[Stage[Any]]]) -> type[PipelineConfig]:
    fields: dict[str, Any] = {
        name: (cls.config_class | None, Field(None, description=(cls.__doc__ or "").split("\n")[0]))
        for name, cls in stages.items()
    }
    section = create_model("Stages", __config__=ConfigDict(extra="forbid", frozen=True), **fields)
    return create_model("Config", __base__=PipelineConfig, stages=(section, Field(description="The stages.")))


def _with_includes(path: Path, above: tuple[Path, ...]) -> Tree:
    path = path.resolve() if above else path
    if path.resolve() in above:
        raise ConfigError(f"{path}: includes itself ({' -> '.join(map(str, (*above, path.resolve())))})")
    tree = yamltree.load(path)
    if not isinstance(tree.value, dict) or "include" not in tree.value:
        return tree
    includes = tree.value["include"]
    if not isinstance(includes, list) or not all(isinstance(i, str) for i in includes):
        raise ConfigError(f"{tree.position(('include',))}: include must be a list of file names")
    below = Tree({}, {})
    for i, name in enumerate(includes):
        target = path.parent / name
        if not target.is_file():
            raise ConfigError(f"{tree.position(('include', i))}: include[{i}]: no such file: {target}")
        below = yamltree.merge(below, _with_includes(target, (*above, path.resolve())))
    return yamltree.merge(below, tree)


def _override(text: str) -> Tree:
    key, equals, raw = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: must be dotted.key=value")
    value = yamltree.parse_scalar(raw)
    if parts[-1] in ("workspace", "input", "out") and isinstance(value, str) and "://" not in value:
        value = os.path.abspath(value)
    path: Key = tuple(parts)
    for part in reversed(parts):
        value = {part: value}
    where = Position(f"--set {text}")
    return Tree(value, {path[: i + 1]: where for i in range(len(path))})


def _with_environment(tree: Tree) -> Tree:
    declared = tree.value.get("env") or {}
    if not isinstance(declared, dict):
        return tree  # validation says so

    def fill(value: Any, path: Key) -> Any:
        if isinstance(value, dict):
            return {k: v if path == () and k == "env" else fill(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [fill(v, (*path, i)) for i, v in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value

        def variable(match: re.Match[str]) -> str:
            name = match[1]
            where = f"{tree.position(path)}: {dotted(path)}"
            if name not in declared:
                raise ConfigError(f"{where}: ${{{name}}} is not declared; add {name} under env:")
            found = os.environ.get(name, declared[name])
            if found is None:
                raise ConfigError(f"{where}: the environment variable {name} is not set")
            return str(found)

        return _VARIABLE.sub(variable, value)

    return Tree(fill(tree.value, ()), tree.positions)


def _without_values(text: str, tree: Tree) -> str:
    """An error's text that names variables of the environment and doesn't quote them: one may be a secret."""
    declared = tree.value.get("env")
    found = [(os.environ.get(str(name)), name) for name in declared] if isinstance(declared, dict) else []
    secrets = [(value, name) for value, name in found if value and len(value) >= SHORTEST_SECRET]
    for value, name in sorted(secrets, key=lambda pair: -len(pair[0])):
        for written in (value, repr(value)[1:-1]):
            text = text.replace(written, f"${{{name}}}")
    return text


def _resolve_paths(model: Any, root: Path) -> Any:
    """Path fields made absolute from `root`; a relative one that isn't there (a bundled name) stays."""
    if not isinstance(model, BaseModel):
        return model
    changed: dict[str, Any] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            new: Any = _resolve(value, root, always=name in ("workspace", "event_log", "out"))
        elif isinstance(value, list | tuple) and any(isinstance(v, Path | BaseModel) for v in value):
            new = type(value)(_resolve(v, root) if isinstance(v, Path) else _resolve_paths(v, root) for v in value)
        elif isinstance(value, BaseModel):
            new = _resolve_paths(value, root)
        elif name == "input" and isinstance(value, str) and "://" not in value:
            new = str(root / value)
        else:
            continue
        if new != value:
            changed[name] = new
    return model.model_copy(update=changed) if changed else model


def _resolve(path: Path, root: Path, always: bool = False) -> Path:
    full = (root / path.expanduser()).absolute()
    return Path(os.path.normpath(full)) if always or path.is_absolute() or full.exists() else path


def _check_inputs(config: PipelineConfig, tree: Tree) -> None:
    names = config.configured()
    if not names:
        raise ConfigError(f"{tree.position(('stages',))}: stages: name at least one stage")
    first = config.stage_config(names[0])
    if first is not None and first.input is None and not getattr(first, "inputs", None):
        raise ConfigError(
            f"{tree.position(('stages', names[0]))}: stages.{names[0]}: the first stage needs an input "
            f"(stages.{names[0]}.input: a folder, file or glob)"
        )


# --- errors -----------------------------------------------------------------------------------


def _explain(error: ValidationError, tree: Tree, model: type[BaseModel]) -> str:
    lines = []
    for fault in error.errors():
        path = _known_path(fault["loc"], tree.value)
        info, siblings = _field(model, path)
        message = _message(fault, path, info, siblings)
        where = tree.position(path) or next(iter(tree.positions.values()))
        lines.append(f"{where}: {dotted(path)}: {message}")
    return "\n".join(dict.fromkeys(lines))


def _known_path(location: tuple[str | int, ...], value: Any) -> Key:
    """`location` without the names of union members, which pydantic mixes in."""
    path: list[str | int] = []
    for i, part in enumerate(location):
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inside, dict) and part in inside:
            value = inside[part]
        elif i < len(location) - 1 or not isinstance(value, dict):
            continue
        path.append(part)
    return tuple(path)


def _field(model: Any, path: Key) -> tuple[FieldInfo | None, list[str]]:
    """The field at `path` and the names of all fields beside it."""
    info: FieldInfo | None = None
    siblings: list[str] = []
    for part in path:
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None, []
        siblings = list(model.model_fields)
        info = model.model_fields.get(str(part))
        if info is None:
            return None, siblings
        model = info.annotation
        while not isinstance(model, type) or not issubclass(model, BaseModel):
            models = [a for a in get_args(model) if isinstance(a, type) and issubclass(a, BaseModel)]
            if len(models) != 1:
                break
            model = models[0]
    return info, siblings


def _message(fault: Any, path: Key, info: FieldInfo | None, siblings: list[str]) -> str:
    kind, given = fault["type"], fault.get("input")
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(path[-1]), siblings, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(siblings))}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "is missing" + (f": {info.description}" if info is not None and info.description else "")
    bounds = _bounds(info)
    if bounds and kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"must be {bounds}, not {given!r}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if message == fault["msg"].removeprefix("Value error, "):
        return message
    shown = repr(given)
    return f"must be {message}, not {shown if len(shown) <= 80 else shown[:77] + '...'}"


def _bounds(info: FieldInfo | None) -> str | None:
    low = high = None
    for constraint in info.metadata if info else ():
        if isinstance(constraint, annotated_types.Ge | annotated_types.Gt):
            low = getattr(constraint, "ge", getattr(constraint, "gt", None))
        if isinstance(constraint, annotated_types.Le | annotated_types.Lt):
            high = getattr(constraint, "le", getattr(constraint, "lt", None))
    if low is not None and high is not None:
        return f"between {low} and {high}"
    if low is not None:
        return f"at least {low}"
    return f"at most {high}" if high is not None else None
