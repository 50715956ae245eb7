"""The reference of every config key and every column, generated from the models and the schema themselves."""

from __future__ import annotations

import enum
import types
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pretrain_data import schema
from pretrain_data.config import PipelineConfig, SparkConfig
from pretrain_data.stage import StageConfig

FILE = Path(__file__).with_suffix(".yaml")


def keys() -> Iterator[dict[str, str]]:
    """Each key of a config: section, key, type, unit, default, bounds, source of the default, description.

    Sections come in the order of a config. Unit and source are those of reference.yaml, else empty.
    """
    from pretrain_data.stages import registry

    yield from _model("(top)", PipelineConfig, leave_out={"stages", "spark"})
    yield from _model("spark", SparkConfig)
    yield from _model("stages.*", StageConfig)
    for name, stage in registry().items():
        yield from _model(f"stages.{name}", stage.config_class, leave_out=set(StageConfig.model_fields))


def _model(
    section: str, model: type[BaseModel], prefix: str = "", leave_out: Collection[str] = ()
) -> Iterator[dict[str, str]]:
    for name, field in model.model_fields.items():
        if name in leave_out:
            continue
        row = {"section": section, "key": prefix + name, "type": _type(field.annotation), "default": _default(field)}
        row |= {"bounds": _bounds(field), "description": field.description or ""}
        yield row | {part: _beside(part, row) for part in ("units", "sources")}
        for inner, many in _inner(field.annotation):
            if inner is not model:  # a part of a mixture holds parts
                yield from _model(section, inner, f"{prefix}{name}{'[]' if many else ''}.")


@cache
def beside() -> dict[str, dict[str, str]]:
    """Units and sources of keys, as reference.yaml has them."""
    found: dict[str, dict[str, str]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return found


def _beside(part: str, row: dict[str, str]) -> str:
    if part == "units" and "number" not in row["type"].replace("mapping to text or whole number", ""):
        return ""
    known, key = beside()[part], row["key"]
    return known.get(f"{row['section']}.{key}") or known.get(key.rpartition(".")[2], "")


def _inner(annotation: Any) -> list[tuple[type[BaseModel], bool]]:
    """The models inside an annotation, and whether it holds several of each."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [(annotation, False)]
    many = get_origin(annotation) in (list, tuple)
    found = [(model, deeper or many) for part in get_args(annotation) for model, deeper in _inner(part)]
    return list(dict.fromkeys(found))


def _type(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if annotation is Ellipsis:
        return "…"
    if origin is Annotated:
        return _type(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_type(part) for part in parts if part is not types.NoneType))
    if origin in (list, tuple):
        return f"list of {_type(parts[0])}" if parts else "list"
    if origin is not None:
        return "mapping" + (f" to {_type(parts[1])}" if len(parts) == 2 else "")
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "mapping"}
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    return names.get(annotation, {"Path": "path"}.get(getattr(annotation, "__name__", ""), "text"))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple | list):
        return "[" + ", ".join(str(v) for v in value) + "]" if not any(isinstance(v, BaseModel) for v in value) else ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bounds(field: FieldInfo) -> str:
    marks = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}
    found = []
    for constraint in field.metadata:
        for kind, mark in marks.items():
            if isinstance(constraint, kind):
                found.append(f"{mark} {getattr(constraint, kind.__name__.lower()):g}")
    return ", ".join(found)


def markdown_keys() -> str:
    """The keys as a Markdown page."""
    from pretrain_data.stages import registry

    about = {f"stages.{name}": (stage.__doc__ or "").split("\n")[0] for name, stage in registry().items()}
    about["stages.*"] = "Keys that every stage has."
    lines, section = ["# Config", "", "Every key, from the models that read it.", ""], ""
    for row in keys():
        if row["section"] != section:
            section = row["section"]
            lines += ["", f"## {section}", "", about.get(section, ""), ""]
            lines += [
                "| key | type | unit | default | bounds | | source of the default |",
                "|---|---|---|---|---|---|---|",
            ]
        default = f"`{row['default']}`" if row["default"] else ""
        cells = [
            f"`{row['key']}`",
            row["type"],
            row["units"],
            default,
            row["bounds"],
            row["description"],
            row["sources"],
        ]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def markdown_columns() -> str:
    """The columns of a document, the signals and the ledger as a Markdown page."""
    from pretrain_data.kernels.signals import SIGNALS

    lines = ["# Columns", "", "One row is one document. A stage adds its columns; the order is that of the files.", ""]
    lines += ["| column | type | stage | unit | |", "|---|---|---|---|---|"]
    for c in schema.COLUMNS:
        kind = "struct, see below" if c.name == "signals" else str(c.type)
        lines.append("| " + " | ".join(_cell(x) for x in (f"`{c.name}`", kind, c.stage, c.unit, c.doc)) + " |")
    lines += ["", "## Signals", "", "Fields of `signals`, for rules as `signals.NAME`.", ""]
    lines += ["| signal | unit | how | source |", "|---|---|---|---|"]
    for s in SIGNALS:
        lines.append("| " + " | ".join(_cell(x) for x in (f"`{s.name}`", s.unit, s.formula, s.source)) + " |")
    lines += ["", "## The ledger", "", "One row is one dropped document (`dropped/*.parquet`).", ""]
    lines += ["| column | type |", "|---|---|"]
    lines += [f"| `{field.name}` | {field.type} |" for field in schema.DROPPED]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return str(text).replace("|", "\\|").replace("\n", " ").replace("<|", "&lt;\\|")
