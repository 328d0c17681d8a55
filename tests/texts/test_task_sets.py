import json
from collections import Counter

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Template, read_instructions
from jaxrec.texts import (
    STYLES,
    TaskSet,
    held_out_instances,
    occupation_preferences,
    occupation_tasks,
    read_task_set,
    reverse,
    split_rows,
    task_sets,
    training_instances,
)

NLI = Template(
    name="nli",
    source="{premise}\nDoes it follow that {claim}?\n\n{options}",
    target="{answer}",
)
OTHER = Template(
    name="other", source="{premise} So {claim}?", target="{answer}", instruction="Say yes or no."
)
UNSEEN = Template(
    name="unseen", source="If {premise} then {claim}? {options}", target="{answer}", seen=False
)


def rows(count=6):
    return [
        {
            "premise": f"P{n}",
            "claim": f"C{n}",
            "answer": ["yes", "no"][n % 2],
            "options": ["yes", "no"],
        }
        for n in range(count)
    ]


def task(count=6, templates=(NLI, OTHER, UNSEEN)):
    return TaskSet(name="nli", rows=rows(count), templates=templates)


def instruction(style, template=NLI, count=6, **more):
    made = training_instances(task(count, (template,)), range(count), [style], **more)
    return made[0].record


def test_options_stand_in_their_hole_as_flan_writes_them_or_are_removed():
    # github.com/google-research/FLAN, flan/v2/preprocessors.py, format_options
    record = instruction("zsopt")
    assert record.instruction == "P0\nDoes it follow that C0?\n\nOPTIONS:\n- yes\n- no"
    assert (record.input, record.output) == ("", "yes")
    assert instruction("zsnoopt").instruction == "P0\nDoes it follow that C0?"
    assert instruction("zsopt", OTHER) == instruction("zsnoopt", OTHER)
    assert instruction("zsopt", OTHER).input == "P0 So C0?"


def test_few_shots_come_before_the_question_with_their_answers():
    text = instruction("fsnoopt", shots=2).instruction
    *shown, question = text.split("\n\n\n")
    assert question == "P0\nDoes it follow that C0?" and len(shown) == 2
    for example in shown:
        asked, answer = example.split("\n\n")
        number = int(asked[1 : asked.index("\n")])
        assert number != 0 and answer == ["yes", "no"][number % 2]
    assert "OPTIONS" in instruction("fsopt", shots=1).instruction


def test_few_shots_never_show_the_datum_or_data_outside_the_training_part():
    same = TaskSet(name="t", rows=rows(3) + rows(3), templates=(NLI,))
    for instance in training_instances(same, [0, 1, 3], ["fsnoopt"], shots=5):
        shown = instance.record.instruction.split("\n\n\n")
        numbers = [int(text[1 : text.index("\n")]) for text in shown]
        assert set(numbers) <= {0, 1} and numbers.count(numbers[-1]) == 1


def test_examples_that_make_a_prompt_too_long_are_left_out():
    whole = instruction("fsnoopt", shots=4).instruction
    words = len(whole.split())
    short = instruction("fsnoopt", shots=4, most_words=words - 1).instruction
    assert len(short.split("\n\n\n")) == len(whole.split("\n\n\n")) - 1
    assert instruction("fsnoopt", shots=4, most_words=1) == instruction("zsnoopt")


def test_styles_and_seen_templates_are_all_drawn_and_unseen_ones_never():
    made = training_instances(task(400), range(400), STYLES)
    assert [instance.datum for instance in made] == list(range(400))
    assert set(Counter(instance.template for instance in made)) == {"nli", "other"}
    nli = [i.record.instruction for i in made if i.template == "nli"]
    kinds = Counter(("OPTIONS" in text, "\n\n\n" in text) for text in nli)
    assert len(kinds) == 4 and min(kinds.values()) > len(nli) / 8


def test_draws_depend_on_the_seed_and_not_on_other_tasks():
    again = [training_instances(task(), range(6), STYLES, seed=seed) for seed in (3, 3, 4)]
    assert again[0] == again[1] != again[2]
    assert len(training_instances(task(), range(6), ["zsopt"], per_datum=0)) == 12
    assert len(training_instances(task(), range(6), ["zsopt"], per_datum=5)) == 12


def test_a_set_gives_at_most_30_000_examples(monkeypatch):
    assert task_sets.MOST_EXAMPLES == 30_000
    monkeypatch.setattr(task_sets, "MOST_EXAMPLES", 30)
    made = training_instances(task(35), range(35), ["zsopt"])
    assert len(made) == 30 == len({instance.datum for instance in made})


