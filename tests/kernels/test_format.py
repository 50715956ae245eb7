"""Formats by content, and prose is never taken for anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretrain_data.kernels.format import detect

PYTHON = "import os\n\n\ndef main(path):\n    for name in os.listdir(path):\n        print(name)\n\n\nmain('.')\n"
C = '#include <stdio.h>\n\nint main(void) {\n    printf("hi\\n");\n    return 0;\n}\n'
CHINESE_CODE = (
    "# 统计词频\nimport sys\n\ndef count(lines):\n    result = {}\n"
    "    for line in lines:  # 逐行读取\n        result[line] = 1\n    return result\n"
)
LATEX = (
    "\\section{导论}\n设 $f$ 连续。\n\\begin{equation}\n\\int_0^1 f(x)\\,dx = 1\n\\end{equation}\n由 \\ref{eq} 可得。"
)
MARKDOWN = "# Title\n\nSome text with [a link](http://x.y).\n\n- item one\n- item two\n\n```\ncode\n```\n"
NEWS = "本报讯 昨天下午，全市中小学生运动会在体育馆开幕。\n共有三千名学生参加了开幕式。\n比赛将持续三天。"
DIALOGUE = "“你去哪儿？”他问。\n“回家。”她说。\n“路上小心。”\n风停了；雨也停了。"
LIST = "Buy milk\nCall the bank\nWrite to Anna about the trip\nReturn the books to the library"
QUOTED = "The command `ls -l` prints a list.\nUse it when you want to see sizes.\nIt works on every system that I know."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PYTHON, "code"), (C, "code"), (CHINESE_CODE, "code"), (LATEX, "latex"), (MARKDOWN, "markdown"),
        (NEWS, "prose"), (DIALOGUE, "prose"), (LIST, "prose"), (QUOTED, "prose"), ("", "prose"),
        ('{"a": 1,\n"b": 2,\n"c": 3,\n"d": {"e": 4}\n}', "data"),
    ],
)  # fmt: skip
def test_formats(text: str, expected: str) -> None:
    assert detect(text) == expected
    assert detect(text, "latex") == "latex", "what the file's name says decides"


def test_real_documents(shared_data: Path) -> None:
    import pyarrow.parquet as pq

    wanted = {"code": "code", "markdown": "markdown", "math": "latex"}
    rows = pq.read_table(shared_data / "text/quality/formatted.parquet", columns=["text", "domain"]).to_pylist()
    protected = sum(detect(r["text"]) != "prose" for r in rows) / len(rows)
    assert protected >= 0.975
    assert sum(detect(r["text"]) == wanted[r["domain"]] for r in rows) / len(rows) >= 0.97
    rows = pq.read_table(shared_data / "text/domain/docs.parquet", columns=["text", "domain"]).to_pylist()
    prose = [r for r in rows[::3] if r["domain"] in ("news", "encyclopedia", "literature", "legal", "manual")]
    assert sum(detect(r["text"]) != "prose" for r in prose) / len(prose) <= 0.01


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"""Provide a module."""\n\nfrom other import *\n', "code"),
        ("# -*- mode: perl -*-\n#\n# Notes go here.\n\nour @names = qw#\n  a\n#;\n", "code"),
        ("/*\n * A licence, at length, in prose.\n */\n#ifndef X_H\n#define X_H\n#endif\n", "code"),
        ("var a=1;" + "function f(x){return x.map(y=>({k:y}));};" * 12, "code"),
        ("1.0.1 / 2014-11-25\n==================\n\n  * browser: use `warn()`\n  * fix\n\n"
         "1.0.0 / 2014-11-04\n==================\n\n  * first release\n", "markdown"),
        ("\\section{Comments}\n\\label{section-comments}\n\n\\noindent\nThe philosophy is simple.", "latex"),
        ("import duties rose again last year.\nThe minister spoke of a crisis.\nNobody listened.", "prose"),
        ("#1 on the list is Paris.\n#2 is Rome.\nBoth are lovely in spring.\nGo there.", "prose"),
    ],
)  # fmt: skip
def test_openings(text: str, expected: str) -> None:
    assert detect(text) == expected
