"""The pre-training system: corpora, settings, a tiny run measured by hand, and its exports."""

import dataclasses
import gzip
import json
import math

import jax
import numpy as np
import pytest

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import ReservedTokens, load_tokenizer, train_bpe
from jaxrec.data.recruitment import WorldOptions, recruitment_world
from jaxrec.objectives import Denoiser, PairMasking, Pairs, corrupt, longest_text
from jaxrec.runs import Options, load_run, open_any
from jaxrec.systems.pretrain import (
    ObjectiveConfig,
    PretrainConfig,
    PretrainDataConfig,
    PretrainEvalConfig,
    flavour,
)
from jaxrec.systems.pretrain.corpus import encode, load_corpus
from jaxrec.systems.pretrain.objective import Learning
from jaxrec.systems.pretrain.run import evaluate, open_model, train
from jaxrec.train import TrainConfig

WORDS = ("film", "star", "war", "love", "a", "the", "of", "and", "good", "bad")


def write_corpus(place, count=40, words=60):
    """Write documents in which a word mostly follows the one before it in `WORDS`."""
    rng = np.random.default_rng(0)
    lines = []
    for _ in range(count):
        at = rng.integers(len(WORDS))
        text = []
        for _ in range(words):
            at = (at + 1) % len(WORDS) if rng.random() < 0.8 else rng.integers(len(WORDS))
            text.append(WORDS[at])
        lines.append(json.dumps({"text": " ".join(text)}))
    path = place / "docs.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def tiny(path, objective="lm", backbone="causal", **more):
    shape = {"width": 16, "depth": 1, "num_heads": 2, "mlp_width": 32}
    return PretrainConfig(
        **{
            "data": PretrainDataConfig(name="tiny", paths=(str(path),)),
            "objective": ObjectiveConfig(name=objective),
            "backbone": backbone,
            "vocab_size": 380,
            "length": 24,
            "model": flavour(backbone, **shape),
            "train": TrainConfig(steps=8, batch_size=8, eval_every=8, lr=1e-2, warmup_steps=2),
            "eval": PretrainEvalConfig(valid_rows=16, batch_size=16, resamples=50),
        }
        | more
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A directory with a corpus and a trained run of a mixture with a prefix decoder."""
    place = tmp_path_factory.mktemp("pretrain")
    config = dataclasses.replace(
        tiny(write_corpus(place), backbone="prefix"),
        objective=ObjectiveConfig(name="ul2r", language=0.3),
        per_row=2,
    )
    train(config, place / "run", Options())
    return place


def nats_by_hand(opened, rows):
    """Sum of -log p of all tokens but the first of each row."""
    model = opened.model.spec.build()
    logits = np.asarray(jax.jit(model.apply)(opened.model.params, rows, rows >= 0), np.float64)
    logits -= logits.max(-1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(log_p[:, :-1], rows[:, 1:, None], 2)[..., 0]


def infilling_by_hand(opened, stream, length):
    """Mean of -log p of the targets of windows with T5's noise, under the mode R."""
    tokenizer, denoiser = opened.tokenizer, Denoiser(rate=0.15, span=3.0)
    reserved = ReservedTokens.of(tokenizer)
    size = longest_text(denoiser, length - 1, joined=True).raw
    rows = np.zeros((len(stream) // size, length), np.int32)
    prefix, targets = np.zeros(rows.shape, bool), np.zeros(rows.shape, bool)
    for number in range(len(rows)):
        text = np.array(stream[number * size : (number + 1) * size])
        rng = np.random.default_rng([0, number])
        read, written = corrupt(denoiser, text, reserved, rng)
        mode = tokenizer.convert_tokens_to_ids("[NLU]")
        row = [mode, *read.tolist(), *written.tolist()]
        rows[number, : len(row)] = row
        prefix[number, : 1 + len(read)] = True
        targets[number, 1 + len(read) : len(row)] = True
    model, params = opened.model.spec.build(), opened.model.params
    logits = jax.jit(model.apply)(params, rows, prefix | targets, prefix=prefix)
    logits = np.asarray(logits, np.float64)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    nats = -np.take_along_axis(log_p[:, :-1], rows[:, 1:, None], 2)[..., 0]
    return nats[targets[:, 1:]].mean()


def test_measures_of_a_run_are_those_by_hand(place):
    assert main(["eval", str(place / "run")]) == 0
    report = json.loads((place / "run" / "eval.json").read_text())
    metrics = report["rows"]["model"]["metrics"]
    opened = open_any(place / "run")
    assert opened.model.spec.kind == "causal"
    tokenizer = opened.tokenizer
    corpus = load_corpus(load_run(place / "run").data)
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (34, 2, 4)
    stream = []
    for text in corpus.test:
        stream += [*tokenizer.encode(text), tokenizer.eos_token_id]
    blocks = len(stream) // 23
    rows = np.array(stream[: 23 * blocks], np.int32).reshape(blocks, 23)
    mode = tokenizer.convert_tokens_to_ids("[S2S]")
    rows = np.pad(rows, ((0, 0), (1, 0)), constant_values=mode)
    loss = nats_by_hand(opened, rows).mean()
    assert metrics["lm_loss"] == pytest.approx(loss, rel=1e-5)
    size = sum(len(text.encode()) for text in corpus.test)
    bits = loss * len(stream) / size / math.log(2)
    assert metrics["bits_per_byte"] == pytest.approx(bits, rel=1e-5)
    # It has learned a little: a model that knows nothing loses ln V.
    assert metrics["lm_loss"] < math.log(len(tokenizer)) - 0.3
    infilling = infilling_by_hand(opened, stream, 24)
    assert metrics["infilling_loss"] == pytest.approx(infilling, rel=1e-5)
    assert main(["report", str(place / "run")]) == 0
    for page in ("report.html", "README.md"):
        shown = (place / "run" / page).read_text()
        assert "over rows of text" in shown
        assert "over users" not in shown and "test items" not in shown and "catalogue" not in shown
    low, high = report["rows"]["model"]["intervals"]["lm_loss"]
    assert low < loss < high
    count = sum(leaf.size for leaf in jax.tree.leaves(opened.model.params))
    assert report["rows"]["model"]["parameters"] == count
    table = len(tokenizer) * 16
    assert report["rows"]["model"]["parameters_without_vocabulary"] == count - table


def test_a_run_goes_on_only_with_its_own_settings_and_text(place):
    config = load_run(place / "run")
    with pytest.raises(ConfigError, match=r"other settings \(length was 24 and is 32\)"):
        train(dataclasses.replace(config, length=32), place / "run", Options())
    path = place / "docs.jsonl"
    before = path.read_text()
    path.write_text(before + json.dumps({"text": "one more"}) + "\n")
    try:
        with pytest.raises(DataError, match="was trained on other data"):
            evaluate(config, place / "run", baselines=())
        assert open_model(config, place / "run").tokenizer is not None
    finally:
        path.write_text(before)


def test_no_run_is_left_where_a_setting_is_wrong(place, tmp_path):
    config = tiny(place / "docs.jsonl")
    plain = tmp_path / "plain"
    train_bpe(["a film"], 300).save_pretrained(plain)
    wrong = dataclasses.replace(
        config, tokenizer=str(plain), objective=ObjectiveConfig(name="denoising")
    )
    with pytest.raises(ConfigError, match=r"no sentinels .*add_reserved"):
        train(wrong, tmp_path / "run", Options())
    with pytest.raises(DataError, match=r"an example takes 3999; .*lower --length"):
        long = dataclasses.replace(config, length=4000)
        train(long, tmp_path / "run", Options())
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objective": "mlm_nsp"}, "--backbone causal cannot learn the objective mlm_nsp; choose"),
        (
            {"backbone": "encoder"},
            "--backbone encoder cannot learn the objective lm; choose causal",
        ),
        ({"backbone": "encoder_decoder", "per_row": 2}, "only rows of decoders are packed"),
        (
            {"objective": "mlm_nsp", "backbone": "encoder", "model": flavour("causal")},
            "needs --model.pooler True",
        ),
        (
            {
                "objective": "mlm_nsp",
                "backbone": "encoder",
                "model": flavour("encoder", max_length=16),
            },
            r"learned positions end at model\.max_length 16",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_named(change, message):
    with pytest.raises(ConfigError, match=message):
        tiny("x", **change)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "lm", "span": 8.0}, "--objective.span 8.0 is not read by the objective lm"),
        ({"name": "ul2", "rate": 0.3}, "--objective.rate 0.3 is not read by the objective ul2"),
        ({"name": "lm", "language": 0.5}, "it belongs to ul2, three_way, ul2r"),
        ({"name": "denoising", "whole_words": True}, "it belongs to mlm_nsp"),
        ({"name": "mlm_nsp", "phrases": True}, "set --objective.whole-words to True"),
        ({"name": "mlm_nsp", "salient": 0.5}, "salient 0.5 hides phrases; set --objective.phrases"),
    ],
)
def test_settings_that_an_objective_ignores_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        ObjectiveConfig(**settings)


