import itertools
import json

import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import Instruction, read_instructions
from jaxrec.decode import Completion
from jaxrec.prompting import Reply
from jaxrec.texts import (
    SeedTask,
    alpaca_instruct,
    class_prompt,
    instance_prompt,
    read_instances,
    read_seeds,
    rejections,
    self_instruct,
)

VERBS = ("Translate", "Sort", "Name", "Find", "Explain", "Sum", "Rhyme", "Shorten", "Correct")
SEEDS = [
    SeedTask(
        instruction=f"{verb} whatever number {n} of those lines contains.",
        instances=(Instruction(f"{verb} seed {n}", f"given {n}", f"answer {n}"),),
        classes=n % 3 == 0,
    )
    for n, verb in enumerate(VERBS)
]
# What a model wrote, and why each instruction is rejected; "" is kept. By hand, from the rules of
# the published code (yizhongw/self-instruct, bootstrap_instructions.py).
SCRIPT = [
    (
        Completion(
            " Suggest a name\n10. suggest a  name for\nmy cat.\n11. Describe the image of a cat.\n"
            '12. Write a program that counts cats.\n13. "quote" this line for me.\n'
            "14. éclairs need what kind of dough?\n15. "
        ),
        [
            ("Suggest a name", "too short"),
            ("Suggest a name for my cat.", ""),
            ("Describe the image of a cat.", "banned word: image"),
            ("Write a program that counts cats.", "asks for a program"),
            ('"quote" this line for me.', "starts with punctuation"),
            ("Éclairs need what kind of dough?", "starts with a character that is not ASCII"),
        ],
    ),
    (
        Completion(
            " Suggest a name for my dog.\n10. Imagery in this poem, please list it.\n"
            "11. Go to the shop for me.\n12. Sort whatever number 9 of those lines contains.\n"
            "13. " + "word " * 150 + "\n14. " + "word " * 151
        ),
        [
            # 5 of 6 words in common with the cat: F1 .83
            ("Suggest a name for my dog.", "similar"),
            ("Imagery in this poem, please list it.", ""),
            ("Go to the shop for me.", "banned word: go to"),
            ("Sort whatever number 9 of those lines contains.", "similar"),
            (("word " * 150).strip().capitalize(), ""),
            (("word " * 151).strip().capitalize(), "too long"),
        ],
    ),
    (
        Completion(" Tell me a story about rain.\n10. Tell me a jo", truncated=True),
        [("Tell me a story about rain.", "truncated"), ("Tell me a jo", "truncated")],
    ),
    (Completion(""), []),
    (
        Completion(" Decide whether this review is positive.\n10. Plan a weekend in Lima, Peru."),
        [("Decide whether this review is positive.", ""), ("Plan a weekend in lima, peru.", "")],
    ),
]
ANSWERS = {
    "Suggest a name for my cat.": "Example 1\nA black cat.\nOutput: Coal\nExample 2\nA white cat.\n"
    "Output: Snow\nExample 3\nA red cat.\nOutput:",
    "Imagery in this poem, please list it.": "Rain and rivers.",
    "Decide whether this review is positive.": "Class label: positive\nA joy.\nClass label: "
    "negative\nA bore.\nClass label: positive\nA joy.",
    "Plan a weekend in lima, peru.": "Output: Walk, eat, sleep.",
}


class Writer:
    """A language model that only writes: what a function makes of prompts and options."""

    name, context = "writer", None

    def __init__(self, write):
        self.write = write

    def generate(self, prompts, options):
        return [
            made
            if isinstance(made, Reply)
            else Reply(texts=(made.text,), truncated=(made.truncated,))
            for made in self.write(prompts, options)
        ]


class Scripted(Writer):
    """Plays the script, request by request, and records what it was asked."""

    def __init__(self, place=0, fail_at=None):
        super().__init__(self.play)
        self.place, self.fail_at, self.asked = place, fail_at, []

    def play(self, prompts, settings):
        self.asked.append((prompts, settings))
        if self.fail_at is not None and len(self.asked) > self.fail_at:
            raise KeyboardInterrupt
        if "Come up with a series of tasks" in prompts[0]:
            made = [SCRIPT[(self.place + n) % len(SCRIPT)][0] for n in range(len(prompts))]
            self.place += len(prompts)
            return made
        tasks = [prompt.rpartition("Task: ")[2].split("\n")[0] for prompt in prompts]
        if settings.max_tokens == 3:
            return [Completion(" Yes" if "review" in task else " No") for task in tasks]
        return [Completion(ANSWERS.get(task, "nothing of use")) for task in tasks]


def rows(path):
    return [row for row in map(json.loads, path.read_text().splitlines()) if "reason" in row]


def test_every_rule_rejects_exactly_what_it_should(tmp_path):
    self_instruct(SEEDS, Scripted(), tmp_path, count=5, prompts=5)
    found = [(row["instruction"], row["reason"]) for row in rows(tmp_path / "instructions.jsonl")]
    assert found == list(itertools.chain(*(expected for _, expected in SCRIPT)))
    by_text = {row["instruction"]: row for row in rows(tmp_path / "instructions.jsonl")}
    dog = by_text["Suggest a name for my dog."]
    assert (dog["nearest"], round(dog["rougeL"], 3)) == ("Suggest a name for my cat.", 0.833)


