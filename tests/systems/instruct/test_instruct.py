"""Instruction tuning end to end: three sources, held-out wordings and tasks, the loss."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import torch

from jaxrec.cli.main import main
from jaxrec.core import ConfigError, DataError
from jaxrec.data import Instruction, encode_marked, train_bpe
from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.nn import SelfContext, attention_mask, positions_of
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig
from jaxrec.runs import load_run
from jaxrec.systems.instruct import InstructConfig, InstructDataConfig, WritingConfig, prepare
from jaxrec.systems.instruct.data import constant_answers
from jaxrec.systems.instruct.run import answers, make_stages
from jaxrec.testing import random_params, tiny_model
from jaxrec.texts import TextModel, answer_of, mark, plain_text, tuned as tuned_text
from jaxrec.train import TrainConfig

CONFIG = """
from jaxrec.models import TransformerConfig
from jaxrec.systems.instruct import *
from jaxrec.train import TrainConfig

def get_config():
    return InstructConfig(
        data=InstructDataConfig(
            name="small", tasks=({place!r} + "/copy.json", {place!r} + "/held.json"),
            records=({place!r} + "/records.json",), chats=({place!r} + "/chats.jsonl",),
            held_out_tasks=("held",), valid_share=0.2, test_share=0.3,
        ),
        writing=WritingConfig(frame="plain", max_length=64),
        plain_steps=1,
        train=TrainConfig(steps=2, batch_size=2, eval_every=2, warmup_steps=1),
        model=TransformerConfig(width=16, depth=1, num_heads=2),
        vocab_size=280,
        eval=InstructEvalConfig(
            valid_instances=4, test_instances=4, max_tokens=2, resamples=20, batch_size=4
        ),
    )
