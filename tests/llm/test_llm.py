"""The endpoint misbehaves in every way it can; no answer is lost and none is paid for twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_llm import fake_llm
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pretrain_data.llm import (
    Answer,
    AnswerCache,
    Asker,
    Endpoint,
    EndpointConfig,
    EndpointRefused,
    Failure,
    Limits,
    NoAnswer,
    Prompt,
)


def question(text: str) -> tuple[dict[str, str], ...]:
    return ({"role": "system", "content": "Be brief."}, {"role": "user", "content": text})


def prompts(count: int) -> list[Prompt]:
    return [Prompt(str(i), question(f"问题 {i}")) for i in range(count)]


def config(url: str, **more: object) -> EndpointConfig:
    return EndpointConfig.model_validate({"url": url, "model": "m", "backoff_seconds": 0.01, **more})


@pytest.mark.parametrize("trick", ["500", "503", "408", "429", "cut", "cut_chunked", "malformed", "html", "drop"])
def test_trouble_that_passes_is_waited_out(trick: str) -> None:
    waits: list[float] = []
    with fake_llm(trick=lambda _, nth: trick if nth < 2 else "good") as server:
        endpoint = Endpoint(config(server.url), sleep=waits.append)
        answer = endpoint.ask(question("天气?"))
    assert answer == Answer("answer to 天气?", "stop", "m-0101", 3, 13)
    assert endpoint.requests == 3
    if trick == "429":  # Retry-After: 2, for all threads of the endpoint
        assert len(waits) == 2
        assert all(1.5 < wait <= 2 for wait in waits)
    else:
        assert waits == [0.01, 0.02]


def test_a_dripping_answer_is_given_up_after_the_time_for_the_whole() -> None:
    with fake_llm(trick=lambda _, nth: "slow" if nth == 0 else "good") as server:
        endpoint = Endpoint(config(server.url, timeout_seconds=0.5), sleep=lambda _: None)
        assert endpoint.ask(question("slow")).text == "answer to slow"
        assert endpoint.requests == 2


def test_trouble_that_stays_is_no_answer_and_says_what() -> None:
    with fake_llm(trick=lambda *_: "500") as server:
        endpoint = Endpoint(config(server.url, retries=2), sleep=lambda _: None)
        with pytest.raises(NoAnswer, match="after 3 tries: status 500: as asked for"):
            endpoint.ask(question("x"))
    with pytest.raises(NoAnswer, match="after 3 tries"):  # the server is gone
        endpoint.ask(question("x"))
    for trick, says in (("400", "status 400"), ("no_text", "without text")):  # final: asked once
        with fake_llm(trick=lambda *_, trick=trick: trick) as server:
            endpoint = Endpoint(config(server.url), sleep=lambda _: None)
            with pytest.raises(NoAnswer, match=says):
                endpoint.ask(question("x"))
            assert endpoint.requests == 1


@pytest.mark.parametrize("trick", ["401", "404", "quota"])
def test_an_endpoint_that_refuses_us_ends_the_asking(trick: str, tmp_path: Path) -> None:
    with fake_llm(trick=lambda *_: trick) as server:
        with pytest.raises(EndpointRefused, match="see to the address"):
            Endpoint(config(server.url)).ask(question("x"))
        asker = Asker(Endpoint(config(server.url)), AnswerCache(tmp_path), Limits(concurrency=2))
        results = [result for _, result in asker.ask(prompts(50))]
        assert {r.kind for r in results if isinstance(r, Failure)} == {"refused"}
        assert asker.failed == len(results) == 50
        assert sum(server.asked.values()) <= 3, "those under way when the first was refused"


def test_the_key_is_sent_and_the_request_is_as_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "s3cret")
    with fake_llm() as server:
        wanted = config(server.url + "/", key_env="A_KEY", temperature=0.5, extra={"top_k": 5}, max_tokens=7)
        Endpoint(wanted).ask(question("x"))
        [body] = server.bodies
        assert server.keys == {"Bearer s3cret"}
    assert body == {
        "model": "m",
        "messages": list(question("x")),
        "temperature": 0.5,
        "max_tokens": 7,
        "seed": 1,
        "top_k": 5,
    }
    for url in ("ftp://x/v1", "localhost", "http://me:pw@x/v1"):
        with pytest.raises(ValidationError):
            config(url)


def test_answers_come_in_order_within_the_concurrency_and_once(tmp_path: Path) -> None:
    with fake_llm(trick=lambda q, nth: "500" if q.endswith("3") and nth == 0 else "good") as server:
        server.delay = 0.005
        asked = prompts(40) + prompts(10)
        with AnswerCache(tmp_path) as cache:
            asker = Asker(Endpoint(config(server.url)), cache, Limits(concurrency=4))
            results = list(asker.ask(asked))
        assert [p for p, _ in results] == asked
        assert all(isinstance(r, Answer) and r.text == f"answer to 问题 {p.name}" for p, r in results)
        assert server.most <= 4
        assert sum(server.paid.values()) == len(server.paid) == 40
        # Another run, and another address of the same model: all from the cache.
        moved = config(server.url.replace("127.0.0.1", "localhost"))
        with AnswerCache(tmp_path) as cache:
            again = Asker(Endpoint(moved), cache, Limits())
            assert list(again.ask(asked)) == results
            assert (again.answered, again.failed, again.endpoint.requests) == (0, 0, 0)
            # Another model, another temperature: another question.
            other = [config(server.url, model="n"), config(server.url, temperature=0.1)]
            assert not any(Endpoint(c).key(asked[0].messages) in cache for c in other)


def test_budgets_hold_over_tries_and_over_runs(tmp_path: Path) -> None:
    with fake_llm(trick=lambda _, nth: "500" if nth == 0 else "good") as server:
        asker = Asker(Endpoint(config(server.url)), AnswerCache(tmp_path / "a"), Limits(concurrency=3, max_requests=21))
        results = [r for _, r in asker.ask(prompts(40))]
        assert sum(server.asked.values()) == 21
        assert {r.kind for r in results if isinstance(r, Failure)} == {"budget"}
    with fake_llm() as server:
        limits = Limits(concurrency=8, max_tokens_total=1000)
        for _ in range(3):  # each question costs 4 or 5 + 14 or 15 tokens
            with AnswerCache(tmp_path / "b") as cache:
                list(Asker(Endpoint(config(server.url, max_tokens=30)), cache, limits).ask(prompts(200)))
                assert 900 < cache.tokens <= 1000
        spent = sum(len(q) + len(f"answer to {q}") for q in server.paid)
        assert spent == cache.tokens


def test_a_torn_or_changed_line_is_no_answer(tmp_path: Path) -> None:
    answers = {f"k{i}": Answer(f"文{i}\n", "stop", "m", 1, 2) for i in range(5)}
    with AnswerCache(tmp_path) as cache:
        for key, answer in answers.items():
            cache.put(key, answer)
            cache.put(key, Answer("another", "stop", "m"))  # the first stays
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    changed = whole.replace("文1".encode(), "文9".encode())
    path.write_bytes(changed[:-7])
    with AnswerCache(tmp_path) as cache:
        assert (len(cache), cache.broken, cache.tokens) == (3, 2, 9)
        assert {k: cache.get(k) for k in answers} == {**answers, "k1": None, "k4": None}
        cache.put("k4", answers["k4"])
    assert path.read_bytes() == changed[:-7], "a file of another run is never written"
    with AnswerCache(tmp_path) as cache:
        assert cache.get("k4") == answers["k4"]


@given(st.lists(st.tuples(st.text(max_size=3), st.text()), max_size=20), st.integers(0, 10_000))
def test_whatever_is_cut_off_the_rest_stays(tmp_path_factory: pytest.TempPathFactory, items: list, cut: int) -> None:
    folder = tmp_path_factory.mktemp("cache")
    with AnswerCache(folder) as cache:
        for key, text in items:
            cache.put(key, Answer(text, "stop", "m"))
    first = dict(reversed(items))
    for path in folder.iterdir():
        content = path.read_bytes()
        left = content[: cut % (len(content) + 1)]
        path.write_bytes(left)
        with AnswerCache(folder) as cache:
            assert len(cache) == left.count(b"\n")
            assert all(cache.get(k).text == first[k] for k in first if k in cache)  # type: ignore[union-attr]


CHILD = """
import sys
from pathlib import Path
from pretrain_data.llm import *
config = EndpointConfig(url=sys.argv[1], model="m", backoff_seconds=0.01)
asker = Asker(Endpoint(config), AnswerCache(Path(sys.argv[2])), Limits(concurrency=4))
for prompt, answer in asker.ask(Prompt(str(i), ({"role": "user", "content": f"q{i}"},)) for i in range(60)):
    print(prompt.name, answer.text, flush=True)
"""


def test_kills_lose_no_answer_that_was_handed_out(tmp_path: Path) -> None:
    """SIGKILL in the middle, several times: paid twice are at most the answers on their way at a kill."""
    with fake_llm(trick=lambda _, nth: "500" if nth == 0 else "good") as server:
        server.delay = 0.01
        kills, handed_out = 0, set()
        for goal in (10, 25, 40, None):
            before = dict(server.paid)
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, server.url, str(tmp_path)], stdout=subprocess.PIPE, text=True
            )
            assert child.stdout is not None
            while goal is not None and sum(server.paid.values()) < goal and child.poll() is None:
                time.sleep(0.002)
            if goal is not None:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            lines = [line.split()[0] for line in child.stdout.read().splitlines() if line.endswith(tuple("0123456789"))]
            child.wait()
            again = {q for q, n in server.paid.items() if n > before.get(q, 0)}
            assert not again & {f"q{name}" for name in handed_out}, "what was handed out is never asked again"
            handed_out |= set(lines)
        assert handed_out == {str(i) for i in range(60)}
        assert sum(server.paid.values()) <= 60 + 4 * kills
