"""Runs whose model reads a history in both directions, and runs that know their users."""

import dataclasses
import json
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError
from jaxrec.data.dataset import load_dataset
from jaxrec.decode import Draws, Recommender
from jaxrec.ids import IdVocabulary, ItemIndex, write_histories
from jaxrec.models import EncoderDecoder
from jaxrec.peft import TuneConfig
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.batches import measure, training_batches
from jaxrec.systems.generative.config import BatchConfig, Config, DecodeConfig
from jaxrec.systems.generative.model import start_tokens, vocabulary
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.testing.brute_force import Case, level_logits, score_of
from jaxrec.train import read_metrics

USER_TOKENS = 5


def config_of(directory, **settings):
    config = tiny_config(write_tiny_csv(directory))
    t5 = dataclasses.replace(
        config.model,
        positions="relative",
        activation="relu",
        gated=False,
        query_scale=1.0,
        logit_scale=config.model.width**-0.5,
    )
    defaults = {"architecture": "encoder_decoder", "user_tokens": USER_TOKENS, "model": t5}
    return dataclasses.replace(config, **{**defaults, **settings})


def ranked(recommender, histories, *_, **__):
    """In place of a search, which takes longer to compile than all else: some items for each."""
    items = np.arange(len(histories))[:, None] + np.arange(10)[None]
    return (items % 30).astype(np.int32), np.zeros(items.shape, np.float32)


class Killed(Exception):
    """Stands for a kill in the middle of a run."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, once at a stretch and once killed after its first validation."""
    directory = tmp_path_factory.mktemp("architectures")
    config = config_of(directory)
    dataset, found = load_dataset(config.data), []
    for name in ("whole", "broken"):
        codes = generative.open_run(config, dataset, directory / name)
        plan = found[0][1] if found else generative.plan_training(config, dataset, codes)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recommender, "recommend", ranked)
            if name == "broken":
                average, calls = generative.average, []

                def dying(metrics, average=average, calls=calls):
                    calls.append(1)
                    if len(calls) == 2:
                        raise Killed
                    return average(metrics)

                patch.setattr(generative, "average", dying)
                with pytest.raises(Killed):
                    generative.train(config, dataset, codes, directory / name, plan)
            result = generative.train(config, dataset, codes, directory / name, plan)
        found.append((result, plan))
    return config, dataset, codes, directory / "whole", [result for result, _ in found]


