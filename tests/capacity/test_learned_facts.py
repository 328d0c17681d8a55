"""A small model is trained on the sentences of the graph, forgets, and is brought up to date."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrec.capacity import (
    StudyOptions,
    compare_results,
    completion_task,
    make_fact_graph,
    recency_task,
    run_task,
)
from jaxrec.data import train_bpe
from jaxrec.models import CausalLM
from jaxrec.objectives import language_loss
from jaxrec.prompting import LocalModel
from jaxrec.testing import random_params, tiny_model

CUTOFF, YEAR = 2019, 2024
GRAPH = make_fact_graph(people=12, towns=8, companies=4, change=0.15)
STUDY = StudyOptions(resamples=10)
RECENCY = recency_task(GRAPH, YEAR, CUTOFF)


def batch_of(tokenizer, sentences):
    rows = [tokenizer(sentence)["input_ids"] for sentence in sentences]
    tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for place, row in enumerate(rows):
        tokens[place, : len(row)] = row
    valid = np.arange(tokens.shape[1]) < np.array([[len(row)] for row in rows])
    return {
        "tokens": jnp.asarray(tokens),
        "valid": jnp.asarray(valid),
        "weights": jnp.asarray(valid, jnp.float32),
    }


def train(model, params, batch, steps=250):
    def mean_loss(params):
        loss = language_loss(model, params, batch, None)
        return loss.total / loss.weight

    optimizer = optax.adam(optax.cosine_decay_schedule(3e-3, steps))

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(mean_loss)(params)
        # Optax raises floats to integer powers, which strict promotion rejects.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

    carry = (params, optimizer.init(params))
    (params, _), losses = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))(carry)
    assert losses[-1] < losses[0] / 2
    return params


def study(model, params, tokenizer, task):
    return run_task(LocalModel(model, params, tokenizer, batch_size=64), task, None, STUDY)


def values(result):
    return {name: found.value for name, found in result.estimates.items()}


@pytest.mark.slow
def test_a_model_knows_the_facts_of_the_year_that_it_was_trained_on():
    texts = {year: GRAPH.sentences(year) for year in (CUTOFF, YEAR)}
    tokenizer = train_bpe(texts[CUTOFF] + texts[YEAR], vocab_size=500)
    config = dataclasses.replace(tiny_model(len(tokenizer), depth=2), max_length=64, width=64)
    model = CausalLM(config)
    blank = random_params(model)
    old = train(model, blank, batch_of(tokenizer, texts[CUTOFF]))
    new = train(model, old, batch_of(tokenizer, texts[YEAR]))
    untrained, before, after = (
        study(model, params, tokenizer, RECENCY) for params in (blank, old, new)
    )
    assert values(before)["accuracy_before"] > 0.95
    assert values(before)["accuracy_after"] < 0.15
    assert values(before)["outdated"] > 0.9
    assert min(values(after)["accuracy_before"], values(after)["accuracy_after"]) > 0.95
    assert values(after)["outdated"] < 0.1
    # Without training, eight towns or four companies are a guess.
    assert values(untrained)["accuracy_before"] < 0.45
    learned = compare_results(before, after, "accuracy_after")
    assert learned.learned > 0.9
    assert compare_results(before, after, "accuracy_before").retained > 0.9
    complete = study(model, new, tokenizer, completion_task(GRAPH, YEAR))
    assert values(complete)["mrr"] > 0.95