"""
WORDS = [a + b for a in "bdfgklmn" for b in ("an", "ol", "is")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("instruct")
    rows = [{"word": word, "answer": word} for word in WORDS]
    (place / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    wordings = [("Copy {word}", True), ("{word} again", True), ("Once more {word}", False)]
    templates = [{"source": s, "target": "{answer}", "seen": seen} for s, seen in wordings]
    for name in ("copy", "held"):
        task = {"name": name, "rows": "rows.jsonl", "templates": templates}
        (place / f"{name}.json").write_text(json.dumps(task))
    records = [{"instruction": f"Say {n}", "output": f"{n}" if n else " "} for n in range(20)]
    (place / "records.json").write_text(json.dumps(records))
    turns = lambda n: [  # noqa: E731
        {"role": "user", "content": f"Hi {n}"},
        {"role": "assistant", "content": "Ho"},
    ]
    chats = [{"messages": turns(n % 19), "user": f"u{n % 10}"} for n in range(20)]
    (place / "chats.jsonl").write_text("\n".join(map(json.dumps, chats)))
    (place / "small.py").write_text(CONFIG.format(place=str(place)))
    return place


@pytest.fixture(scope="module")
def finished(place):
    directory = place / "run"
    assert main(["train", str(place / "small.py"), "--run-dir", str(directory)]) == 0
    assert main(["eval", str(directory)]) == 0
    return directory


def test_every_part_is_measured_beside_the_untuned_model(finished):
    report = json.loads((finished / "eval.json").read_text())
    assert list(report["rows"]) == ["model", "untuned", "constant answer"]
    parts = ("seen", "templates", "tasks", "records")
    for row in report["rows"].values():
        assert set(row["metrics"]) == {f"{m}_{p}" for m in ("exact_match", "rougeL") for p in parts}
    config = load_run(finished)
    prepared = prepare(config)
    for part, instances in prepared.test.items():
        wanted = [answer_of(i.record) for i in instances]
        share = np.mean(np.array(constant_answers(instances)) == wanted)
        found = report["rows"]["constant answer"]["metrics"][f"exact_match_{part}"]
        assert found == pytest.approx(share)
        assert len(report["values"][f"exact_match_{part}"]) == len(instances)
    # Each answer of a copying task is another one, so the best constant is right once.
    tasks = report["rows"]["constant answer"]["metrics"]["exact_match_tasks"]
    assert tasks == 1 / len(prepared.test["tasks"])


@pytest.mark.slow
def test_a_trained_run_resumes_is_described_and_is_exported(finished, place, capsys):
    before = (finished / "train.json").read_text()
    assert main(["train", str(place / "small.py"), "--run-dir", str(finished)]) == 0
    assert json.loads(before)["best_step"] == 2
    assert main(["report", str(finished)]) == 0
    assert main(["export", str(finished), "--to", "hf", "--out", str(place / "hf")]) == 0
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(place / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(place / "hf")
    assert tokenizer.chat_template is not None
    config = load_run(finished)
    text = TextModel.load(config.tune, config.model, finished, 0)
    instances = prepare(config).test["templates"][:2]
    from jaxrec.systems.instruct.run import _trained

    ours = answers(config, text, _trained(config, text, finished), instances)
    for instance, answer in zip(instances, ours, strict=True):
        asked = tokenizer(instance.record.instruction + "\n", return_tensors="pt")
        theirs = model.generate(**asked, max_new_tokens=2, do_sample=False)
        written = theirs[0, asked["input_ids"].shape[1] :]
        assert tokenizer.decode(written, skip_special_tokens=True).strip() == answer


def test_nothing_held_out_is_trained(place, finished):
    prepared = prepare(load_run(finished))
    assert "held" not in prepared.train
    trained = {plain_text(i.record) for i in prepared.everything}
    words = {i.record.output for i in prepared.everything if i.task == "copy"}
    for part, instances in prepared.test.items():
        assert not trained & {plain_text(i.record) for i in instances}
        if part in ("seen", "templates"):
            assert not words & {i.record.output for i in instances}
    assert all("Once more" in i.record.instruction for i in prepared.test["templates"])
    assert not any("Once more" in i.record.instruction for i in prepared.everything[:20])
    # One record has an empty answer, and one chat comes twice.
    assert prepared.counts == {"empty output": 1, "chats: duplicate": 1}


@pytest.fixture(scope="module")
def small():
    tokenizer = train_bpe(["Name a city. Lima Paris"], 270)
    model = CausalLM(tiny_model(len(tokenizer)))
    return tokenizer, model, random_params(model)


def test_the_loss_is_that_of_answers_with_their_end_and_the_prompt_has_no_gradient(small):
    tokenizer, model, params = small
    records = [Instruction("Name a city.", "", "Lima"), Instruction("And?", "a", "Paris")]
    encoded = encode_marked(tokenizer, [mark(None, r, "plain") for r in records], 32)
    length = int(encoded.lengths.max())
    tokens, seen = np.zeros((2, length), np.int32), np.zeros((2, length), bool)
    weights, labels = np.zeros((2, length), np.float32), np.full((2, length), -100)
    for row, record in enumerate(records):
        count = encoded.lengths[row]
        tokens[row, :count], weights[row, :count] = encoded.text(row)
        seen[row, :count] = True
        answer = [*tokenizer(record.output)["input_ids"], tokenizer.eos_token_id]
        labels[row, count - len(answer) : count] = answer
    batch = {"tokens": tokens, "valid": seen, "weights": weights}

    # The loss is a function of the states that the logits are a product of, and no others: where
    # the gradient of the logits is zero, so is that of the states.
    def loss(hidden, batch):
        targets = batch["tokens"][:, 1:], batch["weights"][:, 1:]
        return model.apply(params, hidden[:, :-1], *targets, method="loss")

    @jax.jit
    def run(batch):
        context = SelfContext(attention_mask(batch["valid"], True, None, None), causal=True)
        places = positions_of(batch["valid"], None)
        hidden, _ = model.apply(params, batch["tokens"], places, context, method="hidden")
        logits = model.apply(params, hidden, method="logits")
        ours = language_loss(model, params, batch, None)
        return ours, logits, jax.grad(loss)(hidden, batch)

    ours, logits, gradient = jax.tree.map(np.array, run(batch))
    leaf = torch.tensor(logits, requires_grad=True)
    theirs = torch.nn.functional.cross_entropy(
        leaf[:, :-1].reshape(-1, logits.shape[-1]),
        torch.tensor(labels[:, 1:]).reshape(-1),
        ignore_index=-100,
        reduction="sum",
    )
    theirs.backward()
    assert float(ours.total) == pytest.approx(float(theirs.detach()), rel=1e-5)
    assert float(ours.weight) == (labels != -100).sum()
    learned = np.abs(leaf.grad.numpy()).max(axis=2) > 0
    assert (learned == (np.roll(labels, -1, axis=1) != -100)).all()
    assert np.abs(gradient[~learned]).max() == 0.0
    assert (np.abs(gradient[learned]).max(axis=1) > 0).all()


def _text(tokenizer_texts=("Name a city. Lima",), **shape):
    shape = TransformerConfig(width=8, depth=1, num_heads=2, **shape)
    return tuned_text.from_scratch(shape, tokenizer_texts, 270, (), 0)


def _config(place, **changes):
    data = InstructDataConfig(
        tasks=(f"{place}/copy.json",), records=(f"{place}/records.json",), valid_share=0.2
    )
    config = InstructConfig(
        data=data, writing=WritingConfig(frame="plain", max_length=32), train=TrainConfig(steps=1)
    )
    return dataclasses.replace(config, **changes)


def test_rates_of_the_sets_are_those_of_the_texts_that_fit(place):
    config = _config(place, writing=WritingConfig(frame="plain", max_length=32, cap=5))
    prepared = prepare(config)
    stage = make_stages(config, _text(), prepared)[-1]
    assert stage.mix.sizes == tuple(len(part) for part in prepared.train.values())
    assert stage.mix.counts == (5, 5)
    assert stage.texts.rejected == 0


def test_texts_that_do_not_fit_are_counted_and_a_set_without_any_is_an_error(place, tmp_path):
    rows = [{"instruction": f"Say {n}", "output": "x" * (400 if n % 2 else 3)} for n in range(40)]
    path = tmp_path / "long.json"
    path.write_text(json.dumps(rows))
    config = _config(place)
    config = dataclasses.replace(
        config, data=dataclasses.replace(config.data, records=(str(path),))
    )
    prepared = prepare(config)
    stage = make_stages(config, _text(), prepared)[-1]
    long = sum(len(i.record.output) > 99 for i in prepared.everything)
    assert stage.texts.rejected == long > 0
    path.write_text(json.dumps([row for row in rows if len(row["output"]) > 99]))
    with pytest.raises(DataError, match=r"no text of .*long\.json has an answer that fits"):
        make_stages(config, _text(), prepare(config))


def test_rows_longer_than_the_model_are_an_error(place):
    config = _config(place)
    with pytest.raises(ConfigError, match="learned positions end at"):
        make_stages(config, _text(positions="learned", max_length=16), prepare(config))


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"tasks": ()}, ConfigError, "nothing to learn"),
        ({"held_out_tasks": ("copi",)}, ConfigError, "no task or cluster 'copi'.*did you mean"),
        ({"tasks": ("toy", "toy"), "toy_rows": 3}, ConfigError, "two tasks 'first-numbers'"),
        ({"valid_share": 0.5, "test_share": 0.5}, ConfigError, "nothing to train on"),
        ({"valid_share": 0.0}, DataError, "0 validation"),
        ({"tasks": ("no.json",)}, DataError, "no.json is missing"),
    ],
)
def test_impossible_data_are_errors_before_any_work(place, changes, error, said):
    with pytest.raises(error, match=said):
        data = dataclasses.replace(_config(place).data, records=(), **changes)
        prepare(_config(place, data=data))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"writing": {"frame": "alpace"}}, "did you mean 'alpaca'"),
        ({"writing": {"styles": ("zsop",)}}, "no style 'zsop'"),
        ({"tune": {"method": "lora"}}, "there is none"),
        ({"tune": {"method": "prompt", "base": "x"}}, "packed rows do not support"),
    ],
)
def test_impossible_settings_are_errors(changes, said):
    config = InstructConfig()
    with pytest.raises(ConfigError, match=said):
        for name, values in changes.items():
            part = dataclasses.replace(getattr(config, name), **values)
            config = dataclasses.replace(config, **{name: part})


def test_a_vocabulary_without_room_for_all_bytes_is_an_error():
    with pytest.raises(ConfigError, match=r"vocab_size 259 cannot hold 256 bytes and 4 .* 260"):
        InstructConfig(vocab_size=259)
    # With a model to start from, its own vocabulary is used.
    InstructConfig(vocab_size=259, tune=TuneConfig(base="x"))


def test_a_base_without_a_chat_template_cannot_read_chats(place):
    data = InstructDataConfig(chats=(f"{place}/chats.jsonl",), valid_share=0.4, test_share=0.2)
    config = InstructConfig(data=data)
    with pytest.raises(ConfigError, match="no chat template"):
        make_stages(config, _text(), prepare(config))


def test_sources_that_leave_nothing_say_what_was_left_out(tmp_path):
    path = tmp_path / "records.json"
    path.write_text(json.dumps([{"instruction": f"Do {n}", "output": " "} for n in range(9)]))
    config = InstructConfig(data=InstructDataConfig(records=(str(path),)))
    with pytest.raises(DataError, match=r"0 training, .* \(left out: 9 empty output\)"):
        prepare(config)
