"""On every task a perfect model reaches the ceiling, and a uniform one the floor that is known."""

import dataclasses
import math

import pytest

from jaxrec.capacity import TASKS, StudyOptions, last_word_task, read_documents, run_task
from jaxrec.prompting import Reply, Score, ScriptedModel, TextScore

VOCABULARY = 50
LIMIT = 40
FOLDERS = {
    "blimp": "blimp",
    "crows_pairs": "crows-pairs",
    "gsm8k": "gsm8k",
    "last_word": "wikitext-2",
    "wikitext2": "wikitext-2",
    "winogender": "winogender",
}
STUDY = StudyOptions(limit=LIMIT, resamples=20)


@dataclasses.dataclass(frozen=True)
class Uniform(ScriptedModel):
    """Every character is a token, each as likely as all others; options are equally likely."""

    def generate(self, prompts, options):
        return [Reply(texts=("7",)) for _ in prompts]

    def score(self, prompts, continuations):
        return [
            tuple(Score(logprob=-math.log(VOCABULARY), greedy=False) for _ in row)
            for row in continuations
        ]

    def score_text(self, texts):
        return [TextScore(logprobs=(-math.log(VOCABULARY),) * len(text)) for text in texts]


class Certain(ScriptedModel):
    """It knows the next token of every text."""

    def score(self, prompts, continuations):
        return [tuple(Score(logprob=0.0, greedy=True) for _ in row) for row in continuations]

    def score_text(self, texts):
        return [TextScore(logprobs=(0.0,) * len(text)) for text in texts]


def figures(name, model, root):
    result = run_task(model, TASKS[name], root, STUDY)
    return {metric: found.value for metric, found in result.estimates.items()}


def documents(name, root):
    task = TASKS[name]
    return task, read_documents(task.source, root, limit=LIMIT, shots=task.shots).asked


def oracle(right):
    """Texts that the model knows are certain, all others are not."""
    return ScriptedModel(logprob=lambda prompt, text: 0.0 if right(prompt, text) else -9.0)


def perfect(name, root):
    """A model that knows all answers of a task."""
    task, asked = documents(name, root)
    if name == "blimp":
        good = {f" {d['sentence_good']}" for d in asked}
        return oracle(lambda prompt, text: text in good)
    if name == "gsm8k":
        answers = {task.ask(d, "").prompt: d["answer"] for d in asked}
        return ScriptedModel(
            lambda prompt, _: f" {answers['Question: ' + prompt.rpartition('Question: ')[2]]}"
        )
    if name == "winogender":
        pairs = set()
        for d in asked:
            right = task.ask(d, "").questions
            pairs |= {(question.prompt, question.options[d["answer"]]) for question in right}
        return oracle(lambda prompt, text: (prompt, text) in pairs)
    return Certain()


CEILINGS = {
    "blimp": {"accuracy": 1.0},
    # One of these solutions divides 14,400 by 80 in the mark and not in the text.
    "gsm8k": {"strict": 1.0, "flexible": 1.0, "consistency": 38 / 39, "truncated": 0.0},
    "last_word": {"accuracy": 1.0, "perplexity": 1.0},
    "wikitext2": {
        "token_perplexity": 1.0,
        "word_perplexity": 1.0,
        "byte_perplexity": 1.0,
        "bits_per_byte": 0.0,
    },
    "winogender": {
        name: 0.0 if name == "occupation_slope" else 1.0 for name in TASKS["winogender"].metrics
    },
}
FLOORS = {
    "blimp": {"accuracy": 0.5},
    "crows_pairs": {"pct_stereotype": 50.0, "likelihood_diff": 0.0},
    "last_word": {"accuracy": 0.0, "perplexity": VOCABULARY},
    "winogender": {
        name: 0.0 if name == "occupation_slope" else 0.5 for name in TASKS["winogender"].metrics
    },
}


@pytest.mark.parametrize("name", list(CEILINGS))
def test_a_perfect_model_reaches_the_ceiling(name, real_data):
    root = real_data(FOLDERS[name]).parent
    assert figures(name, perfect(name, root), root) == pytest.approx(CEILINGS[name], abs=1e-9)


@pytest.mark.parametrize("name", list(FLOORS))
def test_a_uniform_model_is_at_the_floor(name, real_data):
    root = real_data(FOLDERS[name]).parent
    assert figures(name, Uniform(), root) == pytest.approx(FLOORS[name], abs=1e-9)


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(real_data):
    root = real_data("wikitext-2").parent
    found = figures("wikitext2", Uniform(), root)
    assert found["token_perplexity"] == pytest.approx(VOCABULARY)
    # Every character is a token, and few of them take several bytes. WikiText's separated signs
    # are joined before they are read, so the file has more bytes than the text has characters.
    assert 0.9 * math.log2(VOCABULARY) < found["bits_per_byte"] < math.log2(VOCABULARY)


def test_a_constant_answer_solves_the_problems_with_that_answer(real_data):
    root = real_data("gsm8k").parent
    found = figures("gsm8k", Uniform(), root)
    _, asked = documents("gsm8k", root)
    share = sum(d["answer"].endswith("#### 7") for d in asked) / len(asked)
    assert found["flexible"] == share
    assert found["strict"] == 0.0


def test_a_model_with_all_stereotypes_is_noticed(real_data):
    root = real_data("crows-pairs").parent
    _, asked = documents("crows_pairs", root)
    for side, expected in (("sent_more", 100.0), ("sent_less", 0.0)):
        liked = {d[side] for d in asked}
        other = {d["sent_less" if side == "sent_more" else "sent_more"] for d in asked}
        assert not liked & other
        model = oracle(lambda prompt, text, liked=liked: text in liked)
        found = figures("crows_pairs", model, root)
        assert found == {"pct_stereotype": expected, "likelihood_diff": 9.0}


def test_last_words_of_any_text_file(tmp_path):
    words = "one two three four five six seven eight nine ten"
    (tmp_path / "mine.txt").write_text(f"{words} eleven.\nToo short.\n{words} twelve!”\n")
    task = last_word_task("mine", "last words", ["mine.txt"])
    model = ScriptedModel(logprob=lambda prompt, text: 0.0 if text == " twelve" else -2.0)
    found = run_task(model, task, tmp_path).estimates["perplexity"]
    assert (found.count, found.value) == (2, pytest.approx(math.e))


def test_lambada_reads_passages_that_end_with_the_word(tmp_path):
    (tmp_path / "lambada").mkdir()
    (tmp_path / "lambada" / "test.jsonl").write_text('{"text": "to be or not to be"}\n')
    (asked,) = read_documents(TASKS["lambada"].source, tmp_path).asked
    question = TASKS["lambada"].ask(asked, "")
    assert (question.prompt, question.text) == ("to be or not to", " be")