def test_parts_do_not_overlap_and_hold_the_whole_corpus(tmp_path):
    path = write_corpus(tmp_path, count=30)
    corpus = load_corpus(PretrainDataConfig(name="x", paths=(str(path),), test=0.2, valid=0.1))
    assert [len(corpus.part(name)) for name in ("train", "valid", "test")] == [21, 3, 6]
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert sorted(corpus.train + corpus.valid + corpus.test) == sorted(texts)
    other = load_corpus(
        PretrainDataConfig(name="x", paths=(str(path),), test=0.2, valid=0.1, seed=1)
    )
    assert other.test != corpus.test


def test_a_planted_world_is_a_corpus_of_its_texts():
    world = WorldOptions(jobs=300, people=60)
    corpus = load_corpus(PretrainDataConfig(name="recruitment-world", world=world))
    records = recruitment_world(world).recruitment
    texts = {one.text() for one in (*records.jobs, *records.resumes)}
    texts |= {one.assessment for one in records.interviews}
    parts = [*corpus.train, *corpus.valid, *corpus.test]
    assert sorted(parts) == sorted(texts)
    with pytest.raises(ConfigError, match=r"--data\.world is read with --data\.name recruitment-w"):
        PretrainDataConfig(name="wikitext-2", world=world)


def test_one_document_is_cut_in_three_and_has_no_pairs(tmp_path):
    path = tmp_path / "book.txt"
    text = "".join(f"line {n} of the book\n" for n in range(400))
    path.write_text(text)
    corpus = load_corpus(PretrainDataConfig(name="book", paths=(str(path),)))
    assert corpus.train[0] + corpus.valid[0] + corpus.test[0] == text
    assert corpus.valid[0].startswith("line") and corpus.test[0].startswith("line")
    assert len(corpus.test[0]) / len(text) == pytest.approx(0.1, abs=0.01)
    config = tiny(path, objective="mlm_nsp", backbone="encoder")
    with pytest.raises(DataError, match="next-sentence prediction needs 2 documents"):
        train(config, tmp_path / "run", Options())
    assert not (tmp_path / "run").exists()