def test_instances_are_labelled_first_for_classes_and_filtered(tmp_path):
    generate = Scripted()
    records = self_instruct(SEEDS, generate, tmp_path, count=5, prompts=5)
    assert [(r.input, r.output) for r in records] == [
        ("A black cat.", "Coal"),
        ("A white cat.", "Snow"),
        ("A joy.", "positive"),
        ("A bore.", "negative"),
        ("", "Walk, eat, sleep."),
    ]
    assert read_instructions(tmp_path / "records.jsonl") == records
    reasons = rejections(tmp_path / "instances.jsonl")
    assert reasons == {"": 5, "empty output": 1, "duplicate": 1, "no instance": 2}
    kinds = [settings.max_tokens for _, settings in generate.asked]
    assert kinds == [1024, 3, 300, 350]
    labelled, examples = generate.asked[2][0], generate.asked[3][0]
    assert len(labelled) == 1 and "class labels" in labelled[0] and len(examples) == 4
    assert "Class label: answer 0\ngiven 0\n" in labelled[0]
    assert "Example 1\ngiven 1\nOutput: answer 1\n" in examples[0]


def test_prompts_show_eight_instructions_of_which_two_are_machine_made(tmp_path):
    generate = Scripted()
    self_instruct(SEEDS, generate, tmp_path, count=5, prompts=1)
    seeds = {task.instruction for task in SEEDS}
    asked = [(p, s) for p, s in generate.asked if s.max_tokens == 1024]
    machine = []
    for (prompt,), settings in asked:
        assert (settings.temperature, settings.top_p, settings.presence_penalty) == (0.7, 0.5, 2)
        assert {"\n\n", "16."} <= set(settings.stop)
        head, *lines, last = prompt.split("\n")
        assert head == "Come up with a series of tasks:" and last == "9."
        texts = [line.partition(". ")[2] for line in lines]
        assert [line.partition(". ")[0] for line in lines] == list("12345678")
        assert len(set(texts)) == 8
        machine.append(len(set(texts) - seeds))
    assert machine == [0, 1, 2, 2, 2]  # the pool has 0, 1, 3, 3 and 3 new instructions
    assert len({settings.seed for _, settings in asked}) == len(asked)


@pytest.mark.parametrize("fail_at", range(1, 9))
def test_a_killed_loop_goes_on_as_if_nothing_had_happened(tmp_path, fail_at):
    whole = self_instruct(SEEDS, Scripted(), tmp_path / "whole", count=5, prompts=1)
    broken = Scripted(fail_at=fail_at)
    with pytest.raises(KeyboardInterrupt):
        self_instruct(SEEDS, broken, tmp_path / "cut", count=5, prompts=1)
    # A kill in the middle of a write leaves half a line.
    path = tmp_path / "cut" / ("instances.jsonl" if fail_at > 6 else "instructions.jsonl")
    if path.exists():
        path.write_text(path.read_text() + '{"instruction": "Half a')
    done = min(fail_at, len(SCRIPT))
    again = self_instruct(SEEDS, Scripted(place=done), tmp_path / "cut", count=5, prompts=1)
    assert again == whole
    for name in ("instructions.jsonl", "instances.jsonl", "records.jsonl"):
        assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_finished_loop_asks_nothing_and_can_be_extended(tmp_path):
    first = self_instruct(SEEDS, Scripted(), tmp_path, count=1, prompts=2)
    quiet = Scripted(fail_at=0)
    assert self_instruct(SEEDS, quiet, tmp_path, count=1, prompts=2) == first
    more = self_instruct(SEEDS, Scripted(place=2), tmp_path, count=5, prompts=2)
    assert more[: len(first)] == first and len(more) == 5


def _task(number, text, given, output):
    return (
        f"{number}. Instruction: {text}\n{number}. Input:\n{given}\n{number}. Output:\n{output}\n"
    )


def test_alpaca_asks_for_whole_tasks_and_filters_them(tmp_path):
    # By hand, from the rules of tatsu-lab/stanford_alpaca, generate_instruction.py.
    text = "###\n".join(
        [
            _task(4, "Suggest a name for my cat.", "<noinput>", "Coal"),
            _task(5, "Suggest a name for my dog.", "<NoInput>", "Rex"),
            _task(6, "Compose music for this poem.", "Rain.", "La"),
            _task(8, "Give the next task another number.", "a", "b"),
            _task(8, "Order these words by length.", "bb a", "a bb"),
            _task(9, "Nothing comes of nothing here.", "x", ""),
            "10. Output:\na\n10. Input:\nb\n10. Instruction: Turn the parts around.\n",
            "11. Instruction: Stop in the mid",
        ]
    ).removeprefix("4. Instruction:")
    asked = []

    def generate(prompts, settings):
        asked.append((prompts, settings))
        return [Completion(text, truncated=True)]

    made = alpaca_instruct(SEEDS, Writer(generate), tmp_path, count=2, prompts=1)
    assert [(r.instruction, r.input, r.output) for r in made] == [
        ("Suggest a name for my cat.", "", "Coal"),
        ("Order these words by length.", "bb a", "a bb"),
    ]
    reasons = [row["reason"] for row in rows(tmp_path / "tasks.jsonl")]
    assert reasons == [
        "",
        "similar",
        "banned word: music",
        "malformed",
        "",
        "empty output",
        "malformed",
        "truncated",
    ]
    (prompt,), settings = asked[0]
    assert (settings.temperature, settings.top_p) == (1.0, 1.0)
    assert "List of 20 tasks:" in prompt and prompt.endswith("###\n4. Instruction:")
    assert prompt.count("Output:") == 3 and read_instructions(tmp_path / "records.jsonl") == made


