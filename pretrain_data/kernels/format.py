"""What kind of text a document is: prose, code, markdown, latex or data, from the text itself.

It is decided before anything judges prose, since every scorer of prose under-rates the others. Evidence is
counted by lines: a line is strong evidence of code where hardly any prose could contain it, weak where
prose now and then does. The thresholds are shares of the non-empty lines that are looked at.
"""

from __future__ import annotations

import re

LINES = 400  # looked at
LINE_CHARS = 400

_LATEX = re.compile(
    r"\\(begin|end|section|subsection|documentclass|usepackage|frac|label|cite|ref|item|textbf|emph|mathbb|"
    r"mathcal|sum|int|alpha|beta|lambda|left|right|cdot|equation|title|author|newcommand)\b"
)
_STRONG = re.compile(
    r"^#!/|^\s*(import [\w.]+( as \w+)?(, [\w.]+)*;?$|from [\w.]+ import |def \w+\(|class \w+.*[:{]$|"
    r"@\w+(\(.*\))?$|"
    r"#\s*(include|define|ifdef|ifndef|endif|pragma)\b|package [\w.:]+;|use [\w:]+.*;$|using [\w.]+;|"
    r"namespace \w|"
    r"(public|private|protected|static|final|virtual|inline|extern|const|unsigned|"
    r"volatile)\s+[\w<>\[\]*&: ]+[({;=]|"
    r"(void|int|char|bool|float|double|long|auto|let|var|my|our|local)\s+[*&$@%]?\w+\s*[=;(\[,]|"
    r"(if|for|while|switch|catch|foreach|elif|elsif)\b.*[:{]\s*$|else\s*[:{]|try\s*[:{]|"
    r"return\b.*;?$|raise \w+\(|"
    r"(function|func|fn|sub)\s+\w+\s*[({]|[\w.\[\]>\-:]+\(.*\);?\s*$|\$?self[.\-]|=head\d|=cut|-\*-|"
    r"# vim:|/\*|\*/|\}\s*;?\s*$)|"
    r"[;{]\s*$|\)\s*=>|::\w+|->\w+|\)\s*\{|<<['\"]?END"
)
_WEAK = re.compile(
    r"^\s*(#|//|\*|--|%|;;|\"\"\"|''')|^\s*[\w.\[\]\"'$@]+\s*(=|\+=|-=|:=|=>|\|\|=)\s*\S|"
    r"^\s*\S+\s*:\s*\S+,\s*$|"
    r"^\s*['\"].*['\"],?\s*(#.*)?$|^\s*[\]\[(){}]+,?\s*$|^\s*(0x)?[0-9A-Fa-f]+,?\s*$"
)
_SENTENCE = re.compile(r"[.!?。！？”\"]\s*$")
_WIDE = re.compile("[\u3000-\u303f\uff00-\uffef]")  # Chinese punctuation marks prose, but in comments
_HEADING = re.compile(r"^#{1,6} \S")
_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"!?\[[^\]\n]+\]\([^)\s]+\)")
_MARKDOWN = (  # pattern, points a line
    (_HEADING, 3.0),
    (_FENCE, 4.0),
    (_LINK, 2.0),
    (re.compile(r"^\s*[-*+] \S"), 0.4),
    (re.compile(r"\*\*[^*\n]+\*\*"), 0.7),
    (re.compile(r"^\|.*\|\s*$"), 1.0),
    (re.compile(r"^> \S"), 0.5),
    (re.compile(r"`[^`\n]+`"), 0.7),
)
_DATA = re.compile(
    r"^\s*([\[{}\]],?|\"[^\"]+\"\s*:|</?[\w:.-]+[^>]*>|[\w.-]+\s*[,;\t]\s*[\w.-]+\s*[,;\t])",
)

LATEX_SHARE = 0.10  # commands a line
STRONG_SHARE = 0.14
CODE_SHARE = 0.45  # strong and half of weak
SENTENCE_SHARE = 0.5  # of lines that are neither, above which a text is prose
MARKDOWN_POINTS = 0.20  # a line
MARKDOWN_MINIMUM = 6.0
DATA_SHARE = 0.7


def detect(text: str, hint: str | None = None) -> str:
    """One of prose, code, markdown, latex, data. `hint` is what the file's name says, and decides."""
    if hint is not None:
        return hint
    lines = [line[:LINE_CHARS] for line in text.split("\n", LINES)[:LINES] if line.strip()]
    if not lines:
        return "prose"
    commands = sum(len(_LATEX.findall(line)) for line in lines)
    if commands >= 3 and commands >= LATEX_SHARE * len(lines):
        return "latex"
    code = _is_code(lines)
    if _is_markdown(lines) and not (code and not any(_FENCE.search(line) or _LINK.search(line) for line in lines)):
        return "markdown"
    if code:
        return "code"
    if len(lines) >= 4 and sum(1 for line in lines if _DATA.search(line)) >= DATA_SHARE * len(lines):
        return "data"
    return "prose"


def _is_markdown(lines: list[str]) -> bool:
    points, kinds = 0.0, 0
    for pattern, weight in _MARKDOWN:
        hits = sum(1 for line in lines if pattern.search(line))
        points += weight * hits
        kinds += hits > 0
    marked = any(p.search(line) for line in lines for p in (_HEADING, _FENCE, _LINK))
    return marked and kinds >= 2 and points >= max(MARKDOWN_MINIMUM, MARKDOWN_POINTS * len(lines))


def _is_code(lines: list[str]) -> bool:
    strong = weak = sentences = 0
    for line in lines:
        if _WIDE.search(line) and not _WEAK.search(line):
            sentences += 1
        elif _STRONG.search(line):
            strong += 1
        elif _WEAK.search(line):
            weak += 1
        elif _SENTENCE.search(line) or len(line) > 100:
            sentences += 1
    if strong < 2 or sentences > SENTENCE_SHARE * (len(lines) - strong):
        return False
    return strong >= STRONG_SHARE * len(lines) or strong + 0.5 * weak >= CODE_SHARE * len(lines)
