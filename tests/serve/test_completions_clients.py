"""Clients that were not written for this service: ours, and lm-eval's."""

import pytest

from jaxrec.capacity import lm_eval_model
from jaxrec.data import save_tokenizer
from jaxrec.prompting import EndpointModel, EndpointOptions, GenerateOptions, LocalModel
from jaxrec.texts import AskedModelConfig, ChatModel, open_asked_model

PROMPTS = ["one word", "and another one", "über 你好"]
ROWS = [[" and", " word"], ["!", " über"], [", one", "好"]]


@pytest.fixture
def closing():
    """Return a function that notes a model, whose connections are closed at the end."""
    models = []
    yield lambda model: models.append(model) or model
    for model in models:
        model.close()


@pytest.fixture(scope="module")
def local(tiny_text):
    return LocalModel.of(tiny_text, "tiny")


def test_our_client_gets_what_the_model_gives(text_service, local, closing, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    config = AskedModelConfig(
        endpoint=f"{text_service.url}/v1", name="tiny", kind="completions", context=128
    )
    model = closing(open_asked_model(config))
    options = GenerateOptions(max_tokens=12, temperature=0.8, seed=7, n=2, stop=("e",))
    found, wanted = model.generate(PROMPTS, options), local.generate(PROMPTS, options)
    assert [(r.texts, r.truncated) for r in found] == [(r.texts, r.truncated) for r in wanted]
    assert [r.usage.completion_tokens for r in found] == [r.usage.completion_tokens for r in wanted]
    scores = zip(model.score(PROMPTS, ROWS), local.score(PROMPTS, ROWS), strict=True)
    for found_row, wanted_row in scores:
        for score, other in zip(found_row, wanted_row, strict=True):
            assert score.logprob == pytest.approx(other.logprob, abs=1e-4)
            assert (score.tokens, score.greedy) == (other.tokens, other.greedy)


def test_our_client_chats(text_service, local, tiny_text, closing):
    url, chat = f"{text_service.url}/v1", EndpointOptions()
    model = closing(EndpointModel("tiny", base_url=url, api_key="none", options=chat))
    options = GenerateOptions(max_tokens=12, temperature=0.8, seed=7)
    wanted = ChatModel(local, tiny_text.tokenizer).generate(PROMPTS, options)
    assert [r.texts for r in model.generate(PROMPTS, options)] == [r.texts for r in wanted]


@pytest.fixture(scope="module")
def harness(text_service, tiny_text, tmp_path_factory):
    pytest.importorskip("lm_eval", reason="needs the extra lm-eval")
    pytest.importorskip("tenacity", reason="needs lm-eval[api]")
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(tiny_text.tokenizer, path)
    return LocalCompletionsAPI(
        model="tiny",
        base_url=f"{text_service.url}/v1/completions",
        tokenizer=str(path),
        tokenizer_backend="huggingface",
        max_length=64,
        batch_size=3,
    )


def test_lm_eval_scores_as_directly(harness, local):
    from lm_eval.api.instance import Instance

    pairs = [(p, text) for p, row in zip(PROMPTS, ROWS, strict=True) for text in row]
    # What the model would say is greedy, and most else is not.
    best = local.generate(PROMPTS, GenerateOptions(max_tokens=1))
    pairs += [(p, r.text) for p, r in zip(PROMPTS, best, strict=True) if r.text.isascii()]
    asked = [Instance("loglikelihood", {}, pair, n) for n, pair in enumerate(pairs)]
    found, wanted = harness.loglikelihood(asked), lm_eval_model(local).loglikelihood(asked)
    assert len({greedy for _, greedy in wanted}) == 2
    for (logprob, greedy), (other, other_greedy) in zip(found, wanted, strict=True):
        assert logprob == pytest.approx(other, abs=1e-4) and greedy == other_greedy


def test_lm_eval_writes_as_directly(harness, local):
    from lm_eval.api.instance import Instance

    options = {"until": ["e"], "max_gen_toks": 12, "do_sample": False, "temperature": 0.0}
    asked = [Instance("generate_until", {}, (p, dict(options)), n) for n, p in enumerate(PROMPTS)]
    wanted = lm_eval_model(local).generate_until(asked)
    assert harness.generate_until(asked) == wanted
