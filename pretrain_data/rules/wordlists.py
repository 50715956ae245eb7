"""Word lists: one term a line, `#` begins a comment; a file `TOPIC.LANG.txt` belongs to topic TOPIC."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pretrain_data.errors import ConfigError

BUNDLED = Path(__file__).resolve().parent.parent / "wordlists"
STOP_WORDS = "stopwords"

#: Topics that other stages own.
_OTHERS = ("pii_", "boilerplate_", "common_characters")


def bundled() -> list[Path]:
    """The lists that come with the package and belong to the signals, in a fixed order."""
    return [p for p in sorted(BUNDLED.glob("*.txt")) if not p.name.startswith(_OTHERS)]


def topic(path: Path) -> str:
    """The topic of a list: its name up to the first dot. Raises ConfigError unless it is a plain name."""
    name = path.name.split(".")[0]
    if not name.isidentifier() or not name.islower():
        raise ConfigError(f"{path}: the file's name begins with the topic, in a-z, 0-9 and _: topic.lang.txt")
    return name


def read(path: Path) -> list[str]:
    """The terms of one list. Raises ConfigError where it can't be read as UTF-8."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read as UTF-8 text: {error}") from None
    terms = (line.split("#", 1)[0].strip() for line in lines)
    return list(dict.fromkeys(term for term in terms if term))


def read_topics(paths: Sequence[Path]) -> dict[str, list[str]]:
    """Terms by topic, in the order of the topics' first files."""
    topics: dict[str, list[str]] = {}
    for path in paths:
        terms = topics.setdefault(topic(path), [])
        terms += [term for term in read(path) if term not in set(terms)]
    return topics
