"""The pii stage: what it replaces by which action, what it counts, drops and never writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pretrain_data.kernels import pii
from pretrain_data.kernels.pii import surrogates
from pretrain_data.stage import Processed, Shard
from pretrain_data.stages.pii import PiiConfig, PiiStage

REAL = {
    "EMAIL": "zhang.wei@pku.edu.cn",
    "PHONE": "13812345678",
    "PHONE_LANDLINE": "010-62345678",
    "ID_CARD": "11010519491231002X",
    "BANK_CARD": "6228480402564890018",
    "IP": "223.134.30.35",
    "US_SSN": "539-15-6107",
    "PLATE": "京A12345D",
}
BEFORE = {"ID_CARD": "身份证号", "BANK_CARD": "卡号", "PHONE": "电话", "PHONE_LANDLINE": "座机", "PLATE": "车牌"}


def run(texts: list[str | None], columns: dict[str, list[Any]] | None = None, **config: Any) -> Processed:
    batch = pa.RecordBatch.from_pydict(
        {"doc_id": [str(i) for i in range(len(texts))], "text": pa.array(texts, pa.large_string()), **(columns or {})}
    )
    (done,) = PiiStage(PiiConfig(**config)).process(iter([batch]), Shard("part-00000", ()))
    return done


def texts(done: Processed) -> list[str]:
    return list(done.batch.column("text").to_pylist())


def test_each_type_becomes_its_placeholder_and_the_rest_stays() -> None:
    text = "；".join(BEFORE.get(kind, "") + value for kind, value in REAL.items())
    done = run([text, "没有任何号码。", None])
    assert texts(done) == [
        "；".join(BEFORE.get(kind, "") + f"<|{kind.lower()}|>" for kind in REAL),
        "没有任何号码。",
        "",
    ]
    found = done.batch.column("pii_spans").to_pylist()
    assert {(s["type"], text[s["start"] : s["end"]]) for s in found[0]} == set(REAL.items())
    assert found[1:] == [[], []]
    assert done.metrics["spans.EMAIL"] == 1
    assert done.metrics["documents_with_spans"] == 1


def test_actions_by_type_language_and_format(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(b"k1")
    texts_in = ["致a@b.cn或13812345678", "to a@b.cn or 13812345678", "# a@b.cn\nx = '13812345678'"]
    columns = {"lang": ["zh", "en", "en"], "format": ["prose", "prose", "code"]}
    done = run(
        texts_in,
        columns,
        actions={"EMAIL": "hash", "PHONE": "remove"},
        overrides=[
            {"format": ["code"], "actions": {"EMAIL": "keep"}},
            {"lang": ["zh"], "actions": {"PHONE": "placeholder"}},
        ],
        key_file=tmp_path / "key",
    )
    one, two, three = texts(done)
    hashed = re.search(r"<\|email:[0-9a-f]{16}\|>", one)
    assert hashed is not None
    assert one == f"致{hashed[0]}或<|phone|>"
    assert two == f"to {hashed[0]} or "
    assert three == "# a@b.cn\nx = ''"
    assert done.metrics["lang.zh.PHONE"] == 1
    assert done.metrics["source.none.EMAIL"] == 3


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"actions": {"API_KEY": "keep"}}, "secret"),
        ({"overrides": [{"actions": {"JWT": "keep"}}]}, "secret"),
        ({"actions": {"EMAIL": "hash"}}, "key_file"),
        ({"actions": {"BIRTH_DATE": "surrogate"}, "key_file": "k"}, "no surrogate"),
        ({"types": ["MAIL"]}, "unknown type"),
        ({"where": {"EMAIL": "beside"}}, "wherever"),
    ],
)
def test_what_cannot_be_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PiiConfig(**config)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(REAL)), st.binary(min_size=1, max_size=8), st.sampled_from(["请看", "see ", "\n", "、"]))
def test_surrogates_keep_their_form_and_are_never_found_again(kind: str, key: bytes, lead: str) -> None:
    value = REAL[kind]
    made = surrogates.surrogate(value, key, kind)
    assert made != value
    assert made == surrogates.surrogate(value, key, kind)
    if kind not in ("EMAIL", "IP"):
        assert len(made) == len(value)
        assert re.sub(r"\w", "_", made) == re.sub(r"\w", "_", value)
    text = lead + BEFORE.get(kind, "") + made + "。"
    assert [s for s in pii.everywhere(text) if s.type != "EMAIL" or not made.endswith(".invalid")] == []


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("请联系王小明，电话13812345678", r"请联系\w某[甲乙丙丁戊己庚辛壬癸]{2}，电话12\d{9}"),
        ("請聯繫陳志強先生，電話13812345678", r"請聯繫\w某[甲乙丙丁戊己庚辛壬癸]{2}先生，電話12\d{9}"),
        ("Please call Jennifer Miller on (415) 555-2671.", r"Please call \w+ [A-Z]oe-[A-Z]oe on \(000\) \d{3}-\d{4}\."),
    ],
)
def test_made_up_names_are_names_and_stay_on_a_second_run(tmp_path: Path, text: str, form: str) -> None:
    (tmp_path / "key").write_bytes(b"k")
    settings_ = {"actions": {"PERSON": "surrogate", "PHONE": "surrogate"}, "key_file": tmp_path / "key"}
    once = texts(run([text], **settings_))
    assert re.fullmatch(form, once[0]), once
    everywhere = settings_ | {"where": {"PERSON": "everywhere"}}
    assert texts(run(once, **everywhere)) == once
    (again,) = texts(run(["\n".join([text, text])], **settings_))
    assert again == "\n".join(once * 2)  # the same name, the same twin


@given(
    st.binary(min_size=1, max_size=8), st.sampled_from(["北京市海淀区中关村大街27号", "123 Elm Street, Springfield"])
)
def test_made_up_addresses_are_none_to_a_pattern(key: bytes, value: str) -> None:
    assert [
        s for s in pii.everywhere("住址：" + surrogates.surrogate(value, key, "ADDRESS")) if s.type == "ADDRESS"
    ] == []


def test_secrets_go_whatever_is_looked_for() -> None:
    key = "ghp_" + "a1B2c3D4e5F6" * 3
    assert texts(run([f"export TOKEN={key} # a@b.cn"], types=["PHONE"])) == ["export TOKEN=<|api_key|> # a@b.cn"]


@pytest.mark.parametrize("action", ["placeholder", "surrogate", "hash", "remove"])
def test_twice_is_once(tmp_path: Path, action: str) -> None:
    (tmp_path / "key").write_bytes(b"k")
    settings_ = {"actions": dict.fromkeys(REAL, action), "key_file": tmp_path / "key"}
    text = "\n".join(f"{BEFORE.get(kind, '')}{value}。联系人王小明" for kind, value in REAL.items())
    once = texts(run([text], **settings_))
    assert not any(value in once[0] for value in REAL.values())
    assert texts(run(once, **settings_)) == once


def test_lists_of_people_are_dropped() -> None:
    row = "张三 13812345678；" * 6
    done = run([row, "a@b.cn"], max_spans=5)
    assert done.rule is not None
    assert done.rule.to_pylist() == ["pii_too_many", None]
    done = run([row, "a@b.cn"], max_by_type={"PHONE": 2})
    assert done.rule is not None
    assert done.rule.to_pylist() == ["pii_too_many", None]
    assert done.value is not None
    assert done.value.to_pylist() == [6.0, None]


def test_names_need_evidence_unless_asked_for_everywhere(tmp_path: Path) -> None:
    novel = "王小明走进房间，看见李红，没有说话。"
    contact = "有意者请联系王小明，电话13812345678。"
    assert texts(run([novel, contact])) == [novel, "有意者请联系<|person|>，电话<|phone|>。"]
    assert texts(run([novel], where={"PERSON": "everywhere"})) == ["<|person|>走进房间，看见<|person|>，没有说话。"]
    assert texts(run([contact], where={"PERSON": "off"})) == ["有意者请联系王小明，电话<|phone|>。"]
    (tmp_path / "keep.txt").write_text("王小明\n", "utf-8")
    assert texts(run([contact], names={"keep": tmp_path / "keep.txt"})) == ["有意者请联系王小明，电话<|phone|>。"]
    english = "Please call Jennifer Miller on (415) 555-2671."
    assert texts(run([english])) == ["Please call <|person|> on <|phone|>."]


def test_boilerplate_of_prose_only() -> None:
    text = "一段正文。\n未经授权不得转载"
    done = run([text, text], {"format": ["prose", "code"]})
    assert texts(done) == ["一段正文。", text]
    assert done.metrics["boilerplate.chars"] == len("\n未经授权不得转载")


def test_no_value_leaves_the_stage_but_in_kept_text(tmp_path: Path) -> None:
    text = "；".join(BEFORE.get(kind, "") + value for kind, value in REAL.items())
    done = run([text], {"source": ["s"], "lang": ["zh"]})
    written = json.dumps([dict(done.metrics), done.batch.to_pylist()], ensure_ascii=False, default=str)
    assert not any(value in written for value in REAL.values())


def test_unsafe_documents_are_dropped_and_unsafe_lines_removed(tmp_path: Path) -> None:
    spam = "澳门赌场 真人荷官 百家乐 时时彩 北京赛车 六合彩 老虎机"
    novel = "他年轻时进过一次赌场，此后再也没有去过，而是守着一间小书店过了大半辈子。" * 12
    article = "\n".join([novel, spam, novel])
    done = run([spam * 3, article, novel])
    assert done.rule is not None
    assert done.rule.to_pylist() == ["unsafe_gambling", None, None]
    assert texts(done)[1:] == [f"{novel}\n{novel}", novel]
    assert done.metrics["unsafe.lines"] == 1
    (tmp_path / "cults.zh.txt").write_text("末日方舟\n圣火令\n", "utf-8")
    done = run(["末日方舟圣火令" * 5, spam], unsafe={"topics": [], "lists": [tmp_path / "cults.zh.txt"]})
    assert done.rule is not None
    assert done.rule.to_pylist() == ["unsafe_cults", None]


def test_a_good_score_spares_a_document_but_not_its_lines() -> None:
    report = "记者走访了其中一家，店主说生意并不好做，邻居也有意见。"
    thick = "赌场开业 百家乐 时时彩 北京赛车 六合彩 老虎机\n" * 2 + report
    scores = {"quality_score": [0.9, 0.4, None]}
    done = run([thick] * 3, scores, unsafe={"document_score": 0.8})
    assert done.rule is not None
    assert done.rule.to_pylist() == [None, "unsafe_gambling", "unsafe_gambling"]
    assert texts(done)[0] == report
    assert done.metrics["unsafe.spared"] == 1
    unasked = run([thick] * 3, scores)
    assert unasked.rule is not None
    assert unasked.rule.to_pylist() == ["unsafe_gambling"] * 3


def test_disguised_addresses_are_an_option() -> None:
    text = "写信给li（at）pku.edu.cn或wang [at] example [dot] com，也可以发到zhao@163.com、ｌｉｓｉ＠ｑｑ．ｃｏｍ"
    assert texts(run([text])) == ["写信给<|email|>或<|email|>，也可以发到<|email|>、<|email|>"]
    plain = "写信给li（at）pku.edu.cn或wang [at] example [dot] com，也可以发到<|email|>、<|email|>"
    assert texts(run([text], disguised=False)) == [plain]


_PIECES = [
    "13812345678",
    "a@b.cn",
    "8.8.8.8",
    "联系人",
    "王小明",
    "Mary Johnson",
    "电话",
    "+44 20 7946 0958",
    " ",
    "，",
    "x",
    "\n",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=10), st.sampled_from(["beside", "everywhere"]))
def test_twice_is_once_with_names(parts: list[str], place: str) -> None:
    once = texts(run(["".join(parts) or "x"], where={"PERSON": place}, min_chars=0))
    assert texts(run(once, where={"PERSON": place}, min_chars=0)) == once
