import copy
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxrec.core import ConfigError, DataError
from jaxrec.data import begin_with
from jaxrec.data.instructions import (
    Instruction,
    encode_instructions,
    instruction_batches,
    read_instructions,
)
from jaxrec.data.tokenizers import train_bpe

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def tokenizer():
    corpus = ["Below is an instruction that describes a task.\n\n### Response:Yes. No."] * 3
    return train_bpe(corpus, vocab_size=300)


def test_frames_are_the_published_ones():
    # github.com/tatsu-lab/stanford_alpaca, train.py, PROMPT_DICT
    assert Instruction("Say hello.", "", "Hi").prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nSay hello.\n\n### Response:"
    )
    assert Instruction("Add.", "1 2", "3").prompt == (
        "Below is an instruction that describes a task, paired with an input that provides "
        "further context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 2\n\n### Response:"
    )


def test_reads_lists_and_lines(write):
    rows = [{"instruction": "a", "input": "b", "output": "c"}, {"instruction": "d", "output": "e"}]
    expected = [Instruction("a", "b", "c"), Instruction("d", "", "e")]
    assert read_instructions(write("a.json", json.dumps(rows))) == expected
    lines = "\n".join(json.dumps(row) for row in rows) + "\n"
    assert read_instructions(write("b.jsonl.gz", lines)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "cannot be read as instructions"),
        ("[]", "holds no instructions"),
        ("[3]", "record 0 is int"),
        ('[{"instruction": "a", "output": 3}]', "field 'output' of record 0 must be a text, got 3"),
    ],
)
def test_damaged_files_are_named(write, text, said):
    with pytest.raises(DataError, match=said):
        read_instructions(write("bad.json", text))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXT, st.one_of(st.just(""), TEXT), TEXT), min_size=1, max_size=4))
def test_tokens_are_the_texts_and_weights_the_answers(tokenizer, records):
    examples = [Instruction(*record) for record in records]
    rows = encode_instructions(tokenizer, examples, 1000)
    for i, example in enumerate(examples):
        tokens = rows.tokens[i][rows.valid[i]]
        assert tokens[-1] == tokenizer.eos_token_id
        whole = tokenizer.decode(tokens[:-1], clean_up_tokenization_spaces=False)
        assert whole == example.prompt + example.output
        learned = rows.tokens[i][rows.weights[i] > 0]
        answer = tokenizer.decode(learned[:-1], clean_up_tokenization_spaces=False)
        # One token may lie over the boundary; nothing of the answer is left out.
        assert answer.endswith(example.output) or "�" in answer
        assert rows.weights[i].argmax() == rows.answer[i]
        assert not rows.weights[i][~rows.valid[i]].any()


def test_too_long_texts_lose_their_front_and_keep_their_answer(tokenizer):
    example = Instruction("Go on. " * 30, "", "Yes.")
    whole = encode_instructions(tokenizer, [example], 1000)
    cut = encode_instructions(tokenizer, [example], 40, multiple=8)
    kept = whole.tokens[0][whole.valid[0]][-40:]
    np.testing.assert_array_equal(cut.tokens[0][cut.valid[0]], kept)
    learned = cut.tokens[0][cut.weights[0] > 0]
    np.testing.assert_array_equal(learned, whole.tokens[0][whole.weights[0] > 0])
    with pytest.raises(ConfigError, match=r"max_length is 2"):
        encode_instructions(tokenizer, [example], 2)


def test_a_cut_text_keeps_the_token_that_begins_every_text(tokenizer):
    example = Instruction("Go on. " * 30, "", "Yes.")
    starting = copy.deepcopy(tokenizer)
    begin_with(starting, starting.bos_token_id)
    plain = encode_instructions(tokenizer, [example], 39, multiple=8)
    cut = encode_instructions(starting, [example], 40, multiple=8)
    expected = [starting.bos_token_id, *plain.tokens[0][plain.valid[0]]]
    assert cut.tokens[0][cut.valid[0]].tolist() == expected
    assert cut.answer[0] == plain.answer[0] + 1
    answer = len(expected) - int(cut.answer[0])
    # One token of the prompt must be left besides the first.
    encode_instructions(starting, [example], answer + 2)
    with pytest.raises(ConfigError, match="raise it"):
        encode_instructions(starting, [example], answer + 1)


def test_learning_the_prompt_weighs_every_token(tokenizer):
    rows = encode_instructions(tokenizer, [Instruction("Go.", "", "Yes.")], 200, on_prompt=True)
    np.testing.assert_array_equal(rows.weights > 0, rows.valid)


def test_every_row_comes_once_an_epoch_and_the_iterator_resumes(tokenizer):
    examples = [Instruction(f"Say {n}.", "", str(n)) for n in range(7)]
    rows = encode_instructions(tokenizer, examples, 200)
    batches = instruction_batches(rows, batch_size=3, seed=4)
    first = list(itertools.islice(iter(batches), 7))
    drawn = np.concatenate([batch["tokens"] for batch in first])
    for epoch in range(3):
        part = {row.tobytes() for row in drawn[7 * epoch : 7 * epoch + 7]}
        assert part == {row.tobytes() for row in rows.tokens}
    assert drawn[:7].tobytes() != drawn[7:14].tobytes()
    again = iter(batches)
    for _ in range(2):
        next(again)
    state = again.get_state()
    resumed = iter(batches)
    resumed.set_state(state)
    np.testing.assert_array_equal(next(resumed)["tokens"], first[2]["tokens"])