def test_an_encoder_decoder_learns_and_resumes_to_the_same_bits(runs):
    whole, resumed = runs[-1]
    assert whole.compiles_after_warmup == 0
    losses = [row["loss"] for row in read_metrics(runs[3] / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 4 and losses[-1] < losses[0]
    for ours, theirs in zip(
        jax.tree.leaves(resumed.params), jax.tree.leaves(whole.params), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_its_lists_rank_all_items_as_brute_force_does(runs):
    config, dataset, codes, directory, _ = runs
    recommender = generative.load_recommender(config, codes, directory)
    recommender = dataclasses.replace(recommender, beams=dataset.num_items, batch_size=4)
    assert isinstance(recommender.model, EncoderDecoder)
    histories, starts = dataset.split.history("test")[:4], start_tokens(config, dataset)[:4]
    assert len(set(starts.tolist())) > 1
    items, scores = recommender.recommend(histories, starts=starts)
    words = vocabulary(config, codes)
    tokens = write_histories(histories, words.tokens(codes.codes), config.max_items)
    for row, first in zip(tokens, starts, strict=True):
        row[np.flatnonzero(row == 1)[0]] = first
    case = Case(
        model=recommender.model,
        params=recommender.params,
        codes=codes.codes,
        vocabulary=words,
        index=ItemIndex.build(codes),
        tokens=jnp.asarray(tokens),
        kind="encoder-decoder",
    )
    logits, everything = level_logits(case), np.ones(case.items, bool)
    for user in range(4):
        expected = [
            score_of(case, logits, user, everything, item, "codes") for item in range(case.items)
        ]
        np.testing.assert_allclose(scores[user], np.array(expected)[items[user]], atol=1e-4)
        np.testing.assert_allclose(scores[user], np.sort(expected)[::-1], atol=1e-4)


def test_it_leaves_as_a_t5_that_gives_the_same_logits(runs, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    config, _, codes, directory, _ = runs
    assert main(["export", str(directory), "--to", "hf", "--out", str(tmp_path / "hf")]) == 0
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "hf").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    words = vocabulary(config, codes)
    source = tokenizer("<user_3><a_2><b_1><a_0><b_7>", add_special_tokens=False)["input_ids"]
    assert source == [5, *words.tokens(np.array([[2, 1], [0, 7]])).ravel().tolist()]
    assert theirs.config.decoder_start_token_id == theirs.config.pad_token_id == 0
    written = [[0, int(words.offsets[0])]]
    with torch.no_grad():
        logits = theirs(
            input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor(written)
        ).logits
    recommender = generative.load_recommender(config, codes, directory)
    read, wrote = jnp.asarray([source]), jnp.asarray(written)
    apply = jax.jit(recommender.model.apply)
    ours = apply(recommender.params, read, read >= 0, wrote, wrote >= 0)
    np.testing.assert_allclose(ours, logits, atol=1e-4)

    # What its README computes is the score of our model, for the history of a user.
    monkeypatch.chdir(tmp_path / "hf")
    names = {}
    exec((tmp_path / "hf" / "README.md").read_text().split("```")[1].removeprefix("python"), names)
    items = [row["item"] for row in json.loads((tmp_path / "hf" / "item_ids.json").read_text())]
    tokens = words.tokens(codes.codes)
    first = 2 + zlib.crc32(b"u003") % USER_TOKENS
    read = jnp.asarray([[first, *tokens[0], *tokens[1]]])
    wrote = jnp.asarray([[0, tokens[4][0]]])
    ours = np.asarray(apply(recommender.params, read, read >= 0, wrote, wrote >= 0))[0]
    expected = 0.0
    for row, token, start, size in zip(ours, tokens[4], words.offsets, codes.sizes, strict=True):
        level = np.exp(row[start : start + size].astype(np.float64))
        expected += np.log(np.exp(row[token]) / level.sum())
    assert names["score"](items[:2], items[4], "u003") == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("architecture", ["causal", "encoder_decoder"])
@pytest.mark.parametrize("layout", ["pad", "bucket"])
def test_histories_of_a_batch_begin_with_the_token_of_their_user(tmp_path, architecture, layout):
    config = config_of(tmp_path, architecture=architecture, batches=BatchConfig(layout, buckets=2))
    dataset = load_dataset(config.data)
    starts = start_tokens(config, dataset)
    users = dataset.split.train.user_ids
    assert starts.tolist() == [2 + zlib.crc32(str(u).encode()) % USER_TOKENS for u in users]
    # Items that tell whose they are: one level, one code for each interaction.
    lengths = [len(items) for items in dataset.split.train.sequences()]
    ends = np.cumsum(lengths)
    source = [np.arange(end - length, end) for end, length in zip(ends, lengths, strict=True)]
    words = IdVocabulary(sizes=(int(ends[-1]),), num_special=2 + USER_TOKENS)
    tokens_of = words.tokens(np.arange(ends[-1])[:, None])
    made = training_batches(config, source, tokens_of, starts=starts)
    batches = iter(made.dataset)
    tokens = cells = 0
    for batch in (next(batches) for _ in range(40)):
        used, there = measure(batch)
        tokens, cells = tokens + used, cells + there
        rows = batch["tokens"] if architecture == "causal" else batch["source"]
        for place, row in enumerate(rows):
            first, *items = row[row != 0].tolist()
            if architecture != "causal":
                items.append(int(batch["target"][place, 0]))
            numbers = np.array(items) - words.num_special
            user = int(np.searchsorted(ends, numbers[0], side="right"))
            assert first == starts[user]
            assert numbers.tolist() == list(range(numbers[0], numbers[0] + len(numbers)))
            assert numbers[-1] < ends[user]
    assert 1 - tokens / cells == pytest.approx(made.padding, abs=0.03)


def test_what_cannot_go_together_is_refused_before_any_work():
    for settings in ({"architecture": "prefix"}, {"user_tokens": 7}):
        named = " ".join(map(str, *settings.items()))
        with pytest.raises(ConfigError, match=f"pack has no room for {named}"):
            Config(**settings, batches=BatchConfig("pack"))
        with pytest.raises(ConfigError, match=rf"{named} needs a model .*tune\.base is 'there'"):
            Config(**settings, tune=TuneConfig(base="there"))
    with pytest.raises(ConfigError, match="--user-tokens must be at least 0, got -1"):
        Config(user_tokens=-1)
    appended = DecodeConfig(strategy="next_k", beams=10)
    with pytest.raises(ConfigError, match=r"next_k appends items .* architecture prefix"):
        Config(architecture="prefix", decode=appended)
    with pytest.raises(ConfigError, match="max_items 9 leaves no history before the items"):
        Config(max_items=9, decode=appended)
    with pytest.raises(ConfigError, match=r"draws\.count must be at least 1"):
        DecodeConfig(draws=Draws(count=0))


def test_a_decoder_reads_no_more_than_leaves_room_within_its_training_windows():
    config = Config(max_items=30)
    learned = dataclasses.replace(config.model, positions="learned")
    appended = DecodeConfig(strategy="next_k", beams=10)
    assert config.items_read == 30
    assert Config(max_items=30, model=learned).items_read == 29
    assert Config(max_items=30, decode=appended).items_read == 21
    assert Config(max_items=30, model=learned, decode=appended).items_read == 20
    assert Config(max_items=30, model=learned, architecture="encoder_decoder").items_read == 30
