"""Tasks are run: questions, answers, values and figures; nothing wrong passes in silence."""

import dataclasses
import json
import math

import numpy as np
import pytest

from jaxrec.capacity import (
    Choose,
    Documents,
    Metric,
    Read,
    Several,
    Source,
    StudyOptions,
    Task,
    Write,
    accuracy,
    ask_documents,
    ratio_of,
    result_page,
    run_task,
)
from jaxrec.core import ConfigError, DataError, ResourceError
from jaxrec.prompting import Reply, ScriptedModel

ROWS = tuple({"_id": f"d:{n}", "n": n, "kind": "odd" if n % 2 else "even"} for n in range(20))
TASK = Task(
    name="odd",
    about="Whether a number is odd.",
    source=Source(files=("d.jsonl",)),
    ask=lambda d, shown: Choose(f"{shown}Is {d['n']} odd?", (" yes", " no")),
    measure=lambda d, scores: {"accuracy": accuracy(scores, 1 - d["n"] % 2)},
    metrics={"accuracy": Metric()},
    show=lambda d: f"Is {d['n']} odd? {'yes' if d['n'] % 2 else 'no'}\n",
    groups=("kind",),
)
# It takes every number for odd, and is sure of it.
YES = ScriptedModel(logprob=lambda prompt, text: -0.1 if text == " yes" else -3.0)


def run(task=TASK, model=YES, rows=ROWS, shown=(), **options):
    return ask_documents(model, task, Documents(asked=rows, shown=shown), StudyOptions(**options))


def test_figures_are_over_all_documents_and_by_group():
    found = run()
    assert (found.documents, found.estimates["accuracy"].value) == (20, 0.5)
    groups = {value: row["accuracy"].value for value, row in found.groups["kind"].items()}
    assert groups == {"even": 0.0, "odd": 1.0}
    assert found.rows[1] == {"id": "d:1", "values": {"accuracy": 1.0}, "answer": [-0.1, -3.0]}
    # Two options of twenty documents.
    assert found.usage.calls == 40


def test_the_number_of_documents_a_call_changes_no_figure():
    assert run(batch=3) == run()


def test_demonstrations_begin_the_prompt():
    model = dataclasses.replace(YES, calls=[])
    found = run(model=model, rows=ROWS[3:4], shown=ROWS[:2])
    assert model.calls[0].prompt == "Is 0 odd? no\nIs 1 odd? yes\nIs 3 odd?"
    assert found.shots == 2


def test_questions_of_several_kinds_keep_their_order():
    def ask(document, shown):
        kinds = (Write(f"w{document['n']}"), Read(f"r{document['n']}"))
        return kinds[document["n"] % 2]

    seen = []
    task = dataclasses.replace(
        TASK, ask=ask, measure=lambda d, a: seen.append((d["n"], a)) or {"accuracy": 1.0}
    )
    run(
        task,
        ScriptedModel(lambda prompt, _: f"!{prompt}", logprob=lambda _, text: -float(text[1:])),
        ROWS[:4],
    )
    texts = [a.text if isinstance(a, Reply) else a.logprob for _, a in seen]
    assert texts == ["!w0", -1.0, "!w2", -3.0]


def test_answers_that_could_not_be_read_are_counted():
    class Broken(ScriptedModel):
        def generate(self, prompts, options):
            bad = Reply(texts=("",), failure="no JSON")
            return [bad if n % 5 == 0 else Reply(texts=("x",)) for n in range(len(prompts))]

    task = dataclasses.replace(
        TASK, ask=lambda d, _: Write("?"), measure=lambda d, a: {"accuracy": float(a.text == "x")}
    )
    found = run(task, Broken())
    assert (found.failures, found.estimates["accuracy"].value) == (4, 0.8)


def test_the_result_is_json():
    found = json.loads(json.dumps(run(rows=ROWS[:1]).to_json(), allow_nan=False))
    assert found["metrics"]["accuracy"]["stderr"] is None
    assert found["metrics"]["accuracy"]["count"] == 1


def test_a_metric_that_is_not_declared_is_an_error():
    wrong = dataclasses.replace(TASK, measure=lambda d, a: {"acuracy": 1.0})
    with pytest.raises(ConfigError, match="measures acuracy, which its metrics do not name"):
        run(wrong)


def test_a_metric_without_values_is_an_error():
    two = dataclasses.replace(TASK, metrics={"accuracy": Metric(), "rare": Metric()})
    with pytest.raises(DataError, match="no document has a value of rare"):
        run(two)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a/b"}, "letters, digits and the signs"),
        ({"metrics": {}}, "task odd has no metrics"),
        ({"metrics": {"a": ratio_of}}, "task odd: the metric a must be a Metric, got <function"),
        ({"show": None, "shots": 2}, "task odd takes no demonstrations, got 2"),
        ({"shots": -1}, "must not be negative, got -1"),
    ],
)
def test_a_task_is_checked(change, message):
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TASK, **change)


def test_demonstrations_are_refused_before_data_are_read(tmp_path):
    plain = dataclasses.replace(TASK, show=None)
    with pytest.raises(ConfigError, match="takes no demonstrations, got 3"):
        run_task(YES, plain, tmp_path, StudyOptions(shots=3))


@pytest.mark.parametrize("name", ["limit", "batch", "resamples"])
def test_options_are_checked(name):
    with pytest.raises(ConfigError, match=f"{name} must be at least 1, got 0"):
        StudyOptions(**{name: 0})


def test_equal_options_share_the_point():
    even = ScriptedModel(logprob=lambda prompt, text: -1.0)
    assert run(model=even).estimates["accuracy"].value == 0.5


