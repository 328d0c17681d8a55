import json
import random
import re
from pathlib import Path

import pytest

from jaxrec.core import ConfigError
from jaxrec.prompting import (
    ANSWER_KINDS,
    ANSWER_RULES,
    canonical,
    extract,
    gsm8k_flexible,
    gsm8k_strict,
)

GOLDEN = json.loads((Path(__file__).parent / "answers.json").read_text())
# Pieces of what models write; strings of them are what the referees read too.
PIECES = (
    "7",
    "12",
    ".",
    ",",
    "-",
    " ",
    "$",
    "a",
    "B",
    "#### ",
    "3.50",
    "1,000",
    "yes",
    "\n",
    "The",
)


def random_texts(count):
    draw = random.Random(0)
    return ["".join(draw.choices(PIECES, k=draw.randrange(12))) for _ in range(count)]


def published(text, kind, rule):
    """What the code of Kojima et al. gives, as its description in the paper says it."""
    parts = text.split("The answer is")
    marked = rule == "few_shot" and len(parts) > 1
    last = parts[-1] if rule == "few_shot" else text
    if kind == "number":
        found = re.findall(r"-?\d+\.?\d*", last.replace(",", ""))
    elif kind == "yes_no":
        words = re.sub("\"|'|\n|\\.|\\s|:|,", " ", last.lower()).split(" ")
        found = [word for word in words if word in ("yes", "no")]
    else:
        found = [re.sub("\"|'|\n|\\.|\\s", "", last)]
    if not found:
        return None
    answer = found[0 if marked or rule == "first" else -1]
    return answer.removesuffix(".") or None


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: repr(case["text"][:30]))
def test_an_answer_is_read_as_people_read_it(case):
    assert extract(case["text"], case["kind"], case["rule"]) == case["answer"]


def test_the_golden_file_covers_every_kind_and_rule():
    assert len(GOLDEN) == 60
    assert {(case["kind"], case["rule"]) for case in GOLDEN} == {
        (kind, rule) for kind in ANSWER_KINDS for rule in ANSWER_RULES
    }
    assert {case["kind"] for case in GOLDEN if case["answer"] is None} == set(ANSWER_KINDS)


@pytest.mark.parametrize("rule", ANSWER_RULES)
def test_numbers_agree_with_the_published_rule(rule):
    for text in random_texts(500) + [case["text"] for case in GOLDEN if case["text"].isascii()]:
        wanted = published(text, "number", rule)
        found = extract(text, "number", rule)
        assert (found is None) == (wanted is None), text
        assert found is None or float(found) == float(wanted), text


@pytest.mark.parametrize("rule", ANSWER_RULES)
def test_yes_and_no_agree_with_the_published_rule_on_words(rule):
    draw = random.Random(1)
    words = ("Yes", "no", "yes.", "No,", "The answer is", "maybe", "'no'", "nobody", "yes:")
    for _ in range(500):
        text = " ".join(draw.choices(words, k=draw.randrange(6)))
        assert extract(text, "yes_no", rule) == published(text, "yes_no", rule), text


@pytest.mark.parametrize("text", [' "yajo".', " y a\nj o", "The answer is 'nk'.", "  "])
def test_letters_agree_with_the_published_rule(text):
    rule = "few_shot" if "answer" in text else "first"
    assert extract(text, "letters", rule) == published(text, "letters", rule)


def test_numbers_have_one_form_for_each_value():
    forms = ["18", "18.", "18.0", "018.00", "$18", "+18"]
    assert {extract(form, "number") for form in forms} == {"18"}


@pytest.mark.parametrize(
    ("name", "ours"), [("strict-match", gsm8k_strict), ("flexible-extract", gsm8k_flexible)]
)
def test_gsm8k_rules_agree_with_lm_eval(name, ours):
    harness = pytest.importorskip("lm_eval", reason="needs lm-eval: pip install lm-eval")
    import yaml
    from lm_eval.filters.extraction import RegexFilter

    task = yaml.safe_load((Path(harness.__file__).parent / "tasks/gsm8k/gsm8k.yaml").read_text())
    steps = next(part["filter"] for part in task["filter_list"] if part["name"] == name)
    settings = {key: value for key, value in steps[0].items() if key != "function"}
    ignored = task["metric_list"][0]["regexes_to_ignore"]
    texts = [case["text"] for case in GOLDEN] + random_texts(500)
    texts += ["48 / 2 = 24\n#### 24", "#### -1,024.50.", "#### $5", "####7", "#### 1\n#### 2"]
    raw = [row[0] for row in RegexFilter(**settings).apply([[text] for text in texts], [])]
    assert "[invalid]" in raw
    for text, found in zip(texts, raw, strict=True):
        wanted = None if found == "[invalid]" else found
        for pattern in ignored if wanted is not None else ():
            wanted = re.sub(pattern, "", wanted)
        assert ours(text) == wanted, text


def test_a_right_answer_is_written_like_an_extracted_one():
    assert canonical("$1,000.00", "number") == "1000"
    with pytest.raises(ConfigError, match=r"'3 or 4' must hold exactly one .* it holds 2"):
        canonical("3 or 4", "number")
    with pytest.raises(ConfigError, match="it holds 0"):
        canonical("perhaps", "yes_no")


def test_an_unknown_rule_is_rejected():
    with pytest.raises(ConfigError, match=r"no rule 'few-shot', did you mean 'few_shot'"):
        extract("7", "number", "few-shot")


@pytest.mark.parametrize("text", [None, 7, b"7", ["7"]])
@pytest.mark.parametrize(
    "read",
    [
        lambda text: extract(text, "number"),
        lambda text: extract(text, "letters", "few_shot"),
        lambda text: canonical(text, "number"),
        gsm8k_strict,
        gsm8k_flexible,
    ],
)
def test_what_is_no_text_is_rejected_by_its_value(read, text):
    with pytest.raises(ConfigError, match=f"out of a text, got {re.escape(repr(text))}; give"):
        read(text)
