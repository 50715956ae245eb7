"""The taxonomy: which domains there are, what tells them, and the channel whose loss each counts in."""

from __future__ import annotations

import difflib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pretrain_data.config import load_part
from pretrain_data.errors import ConfigError

FILE = Path(__file__).with_name("taxonomy.yaml")
OTHER = "other"


class Channel(BaseModel):
    """A line of `channels`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parent: str = Field(description="The parent of the domain.")
    lang: str | None = Field(default=None, description="The document's language; default: any.")
    channel: str = Field(description="The training loss group.")


class Taxonomy(BaseModel):
    """A taxonomy file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    domains: dict[str, str] = Field(description="Domain → parent.")
    formats: dict[str, str] = Field(default_factory=dict, description="Format → domain, before any model is asked.")
    labels: dict[str, str] = Field(default_factory=dict, description="What a model calls a domain → domain.")
    channels: list[Channel] = Field(min_length=1, description="The first line that fits decides.")

    @model_validator(mode="after")
    def _closed(self) -> Taxonomy:
        if OTHER not in self.domains:
            raise ValueError(f"domains: {OTHER} is missing; it is what a document is where nothing is sure")
        for part in ("formats", "labels"):
            for name, domain in getattr(self, part).items():
                if domain not in self.domains:
                    raise ValueError(f"{part}.{name}: no domain {domain}{_near(domain, self.domains)}")
        parents = set(self.domains.values())
        for line in self.channels:
            if line.parent not in parents:
                raise ValueError(f"channels: no domain has the parent {line.parent}{_near(line.parent, parents)}")
        for parent in sorted(parents - {line.parent for line in self.channels if line.lang is None}):
            raise ValueError(f"channels: parent {parent} needs a line without lang, for all other languages")
        return self

    def domain(self, label: str, model: str) -> str:
        """The domain that a model's label stands for. Raises ConfigError where the taxonomy has none."""
        found = self.labels.get(label, label)
        if found not in self.domains:
            raise ConfigError(
                f"taxonomy: model {model} has the label {label}, which is no domain{_near(label, self.domains)}; "
                "add it under domains or labels"
            )
        return found

    def channel(self, domain: str, lang: str | None) -> str:
        """The channel of a document."""
        parent = self.domains[domain]
        fits = (c.channel for c in self.channels if c.parent == parent and c.lang in (None, lang))
        return next(fits)


def load(path: Path) -> Taxonomy:
    """Read a taxonomy. Raises ConfigError with file and line."""
    return load_part(path, Taxonomy)


def _near(name: str, known: object) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)  # type: ignore[call-overload]
    return f"; did you mean {near[0]}?" if near else ""
