"""Tasks as rows of tokens: chunks, skill sentences, bins, candidates, tags, and what is cut."""

import dataclasses

import numpy as np
import pytest

from jaxrec.core import DataError
from jaxrec.data import ReservedTokens, load_tokenizer, vocabulary_size
from jaxrec.data.recruitment import Task, TaskRows
from jaxrec.systems.recruitpro import AuxiliaryConfig, InputConfig
from jaxrec.systems.recruitpro.prompts import Layout
from jaxrec.systems.recruitpro.skills import SkillSentences, lexicon_finder, make_sentences
from jaxrec.systems.recruitpro.tables import Encoding

INPUT = InputConfig(slots=(1, 1, 1, 1), text_tokens=4, skill_tokens=3, chunk_tokens=2, chunks=2)


@pytest.fixture(scope="module")
def encoding(encoder):
    tokenizer = load_tokenizer(encoder)
    reserved = ReservedTokens.of(tokenizer)
    layout = Layout.of(INPUT, reserved, vocabulary_size(tokenizer))
    skills = SkillSentences(find=lexicon_finder(["b c", "d"]))
    return Encoding(tokenizer=tokenizer, input=INPUT, layout=layout, skills=skills, bins=4)


def _task(kind, rows, **more):
    return Task(name="x", kind=kind, train=rows, valid=rows, test=rows, **more)


def _words(encoding, row):
    """The words of a row of tokens without the layout and padding."""
    layout, names = encoding.layout, encoding.tokenizer.convert_ids_to_tokens
    own = [int(t) for t in row if t not in (*layout.before, layout.end, layout.pad)]
    return " ".join(names(own))


def test_texts_end_early_and_have_skill_sentences(encoding):
    rows = TaskRows(texts=("a b c d e", "d a D"), labels=np.array([1, 0], np.int32))
    found = encoding.table(_task("classification", rows, classes=("u", "v")))["train"]
    assert [_words(encoding, row) for row in found.columns["tokens"]] == ["a b c d", "d a d"]
    assert found.cut == 1
    # One token for each letter; the comma of a sentence is a token too, but this tokenizer's
    # vocabulary has none. A skill counts once.
    sentences = [_words(encoding, row) for row in found.columns["skill_tokens"]]
    assert sentences[0].startswith("b c")
    assert sentences[1] == "d"
    batch = found.take(np.array([1, 1, 0]), task=7)
    assert batch["task"].tolist() == [7, 7, 7]
    assert batch["labels"].tolist() == [0, 0, 1]


def test_a_text_without_skills_has_no_sentence(encoding):
    rows = TaskRows(texts=("a e", "d"), labels=np.zeros(2, np.int32))
    sizes = encoding.table(_task("classification", rows, classes=("u",)))["train"].columns
    assert sizes["skill_sizes"].tolist() == [0, encoding.layout.around + 1]


def test_pairs_are_chunks_of_the_resume_and_then_of_the_job(encoding):
    rows = TaskRows(
        texts=("a b c", "a b c", "e"),
        jobs=("f", "a b c d e", "f"),
        labels=np.array([1, 0, 0], np.int32),
    )
    found = encoding.table(_task("matching", rows))["train"]
    assert [len(side["tokens"]) for side in found.sides] == [2, 2]
    batch = found.take(np.arange(3), task=0)
    chunks = [[_words(encoding, chunk) for chunk in row] for row in batch["tokens"]]
    assert chunks == [
        ["a b", "c", "f", ""],
        ["a b", "c", "a b", "c d"],
        ["e", "", "f", ""],
    ]
    assert (batch["sizes"] > 0).tolist() == [[bool(c) for c in row] for row in chunks]
    assert batch["second"].tolist() == [[False, False, True, True]] * 3
    assert batch["skill_tokens"].shape[:2] == (3, 2)
    assert (batch["skill_sizes"] > 0).tolist() == [[True, False], [True, True], [False, False]]
    # A text beyond all chunks is counted once, however many pairs have it.
    assert found.cut == 1


