"""Completions and chats by the client of OpenAI, against the same model without a service."""

import concurrent.futures
import functools
import itertools
import json
import socket
import time

import jax
import numpy as np
import pytest

from jaxrec.core import CompileCounter
from jaxrec.prompting import GenerateOptions, LocalModel
from jaxrec.texts import Message, chat_prompt

PROMPTS = ["one word", "and another one", "über 你好"]
CHAT = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "one?"}]


@pytest.fixture(scope="module")
def local(tiny_text):
    return LocalModel.of(tiny_text, "tiny")


def ask(client, prompt=PROMPTS, **options):
    return client.completions.create(model="tiny", prompt=prompt, **options)


def streamed(stream):
    """Join the pieces of a stream by choice: texts, reasons, columns of log-probabilities."""
    texts, reasons, logprobs, usage = {}, {}, {}, None
    for part in stream:
        usage = part.usage or usage
        for choice in part.choices:
            new = choice.delta.content if hasattr(choice, "delta") else choice.text
            texts[choice.index] = texts.get(choice.index, "") + (new or "")
            assert choice.index not in reasons
            if choice.finish_reason:
                reasons[choice.index] = choice.finish_reason
            for name, column in (choice.logprobs.model_dump() if choice.logprobs else {}).items():
                found = logprobs.setdefault(choice.index, {})
                found[name] = found.get(name, []) + column if column is not None else None
    return texts, reasons, logprobs, usage


SETTINGS = [
    {"temperature": 0.0},
    {"temperature": 0.9, "seed": 3},
    {"temperature": 1.2, "top_p": 0.7, "seed": 5, "n": 3, "presence_penalty": 0.5},
    {"temperature": 1.5, "top_k": 9, "seed": 2**31, "stop": (" ", "e", "\x15")},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_service_writes_what_the_model_writes(client, local, settings):
    replies = local.generate(PROMPTS, GenerateOptions(max_tokens=20, **settings))
    given = dict(settings)
    if "top_k" in given:
        given["extra_body"] = {"top_k": given.pop("top_k")}
    made = ask(client, max_tokens=20, **given)
    assert [choice.text for choice in made.choices] == [t for reply in replies for t in reply.texts]
    reasons = ["length" if cut else "stop" for reply in replies for cut in reply.truncated]
    assert [choice.finish_reason for choice in made.choices] == reasons
    assert [choice.index for choice in made.choices] == list(range(len(made.choices)))
    usage = sum((reply.usage for reply in replies[1:]), replies[0].usage)
    assert made.usage.prompt_tokens == usage.prompt_tokens
    assert made.usage.completion_tokens == usage.completion_tokens
    assert made.usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


def test_the_four_kinds_of_prompts_are_one(client, tiny_text):
    rows = [tiny_text.tokenizer(text)["input_ids"] for text in PROMPTS]
    texts = [choice.text for choice in ask(client, temperature=0).choices]
    assert [choice.text for choice in ask(client, rows, temperature=0).choices] == texts
    assert ask(client, rows[0], temperature=0).choices[0].text == texts[0]
    assert ask(client, PROMPTS[0], temperature=0).choices[0].text == texts[0]
    echoed = ask(client, rows, temperature=0, echo=True)
    assert [c.text for c in echoed.choices] == [p + t for p, t in zip(PROMPTS, texts, strict=True)]


def test_a_seed_repeats_and_none_does_not(client):
    texts = [ask(client, "one", seed=seed, n=4).choices for seed in (1, 1, 2, None, None)]
    first, again, other, free, freer = ([c.text for c in choices] for choices in texts)
    assert first == again and len({*first}) == 4
    assert other != first and free != freer


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0, "logprobs": 2},
        {"temperature": 1, "seed": 1, "n": 2, "stop": ["e", "an"]},
        {"temperature": 1, "seed": 1, "echo": True},
        {"temperature": 0, "echo": True, "logprobs": 1},
        {"temperature": 0, "echo": True, "logprobs": 0, "max_tokens": 0},
    ],
)
def test_streams_have_the_bits_of_whole_answers(client, options):
    options = {"max_tokens": 20, **options}
    whole = ask(client, **options)
    usage = {"stream_options": {"include_usage": True}}
    texts, reasons, logprobs, counts = streamed(ask(client, stream=True, **usage, **options))
    for choice in whole.choices:
        assert texts[choice.index] == choice.text
        assert reasons[choice.index] == choice.finish_reason
        if choice.logprobs is not None:
            assert logprobs[choice.index] == choice.logprobs.model_dump()
    assert counts == whole.usage


def test_a_stream_comes_in_several_pieces(client):
    pieces = list(ask(client, "one", max_tokens=24, temperature=0, stream=True))
    # One token, then chunks of four; bytes of broken characters may join two of them.
    assert len(pieces) >= 4
    assert len({piece.id for piece in pieces}) == 1


@functools.partial(jax.jit, static_argnames="model")
def apply(model, params, row, valid):
    return model.apply(params, row, valid)


def forward(tiny_text, tokens):
    """Log-probabilities of all tokens after each token, by one plain forward pass."""
    model = tiny_text.model.spec.build()
    row = np.zeros((1, 64), np.int32)
    row[0, : len(tokens)] = tokens
    valid = np.arange(64)[None] < len(tokens)
    logits = np.asarray(apply(model, tiny_text.model.params, row, valid), np.float64)[0]
    return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


