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
#: Lines that open LaTeX sources: structure, not mathematics.
_LATEX_LINE = re.compile(r"^\s*\\(part|chapter|(sub)*section|label|begin|end|noindent|documentclass|item)\b")
#: A first statement that hardly anything but a program has.
_OPENING = re.compile(
    r"^(#!\s*/|<\?php|\+\{\s*$|(#|//|/\*|;;|--|%)+\s*(-\*-|vim?:|ex:)|#\s*(include|define|ifndef|pragma)\b|"
    r"package [\w.:]+;|use [\w:.]+( .*)?;$|['\"]use strict['\"];?|(from [\w.]+ )?import [\w.*]+(,? |;|$)|"
    r"(const|let|var) \S+ = |[A-Z_]{3,} = [\[{(]|_?[A-Za-z_]+ = [\[{(]$|require [\w:'\"/]+;|using [\w.]+;|"
    r"(our|my) [$@%]\w)"
)
_COMMENT = re.compile(r"^\s*(#(?!\s*(include|define|ifn?def|pragma)\b)|//|/?\*+|\*/|--|;;)")
_PUNCTUATION = re.compile(r"[{}();=<>&|\[\]]")
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
_UNDERLINE = re.compile(r"^={5,}\s*$")  # of a heading, as changelogs have them
_FENCE = re.compile(r"^\s*(```|~~~)")
_LINK = re.compile(r"!?\[[^\]\n]+\]\([^)\s]+\)")
_MARKDOWN = (  # pattern, points a line
    (_HEADING, 3.0),
    (_UNDERLINE, 3.0),
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
LATEX_OPENING = 0.08  # lines that are a command of structure, where the first is one
OPENED_SHARE = 0.04  # of strong and half of weak lines, behind an opening that only programs have
MINIFIED_CHARS = 300  # a line as long, full of punctuation, is a program without line ends
MINIFIED_SHARE = 0.1
COMMENT_LINES = 60  # passed over at the top, in search of the first statement
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
    if _LATEX_LINE.search(lines[0]):
        structure = sum(1 for line in lines if _LATEX_LINE.search(line))
        if structure >= 2 and structure >= LATEX_OPENING * len(lines):
            return "latex"
    opened = _opens_code(lines)
    code = _is_code(lines, opened)
    if code and opened:
        return "code"
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
    marked = any(p.search(line) for line in lines for p in (_HEADING, _UNDERLINE, _FENCE, _LINK))
    return marked and kinds >= 2 and points >= max(MARKDOWN_MINIMUM, MARKDOWN_POINTS * len(lines))


def _opens_code(lines: list[str]) -> bool:
    """Whether the first line, or the first that is no comment, is one that only programs begin with."""
    if _OPENING.search(lines[0]):
        return True
    ending = ""  # of the comment or docstring that we are in
    for line in lines[:COMMENT_LINES]:
        start = line.lstrip()
        if ending:
            ending = "" if ending in line else ending
        elif start.startswith(("/*", '"""', "'''")):
            ending = "*/" if start.startswith("/*") else start[:3]
            ending = "" if ending in start[len(ending) :] else ending
        elif not _COMMENT.search(line):
            return _OPENING.search(line) is not None
    return False


def _is_minified(lines: list[str]) -> bool:
    longest = max(lines, key=len)
    return (
        len(longest) >= MINIFIED_CHARS
        and 2 * len(longest) > sum(map(len, lines))
        and longest.count(";") + longest.count("{") >= 8
        and len(_PUNCTUATION.findall(longest)) >= MINIFIED_SHARE * len(longest)
    )


def _is_code(lines: list[str], opened: bool) -> bool:
    if _is_minified(lines):
        return True
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
    if opened and strong + weak >= 1 and strong + 0.5 * weak >= OPENED_SHARE * len(lines):
        return True
    if strong < 2 or sentences > SENTENCE_SHARE * (len(lines) - strong):
        return False
    return strong >= STRONG_SHARE * len(lines) or strong + 0.5 * weak >= CODE_SHARE * len(lines)
