"""Templates, tasks and their batches."""

import dataclasses
import itertools

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.encoded_prompts import (
    encode_examples,
    encode_texts,
    group_tasks,
    prompt_batches,
)
from jaxrec.data.instructions import Instruction
from jaxrec.data.prompts import Mixture, Task, Template, holes
from jaxrec.data.tokenizers import train_unigram

NAMES = ("ada", "bob", "cy", "dot", "eve")
BOUGHT = Template(name="bought", source="what did {name} buy ?", target="{number}")
NEXT = Template(name="next", source="{name} then", target="{number}")
UNSEEN = Template(name="unseen", source="now {name} :", target="{number}", seen=False)


def _task(name="count", templates=(BOUGHT, NEXT, UNSEEN), size=5, extra=""):
    def fields(datum, rng):
        return {"name": NAMES[datum] + extra, "number": str(datum), "draw": str(rng.integers(100))}

    return Task(name=name, templates=tuple(templates), size=size, fields=fields)


@pytest.fixture(scope="module")
def tokenizer():
    texts = [f"what did {name} buy ? {name} then now {name} : 0 1 2 3 4 long" for name in NAMES]
    return train_unigram(texts, 440, words=set(" ".join(texts).split()))


def test_a_template_names_the_hole_that_nothing_fills():
    assert BOUGHT.fill({"name": "ada", "number": "3"}) == ("what did ada buy ?", "3")
    assert BOUGHT.ask({"name": "ada"}) == "what did ada buy ?"
    assert holes(BOUGHT.source) == {"name"}
    with pytest.raises(ConfigError, match=r"'bought' asks for \{name\}.*did you mean 'names'"):
        BOUGHT.fill({"names": "ada", "number": "3"})


def test_a_template_fills_a_record_of_instruction_input_and_output():
    template = Template(
        name="t", instruction="Answer {name}.", source="{name} ?", target="{number}"
    )
    record = template.instruct({"name": "ada", "number": "3"})
    assert record == Instruction("Answer ada.", "ada ?", "3")


def test_every_datum_comes_once_an_epoch_in_a_new_order_with_seen_wordings_alone():
    task = _task()
    epochs = [[task.example(7, 5 * e + n) for n in range(5)] for e in range(20)]
    for epoch in epochs:
        assert sorted(target for _, target in epoch) == ["0", "1", "2", "3", "4"]
    assert len({tuple(t for _, t in epoch) for epoch in epochs}) > 10
    wordings = {source.split()[0] == "what" for epoch in epochs for source, _ in epoch}
    assert wordings == {True, False}
    assert not any(s.startswith("now") for epoch in epochs for s, _ in epoch)
    # A datum meets all wordings, in proportion.
    share = np.mean([s.startswith("what") for epoch in epochs for s, _ in epoch])
    assert 0.3 < share < 0.7


def test_a_place_of_the_stream_is_the_same_however_it_is_reached():
    later = [_task().example(3, place) for place in range(30, 20, -1)]
    assert later[::-1] == [_task().example(3, place) for place in range(21, 31)]
    assert later != [_task().example(4, place) for place in range(30, 20, -1)]
    assert later != [_task("other").example(3, place) for place in range(30, 20, -1)]


def test_tasks_without_data_or_wordings_are_refused():
    with pytest.raises(DataError, match="'count' has no data"):
        _task(size=0)
    with pytest.raises(ConfigError, match=r"no template that training may use"):
        _task(templates=(UNSEEN,))
    with pytest.raises(ConfigError, match="different names"):
        Mixture((_task(), _task()), (1, 1), 0)
    with pytest.raises(ConfigError, match="needs at least one row"):
        Mixture((_task(),), (0,), 0)


def test_examples_are_written_as_an_encoder_decoder_reads_them(tokenizer):
    batch = encode_examples(tokenizer, [("ada then", "3"), ("what did eve buy ?", "4 1")])
    assert batch["source"].shape == batch["source_valid"].shape == (2, 8)
    for row, text in enumerate(("ada then", "what did eve buy ?")):
        ids = tokenizer(text)["input_ids"]
        assert batch["source"][row, : len(ids)].tolist() == ids
        assert batch["source_valid"][row].sum() == len(ids)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    targets = [[*tokenizer("3")["input_ids"]], [*tokenizer("4 1")["input_ids"]]]
    assert [ids[-1] for ids in targets] == [end, end]
    for row, ids in enumerate(targets):
        assert batch["tokens"][row, : len(ids) + 1].tolist() == [pad, *ids]
        assert batch["valid"][row].sum() == len(ids) + 1
        # The tokens of a target share one example's weight; the start token is no target.
        np.testing.assert_allclose(batch["weights"][row, 1 : len(ids) + 1], 1 / len(ids))
        assert batch["weights"][row, 0] == 0
    np.testing.assert_allclose(batch["weights"].sum(axis=1), 1)


