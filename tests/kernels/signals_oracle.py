"""The signals again, in plain Python with regular expressions and Counters: slow, and told apart."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter

from wordcut_oracle import cut

from pretrain_data.kernels.textscan import BULLETS, STERMS
from pretrain_data.rules import englishcut

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3005\u3007\U00020000-\U0003ffff"
KANA = (
    r"\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff"
    r"\u3105-\u312f\u31a0-\u31bf\u31f0-\u31ff\uff66-\uff9f"
)


def is_space(c: str) -> bool:
    return c in "\t\r\v\f\x85" or unicodedata.category(c) in ("Zs", "Zl", "Zp")


def is_han(c: str) -> bool:
    return re.fullmatch(f"[{HAN}]", c) is not None


def is_kana(c: str) -> bool:
    return unicodedata.category(c)[0] == "L" and re.fullmatch(f"[{KANA}]", c) is not None


def is_invisible(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Cf") and not is_space(c) and c != "\n"


def is_letter(c: str) -> bool:
    return unicodedata.category(c)[0] == "L" and not is_han(c) and not is_kana(c)


def is_number(c: str) -> bool:
    return unicodedata.category(c)[0] == "N" and not is_han(c)


def is_wordish(c: str) -> bool:
    return is_letter(c) or is_number(c) or (unicodedata.category(c)[0] == "M")


def is_zh_punctuation(c: str) -> bool:
    return unicodedata.category(c)[0] == "P" and (0x3000 <= ord(c) <= 0x303F or 0xFE10 <= ord(c) <= 0xFFEF)


URL = re.compile(r"https?://|www\.", re.IGNORECASE)


SPECIALS, UNITS = englishcut.load()


def pieces(text: str) -> list[tuple[int, int]]:
    """Where what `wordcut` cuts stands: runs without white space, Han, Kana, CJK marks; no invisible ones in front."""
    found, i, n = [], 0, len(text)
    while i < n:
        j = i
        while j < n and not (is_space(text[j]) or text[j] == "\n" or is_zh(text[j])):
            j += 1
        while i < j and is_invisible(text[i]):
            i += 1
        if i < j:
            found.append((i, j))
        i = j + 1
    return found


def is_zh(c: str) -> bool:
    return is_han(c) or is_kana(c) or is_zh_punctuation(c)


def tokens(text: str) -> list[tuple[int, int, bool, bool]]:
    """(start, end, is word, has letter) of each token."""
    found = []
    for start, end in pieces(text):
        i = start
        for token in cut(text[start:end], SPECIALS, UNITS):
            found.append((i, i + len(token), any(map(is_wordish, token)), any(map(is_letter, token))))
            i += len(token)
    for i, c in enumerate(text):
        if is_zh(c):
            found.append((i, i + 1, not is_zh_punctuation(c), not is_zh_punctuation(c)))
    return sorted(found)


def addresses(text: str) -> tuple[list[tuple[int, int]], int]:
    """Where URLs stand, and the number of e-mail addresses."""
    urls, emails = [], 0
    for start, end in pieces(text):
        i = start
        while i < end:
            word = is_wordish(text[i]) and (i == start or not is_wordish(text[i - 1]))
            match = URL.match(text, i) if word else None
            if match and match.end() < len(text) and (text[match.end() - 1] == "/" or is_wordish(text[match.end()])):
                j = i
                while (
                    j < end and text[j] not in '<>"' and unicodedata.category(text[j]) not in ("Cn", "Cs", "Cc", "Cf")
                ):
                    j += 1
                while j > i + 1 and text[j - 1] in ".,:;!?)]'":
                    j -= 1
                urls.append((i, j))
                i = j
            elif text[i] == "@" and i > start and (is_wordish(text[i - 1]) or text[i - 1] == "_"):
                j = email_domain(text, i + 1)
                emails += j > i + 1
                i = j + 1 if j > i + 1 else i + 1
            else:
                i += 1
    return urls, emails


def is_latin(c: str) -> bool:
    return is_letter(c) and (ord(c) < 0x250 or 0x1E00 <= ord(c) <= 0x1EFF or 0xFF21 <= ord(c) <= 0xFF5A)


def email_domain(text: str, i: int) -> int:
    """Longest run of labels from i; i where its last label isn't two letters or more."""
    match = re.compile(r"[A-Za-z0-9-](?:[A-Za-z0-9-]|\.(?=[A-Za-z0-9]))*").match(text[: i + 255], i)
    if match is None or not re.search(r"\.[A-Za-z]{2,}\Z", match.group()):
        return i
    return match.end()


def sentences(text: str) -> int:
    """Sentences by a walk over the characters of each line, without those in addresses."""
    total = 0
    for line in text.split("\n"):
        inside = {k for a, b in addresses(line)[0] for k in range(a, b)}
        is_open, i = False, 0
        while i < len(line):
            c, j = line[i], i + 1
            if i in inside or is_wordish(c) or is_han(c) or is_kana(c):
                is_open = True
            elif c in STERMS:
                while j < len(line) and line[j] == c:
                    j += 1
                if is_open and closes(line, i, j):
                    total += 1
                    is_open = False
            i = j
        total += is_open
    return total


def closes(line: str, start: int, end: int) -> bool:
    c = line[start]
    if ord(c) >= 128:
        return c != "…"
    initial = start > 0 and is_letter(line[start - 1]) and line[start - 1].isupper()
    initial = initial and (start == 1 or not is_wordish(line[start - 2]))
    if c == "." and end == start + 1 and initial:
        return False
    rest = line[end:].lstrip("\"')]’”.!?")
    return not rest or is_space(rest[0]) or is_han(rest[0]) or is_kana(rest[0]) or is_zh_punctuation(rest[0])


