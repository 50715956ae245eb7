"""Prompt templates: one text file a task and language, with `{text}` where the document goes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pretrain_data.errors import ConfigError
from pretrain_data.hashing import digest

LANGUAGES = ("en", "zh")
PLACE = "{text}"


@dataclass(frozen=True)
class Templates:
    """The templates of one task by language; `version` changes when any of them does."""

    task: str
    texts: dict[str, str]

    @property
    def version(self) -> str:
        return digest(self.texts)[:12]

    def messages(self, text: str, lang: str) -> tuple[dict[str, str], ...]:
        """The question about a document, in its language."""
        return ({"role": "user", "content": self.texts[lang].replace(PLACE, text)},)


def shipped() -> list[str]:
    """Names of the tasks that come with the package."""
    names = {p.name.partition(".")[0] for p in (files("pretrain_data.synthesis") / "prompts").iterdir()}
    return sorted(names)


def template_files(task: str) -> list[Path]:
    """The files of a task: a shipped name, or a folder that holds en.txt and zh.txt (one of them at least)."""
    folder = Path(str(files("pretrain_data.synthesis") / "prompts"))
    if task in shipped():
        return [folder / f"{task}.{lang}.txt" for lang in LANGUAGES]
    found = [Path(task) / f"{lang}.txt" for lang in LANGUAGES]
    return [path for path in found if path.is_file()]


def load(task: str) -> Templates:
    """Read a task's templates. Raises ConfigError where there are none, or `{text}` isn't in one once."""
    texts = {}
    for path in template_files(task):
        text = path.read_text(encoding="utf-8").strip()
        if text.count(PLACE) != 1:
            raise ConfigError(f"{path}: must hold {PLACE} exactly once")
        texts[path.name.split(".")[-2] if path.name.count(".") == 2 else path.stem] = text
    if not texts:
        raise ConfigError(f"no prompt {task!r}: give a folder with en.txt or zh.txt, or one of {', '.join(shipped())}")
    return Templates(task, texts)
