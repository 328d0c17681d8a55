import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.core import ConfigError
from jaxrec.data.instructions import Instruction, encode_instructions
from jaxrec.data.tokenizers import train_bpe
from jaxrec.decode.answers import answer_gaps, answer_tokens
from jaxrec.models import CausalLM, TransformerConfig
from jaxrec.testing import random_params

RECORDS = [
    Instruction("Say.", "Short?", "Yes."),
    Instruction("Say.", "Is this one a good deal longer than the others are?", "No."),
    Instruction("Say.", "Third?", "No."),
]


def test_gaps_are_those_of_the_answers_logits():
    torch = pytest.importorskip("torch")
    tokenizer = train_bpe([r.prompt + r.output for r in RECORDS], vocab_size=300)
    rows = encode_instructions(tokenizer, RECORDS, 400)
    yes, no = answer_tokens(tokenizer, "Yes.", "No.")
    assert tokenizer.decode([yes])[0] == "Y"
    assert tokenizer.decode([no])[0] == "N"
    model = CausalLM(TransformerConfig(vocab_size=len(tokenizer), width=16, max_length=400))
    params = random_params(model)
    gaps = answer_gaps(model, params, rows, (yes, no), batch_size=2)
    other = answer_gaps(model, params, rows, (yes, no), batch_size=2, probabilities=True)
    # Padded on the right, which a causal model never sees: one shape is one program.
    prompts = [tokenizer(record.prompt)["input_ids"] for record in RECORDS]
    length = max(map(len, prompts))
    tokens = jnp.asarray([[*row, *[0] * (length - len(row))] for row in prompts], jnp.int32)
    every = np.array(jax.jit(model.apply)(params, tokens, tokens >= 0))
    for i, prompt in enumerate(prompts):
        logits = torch.tensor(every[i, len(prompt) - 1])
        np.testing.assert_allclose(gaps[i], logits[yes] - logits[no], atol=1e-5)
        both = torch.softmax(logits, -1)[[yes, no]]
        np.testing.assert_allclose(other[i], both[0] - both[1], atol=1e-6)


def test_answers_that_begin_alike_are_refused():
    tokenizer = train_bpe(["Yes."], vocab_size=300)
    with pytest.raises(ConfigError, match=r"begins 'Yes.' and 'Yes.' with the same token"):
        answer_tokens(tokenizer, "Yes.", "Yes.")
