"""A language model as an answerer of text tasks: lists, words, texts, and what is counted."""

import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data import train_bpe
from jaxrec.prompting import GenerateOptions, ScriptedModel
from jaxrec.texts import (
    CHAT_TEMPLATE,
    AskedAnswerer,
    ChatModel,
    Grounding,
    RepairOptions,
    sentence_form,
)

FILMS = Grounding(["Alien (1979)", "Heat (1995)", "Cats, The (1990)", "Kiss (1960)", "Kiss (1970)"])


def _answerer(answer, **settings):
    return AskedAnswerer(
        model=ScriptedModel(lambda prompt, sample: answer[prompt]), grounding=FILMS, **settings
    )


def test_free_lists_are_grounded_once_and_without_what_is_excluded():
    answer = {
        "a": "1. The Cats\n2. Allien\n3. cats (1990)\n4. Heat",
        "b": "1. Kiss\n2. Invented Film\n3. Heat",
    }
    answerer = _answerer(answer)
    items, scores = answerer.recommend(
        ["a", "b"], beams=4, excluded=[np.array([1]), np.array([], int)]
    )
    assert items.tolist() == [[2, 0, -1, -1], [1, -1, -1, -1]]
    assert scores[0].tolist() == [0.0, -1.0, -np.inf, -np.inf]
    (found,) = answerer.grounded
    assert [one.how for one in found] == [
        *("title", "vector", "title", "title"),
        *("ambiguous", "missing", "title"),
    ]


def test_candidates_decide_what_a_title_means():
    answer = {"a": "Kiss\nHeat", "b": "Kiss"}
    allowed = np.array([[0, 1, 0, 0, 1], [0, 0, 0, 1, 0]], bool)
    items, _ = _answerer(answer).recommend(["a", "b"], beams=2, allowed=allowed)
    assert items.tolist() == [[4, 1], [3, -1]]


def test_words_become_scores_and_an_illegal_word_is_the_last_one():
    answerer = _answerer({"a": "Yes", "b": "no.", "c": "perhaps"}, repair=RepairOptions(rounds=0))
    assert answerer.score(["a", "b", "c"], ("yes", "no")).argmax(axis=1).tolist() == [0, 1, 1]
    assert answerer.refined[0].legal.tolist() == [True, True, False]


def test_texts_have_the_wanted_form_or_are_empty():
    answer = {"a": "One two three four. Five.", "b": "1 2 3 4 5 6 7"}
    answerer = _answerer(answer, forms=[sentence_form(4)] * 2, repair=RepairOptions(rounds=0))
    assert answerer.write(["a", "b"], 20) == ["One two three four.", ""]
    with pytest.raises(ConfigError, match="at least 1"):
        answerer.write(["a"], 0)
    with pytest.raises(ConfigError, match="2 forms need a list of as many prompts"):
        answerer.write(["a"], 20)


def test_a_chat_model_reads_turns_and_counts_their_marks():
    tokenizer = train_bpe(["Hi."], 270)
    with pytest.raises(ConfigError, match="no chat template"):
        ChatModel(ScriptedModel(), tokenizer)
    tokenizer.chat_template = CHAT_TEMPLATE
    script = ScriptedModel(
        lambda prompt, sample: "ok",
        logprob=lambda prompt, text: -len(text) if prompt.endswith("Assistant:\n") else -99.0,
        context=9,
    )
    model = ChatModel(script, tokenizer)
    assert (model.name, model.context) == ("scripted (chat)", 9)
    assert model.count_tokens(["a b"])[0] > script.count_tokens(["a b"])[0]
    assert model.generate(["a"], GenerateOptions())[0].text == "ok"
    ((one, other),) = model.score(["a"], [[" yes", " no"]])
    assert (one.logprob, other.logprob) == (-3, -2)