def test_bad_documents_are_counted_and_a_corpus_of_them_is_an_error(tmp_path):
    path = tmp_path / "docs.jsonl"
    good = [json.dumps({"text": f"text {n} of a film"}) for n in range(25)]
    bad = [json.dumps({"text": ""}), json.dumps({"text": "a\0b"}), "{"]
    path.write_text("\n".join(good + bad))
    corpus = load_corpus(PretrainDataConfig(name="x", paths=(str(path),)))
    assert dict(corpus.rejected) == {"binary": 1, "empty": 1, "not JSON": 1}
    assert "left out: 1 binary, 1 empty, 1 not JSON" in str(corpus)
    path.write_text("\n".join(bad[:2]))
    with pytest.raises(DataError, match=r"no document in .*docs\.jsonl .*1 binary"):
        load_corpus(PretrainDataConfig(name="x", paths=(str(path),)))
    with pytest.raises(DataError, match=r"no corpus, file or directory 'wikitext-3'.*wikitext-2"):
        load_corpus(PretrainDataConfig(name="wikitext-3"))


def test_a_file_that_lies_there_plain_and_gzipped_is_read_once(tmp_path, monkeypatch):
    folder = tmp_path / "tinyshakespeare"
    folder.mkdir()
    text = "a line of a play\n" * 400
    (folder / "input.txt").write_text(text)
    (folder / "input.txt.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setenv("JAXREC_DATA", str(tmp_path))
    corpus = load_corpus(PretrainDataConfig(name="tinyshakespeare"))
    assert sum(map(len, (*corpus.train, *corpus.valid, *corpus.test))) == len(text)
    (folder / "input.txt").unlink()
    assert load_corpus(PretrainDataConfig(name="tinyshakespeare")).test == corpus.test


def test_missing_and_damaged_files_are_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 damaged PAR1")
    for name, message in (("a.parquet", r"a\.parquet"), ("b.txt", r"b\.txt.*check --data\.paths")):
        with pytest.raises(DataError, match=message):
            train(tiny(tmp_path / name), tmp_path / "run", Options())
    assert not (tmp_path / "run").exists()


def test_a_prepared_corpus_is_read_by_its_directory(tmp_path):
    (tmp_path / "documents").mkdir()
    write_corpus(tmp_path / "documents")
    write_corpus(tmp_path)  # such as the shards of tokens beside the documents
    alone = PretrainDataConfig(name="x", paths=(str(tmp_path / "documents"),))
    whole = PretrainDataConfig(name="x", paths=(str(tmp_path),))
    assert len(load_corpus(whole).train) > len(load_corpus(alone).train)
    (tmp_path / "corpus.json").write_text("{}")
    assert load_corpus(whole).train == load_corpus(alone).train


def test_text_that_spells_reserved_tokens_stays_text(place):
    tokenizer = load_tokenizer(place / "run" / "tokenizer")
    reserved = ReservedTokens.of(tokenizer)
    encoded = encode(tokenizer, ["</s> <extra_id_0> [S2S] <mask>"], reserved.eos)
    special = {reserved.eos, reserved.mask, *reserved.modes.values(), *reserved.sentinels.tolist()}
    assert not special & set(encoded.documents[0].tolist())
    assert encoded.stream[-1] == reserved.eos
    assert tokenizer.decode(encoded.documents[0]) == "</s> <extra_id_0> [S2S] <mask>"


@pytest.mark.parametrize("backbone", ["causal", "prefix", "encoder_decoder"])
@pytest.mark.parametrize(
    "objective",
    ["lm", "prefix_lm", "denoising", "masking", "deletion", "infilling", "ul2", "three_way"],
)
def test_every_objective_has_batches_of_the_planned_shape_on_every_backbone(
    place, objective, backbone
):
    config = tiny("x", objective=objective, backbone=backbone)
    tokenizer = load_tokenizer(place / "run" / "tokenizer")
    learning = Learning.of(config, tokenizer)
    corpus = load_corpus(load_run(place / "run").data)
    encoded = encode(tokenizer, corpus.train, learning.reserved.eos)
    batch = next(iter(learning.batches(encoded, (0, 1))))
    planned = learning.example()
    assert {k: (v.shape, v.dtype) for k, v in batch.items()} == {
        k: (v.shape, v.dtype) for k, v in planned.items()
    }
    assert (batch["weights"].sum(axis=1) > 0).all()
    assert batch["tokens"].max() < len(tokenizer)


def masked_by_hand(config, opened):
    """Accuracy of the model, and of the most frequent token, over all masked tokens together."""
    tokenizer, corpus = opened.tokenizer, load_corpus(config.data)
    reserved = ReservedTokens.of(tokenizer)
    test = encode(tokenizer, corpus.test, reserved.eos)
    pairs = Pairs(PairMasking(length=config.length, reserved=reserved), test.documents, seed=0)
    counts = np.zeros(len(tokenizer), int)
    for text in corpus.train:
        np.add.at(counts, tokenizer.encode(text), 1)
    score = jax.jit(opened.model.spec.build().apply)
    hits = frequent = total = 0
    for row in pairs.draw(range(pairs.per_epoch)):
        inputs = row["tokens"][None], row["valid"][None]
        types = row["types"][None]
        logits = np.asarray(score(opened.model.params, *inputs, types=types))[0]
        for place, label, weight in zip(row["places"], row["labels"], row["weights"], strict=True):
            hits += weight * (logits[place].argmax() == label)
            frequent += weight * (counts.argmax() == label)
            total += weight
    return {"masked_accuracy": hits / total, "unigram_accuracy": frequent / total}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "backbone"),
    [("lm", "causal"), ("denoising", "encoder_decoder"), ("mlm_nsp", "encoder")],
)
def test_exports_give_the_same_numbers_in_transformers(place, tmp_path, objective, backbone):
    import torch
    import transformers

    from jaxrec.models import LOADERS

    config = tiny(place / "docs.jsonl", objective=objective, backbone=backbone)
    run, out = tmp_path / "run", tmp_path / "hf"
    train(config, run, Options())
    assert main(["eval", str(run)]) == 0
    metrics = json.loads((run / "eval.json").read_text())["rows"]["model"]["metrics"]
    expected = {"masked_accuracy", "unigram_accuracy", "nsp_accuracy", "masked_loss"}
    if objective != "mlm_nsp":
        expected = {"lm_loss", "bits_per_byte", "infilling_loss"}
    assert set(metrics) == expected
    if objective == "mlm_nsp":
        found = masked_by_hand(config, open_any(run))
        for name, value in found.items():
            assert metrics[name] == pytest.approx(value, rel=1e-6)
    assert main(["export", str(run), "--to", "hf", "--out", str(out)]) == 0
    opened = open_any(run)
    theirs = getattr(transformers, LOADERS[opened.model.spec.kind]).from_pretrained(out).eval()
    tokens = np.arange(100, 112, dtype=np.int32)[None]
    inputs = [tokens, tokens >= 0] * (2 if backbone == "encoder_decoder" else 1)
    ours = jax.jit(opened.model.spec.build().apply)(opened.model.params, *inputs)
    tensor = torch.tensor(tokens).long()
    more = {"decoder_input_ids": tensor} if backbone == "encoder_decoder" else {}
    with torch.no_grad():
        logits = theirs(input_ids=tensor, **more).logits.numpy()
    np.testing.assert_allclose(np.asarray(ours), logits, atol=1e-4)