def test_a_ranking_is_one_pair_for_each_candidate(encoding):
    rows = TaskRows(
        texts=("a", "b"),
        jobs=("c", "d", "e"),
        candidates=np.array([[2, 0], [1, 2]], np.int32),
        relevant=np.array([1, 0], np.int32),
    )
    found = encoding.table(_task("ranking", rows))["train"]
    batch = found.take(np.arange(4), task=0)
    pairs = [(_words(encoding, row[0]), _words(encoding, row[2])) for row in batch["tokens"]]
    assert pairs == [("a", "e"), ("a", "c"), ("b", "d"), ("b", "e")]
    assert found.labels.tolist() == [0, 1, 1, 0]
    assert len(found.first(1)) == 2


def test_a_number_has_its_quantile_as_a_label(encoding):
    values = np.array([5, 1, 2, 3, 4, 6, 7, 8], np.float32)
    train = TaskRows(texts=("a",) * 8, values=values)
    far = TaskRows(texts=("a", "a"), values=np.array([-9, 99], np.float32))
    task = Task(name="x", kind="regression", train=train, valid=far, test=far)
    tables = encoding.table(task)
    expected = np.digitize(values, np.quantile(values, [0.25, 0.5, 0.75]))
    assert tables["train"].labels.tolist() == expected.tolist()
    assert tables["test"].labels.tolist() == [0, 3]
    np.testing.assert_array_equal(tables["train"].columns["values"], values)


def test_words_are_read_at_their_first_tokens_and_cut_spans_are_outside(encoding):
    rows = TaskRows(
        words=(("a", "bcd", "e"), ("ab", "c", "d")),
        tags=(("S-skill", "O", "O"), ("O", "B-skill", "E-skill")),
    )
    found = encoding.table(_task("tagging", rows))["train"]
    columns, start = found.columns, len(encoding.layout.before)
    # "bcd" has three tokens, so "e" is beyond the four tokens of a row; and so on.
    assert columns["present"].sum(axis=1).tolist() == [2, 3]
    assert columns["first"][0, :2].tolist() == [start, start + 1]
    assert columns["first"][1, :3].tolist() == [start, start + 2, start + 3]
    assert columns["tags"][0, :2].tolist() == [4, 0]
    assert columns["tags"][1, :3].tolist() == [0, 1, 3]
    long = dataclasses.replace(rows, words=(("a", "bc", "d", "e"),), tags=(("O", "O", *"BE"),))
    long = dataclasses.replace(long, tags=(("O", "O", "B-skill", "E-skill"),))
    cut = encoding.table(_task("tagging", long))["train"]
    assert cut.cut == 1
    # The span that begins in the row and ends beyond it is no span.
    assert cut.columns["tags"][0].tolist() == [0, 0, 0, 0]


def test_bad_rows_are_named(encoding):
    good = TaskRows(texts=("a",), labels=np.zeros(1, np.int32))
    empty = TaskRows(texts=("a", " "), labels=np.zeros(2, np.int32))
    with pytest.raises(DataError, match=r"the task x: text 1 is empty \(' '\)"):
        encoding.table(dataclasses.replace(_task("classification", good), test=empty))
    with pytest.raises(DataError, match="the task x has no rows in its part valid"):
        encoding.table(dataclasses.replace(_task("classification", good), valid=TaskRows()))


def test_the_lexicon_has_the_skills_of_training_rows_alone():
    train = TaskRows(texts=("a",), skills=(("Team work",),), job_skills=(("SQL",),))
    test = TaskRows(texts=("a",), skills=(("Python",),))
    task = Task(name="x", kind="matching", train=train, valid=test, test=test)
    sentences = make_sentences(AuxiliaryConfig(), [task])
    text = "SQL, Python and team work; sql"
    assert sentences.of([text]) == ["SQL, team work"]
    assert not make_sentences(AuxiliaryConfig(extractor="none", similarity=0.0), [task]).active
    with pytest.raises(DataError, match="no record of the training rows names a skill"):
        make_sentences(AuxiliaryConfig(), [dataclasses.replace(task, train=TaskRows())])
