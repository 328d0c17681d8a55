"""Numbers are extracted and compared as lm-eval does it."""

import random
import warnings

import pytest

from jaxrec.capacity import TASKS, last_number, strict_number
from jaxrec.prompting import Reply

GOLDEN = [
    ("6 x 7 = 42\n#### 42", "42", "42"),
    ("#### 1,042", "1042", "1042"),
    ("#### -3.", "-3", "-3"),
    ("So the answer is $5.00.", None, "5.00"),
    ("It costs $12, then $1,200.50.", None, "1200.50"),
    ("####42", None, "42"),
    ("#### 7\nQuestion 2: 3 + 3\n#### 6", "7", "6"),
    ("none", None, None),
    ("7", None, "7"),
    ("...", None, ".."),
]


@pytest.mark.parametrize(("text", "strict", "flexible"), GOLDEN)
def test_numbers_of_replies(text, strict, flexible):
    assert strict_number(text) == strict
    assert last_number(text) == flexible


def test_values_are_those_of_lm_eval():
    warnings.simplefilter("ignore")
    pytest.importorskip("lm_eval")
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters.extraction import RegexFilter

    ignored = [",", "\\$", "(?s).*#### ", "\\.$"]
    filters = {
        "strict": RegexFilter("#### (\\-?[0-9\\.\\,]+)"),
        "flexible": RegexFilter("(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1),
    }
    draw = random.Random(0)
    parts = ["#### ", "12", "7", "$", ",", ".", "-", " ", "\n", "a", "1,000", "3.50", "####", "T"]
    hits = 0
    for _ in range(500):
        text = "".join(draw.choices(parts, k=draw.randint(0, 8)))
        right = f"so\n#### {draw.choice(['12', '7', '1,000', '127', '3.50', '-7'])}"
        values = TASKS["gsm8k"].measure({"answer": right}, Reply(texts=(text,)))
        for name, extract in filters.items():
            ((found,),) = extract.apply([[text]], [{}])
            expected = exact_match_hf_evaluate(
                [found], [right], regexes_to_ignore=ignored, ignore_case=True
            )["exact_match"]
            assert values[name] == expected, (text, right, name)
            hits += int(expected)
    assert hits > 20


def test_prompts_are_those_of_the_published_task():
    task = TASKS["gsm8k"]
    shown = task.show({"question": "1 + 1?", "answer": "1 + 1 = 2\n#### 2"})
    assert task.ask({"question": "2 + 2?"}, shown).prompt == (
        "Question: 1 + 1?\nAnswer: 1 + 1 = 2\n#### 2\n\nQuestion: 2 + 2?\nAnswer:"
    )