@pytest.mark.slow
def test_a_pre_trained_run_is_the_base_of_a_tuned_one(place):
    from jaxrec.peft import TuneConfig
    from jaxrec.texts import tuned

    tune = TuneConfig(method="lora", base=str(place / "run"), rank=2)
    text = tuned.from_base(tune, 0)
    assert text.spec == open_any(place / "run").model.spec
    assert str(place / "run") in text.base


@pytest.mark.slow
def test_an_interrupted_run_ends_as_an_uninterrupted_one(place, tmp_path, monkeypatch):
    from jaxrec.systems.pretrain import run as module

    config = dataclasses.replace(
        tiny(place / "docs.jsonl", objective="ul2"),
        train=TrainConfig(steps=8, batch_size=4, eval_every=2, warmup_steps=2),
    )
    train(config, tmp_path / "whole", Options())
    fit, calls = module.fit, []

    class Stopped(Exception):
        pass

    def stopping(plan, batches, validation, *rest, **more):
        def evaluate(params):
            calls.append(1)
            if len(calls) == 3:
                raise Stopped
            return validation.evaluate(params)

        return fit(plan, batches, dataclasses.replace(validation, evaluate=evaluate), *rest, **more)

    monkeypatch.setattr(module, "fit", stopping)
    with pytest.raises(Stopped):
        train(config, tmp_path / "cut", Options())
    monkeypatch.setattr(module, "fit", fit)
    train(config, tmp_path / "cut", Options())
    whole, cut = (open_any(tmp_path / name).model.params for name in ("whole", "cut"))
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