def test_a_long_text_keeps_its_end_token(tokenizer):
    tokens, valid = encode_texts(tokenizer, ["ada then " * 9, "bob"], 8)
    whole = tokenizer("ada then " * 9)["input_ids"]
    assert tokens[0].tolist() == [*whole[:7], tokenizer.eos_token_id]
    assert valid[0].all() and valid[1].sum() == len(tokenizer("bob")["input_ids"])


def test_groups_are_the_least_padded_of_all_ways(tokenizer):
    extra = ["", " long" * 6, " long" * 14, " long" * 30, " long" * 33]
    tasks = tuple(_task(f"t{n}", extra=text) for n, text in enumerate(extra))
    mixture = Mixture(tasks, (4, 1, 2, 1, 3), 0)
    groups = group_tasks(mixture, tokenizer, 3, sample=20)
    longest = []
    for task in tasks:
        texts = [task.example(0, place)[0] for place in range(20)]
        most = max(len(tokenizer(text)["input_ids"]) for text in texts)
        longest.append(-(-(most + 2) // 8) * 8)
    found = sum(g.source * sum(mixture.rows[t] for t in g.tasks) for g in groups)

    def cells(labels):
        return sum(
            max(longest[t] for t in part) * sum(mixture.rows[t] for t in part)
            for label in set(labels)
            if (part := [t for t in range(5) if labels[t] == label])
        )

    assert found == min(cells(labels) for labels in itertools.product(range(3), repeat=5))
    assert sorted(t for g in groups for t in g.tasks) == [0, 1, 2, 3, 4]


def test_groups_by_targets_keep_long_answers_among_themselves(tokenizer):
    """The least padding of sources and targets together, of all ways that keep targets in order."""
    shapes = [(0, 0), (0, 60), (16, 0), (16, 60), (30, 0), (30, 60)]
    tasks = tuple(
        _task(
            f"t{n}",
            [dataclasses.replace(BOUGHT, target="{number}" + " long" * target)],
            extra=" long" * source,
        )
        for n, (source, target) in enumerate(shapes)
    )
    mixture = Mixture(tasks, (5, 1, 3, 1, 5, 1), 0)
    by_source = group_tasks(mixture, tokenizer, 2, sample=20)
    groups = group_tasks(mixture, tokenizer, 2, sample=20, targets=True)

    def cells(parts):
        return sum((g.source + g.target) * sum(mixture.rows[t] for t in g.tasks) for g in parts)

    assert [set(group.tasks) for group in groups] == [{0, 2, 4}, {1, 3, 5}]
    assert cells(groups) < cells(by_source)
    assert groups[0].target < groups[1].target


def test_batches_hold_each_tasks_rows_and_resume(tokenizer):
    mixture = Mixture((_task("a"), _task("b", extra=" long" * 20)), (2, 4), 5)
    groups = group_tasks(mixture, tokenizer, 2, sample=20)
    batches = iter(prompt_batches(mixture, groups, tokenizer))
    first = [next(batches) for _ in range(3)]
    state = batches.get_state()
    fourth = next(batches)
    again = iter(prompt_batches(mixture, groups, tokenizer))
    again.set_state(state)
    resumed = next(again)
    for name in fourth:
        for key, value in fourth[name].items():
            np.testing.assert_array_equal(resumed[name][key], value)
    rows = {name: len(block["source"]) for name, block in first[0].items()}
    assert rows == {"group_0": 2, "group_1": 4}
    texts = [
        tokenizer.decode(row, skip_special_tokens=True)
        for batch in first
        for row in batch["group_0"]["source"]
    ]
    assert texts == [mixture.tasks[0].example(5, place)[0] for place in range(6)]
    halves = [
        next(iter(prompt_batches(mixture, groups, tokenizer, (host, 2)))) for host in range(2)
    ]
    for name, block in first[0].items():
        both = np.concatenate([half[name]["source"] for half in halves])
        assert sorted(map(tuple, both)) == sorted(map(tuple, block["source"]))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{claim", "has a brace that is no hole"),
        ("claim}", "has a brace that is no hole"),
        ("{}", "the hole ''"),
        ("{0}", "the hole '0'"),
        ("{claim:d}", "the hole 'claim'"),
        ("{claim!r}", "the hole 'claim'"),
        ("{claim.__class__}", "the hole 'claim.__class__'"),
    ],
)
@pytest.mark.parametrize("part", ["source", "target", "instruction"])
def test_what_looks_like_a_hole_and_is_none_is_named(part, text, words):
    values = {"name": "t", "source": "{claim} {{a}}", "target": "{answer}"}
    whole = Template(**values)
    assert whole.fill({"claim": "x", "answer": "y"}) == ("x {a}", "y")
    with pytest.raises(
        ConfigError,
        match=f"the {part} .* of template 't' {words}".replace("the hole", "has the hole"),
    ):
        Template(**(values | {part: text}))
