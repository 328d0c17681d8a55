"""The protocol: options out of range, sums of costs, and the scripted model as an example of it."""

import dataclasses
import json
import math

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import Call, GenerateOptions, ScriptedModel, TextScore, Usage


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"n": 0}, "n must be at least 1"),
        ({"n": 2}, "would all be equal"),
        ({"temperature": -0.1}, "temperature must be a number from 0 on"),
        ({"temperature": math.nan}, "temperature must be a number from 0 on"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must lie in"),
        ({"top_p": 1.1}, "top_p must lie in"),
        ({"presence_penalty": math.inf}, "presence_penalty must be a finite number"),
        ({"stop": "\n"}, "stop must be a tuple of strings"),
        ({"stop": ("a", "")}, "would end every text at once"),
        ({"stop": (5,)}, r"stop must be tuple\[str, \.\.\.\], got \(5,\)"),
        ({"stop": None}, "stop must be .* got None"),
        ({"max_tokens": 1.5}, "max_tokens must be int, got 1.5"),
        ({"max_tokens": "5"}, "max_tokens must be int, got '5'"),
        ({"max_tokens": True}, "max_tokens must be int, got True"),
        ({"temperature": "hot"}, "temperature must be float, got 'hot'"),
        ({"top_k": 2.5}, "top_k must be int | None, got 2.5"),
        ({"seed": -1}, "seed must be at least 0, got -1|seed must be in"),
        ({"seed": 1.5}, "seed must be int, got 1.5"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    with pytest.raises(ConfigError, match=message):
        GenerateOptions(**options)


def test_numbers_of_numpy_become_those_of_python():
    options = GenerateOptions(seed=np.int64(3), temperature=np.float32(0.5), stop=["a"])
    assert (options.seed, options.temperature, options.stop) == (3, 0.5, ("a",))
    assert json.dumps(dataclasses.asdict(options))


def test_costs_add_up():
    one = Usage(calls=1, prompt_tokens=5, shared_tokens=2, completion_tokens=3, cost=0.25)
    assert one + one == Usage(
        calls=2, prompt_tokens=10, shared_tokens=4, completion_tokens=6, cost=0.5
    )


def test_many_small_numbers_are_summed_exactly():
    assert TextScore(logprobs=(-0.1,) * 10).logprob == -1.0


def test_a_script_is_cut_like_a_model_and_remembers_what_it_was_asked():
    model = ScriptedModel(
        lambda prompt, sample: f"{prompt} one two three {sample}. Next",
        logprob=lambda prompt, continuation: -float(len(continuation)),
    )
    options = GenerateOptions(n=2, temperature=1.0, stop=(".",), max_tokens=4)
    reply = model.generate(["a"], options)[0]
    assert reply.texts == ("a one two three", "a one two three")
    assert reply.truncated == (True, True)
    scores = model.score(["a"], [["xx", "y"]])[0]
    assert [(score.logprob, score.greedy) for score in scores] == [(-2.0, False), (-1.0, True)]
    assert model.score_text(["xx y"])[0].logprobs == (-2.0, -1.0)
    assert model.calls[0] == Call(kind="generate", prompt="a", answer=reply.texts)
    with pytest.raises(ConfigError, match="1 prompts need 1 rows"):
        model.score(["a"], [])
    with pytest.raises(ConfigError, match="expected a list of texts, got one text"):
        model.generate("abc", GenerateOptions())
    with pytest.raises(ConfigError, match=r"answers must be texts, got \[5\]"):
        ScriptedModel(lambda prompt, sample: 5).generate(["a"], GenerateOptions())
    with pytest.raises(ConfigError, match="has no logprob function"):
        ScriptedModel().score(["a"], [["b"]])
