"""What goes with an export so that others can use it: a Hugging Face dataset card and Croissant metadata.

Both are made of the blocks' records and the columns alone, so that the same export has the same bytes. Sources:
the Hub's dataset card (huggingface.co/docs/hub/datasets-cards) and Croissant 1.0 (mlcommons.org/croissant).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import yaml

from pretrain_data import schema
from pretrain_data.writer import write_atomically

CARD, CROISSANT = "README.md", "croissant.json"
DATA = "documents/*.parquet"
#: Upper ends of the Hub's size categories, in rows.
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (100_000_000_000, "10B<n<100B"),
    (1_000_000_000_000, "100B<n<1T"),
)
_CROISSANT_TYPES = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_floating, "sc:Float"),
    (pa.types.is_date, "sc:Date"),
)


def write_cards(out: Path, blocks: list[dict[str, Any]], columns: pa.Schema, name: str, licence: str) -> None:
    """Write `README.md` and `croissant.json` into an export's folder.

    `blocks` are the records of blocks.json, `columns` the schema of the documents, `licence` an SPDX id or "other".
    """
    uses = sum(block["documents"] for block in blocks)
    channels: dict[str, Counter[str]] = {}
    for block in blocks:
        for channel, (documents, tokens) in block["channels"].items():
            channels.setdefault(channel, Counter()).update(documents=documents, tokens=tokens)
    head = {
        "license": licence,
        "language": ["zh", "en"],
        "task_categories": ["text-generation"],
        "size_categories": [size_category(uses)],
        "pretty_name": name,
        "configs": [{"config_name": "default", "data_files": DATA}],
    }
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pretrain_data.formats", "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        autoescape=False,  # Markdown; names are channels, phases and columns of ours
    )
    card = environment.get_template("card.md").render(
        head=yaml.safe_dump(head, allow_unicode=True, sort_keys=False).strip(),
        name=name,
        uses=uses,
        tokens=sum(block["tokens"] for block in blocks),
        blocks=len(blocks),
        phases=list(dict.fromkeys(block["phase"] for block in blocks)),
        channels=sorted(channels.items(), key=lambda item: (-item[1]["tokens"], item[0])),
        columns=[_column(field) for field in columns],
    )
    write_atomically(out / CARD, card)
    write_atomically(out / CROISSANT, json.dumps(croissant(columns, name, licence), ensure_ascii=False, indent=1))


def size_category(rows: int) -> str:
    """The Hub's name for a dataset of so many rows."""
    return next((name for end, name in SIZES if rows < end), "n>1T")


def croissant(columns: pa.Schema, name: str, licence: str) -> dict[str, Any]:
    """Croissant 1.0 over the Parquet files: one record set, a field for each column that is no struct or list."""
    plain = [field for field in columns if not pa.types.is_nested(field.type)]
    lists = [field for field in columns if pa.types.is_list(field.type)]
    repeated = [field for field in lists if not pa.types.is_nested(field.type.value_type)]
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": "Chinese and English pretraining documents in training order, with channel and origin.",
        "license": licence,
        "url": ".",
        "distribution": [
            {"@type": "cr:FileSet", "@id": "documents", "name": "documents", "includes": DATA}
            | {"encodingFormat": "application/x-parquet"},
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "default",
                "name": "default",
                "field": [_field(field, False) for field in plain] + [_field(field, True) for field in repeated],
            }
        ],
    }


def _field(field: pa.Field, repeated: bool) -> dict[str, Any]:
    kind = field.type.value_type if repeated else field.type
    found = {
        "@type": "cr:Field",
        "@id": f"default/{field.name}",
        "name": field.name,
        "description": _column(field)["doc"],
        "dataType": next((name for fits, name in _CROISSANT_TYPES if fits(kind)), "sc:Text"),
        "source": {"fileSet": {"@id": "documents"}, "extract": {"column": field.name}},
    }
    return found | ({"repeated": True} if repeated else {})


def _column(field: pa.Field) -> dict[str, str]:
    known = schema.BY_NAME.get(field.name)
    kind = "struct" if pa.types.is_struct(field.type) else str(field.type)
    return {"name": field.name, "type": kind, "unit": known.unit if known else "", "doc": known.doc if known else ""}


def _context() -> dict[str, Any]:
    """The JSON-LD context that Croissant 1.0 prescribes."""
    context: dict[str, Any] = json.loads(Path(__file__).with_name("croissant_context.json").read_text(encoding="utf-8"))
    return context