@pytest.mark.parametrize(
    ("text", "truncated", "kept", "reasons"),
    [
        ("Example 1\na\nOutput: b\nExample 2\na\nOutput: c", False, [], ["one input"] * 2),
        ("Example 1\na\nOutput: b\nExample 2\nc\nOutput: d", True, [("a", "b")], ["truncated"]),
        ("Output: a\nInput: c", False, [("", "a")], []),
        ("Input: a\nOutput: a", False, [], ["output is the input"]),
        ("Input: list:\nOutput: a", False, [], ["ends with a colon"]),
        ("Output 1: so:", False, [], ["ends with a colon"]),
        ("no instance", False, [], []),
        (
            "".join(f"Example {n}\n{n}\nOutput: o{n}\n" for n in range(7)),
            False,
            [(str(n), f"o{n}") for n in range(5)],
            ["more than five"] * 2,
        ),
        ("Example 1\nOutput: b\nExample 2\nOutput: c", False, [("", "b"), ("", "c")], []),
    ],
)
def test_instances_are_filtered(text, truncated, kept, reasons):
    found, rejected = read_instances(Completion(text, truncated), "Do this.", classes=False)
    assert [(record.input, record.output) for record in found] == kept
    assert len(rejected) == len(reasons)
    assert all(reason.startswith(said) for (_, reason), said in zip(rejected, reasons, strict=True))


def test_prompts_show_the_worked_examples_of_the_right_kind():
    text = class_prompt(SEEDS, "Judge it.")
    assert text.count("Is it classification? Yes") == 3 and text.count("? No") == 6
    assert text.endswith("Task: Judge it.\nIs it classification?")
    text = instance_prompt(SEEDS, "Judge it.", classes=True)
    assert text.count("Task: ") == 4 and text.endswith("Task: Judge it.\n")
    assert "Example" not in text


def test_a_loop_that_gets_nowhere_and_one_with_other_seeds_are_errors(tmp_path):
    def silent(prompts, settings):
        return [Completion("") for _ in prompts]

    with pytest.raises(DataError, match="20 requests in a row gave no new instruction, after 0 of"):
        self_instruct(SEEDS, Writer(silent), tmp_path, count=2)
    with pytest.raises(ConfigError, match="begun with other seed tasks"):
        self_instruct(SEEDS[:-1], Writer(silent), tmp_path, count=2)
    with pytest.raises(ConfigError, match="shows 8 seed tasks"):
        self_instruct(SEEDS[:7], Writer(silent), tmp_path / "few", count=2)
    with pytest.raises(DataError, match="writer gave 0 replies to 5 prompts"):
        nobody = Writer(lambda prompts, settings: [])
        self_instruct(SEEDS, nobody, tmp_path / "none", count=2)


def test_an_answer_of_a_service_that_cannot_be_used_is_counted(tmp_path):
    script = Scripted()

    def broken_at_first(prompts, settings):
        if not script.asked:
            script.asked.append(None)
            return [Reply(texts=("",), failure="it is no JSON object")]
        return script.play(prompts, settings)

    records = self_instruct(SEEDS, Writer(broken_at_first), tmp_path, count=1, prompts=1)
    assert records
    counts = rejections(tmp_path / "instructions.jsonl")
    assert counts["no answer: it is no JSON object"] == 1


def test_a_damaged_line_is_named(tmp_path):
    self_instruct(SEEDS, Scripted(), tmp_path, count=1, prompts=1)
    path = tmp_path / "instructions.jsonl"
    path.write_text(path.read_text().replace('{"end": 0}', "[]"))
    with pytest.raises(DataError, match="is damaged"):
        self_instruct(SEEDS, Scripted(), tmp_path, count=1, prompts=1)


def test_the_published_seeds_are_read(real_data):
    seeds = read_seeds(real_data("alpaca-seed") / "seed_tasks.jsonl")
    assert len(seeds) == 175 and sum(task.classes for task in seeds) == 26
    assert all(task.instances[0].output for task in seeds)


def test_bad_seeds_are_named(tmp_path):
    path = tmp_path / "seeds.jsonl"
    path.write_text('{"instruction": "a", "output": "b"}')
    with pytest.raises(DataError, match="record 0 must have a list of instances"):
        read_seeds(path)