def test_groups_of_numbers_stand_in_their_order():
    rows = [{"_id": "d:1", "n": 1, "size": size} for size in (10, 9, 2, "x", "a")]
    found = run(dataclasses.replace(TASK, groups=("size",)), rows=rows)
    assert list(found.groups["size"]) == ["2", "9", "10", "a", "x"]


def fails(*_):
    return {}["q"]


def leaves(*_):
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"ask": fails}, DataError, "task odd: ask fails on d:0 with KeyError: 'q'"),
        ({"measure": fails}, DataError, "task odd: measure fails on d:0 with KeyError: 'q'"),
        ({"show": fails}, DataError, "task odd: show fails on d:0 with KeyError: 'q'"),
        ({"ask": leaves}, DataError, "task odd: ask fails on d:0 with SystemExit: 0"),
        ({"ask": lambda d, s: None}, ConfigError, "ask returns None, which is no question"),
        ({"ask": lambda d, s: "Is it?"}, ConfigError, "ask returns 'Is it.', which is no"),
        ({"ask": lambda d, s: Choose("", ("a",))}, ConfigError, "task odd, d:0: options must be"),
        ({"measure": lambda d, a: None}, ConfigError, "measure returns None; return the values"),
        ({"measure": lambda d, a: {"accuracy": "x"}}, ConfigError, "accuracy of d:0 is 'x'"),
        (
            {"groups": ("kid",)},
            DataError,
            "no document has the field 'kid' of groups; fields .*n, k",
        ),
    ],
)
def test_a_function_of_a_task_that_fails_is_named_with_its_document(change, kind, message):
    with pytest.raises(kind, match=message):
        run(dataclasses.replace(TASK, **change), shown=ROWS[:1])


def test_the_reason_of_an_answer_that_could_not_be_read_stands_in_its_row():
    class Broken:
        name, context = "broken", None

        def generate(self, prompts, options):
            return [Reply(texts=("",), failure="no JSON") for _ in prompts]

    task = dataclasses.replace(
        TASK, ask=lambda d, shown: Write("1 ="), measure=lambda d, reply: {"accuracy": 0.0}
    )
    found = run(task, Broken(), ROWS[:2])
    assert (found.failures, [row["failure"] for row in found.rows]) == (2, ["no JSON"] * 2)


def test_a_prompt_that_the_model_rejects_is_named_with_its_task_and_document():
    class Short:
        name, context = "short", 8

        def generate(self, prompts, options):
            if "4" in prompts[0]:
                raise ConfigError("prompt 0 has 9 tokens")
            return [Reply(texts=("",)) for _ in prompts]

    task = dataclasses.replace(
        TASK,
        ask=lambda d, shown: Write(f"{d['n']}"),
        measure=lambda d, reply: {"accuracy": 0.0},
    )
    with pytest.raises(ConfigError, match="task odd, documents from d:4 on: prompt 0 has 9 tokens"):
        run(task, Short(), batch=2)


def test_a_service_that_does_not_answer_is_no_fault_of_the_task():
    def measure(document, answer):
        raise ResourceError("no answer")

    with pytest.raises(ResourceError, match=r"^no answer$"):
        run(dataclasses.replace(TASK, measure=measure))


@pytest.mark.parametrize("value", [math.nan, math.inf, (1.0, -math.inf), np.float32("nan")])
def test_a_value_that_is_not_finite_is_an_error_that_names_task_metric_and_document(value):
    task = dataclasses.replace(
        TASK, measure=lambda d, a: {"accuracy": value if d["n"] == 7 else 1.0}
    )
    with pytest.raises(DataError, match=r"task odd: the accuracy of d:7 is .* not finite"):
        run(task)


def test_a_ratio_that_divides_by_zero_is_named_and_is_null():
    task = dataclasses.replace(
        TASK,
        measure=lambda d, a: {"accuracy": 1.0, "rate": (0.0, 0.0)},
        metrics={"accuracy": Metric(), "rate": Metric(ratio_of)},
    )
    found = run(task)
    assert found.undefined == ("rate",)
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert written["metrics"]["rate"]["value"] is None
    assert "denominator is 0: rate." in result_page("m", [found])
    assert "denominator" not in result_page("m", [run()])


def test_rows_are_json_whatever_the_numbers_are():
    never = ScriptedModel(logprob=lambda prompt, text: -math.inf if text == " no" else -1.0)
    task = dataclasses.replace(
        TASK,
        measure=lambda d, a: {"accuracy": np.float32(0.5), "rate": np.array([1, 2])},
        metrics={"accuracy": Metric(), "rate": Metric(ratio_of)},
    )
    found = run(task, never)
    row = json.loads(json.dumps(found.rows[0], allow_nan=False))
    assert row["values"] == {"accuracy": 0.5, "rate": [1.0, 2.0]}
    assert row["answer"] == [-1.0, "-inf"]
    assert found.estimates["rate"].value == 0.5


def test_a_task_of_which_no_answer_could_be_read_has_no_figures():
    class Broken(ScriptedModel):
        def generate(self, prompts, options):
            return [Reply(texts=("",), failure="no JSON") for _ in prompts]

    def ask(document, shown):
        return Several((Write("a"), Write("b") if document["n"] else Read("a b")))

    task = dataclasses.replace(TASK, ask=ask, measure=lambda d, a: {"accuracy": 0.0})
    broken = Broken(logprob=lambda prompt, word: -1.0)
    found = run(task, broken, ROWS[1:])
    assert found.unread and (found.failures, found.estimates, found.groups) == (19, {}, {})
    assert "None of the 19 answers could be read" in result_page("m", [found])
    # A part of one answer is enough for figures.
    found = run(task, broken)
    assert not found.unread and found.estimates["accuracy"].count == 20