def duplicates(items: list[str]) -> tuple[int, int]:
    seen: set[str] = set()
    again = chars = 0
    for item in items:
        again += item in seen
        chars += len(item) if item in seen else 0
        seen.add(item)
    return again, chars


def top_ngram(words: list[tuple[int, int, str]], n: int) -> int:
    grams = [tuple(w[2] for w in words[i : i + n]) for i in range(len(words) - n + 1)]
    if not grams:
        return 0
    gram, times = Counter(grams).most_common(1)[0]
    i = grams.index(gram)
    return times * (words[i + n - 1][1] - words[i][0])


def duplicated_ngrams(words: list[tuple[int, int, str]], n: int) -> int:
    seen, chars, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(w[2] for w in words[i : i + n])
        if gram in seen:
            chars += sum(w[1] - w[0] for w in words[i : i + n])
            i += n
        else:
            seen.add(gram)
            i += 1
    return chars


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def signals(text: str, en_stop: set[str], zh_stop: set[str], short_line: int = 30) -> dict[str, float]:
    inked = [c for c in text if not is_space(c) and c != "\n"]
    lines = [line for line in text.split("\n") if any(not is_space(c) for c in line)]
    blanked = "\n".join(line if line in lines else "" for line in text.split("\n"))
    paragraphs = [p for p in re.split(r"\n\n+", blanked.strip("\n")) if p]
    cutting = tokens(text)
    urls, emails = addresses(text)
    words = [text[a:b] for a, b, word, _ in cutting if word]
    spans = [(a, b, text[a:b]) for a, b, *_ in cutting]
    han = [c for c in text if is_han(c)]
    counts = Counter(inked)
    n, total = len(text), len(inked)
    category = Counter(unicodedata.category(c) for c in inked if not is_han(c))

    def trim(line: str) -> str:
        start, end = 0, len(line)
        while is_space(line[start]):
            start += 1
        while is_space(line[end - 1]):
            end -= 1
        return line[start:end]

    trimmed = [trim(line) for line in lines]
    runs = [len(list(group)) for c, group in itertools.groupby(text) if not is_space(c) and c != "\n"]
    result = {
        "chars": n,
        "lines": len(lines),
        "paragraphs": len(paragraphs),
        "sentences": sentences(text),
        "tokens": len(cutting),
        "words": len(words),
        "mean_word_chars": ratio(sum(map(len, words)), len(words)),
        "alpha_word_share": ratio(sum(alpha for *_, alpha in cutting), len(words)),
        "alpha_token_share": ratio(sum(alpha for *_, alpha in cutting), len(cutting)),
        "top_word_share": ratio(max(Counter(words).values(), default=0), len(words)),
        "zh_share": ratio(len(han), total),
        "latin_share": ratio(sum(is_latin(c) for c in inked), total),
        "kana_share": ratio(sum(is_kana(c) for c in inked), total),
        "digit_share": ratio(sum(is_number(c) for c in inked), total),
        "punct_share": ratio(sum(v for k, v in category.items() if k[0] == "P"), total),
        "zh_punct_share": ratio(sum(is_zh_punctuation(c) for c in inked), total),
        "symbol_share": ratio(sum(unicodedata.category(c)[0] == "S" and c != "\ufffd" for c in inked), total),
        "space_share": ratio(n - total, n),
        "newline_share": ratio(text.count("\n"), n),
        "char_entropy": -sum(v / total * math.log2(v / total) for v in counts.values()),
        "distinct_chars": len(counts),
        "top_char_share": ratio(max(counts.values(), default=0), total),
        "longest_run": max(runs, default=0),
        "en_stop_words": len(en_stop & set(words)),
        "en_stop_share": ratio(sum(w in en_stop for w in words), len(words)),
        "zh_stop_words": len(zh_stop & set(text)),
        "zh_stop_share": ratio(sum(c in zh_stop for c in text), len(han)),
        "hash_word_ratio": ratio(text.count("#"), len(cutting)),
        "newline_word_ratio": ratio(text.count("\n"), len(cutting)),
        "mean_line_chars": ratio(sum(map(len, lines)), len(lines)),
        "longest_line": max(map(len, lines), default=0),
        "terminal_line_share": ratio(sum(t[-1] in STERMS for t in trimmed), len(lines)),
        "ellipsis_line_share": ratio(sum(t.endswith(("...", "…")) for t in trimmed), len(lines)),
        "bullet_line_share": ratio(sum(t[0] in BULLETS for t in trimmed), len(lines)),
        "short_line_share": ratio(sum(len(line) <= short_line for line in lines), len(lines)),
        "dup_line_share": ratio(duplicates(lines)[0], len(lines)),
        "dup_line_char_share": ratio(duplicates(lines)[1], n),
        "dup_paragraph_share": ratio(duplicates(paragraphs)[0], len(paragraphs)),
        "dup_paragraph_char_share": ratio(duplicates(paragraphs)[1], n),
        "url_count": len(urls),
        "url_share": ratio(sum(b - a for a, b in urls), n),
        "emails": emails,
        "curly_braces": text.count("{"),
    }
    for k in (2, 3, 4):
        result[f"top_{k}gram_share"] = ratio(top_ngram(spans, k), n)
    for k in range(5, 11):
        result[f"dup_{k}gram_share"] = ratio(duplicated_ngrams(spans, k), n)
    return result
