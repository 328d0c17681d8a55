import json

import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data import encode_marked, train_bpe
from jaxrec.texts import (
    CHAT_TEMPLATE,
    Chat,
    Message,
    chat_end,
    chat_prompt,
    filter_chats,
    mark_chat,
    read_chats,
    split_chats,
    strip_contacts,
)

CHATML = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n'}}"
    "{% if m['role'] == 'assistant' %}{% generation %}{{m['content'] + '<|im_end|>'}}"
    "{% endgeneration %}{{'\n'}}{% else %}{{m['content'] + '<|im_end|>\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
# Llama 2's form: the prompt stands in brackets, and the end token follows each answer.
BRACKETS = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{'[INST] ' + m['content'] "
    "+ ' [/INST]'}}{% elif m['role'] == 'assistant' %}{% generation %}{{' ' + m['content'] + ' ' + "
    "eos_token}}{% endgeneration %}{% endif %}{% endfor %}"
)
TURNS = (
    Message("user", "Name a capital."),
    Message("assistant", "Paris."),
    Message("user", "Another one, please."),
    Message("assistant", "Lima, in Peru."),
)


def without_marks(template):
    return template.replace("{% generation %}", "").replace("{% endgeneration %}", "")


def make(template):
    tokenizer = train_bpe([m.content for m in TURNS] * 3, vocab_size=300)
    if "im_end" in template:
        tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("template", [CHATML, BRACKETS], ids=["chatml", "brackets"])
@pytest.mark.parametrize("marked", [True, False])
def test_learned_tokens_are_those_of_transformers_own_mask(template, marked):
    tokenizer = make(template)
    theirs = tokenizer.apply_chat_template(
        [{"role": m.role, "content": m.content} for m in TURNS],
        return_assistant_tokens_mask=True,
        return_dict=True,
        tokenize=True,
    )
    tokenizer.chat_template = template if marked else without_marks(template)
    encoded = encode_marked(tokenizer, [mark_chat(tokenizer, Chat(TURNS))], 200)
    assert encoded.tokens.tolist() == theirs["input_ids"]
    assert encoded.learned.astype(int).tolist() == theirs["assistant_masks"]


def test_our_template_learns_answers_with_their_end_alone():
    tokenizer = make(CHAT_TEMPLATE)
    marked = mark_chat(tokenizer, Chat((Message("system", "Be brief."), *TURNS)))
    assert marked.answers == ["Paris.</s>", "Lima, in Peru.</s>"]
    assert marked.complete and "Be brief." in marked.text
    assert chat_end(tokenizer) == tokenizer.eos_token_id


def test_an_end_behind_the_mark_is_learned_too():
    template = CHATML.replace(
        "{{m['content'] + '<|im_end|>'}}{% endgeneration %}",
        "{{m['content']}}{% endgeneration %}{{'<|im_end|>'}}",
    )
    tokenizer = make(template)
    assert mark_chat(tokenizer, Chat(TURNS)).answers[0] == "Paris.<|im_end|>"
    assert chat_end(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_a_prompt_is_the_beginning_of_what_training_reads():
    for template in (without_marks(CHATML), CHAT_TEMPLATE):
        tokenizer = make(template)
        prompt = chat_prompt(tokenizer, TURNS[:3])
        assert mark_chat(tokenizer, Chat(TURNS)).text.startswith(prompt + TURNS[3].content)


def test_the_begin_token_is_left_to_a_tokenizer_that_adds_it():
    from tokenizers.processors import TemplateProcessing

    tokenizer = make(BRACKETS)
    assert chat_prompt(tokenizer, TURNS[:1]).startswith("<s>[INST]")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
    )
    tokens = tokenizer(chat_prompt(tokenizer, TURNS[:1]))["input_ids"]
    assert tokens.count(tokenizer.bos_token_id) == 1


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (None, "no chat template"),
        ("{% for m in messages %}{{m.role}}: {{m.content}}\n{% endfor %}", "without a special"),
        ("{% for m in messages %}{{m.content | upper}}{{eos_token}}{% endfor %}", "as it is"),
        (
            "{{messages | length}}{% for m in messages %}{{m.content}}{{eos_token}}{% endfor %}",
            "changes earlier turns",
        ),
    ],
)
def test_unusable_templates_are_named(template, said):
    tokenizer = make(CHAT_TEMPLATE)
    tokenizer.chat_template = template
    with pytest.raises(ConfigError, match=said):
        mark_chat(tokenizer, Chat(TURNS))


