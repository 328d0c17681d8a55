import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError, DataError
from jaxrec.data.instructions import Instruction, encode_instructions, read_instructions
from jaxrec.data.tokenizers import train_bpe
from jaxrec.eval.clicks import click_metrics, pooled_auc, within_user_auc
from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.systems import tallrec
from jaxrec.testing import random_params

ASK = 'Whether the user will like the target movie "{}"?'


def _record(liked, disliked, target, answer):
    quoted = [", ".join(f'"{title}"' for title in titles) for titles in (liked, disliked)]
    text = f"User Preference: {quoted[0]}\nUser Unpreference: {quoted[1]}\n{ASK.format(target)}"
    return Instruction("Answer.", text, answer)


def test_parse_reads_titles_with_commas_and_quotes():
    found = tallrec.parse(_record(['One, "Two" (1990)', "B"], [], "C, The (1991)", "Yes."))
    assert found == tallrec.Question(('One, "Two" (1990)', "B"), (), "C, The (1991)", True)
    with pytest.raises(DataError, match="output 'Maybe'"):
        tallrec.parse(_record(["a"], ["b"], "c", "Maybe"))


def test_published_split_has_its_users_and_its_control(real_data):
    records = read_instructions(real_data("tallrec-movie") / "valid.json.gz")
    labels, users = tallrec.labels_of(records), tallrec.users_of(records)
    # Figures of the split: .658 positive, 14 users, and .6890 for the number of liked titles.
    assert labels.mean() == 0.658
    assert len(np.unique(users)) == 14
    assert round(pooled_auc(labels, tallrec.like_counts(records)), 4) == 0.6890


def test_within_user_auc_ignores_differences_between_users():
    users = np.repeat(np.arange(4), 25)
    rng = np.random.default_rng(0)
    labels = rng.random(100) < np.repeat([0.2, 0.4, 0.6, 0.8], 25)
    by_user = users.astype(float)
    assert pooled_auc(labels, by_user) > 0.6
    assert within_user_auc(labels, by_user, users) == 0.5
    brute = []
    scores = rng.random(100)
    for user in range(4):
        mine = users == user
        up, down = scores[mine & labels], scores[mine & ~labels]
        brute.append(np.mean([[a > b for b in down] for a in up]))
    np.testing.assert_allclose(within_user_auc(labels, scores, users), np.mean(brute))
    found = click_metrics(labels, scores, users)
    assert found.auc.low < found.auc.mean < found.auc.high
    with pytest.raises(DataError, match="labels of both kinds"):
        pooled_auc(np.ones(3), np.ones(3))


def test_scores_are_the_gap_of_the_answers_logits():
    torch = pytest.importorskip("torch")
    records = [
        _record(["A", "B"], ["C"], "D", "Yes."),
        _record([], ["Something long", "E", "F"], "G", "No."),
        _record(["H"], [], "I", "No."),
    ]
    corpus = [record.prompt + record.output for record in records]
    tokenizer = train_bpe(corpus, vocab_size=300)
    rows = encode_instructions(tokenizer, records, 400)
    yes, no = tallrec.answer_tokens(tokenizer)
    assert tokenizer.decode([yes])[0] == "Y"
    assert tokenizer.decode([no])[0] == "N"
    model = CausalLM(TransformerConfig(vocab_size=len(tokenizer), width=16, max_length=400))
    params = random_params(model)
    gaps = tallrec.score(model, params, rows, (yes, no), batch_size=2)
    other = tallrec.score(model, params, rows, (yes, no), batch_size=2, published=True)
    for i, record in enumerate(records):
        prompt = jnp.asarray([tokenizer(record.prompt)["input_ids"]], jnp.int32)
        logits = torch.tensor(np.array(model.apply(params, prompt, prompt >= 0)[0, -1]))
        np.testing.assert_allclose(gaps[i], logits[yes] - logits[no], atol=1e-5)
        both = torch.softmax(logits, -1)[[yes, no]]
        np.testing.assert_allclose(other[i], both[0] - both[1], atol=1e-6)


def test_a_tokenizer_that_confuses_the_answers_is_refused():
    class Same:
        def __call__(self, text):
            return {"input_ids": [1, 2, 3]}

    with pytest.raises(ConfigError, match="same token"):
        tallrec.answer_tokens(Same())