def test_held_out_instances_use_the_templates_given_with_options():
    made = held_out_instances(task(), [1, 3, 5], (UNSEEN, NLI), most=2)
    assert [i.template for i in made] == ["unseen", "nli"]
    assert all("OPTIONS" in i.record.instruction for i in made)
    assert len(held_out_instances(task(), [1, 3, 5], (UNSEEN,))) == 3


def test_no_datum_is_on_two_sides_whatever_its_templates():
    doubled = rows(60) + rows(60)
    parts = split_rows(doubled, (0.2, 0.3), seed=5)
    names = {side: {doubled[n]["premise"] for n in part} for side, part in parts.items()}
    assert sum(map(len, parts.values())) == 120 and sum(map(len, names.values())) == 60
    both = TaskSet(name="t", rows=doubled, templates=(NLI, UNSEEN))
    trained = training_instances(both, parts["train"], STYLES, per_datum=0)
    asked = held_out_instances(both, parts["test"], both.unseen)
    seen = " ".join(i.record.instruction for i in trained)
    assert not any(f"{doubled[i.datum]['premise']}\n" in seen for i in asked)
    assert not np.array_equal(split_rows(doubled, (0.2, 0.3), seed=6)["test"], parts["test"])


def test_a_reversed_template_swaps_input_and_output():
    back = reverse(NLI, "Write a premise for {answer}.")
    record = task(templates=(NLI, back)).write(back, 1, options=False)
    assert record.instruction == "Write a premise for no."
    assert record.output.startswith("P1\nDoes it follow that C1?")


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (Template(name="a", source="{premis}", target="{answer}"), "did you mean 'premise'"),
        (Template(name="a", source="{answer}", target="{answer}"), r"shows \{answer\}"),
        (Template(name="a", source="{claim}", target="yes"), "has no hole in the answer"),
        (Template(name="a", source="{claim}", target="{answer}", seen=False), "may use"),
        (Template(name="a", source="", target="{answer}", instruction="{x}"), r"asks for \{x\}"),
    ],
)
def test_templates_that_do_not_fit_are_errors_before_any_work(template, said):
    with pytest.raises(ConfigError, match=said):
        task(templates=(template,))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"premise": "p", "answer": "yes"}, "datum 6 .* field 'claim' must be a text, got None"),
        ({"premise": "p", "claim": 3, "answer": "yes"}, "got 3"),
        ({"premise": "p", "claim": "c", "answer": " "}, "has an empty 'answer'"),
        ({"premise": "p", "claim": "c", "answer": "a", "options": "yes"}, "list of texts"),
    ],
)
def test_data_that_do_not_fit_are_named(row, said):
    with pytest.raises(DataError, match=said):
        TaskSet(name="nli", rows=[*rows(), row], templates=(NLI,))


def test_other_impossible_tasks_are_errors():
    with pytest.raises(DataError, match="has no data"):
        TaskSet(name="t", rows=[], templates=(NLI,))
    with pytest.raises(ConfigError, match="two templates 'nli'"):
        task(templates=(NLI, NLI))
    with pytest.raises(ConfigError, match=r"no style 'zsop'.*did you mean"):
        training_instances(task(), [0], ["zsop"])
    with pytest.raises(ConfigError, match="less than 1"):
        split_rows(rows(), (0.5, 0.5))


def test_a_description_is_read_and_its_faults_are_named(tmp_path):
    data = "\n".join(map(json.dumps, rows()))
    (tmp_path / "rows.jsonl").write_text(data)
    path = tmp_path / "task.json"

    def read(**changes):
        templates = [
            {"source": NLI.source, "target": "{answer}"},
            {"source": "{claim}", "target": "{answer}", "seen": False, "name": "x"},
        ]
        found = {"name": "nli", "rows": "rows.jsonl", "templates": templates, "cluster": "c"}
        path.write_text(json.dumps(found | changes))
        return read_task_set(path)

    found = read()
    assert [t.name for t in found.templates] == ["nli-1", "x"] and found.cluster == "c"
    assert len(found.rows) == 6 and len(found.unseen) == 1
    for templates, said in (
        ([{"source": "a"}], "template 1 has no 'target'"),
        ([{"source": "a", "target": "{answer}", "sen": True}], "unknown key 'sen'.*seen"),
        ([{"source": "a", "target": "{answer}", "seen": "yes"}], "'seen' of template 1 must be"),
    ):
        with pytest.raises(DataError, match=said):
            read(templates=templates)
    with pytest.raises(DataError, match=r"other.jsonl: no such file"):
        read(rows="other.jsonl")


