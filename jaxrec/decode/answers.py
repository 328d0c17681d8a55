"""Which of two answers a language model expects after a prompt: one pass, no generation.

Shapes: `N` prompts, `B` prompts of a call, `T` tokens.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, count_done
from jaxrec.data import Instruction, TokenRows
from jaxrec.models import CausalLM
from jaxrec.nn import SelfContext, attention_mask, positions_of


def answer_tokens(tokenizer: Any, one: str, other: str) -> tuple[int, int]:
    """Return the first tokens of two answers, as the tokenizer cuts them after a framed prompt.

    Args:
      tokenizer: a tokenizer of transformers.
      one: an answer, such as "Yes.".
      other: another answer, such as "No.".

    Raises:
      ConfigError: the tokenizer begins both answers with the same token.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["Yes. No."], vocab_size=300)
      >>> tokenizer.decode(list(answer_tokens(tokenizer, "Yes.", "No.")))
      'YN'
    """
    shared, tokens = differing_tokens(tokenizer, one, other)
    if shared:
        raise ConfigError(
            f"the tokenizer begins {one!r} and {other!r} with the same token; choose answers that "
            "begin with different tokens"
        )
    return tokens


def differing_tokens(tokenizer: Any, one: str, other: str) -> tuple[int, tuple[int, int]]:
    """Return where two answers after a framed prompt differ first, such as "[A]." and "[B].".

    Args:
      tokenizer: a tokenizer of transformers.
      one: an answer.
      other: another answer.

    Returns:
      The number of tokens with which both answers begin, and the token of each after them.

    Raises:
      ConfigError: the tokens of one answer begin with all of the other's.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["#A #B"], vocab_size=260)
      >>> shared, tokens = differing_tokens(tokenizer, "#A", "#B")
      >>> shared, tokenizer.decode(list(tokens))
      (1, 'AB')
    """
    prompt = Instruction("a", "b", "").prompt
    base = len(tokenizer(prompt)["input_ids"])
    first, second = (tokenizer(prompt + answer)["input_ids"] for answer in (one, other))
    shorter = min(len(first), len(second))
    at = next((i for i in range(shorter) if first[i] != second[i]), None)
    if at is None:
        raise ConfigError(
            f"the tokenizer begins {one!r} and {other!r} with the same tokens until one of them "
            "ends; choose answers that differ before"
        )
    # If a merge crosses the end of the prompt, the answers differ one token earlier.
    return max(at - base, 0), (first[at], second[at])


@functools.partial(jax.jit, static_argnames=("model", "answers"))
def answer_logits(
    model: CausalLM,
    params: Any,
    tokens: jax.Array,
    valid: jax.Array,
    answer: jax.Array,
    *,
    answers: tuple[int, int],
    scales: jax.Array | None = None,
) -> jax.Array:
    """Return the log-probabilities of both answers, `[B, 2]` float32.

    Args:
      model: the decoder (static).
      params: its variables.
      tokens: `[B, T]` int32 prompts; what follows a prompt has no influence.
      valid: `[B, T]` bool.
      answer: `[B]` int32, position of the first token of the answer.
      answers: what `answer_tokens` returned (static).
      scales: `[B, T]` float32, what the embeddings are multiplied by; None for 1.
    """
    context = SelfContext(attention_mask(valid), causal=True)
    positions = positions_of(valid)
    hidden, _ = model.apply(params, tokens, positions, context, scales=scales, method="hidden")
    state = jnp.take_along_axis(hidden, answer[:, None, None] - 1, axis=1)
    logits = jax.nn.log_softmax(model.apply(params, state[:, 0], method="logits"))
    return logits[:, jnp.array(answers)]


def answer_gaps(
    model: CausalLM,
    params: Any,
    rows: TokenRows,
    answers: tuple[int, int],
    *,
    batch_size: int = 32,
    probabilities: bool = False,
    shared: int = 0,
    scale: Callable[[Any, Mapping[str, Any]], jax.Array] | None = None,
) -> np.ndarray:
    """Return how much the model prefers the first answer to the second, `[N]` float32.

    Args:
      model: the decoder.
      params: its variables.
      rows: what `encode_instructions` returned.
      answers: what `answer_tokens` returned.
      batch_size: rows a call; the last call is filled up.
      probabilities: return the difference of the two probabilities instead of the difference of the
        logits. TALLRec's published script ranks by it, through a second softmax.
      shared: number of tokens with which both answers begin, see `differing_tokens`.
      scale: maps the variables and a batch to what its embeddings are multiplied by, `[B, T]`
        float32; None for 1.

    Example:
      Instructions by how much the model prefers "Yes." to "No."::

        rows = encode_instructions(tokenizer, instructions, max_tokens)
        answers = answer_tokens(tokenizer, "Yes.", "No.")
        order = np.argsort(-answer_gaps(model, params, rows, answers))
    """
    parts = []
    for start in range(0, len(rows), batch_size):
        chosen = np.minimum(np.arange(start, start + batch_size), len(rows) - 1)
        batch = rows.take(chosen)
        logits = answer_logits(
            model,
            params,
            jnp.asarray(batch["tokens"]),
            jnp.asarray(batch["valid"]),
            jnp.asarray(rows.answer[chosen] + shared),
            answers=answers,
            scales=None if scale is None else scale(params, batch),
        )
        parts.append(np.asarray(logits)[: len(rows) - start])
        count_done(len(parts[-1]))
    one, other = np.concatenate(parts).T
    return np.exp(one) - np.exp(other) if probabilities else one - other
