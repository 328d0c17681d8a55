"""Rows of the engine, for each kind of model and tokenizer that can be served."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import CompileCounter, ConfigError
from jaxrec.data import train_bpe, train_unigram
from jaxrec.decode import RowSetting
from jaxrec.models import ModelSpec, Opened, Pretrained
from jaxrec.prompting import GenerateOptions, LocalModel, draw_key
from jaxrec.serve import Bucket, TextEngine, TextRow, TextShapes
from jaxrec.testing import random_params, tiny_model

SHAPES = TextShapes(prompt_lengths=(32,), answer_lengths=(16,), batch_sizes=(2,), chunk=4)
PROMPTS = ["one word", "über"]


def opened(kind, tokenizer, **config):
    spec = ModelSpec(kind, dataclasses.replace(tiny_model(len(tokenizer)), **config))
    model = Pretrained(spec=spec, params=random_params(spec.build()))
    return Opened(model=model, tokenizer=tokenizer)


def write(engine, **options):
    """Run one batch of both prompts; return what each of them hears."""
    heard = [[], []]
    rows = []
    for place, text in enumerate(PROMPTS):
        tokens = engine.rules.encode([text])[0]
        setting = RowSetting(key=draw_key(3, 0, text), limit=16, temperature=1.0, alternatives=1)
        row = TextRow(
            tokens=tokens,
            setting=setting,
            bucket=engine.bucket_of(len(tokens), 16, scored=False),
            deliver=heard[place].append,
            trim=not engine.reads_prompts,
            **options,
        )
        rows.append(row)
    for _ in engine.run(rows[0].bucket, rows):
        pass
    return heard


def texts(heard):
    return ["".join(piece.text for piece in pieces) for pieces in heard]


def test_buckets_and_their_limits():
    engine = TextEngine(opened("causal", train_bpe(["one word"], 280)), SHAPES)
    assert engine.bucket_of(20, 5, scored=False) == Bucket(32, 16)
    assert engine.bucket_of(20, 1, scored=True) == Bucket(32, 0)
    assert engine.bucket_of(20, 2, scored=True) == Bucket(32, 16)
    assert (engine.most_prompt, engine.most_tokens, engine.context) == (32, 16, 64)


def test_nothing_compiles_after_the_warm_up():
    # A chunk of its own makes programs that no other test has.
    shapes = dataclasses.replace(SHAPES, chunk=3)
    engine = TextEngine(opened("causal", train_bpe(["one word"], 280)), shapes)
    engine.warm_up()
    with CompileCounter() as counter:
        for stop, scored in (((), False), (("e",), False), ((), True)):
            assert len(texts(write(engine, stop=stop, scored=scored))) == 2
        for limit in (0, 1):
            tokens, heard = engine.rules.encode(["one"])[0], []
            bucket = engine.bucket_of(len(tokens), limit, scored=True)
            setting = RowSetting(limit=limit, temperature=0.5, top_p=0.5, top_k=3)
            row = TextRow(
                tokens=tokens, setting=setting, bucket=bucket, deliver=heard.append, scored=True
            )
            assert list(engine.run(bucket, [row])) == []
            assert (heard[-1].written, heard[-1].finish) == (limit, "length")
    assert counter.programs == []


def test_what_cannot_be_served_is_refused():
    tokenizer = train_bpe(["one word"], 280)
    with pytest.raises(ConfigError, match="kind 'encoder' writes no text"):
        TextEngine(opened("encoder", tokenizer))
    with pytest.raises(ConfigError, match="this one has none"):
        TextEngine(dataclasses.replace(opened("causal", tokenizer), tokenizer=None))
    with pytest.raises(ConfigError, match="context 65 is larger"):
        TextEngine(opened("causal", tokenizer), TextShapes(context=65))
    with pytest.raises(ConfigError, match=r"batch_sizes is empty"):
        TextShapes(batch_sizes=())


def test_a_model_of_broken_weights_gives_errors_and_no_text():
    whole = opened("causal", train_bpe(["one word"], 280))
    params = {**whole.model.params}
    params["params"] = {
        name: {n: jnp.full_like(x, jnp.nan) for n, x in part.items()}
        if name == "embedding"
        else part
        for name, part in params["params"].items()
    }
    assert set(whole.model.params["params"]) & {"embedding"}
    broken = dataclasses.replace(whole.model, params=params)
    heard = write(TextEngine(dataclasses.replace(whole, model=broken), SHAPES))
    assert all("not a number" in str(pieces[0]) for pieces in heard)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["unigram", "encoder_decoder", "learned", "tuned"])
def test_all_kinds_write_what_the_local_model_writes(kind):
    text = ["one word and another, über"] * 3
    tokenizer = train_bpe(text, 290) if kind == "tuned" else train_unigram(text, 400)
    if kind == "encoder_decoder":
        model = opened("encoder_decoder", tokenizer)
    elif kind == "learned":
        # The longest prompt and answer fill the table of positions, with room of 47 slots.
        model = opened("causal", tokenizer, positions="learned", max_length=40)
    else:
        model = opened("causal", tokenizer)
    if kind == "tuned":
        prompt = jnp.asarray(np.random.default_rng(0).normal(size=(5, 16)), jnp.float32)
        params = {**model.model.params, "tuned": {"embedding": {"prompt": prompt}}}
        model = dataclasses.replace(model, model=dataclasses.replace(model.model, params=params))
    engine = TextEngine(model, SHAPES)
    options = GenerateOptions(max_tokens=16, temperature=1.0, seed=3)
    wanted = [reply.text for reply in LocalModel.of(model, "x").generate(PROMPTS, options)]
    assert texts(write(engine)) == wanted
    if engine.reads_prompts:
        heard = write(engine, scored=True)
        assert texts(heard) == wanted
        score = LocalModel.of(model, "x").score(["one"], [[" word"]])[0][0]
        tokens = heard[0][0].prompt
        first = len(tokens) - score.tokens
        assert first >= 1 and "".join(token.text for token in tokens) == "one word"
        total = sum(token.logprob for token in tokens[first:])
        assert total == pytest.approx(score.logprob, abs=1e-4)