def test_an_indented_file_of_examples_is_read(tmp_path):
    found = {"name": "big", "examples": rows(3)}
    (tmp_path / "big.json").write_text(json.dumps(found, indent=2))
    task = {"name": "t", "rows": "big.json"}
    task["templates"] = [{"source": NLI.source, "target": "{answer}"}]
    (tmp_path / "task.json").write_text(json.dumps(task))
    assert [row["premise"] for row in read_task_set(tmp_path / "task.json").rows] == [
        "P0",
        "P1",
        "P2",
    ]


def test_occupations_are_asked_by_title_and_by_description(tmp_path):
    path = tmp_path / "data.txt"
    path.write_text('Code\tTitle\tDescription\n1\tBakers\t"Mix, and bake."\n')
    titles, descriptions = occupation_tasks(path)
    record = titles.write(titles.templates[0], 0, options=False)
    assert record.instruction.endswith("\nMix, and bake.") and record.output == "Bakers"
    record = descriptions.write(descriptions.templates[0], 0, options=False)
    assert (record.instruction, record.output) == (
        "Describe the occupation Bakers.",
        "Mix, and bake.",
    )
    path.write_text("Code\tTitle\n1\tBakers\n")
    with pytest.raises(DataError, match="line 2 has no Title or no Description"):
        occupation_tasks(path)


def test_a_rule_prefers_the_description_of_the_occupation_that_is_asked_for(tmp_path):
    path = tmp_path / "data.txt"
    rows = [f"Bakers {n}\tMix {n} and bake." for n in range(60)] + ["Cooks\tMix 1 and bake."]
    path.write_text("\n".join(["Title\tDescription", *rows]))
    right = dict(row.split("\t") for row in rows)
    found = occupation_preferences((0.1, 0.2), rejected=3, seed=1, path=path)
    titles, _ = occupation_tasks(path)
    for part, numbers in split_rows(titles.rows, (0.1, 0.2), seed=1).items():
        asked = [record.prompt for record in found[part]]
        names = [titles.rows[n]["title"] for n in numbers]
        assert asked == [f"Describe the occupation {name}." for name in names]
        texts = {right[name] for name in names}
        for name, record in zip(names, found[part], strict=True):
            assert record.answers[0] == right[name] and record.ranks == (1, 2, 2, 2)
            assert set(record.answers[1:]) <= texts - {right[name]}
            assert len(set(record.answers)) == 4
    assert found == occupation_preferences((0.1, 0.2), rejected=3, seed=1, path=path)
    with pytest.raises(DataError, match=r"the part valid has \d descriptions .* to 20 others"):
        occupation_preferences((0.1, 0.2), rejected=20, path=path)


@pytest.mark.slow
def test_real_task_sets_are_read(real_data, tmp_path):
    sets = {
        "gsm8k": (real_data("gsm8k") / "train.jsonl.gz", "{question}", "{answer}", 7473),
        "letters": (real_data("last-letters") / "last_letters.json", "{question}", "{answer}", 500),
    }
    for name, (path, source, target, count) in sets.items():
        task = {"name": name, "rows": str(path)}
        task["templates"] = [{"source": source, "target": target}]
        (tmp_path / "task.json").write_text(json.dumps(task))
        found = read_task_set(tmp_path / "task.json")
        assert len(found.rows) == count
        assert training_instances(found, range(3), STYLES)[0].record.output
    assert len(read_instructions(real_data("tallrec-movie") / "train.json.gz")) == 8000
    assert len(read_instructions(real_data("alpaca-seed") / "seed_tasks.jsonl")) == 175
    titles, _ = occupation_tasks(real_data("onet-occupations") / "Occupation Data.txt")
    assert len(titles.rows) > 1000


def test_an_unknown_key_of_a_description_is_named(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"q": "2 + 2", "a": "4"}')
    task = {"name": "sum", "rows": "rows.jsonl", "templates": [{"source": "{q}", "target": "{a}"}]}
    (tmp_path / "task.json").write_text(json.dumps(task | {"clusters": "numbers"}))
    with pytest.raises(DataError, match="unknown key 'clusters', did you mean 'cluster'"):
        read_task_set(tmp_path / "task.json")