def test_a_chat_without_an_answer_and_one_that_the_template_rejects_are_errors():
    tokenizer = make(CHAT_TEMPLATE)
    with pytest.raises(DataError, match="no turn of the assistant"):
        mark_chat(tokenizer, Chat(TURNS[:1]))
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match=r"rejects turns of user, assistant.*must alternate"):
        mark_chat(tokenizer, Chat(TURNS[:2]))


def _chat(question, user="", answer="Yes."):
    return Chat((Message("user", question), Message("assistant", answer)), user)


def test_filters_leave_out_what_they_should_and_count_it():
    chats = [
        _chat("a" * 30 + "1", "x"),
        _chat("a" * 30 + "2", "y"),  # the first 20 characters agree
        _chat("a", "x"),  # a shorter prompt is no duplicate
        _chat("b", "x"),
        _chat("c", "x"),
        _chat("d"),
        Chat((Message("user", "e"),)),
        _chat("f", answer=" "),
        _chat("Write to me@example.org"),
    ]
    kept, counts = filter_chats(chats, prefix=20, per_user=3)
    assert [chat.messages[0].content[:3] for chat in kept] == ["aaa", "a", "b", "d", "Wri"]
    assert counts == {
        "no answer": 1,
        "empty answer": 1,
        "duplicate": 1,
        "over the user's limit": 1,
        "replaced": 1,
    }
    assert kept[-1].messages[0].content == "Write to <email>"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail john.smith+x@mail.example.co.uk.", "mail <email>."),
        ("call 030 1234 5678", "call <phone>"),
        ("call (555) 123-4567 now", "call <phone> now"),
        ("call +4915112345678!", "call <phone>!"),
        ("call 555.123.4567", "call <phone>"),
        ("on 2024-05-17 at 12:30", None),
        ("1,000,000 of 3.14159265358", None),
        ("host 192.168.100.200", None),
        ("room 12, 3rd floor, 1999 to 2004", None),
        ("@name says 5 / 7", None),
        ("", None),
    ],
)
def test_contacts_are_replaced_and_other_numbers_stay(text, clean):
    expected = text if clean is None else clean
    assert strip_contacts(text) == (expected, int(clean is not None))


def test_a_user_is_on_one_side():
    chats = [_chat(f"{n}", f"user {n % 40}") for n in range(200)]
    parts = split_chats(chats, (0.2, 0.3), seed=1)
    users = {side: {chat.user for chat in part} for side, part in parts.items()}
    assert sum(map(len, users.values())) == 40 and sum(map(len, parts.values())) == 200
    assert all(len(part) > 2 for part in users.values())
    # Further users move none of the old ones.
    more = split_chats([*chats, _chat("new", "new user")], (0.2, 0.3), seed=1)
    assert users["test"] <= {chat.user for chat in more["test"]}


def test_shares_of_users_are_about_those_that_were_asked_for():
    parts = split_chats([_chat(f"{n}") for n in range(3000)], (0.1, 0.2))
    np.testing.assert_allclose(
        [len(part) / 3000 for part in parts.values()], [0.7, 0.1, 0.2], atol=0.03
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"turns": []}, "record 0 has no list of messages, but turns"),
        ({"messages": []}, "no list of messages"),
        ({"messages": ["Hi."]}, "message 0 of record 0 is str"),
        ({"messages": [{"role": "user"}]}, "must have a text 'content', got None"),
        ({"messages": [{"role": "asistant", "content": "a"}]}, "did you mean 'assistant'"),
        ({"messages": [{"role": "user", "content": "a"}], "user": [1]}, "user of record 0"),
    ],
)
def test_bad_records_are_named(tmp_path, row, said):
    path = tmp_path / "chats.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(DataError, match=said):
        read_chats(path)
