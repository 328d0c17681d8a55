"""The local model against Hugging Face in PyTorch, and its rules of tokens against lm-eval."""

import numpy as np
import pytest

from jaxrec.data import save_tokenizer, train_bpe
from jaxrec.prompting import GenerateOptions, TokenRules
from jaxrec.runs import open_language_model
from jaxrec.testing import PEERS, make_peer

SHOTS = "one word and another. " * 4
PROMPTS = [SHOTS + text for text in ("one", "word and", "another one and")]
CONTINUATIONS = [[" word", " and another", "!"], [" one"], ["y", " word"]]


@pytest.fixture(scope="module")
def tokenizer():
    return train_bpe(["one word and another."] * 3, vocab_size=275)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_prompts_behind_shots_are_continued_and_scored_as_by_hugging_face(
    tokenizer, tmp_path, name, monkeypatch
):
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(PEERS[name].settings, "vocab_size", 280)
    peer = make_peer(name, tmp_path)
    save_tokenizer(tokenizer, tmp_path)
    local = open_language_model(tmp_path)
    replies = local.generate(PROMPTS, GenerateOptions(max_tokens=6))
    assert all(reply.usage.shared_tokens for reply in replies[1:])
    scores = local.score(PROMPTS, CONTINUATIONS)
    for prompt, reply, row, texts in zip(PROMPTS, replies, scores, CONTINUATIONS, strict=True):
        tokens = torch.tensor([tokenizer(prompt)["input_ids"]])
        ends = [tokenizer.eos_token_id]
        with torch.inference_mode():
            made = peer.generate(
                tokens,
                attention_mask=torch.ones_like(tokens),
                max_new_tokens=6,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=0,
            )
        written = made[0, tokens.shape[1] :]
        assert reply.text == tokenizer.decode(written, skip_special_tokens=True)
        for text, score in zip(texts, row, strict=True):
            whole = tokenizer(prompt + text)["input_ids"]
            with torch.inference_mode():
                logprobs = peer(torch.tensor([whole])).logits[0].log_softmax(-1)
            places = range(tokens.shape[1] - 1, len(whole) - 1)
            expected = sum(logprobs[place, whole[place + 1]].item() for place in places)
            assert score.logprob == pytest.approx(expected, abs=2e-4)
            greedy = all(logprobs[place].argmax() == whole[place + 1] for place in places)
            assert score.greedy == greedy


def rules_of(tokenizer, context=16):
    return TokenRules(tokenizer=tokenizer, vocab_size=len(tokenizer), context=context)


def test_windows_are_those_of_lm_eval(tokenizer):
    utils = pytest.importorskip("lm_eval.utils")
    rng = np.random.default_rng(0)
    for length in (0, 1, 6, 7, 8, 14, 15, 40):
        text = "".join(rng.choice(list("qzxjk"), length))
        tokens = tokenizer(text)["input_ids"]
        assert len(tokens) == length
        windows = utils.get_rolling_token_windows(tokens, tokenizer.bos_token_id, 7, 1)
        expected = [tuple(map(tuple, utils.make_disjoint_window(pair))) for pair in windows]
        found = [(w.context, w.scored) for w in rules_of(tokenizer, 7).windows(text)]
        assert found == expected


PAIRS = [
    ("one word", " and"),
    ("one word ", "and another"),
    ("one word \n", " another"),
    ("one", "one"),
    ("wo", "rd and"),
    ("one  ", "  word"),
]


def test_pairs_are_divided_as_by_lm_eval(tokenizer):
    model = pytest.importorskip("lm_eval.api.model")
    rules = rules_of(tokenizer)

    class Model(model.TemplateLM):
        eot_token_id = 0
        generate_until = loglikelihood_rolling = _loglikelihood_tokens = None

        def tok_encode(self, text, **_):
            return tokenizer(text)["input_ids"]

    Model.__abstractmethods__ = frozenset()
    peer = Model()
    for prompt, continuation in PAIRS:
        ((own, (rest,)),) = rules.pairs([prompt], [[continuation]])
        expected = peer._encode_pair(prompt, continuation)
        # Where the continuation merges into the prompt's last token, lm-eval scores nothing.
        assert own == expected[0]
        assert rest == expected[1] or not expected[1]


def test_a_continuation_that_merges_into_the_prompt_is_scored_alone(tokenizer):
    assert len(tokenizer("one")["input_ids"]) == len(tokenizer("o")["input_ids"]) == 1
    ((own, (rest,)),) = rules_of(tokenizer).pairs(["o"], [["ne"]])
    assert own == tokenizer("o")["input_ids"] and rest == tokenizer("ne")["input_ids"]


def test_a_cut_prompt_keeps_the_begin_token_that_the_tokenizer_writes(tokenizer):
    class Begins:
        bos_token_id, eos_token_id = 1, 2

        def __call__(self, texts, **_):
            rows = [[1, *map(ord, text)] for text in texts]
            return {"input_ids": rows, "special_tokens_mask": [[1, *[0] * 9]] * len(rows)}

    rules = TokenRules(tokenizer=Begins(), vocab_size=300, context=6, overflow="cut")
    assert rules.prompts(["abcdef", "a"], room=3) == [[1, ord("e"), ord("f")], [1, ord("a")]]
