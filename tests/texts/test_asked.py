"""Asking many prompts: totals, services that fail in the middle, and studies that resume."""

import math

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import save_tokenizer, train_bpe
from jaxrec.models import ModelSpec, Pretrained, save_model
from jaxrec.prompting import (
    EndpointModel,
    GenerateOptions,
    Reply,
    Score,
    ServiceError,
    StoredModel,
    Usage,
)
from jaxrec.systems.chatgpt import ChatGptConfig
from jaxrec.systems.llm4rs import Llm4rsConfig
from jaxrec.testing import random_params, tiny_model
from jaxrec.texts import AskedModelConfig, ask_model, open_asked_model, score_model

OPTIONS = GenerateOptions(max_tokens=3)
PROMPTS = [f"prompt {n}" for n in range(10)]


class Service:
    """A service that counts requests, charges 2 for each, and fails for some prompts."""

    name, context = "service", None

    def __init__(self, broken=(), alive=math.inf):
        self.broken, self.alive, self.asked = set(broken), alive, []

    def _request(self, prompt):
        if prompt in self.broken or len(self.asked) >= self.alive:
            raise ServiceError(f"no answer to {prompt}")
        self.asked.append(prompt)
        return Usage(calls=1, prompt_tokens=3, completion_tokens=1, cost=2.0)

    def generate(self, prompts, options):
        return [Reply(texts=(f"<{p}>",), usage=self._request(p)) for p in prompts]

    def score(self, prompts, continuations):
        return [
            tuple(Score(logprob=-1.0, usage=self._request(p)) for _ in row)
            for p, row in zip(prompts, continuations, strict=True)
        ]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    tokenizer = train_bpe(["one word"], vocab_size=300)
    spec = ModelSpec("causal", tiny_model(len(tokenizer)))
    place = tmp_path_factory.mktemp("models") / "tiny"
    save_model(Pretrained(spec=spec, params=random_params(spec.build())), place)
    save_tokenizer(tokenizer, place)
    return place


def test_replies_keep_their_order_and_totals_add_up():
    service = Service()
    replies, totals = ask_model(service, PROMPTS, OPTIONS, batch=3)
    assert [reply.text for reply in replies] == [f"<{p}>" for p in PROMPTS]
    assert (totals.prompts, totals.failed, totals.tokens) == (10, 0, 40)
    assert totals.usage.cost == 20.0 and totals.usage.calls == 10
    both = totals + totals
    assert (both.prompts, both.tokens, both.usage.cost) == (20, 80, 40.0)
    assert totals.to_json()["tokens"] == 40


def test_a_prompt_that_fails_is_counted_and_the_others_are_answered(tmp_path):
    service = Service(broken=[PROMPTS[4]])
    model = StoredModel(service, tmp_path / "answers.jsonl", chunk=1, recorded_usage=True)
    replies, totals = ask_model(model, PROMPTS, OPTIONS, batch=5)
    assert [reply.failure is None for reply in replies] == [n != 4 for n in range(10)]
    assert totals.failures == {f"no answer to {PROMPTS[4]}": 1}
    # Nothing is paid twice: every prompt that has an answer was sent once.
    assert sorted(service.asked) == sorted(p for p in PROMPTS if p != PROMPTS[4])
    assert totals.usage.cost == 18.0


def test_a_study_stops_when_the_service_is_gone_and_resumes_without_counting_twice(tmp_path):
    path = tmp_path / "answers.jsonl"

    def model(service):
        return StoredModel(service, path, chunk=2, recorded_usage=True)

    first, second = Service(alive=4), Service()
    with pytest.raises(ServiceError, match="4 questions in a row failed, after 7 of 10"):
        ask_model(model(first), PROMPTS, OPTIONS, batch=5)
    replies, totals = ask_model(model(second), PROMPTS, OPTIONS, batch=5)
    assert [reply.text for reply in replies] == [f"<{p}>" for p in PROMPTS]
    assert sorted(first.asked + second.asked) == sorted(PROMPTS)
    whole = ask_model(Service(), PROMPTS, OPTIONS).totals
    assert (totals.usage, totals.prompts) == (whole.usage, whole.prompts)


def test_a_service_without_a_usable_answer_stops_the_study_after_one_batch(tmp_path):
    class Page(Service):
        """An address that sends a page in place of answers to some prompts."""

        def generate(self, prompts, options):
            replies = super().generate(prompts, options)
            return [
                Reply(texts=("",), failure="it is no JSON") if prompt in pages else reply
                for prompt, reply in zip(prompts, replies, strict=True)
            ]

    pages, service = PROMPTS, Page()
    model = StoredModel(service, tmp_path / "answers.jsonl", recorded_usage=True)
    with pytest.raises(ServiceError, match="none of the first 5 of 10 questions"):
        ask_model(model, PROMPTS, OPTIONS, batch=5)
    assert len(service.asked) == 5
    # As many as are allowed to fail stop nothing, and neither do those after a usable answer.
    assert ask_model(model, PROMPTS[:3], OPTIONS).totals.failed == 3
    pages = PROMPTS[1:]
    assert ask_model(model, PROMPTS, OPTIONS, batch=1).totals.failed == 9