def test_logprobs_are_those_of_a_plain_forward_pass(client, tiny_text, text_service):
    texts, tokenizer = text_service.engine.texts, tiny_text.tokenizer
    prompt = tokenizer(PROMPTS[2])["input_ids"]
    for limit in (1, 6):
        made = ask(client, PROMPTS[2], max_tokens=limit, temperature=0, logprobs=3, echo=True)
        found, row = made.choices[0].logprobs, list(prompt)
        assert len(found.tokens) == len(prompt) + limit
        assert found.token_logprobs[0] is None and found.top_logprobs[0] is None
        for place in range(1, len(prompt) + limit):
            scores = forward(tiny_text, row[:place])[place - 1]
            best = np.argsort(-scores)
            token = row[place] if place < len(prompt) else int(best[0])
            row[place:] = row[place:] or [token]
            assert found.token_logprobs[place] == pytest.approx(scores[token], abs=1e-4)
            top = found.top_logprobs[place]
            assert top[found.tokens[place]] == found.token_logprobs[place]
            values = sorted(top.values(), reverse=True)[:3]
            np.testing.assert_allclose(values, scores[best[:3]], atol=1e-4)
            assert len(top) == 3 + (token not in best[:3])
            others = {texts.name(int(other)) for other in best[:3] if other != token}
            assert others <= set(top)


def test_offsets_count_from_the_beginning_of_the_prompt(client):
    for echo in (True, False):
        made = ask(client, "one word", max_tokens=6, temperature=0, logprobs=0, echo=echo)
        text = made.choices[0].text if echo else "one word" + made.choices[0].text
        logprobs = made.choices[0].logprobs
        assert logprobs.text_offset[0] == (0 if echo else 8)
        for offset, token in zip(logprobs.text_offset, logprobs.tokens, strict=True):
            assert text[offset:].startswith(token) or "\ufffd" in token


def test_a_chat_is_the_completion_of_its_template(client, tiny_text):
    messages = [Message(turn["role"], turn["content"]) for turn in CHAT]
    prompt = chat_prompt(tiny_text.tokenizer, messages)
    options = {"max_tokens": 9, "temperature": 1, "seed": 4, "n": 2}
    wanted = ask(client, prompt, logprobs=2, **options)
    made = client.chat.completions.create(
        model="tiny", messages=CHAT, logprobs=True, top_logprobs=2, **options
    )
    for choice, other in zip(made.choices, wanted.choices, strict=True):
        assert (choice.message.role, choice.message.content) == ("assistant", other.text)
        assert choice.finish_reason == other.finish_reason
        found = [token.logprob for token in choice.logprobs.content]
        assert found == other.logprobs.token_logprobs[: len(found)]
        assert len(found) >= len(other.logprobs.tokens) - 1
        raw = bytes(itertools.chain(*(token.bytes for token in choice.logprobs.content)))
        assert raw.decode(errors="replace") == other.text
        assert all(len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    assert made.usage == wanted.usage and made.object == "chat.completion"
    parts = [{"type": "text", "text": turn["content"]} for turn in CHAT]
    again = [{"role": t["role"], "content": [p]} for t, p in zip(CHAT, parts, strict=True)]
    stream = client.chat.completions.create(model="tiny", messages=again, stream=True, **options)
    texts, reasons, *_ = streamed(stream)
    assert texts == {c.index: c.message.content for c in made.choices} and len(reasons) == 2


def test_an_answer_without_a_limit_fills_what_there_is(client):
    made = client.chat.completions.create(model="tiny", messages=CHAT, temperature=0)
    assert made.usage.completion_tokens == 24 or made.choices[0].finish_reason == "stop"
    assert ask(client, "one", temperature=0).usage.completion_tokens == 16


def test_models_are_listed(client):
    (card,) = client.models.list().data
    assert card.id == "tiny" and client.models.retrieve("tiny").id == "tiny"


def test_requests_together_get_what_each_gets_alone_and_nothing_compiles(client, text_service):
    asked = [
        {"prompt": PROMPTS[n % 3], "max_tokens": 1 + n, "temperature": n / 8, "seed": n}
        | ({"stop": ["e"]} if n % 2 else {})
        | ({"logprobs": n % 5, "echo": True} if n % 3 == 0 else {})
        | ({"frequency_penalty": 0.5, "top_p": 0.9} if n % 4 == 0 else {})
        for n in range(16)
    ]

    def text(options):
        return ask(client, **options).choices[0].text

    with CompileCounter() as counter:
        alone = [text(options) for options in asked]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert list(pool.map(text, asked)) == alone
    assert counter.programs == []


def test_a_client_that_goes_frees_its_rows(client, text_service):
    stream = ask(client, "one", max_tokens=24, n=100, stream=True)
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 10
    while text_service.batcher.waiting and time.monotonic() < deadline:
        time.sleep(0.01)
    assert text_service.batcher.waiting == 0
    assert ask(client, "one", max_tokens=1).choices[0].finish_reason


def test_a_client_that_does_not_wait_frees_its_rows(text_service):
    host, port = text_service.url.removeprefix("http://").split(":")
    body = json.dumps({"model": "tiny", "prompt": "one", "max_tokens": 24, "n": 120}).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: impatient\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + body)
        while not text_service.batcher.waiting:
            time.sleep(0.001)
    deadline = time.monotonic() + 10
    while not (mine := [r for r in text_service.log if r["request"] == "impatient"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert mine[0]["status"] == 499 and mine[0]["completion_tokens"] < 120 * 24
    assert text_service.batcher.waiting == 0


def test_logs_have_counts_and_no_prompts(client, text_service):
    answer = client.completions.with_raw_response.create(
        model="tiny", prompt="secret words", max_tokens=3, extra_headers={"X-Request-Id": "mine-1"}
    )
    assert answer.headers["x-request-id"] == "mine-1"
    deadline = time.monotonic() + 10
    while not (mine := [r for r in text_service.log if r["request"] == "mine-1"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert mine[0]["status"] == 200 and mine[0]["completion_tokens"] == 3
    assert "secret" not in json.dumps(text_service.log) and "word" not in json.dumps(mine)