def test_equal_prompts_are_paid_once_also_across_calls(tmp_path):
    service = Service()
    model = StoredModel(service, tmp_path / "answers.jsonl", recorded_usage=True)
    costs = [ask_model(model, ["a", "a"], OPTIONS).totals.usage.cost for _ in range(2)]
    assert costs == [2.0, 0.0] and service.asked == ["a"]
    again = StoredModel(service, tmp_path / "answers.jsonl", recorded_usage=True)
    costs = [ask_model(again, ["a", "a"], OPTIONS).totals.usage.cost for _ in range(2)]
    assert costs == [2.0, 0.0] and service.asked == ["a"]


def test_scores_of_a_failed_question_are_no_numbers():
    service = Service(broken=["b"])
    logprobs, totals = score_model(service, ["a", "b"], [["x", "y"], ["x"]])
    assert logprobs[0].tolist() == [-1.0, -1.0]
    assert [math.isnan(value) for value in logprobs[1]] == [True]
    assert totals.failed == 1 and totals.prompts == 2


def test_a_prompt_counts_once_for_all_of_its_options(directory):
    model = open_asked_model(AskedModelConfig(path=str(directory)))
    prompt, options = "one word one", [" one", " word one"]
    whole = [model.count_tokens([prompt + option])[0] for option in options]
    assert score_model(model, [prompt], [options]).totals.tokens == max(whole)
    assert score_model(model, [prompt], [options[:1]]).totals.tokens == whole[0]


def test_wrong_arguments_are_named():
    with pytest.raises(ConfigError, match="expected a list of texts"):
        ask_model(Service(), "prompt", OPTIONS)
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        ask_model(Service(), PROMPTS, OPTIONS, batch=0)
    with pytest.raises(ConfigError, match="2 prompts and 1 rows"):
        score_model(Service(), ["a", "b"], [["x"]])


def test_a_path_opens_a_model_that_stores_and_a_recording_replays_it(directory, tmp_path):
    config = AskedModelConfig(path=str(directory), context=32)
    model = open_asked_model(config, tmp_path / "answers.jsonl")
    assert model.context == 32 and model.name.endswith("-context32")
    text = ask_model(model, ["one"], OPTIONS).replies[0].text
    replayed = open_asked_model(AskedModelConfig(recorded=str(tmp_path / "answers.jsonl")))
    assert replayed.name == model.name
    assert ask_model(replayed, ["one"], OPTIONS).replies[0].text == text
    named = AskedModelConfig(path=str(directory), answers=str(tmp_path / "own.jsonl"), name="mine")
    assert open_asked_model(named, tmp_path / "answers.jsonl").name == "mine"
    assert (tmp_path / "own.jsonl").exists()


def test_a_context_beyond_the_model_is_rejected(directory):
    with pytest.raises(ConfigError, match="larger than the context"):
        open_asked_model(AskedModelConfig(path=str(directory), context=65))


def test_an_address_opens_a_service_with_its_prices(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    config = AskedModelConfig(endpoint="http://localhost:1/v1", name="m", prompt_price=2.0)
    model = open_asked_model(config)
    assert isinstance(model, EndpointModel) and model.name == "m"
    assert model._options.prices.prompt == 2.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "a", "endpoint": "b", "name": "c"}, "are two models"),
        ({"endpoint": "http://x"}, "needs the service's name"),
        ({"path": "a", "prompt_price": 1.0}, "--asked.prompt-price 1.0 is read only with an"),
        ({"endpoint": "http://x", "name": "m", "batch_size": 2}, "--asked.batch-size 2 is read"),
        ({"recorded": "x", "context": 5}, "--asked.context 5 is read only with"),
        ({"recorded": "x", "answers": "y"}, "--asked.answers y is read only with"),
        ({"timeout": 0.0}, "--asked.timeout"),
        ({"name": "m"}, "--asked.name m is read only with"),
        ({"answers": "y"}, "--asked.answers y is read only with"),
    ],
)
def test_settings_that_contradict_one_another_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        AskedModelConfig(**settings)


def test_a_limit_of_tokens_that_nobody_can_count_is_named_before_any_work():
    service = {"endpoint": "http://x", "name": "m", "context": 500}
    with pytest.raises(
        ConfigError, match=r"--asked.context 500 .* of the service http://x is unkn"
    ):
        ChatGptConfig(asked=AskedModelConfig(**service))
    with pytest.raises(ConfigError, match=r"--asked.context 500 limits"):
        Llm4rsConfig(asked=AskedModelConfig(**service, kind="completions"))
    # A model that is opened here counts its tokens itself.
    AskedModelConfig(path="a", context=500).check_counted()


def test_no_model_and_no_recording_are_named(tmp_path):
    with pytest.raises(ConfigError, match="no language model is named"):
        open_asked_model(AskedModelConfig())
    with pytest.raises(DataError, match="no recording"):
        open_asked_model(AskedModelConfig(recorded=str(tmp_path / "none")))
