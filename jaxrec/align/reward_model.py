"""A reward model: a transformer that gives one number to a prompt with an answer.

The number is that of `ScalarHead` at the last real token. Which token this is follows from the
lengths of the rows and not from the tokens, because many tokenizers pad with the token that ends a
text. Rewards are only defined up to a constant, so they are normalized after training: the scale
and the shift are put into the head, and the normalized model is an ordinary one.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, DataError
from jaxrec.data import files
from jaxrec.data.corpora import encode_documents
from jaxrec.models import ScalarHead, pool

Normalization = Literal["none", "bias", "unit"]


def init_head(key: jax.Array, width: int) -> dict[str, jax.Array]:
    """Make the head of a reward model: a kernel from N(0, 1/sqrt(D + 1)) and a bias of 0.

    (The standard deviation is that of Ziegler et al. 2019, `openai/lm-human-preferences`.)

    Args:
      key: random key.
      width: D.

    Returns:
      The parameters of `ScalarHead`'s layer `out`: kernel `[D, 1]` and bias `[1]`.

    Example:
      >>> {name: leaf.shape for name, leaf in init_head(jax.random.key(0), 8).items()}
      {'bias': (1,), 'kernel': (8, 1)}
    """
    kernel = jax.random.normal(key, (width, 1), jnp.float32) / np.float32(np.sqrt(width + 1))
    return {"bias": jnp.zeros(1, jnp.float32), "kernel": kernel}


def last_scalars(scalars: jax.Array, valid: jax.Array) -> jax.Array:
    """Read the scalar of the last real token of each row: `[B, T]` to `[B]`.

    Args:
      scalars: `[B, T]`, of `ScalarHead`.
      valid: `[B, T]` bool, False for padding on either side.

    Raises:
      ConfigError: the shapes differ.

    Example:
      >>> last_scalars(jnp.array([[1.0, 2.0, 3.0]]), jnp.array([[True, True, False]])).tolist()
      [2.0]
    """
    if scalars.ndim != 2 or scalars.shape != valid.shape:
        raise ConfigError(
            f"scalars and valid must both be [B, T], got {list(scalars.shape)} and "
            f"{list(valid.shape)}"
        )
    return pool(scalars[..., None], valid, "last")[:, 0]


def normalization(rewards: np.ndarray, how: Normalization = "unit") -> tuple[float, float]:
    """Return the gain and bias that normalize the rewards of reference samples.

    Args:
      rewards: `[N]` rewards of the samples.
      how: "unit" gives them mean 0 and variance 1 (Ziegler et al. 2019), "bias" mean 0 (Stiennon et
        al. 2020), and "none" changes nothing.

    Returns:
      Gain and bias: the normalized reward is gain * r + bias.

    Raises:
      ConfigError: an unknown way.
      DataError: no rewards, rewards that are not finite, or equal ones that no gain can scale.

    Example:
      >>> normalization(np.array([1.0, 3.0]))
      (1.0, -2.0)
    """
    if how not in ("none", "bias", "unit"):
        raise ConfigError(f"no normalization {how!r}; choose none, bias or unit")
    values = np.asarray(rewards, np.float64)
    check_rewards(values)
    if how == "none":
        return 1.0, 0.0
    mean, deviation = float(values.mean()), float(values.std())
    if how == "bias":
        return 1.0, -mean
    # Rewards of a model that tells nothing apart differ by rounding alone.
    if deviation <= 1e-6 * max(1.0, abs(mean)):
        raise DataError(
            f"the rewards of all {values.size} reference samples are {mean:g}, so they cannot be "
            "scaled to variance 1; train longer, or normalize with bias or none"
        )
    return 1 / deviation, -mean / deviation


def check_rewards(rewards: np.ndarray) -> None:
    """Reject rewards that are not finite, and none at all.

    Raises:
      DataError: naming how many are not finite, and the first.
    """
    if rewards.ndim != 1 or not rewards.size:
        raise DataError(f"expected rewards [N] of at least one sample, got {list(rewards.shape)}")
    finite = np.isfinite(rewards)
    if not finite.all():
        first = int(np.argmin(finite))
        raise DataError(
            f"{(~finite).sum()} of {rewards.size} rewards are not finite; the first is "
            f"{rewards[first]} of sample {first}; train again with a lower learning rate"
        )


def rescale(head: Any, gain: float, bias: float) -> dict[str, jax.Array]:
    """Put a gain and a bias into a head, so that it gives gain * r + bias.

    Args:
      head: parameters of `ScalarHead`'s layer `out`.
      gain: factor.
      bias: what is added afterwards.

    Example:
      >>> head = {"kernel": jnp.ones((2, 1)), "bias": jnp.zeros(1)}
      >>> rescale(head, 2.0, 3.0)["bias"].tolist()
      [3.0]
    """
    # In float64: mean and variance shall be exact to more than the rounding of the rewards.
    kernel, shift = (np.asarray(head[name], np.float64) for name in ("kernel", "bias"))
    return {
        "kernel": jnp.asarray(kernel * gain, jnp.float32),
        "bias": jnp.asarray(shift * gain + bias, jnp.float32),
    }


def encode_answers(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], max_length: int
) -> list[np.ndarray | str]:
    """Encode prompts with their answers, or say why one cannot be read.

    Prompt and answer are one text, because tokenizing them apart would move the boundary. It stands
    between the tokens that the tokenizer puts around a text, and ends with its end-of-text token.
    Nothing is cut: a reward of half an answer would mean nothing.

    Args:
      tokenizer: of transformers, with a fast backend.
      prompts: N texts.
      answers: N texts.
      max_length: most tokens of a row.

    Returns:
      For each, int32 tokens `[n]`; or the reason why there are none.

    Raises:
      ConfigError: the tokenizer has no fast backend.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> tokenizer = train_bpe(["Say hi. Hi!"], 260)
      >>> rows = encode_answers(tokenizer, ["Say hi. "] * 2, ["Hi!", "Hi! " * 9], 16)
      >>> tokenizer.decode(rows[0]), rows[1]
      ('Say hi. Hi!</s>', 'answers that do not fit the context')
    """
    before, after = frame_of(tokenizer)
    texts = [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)]
    known: dict[str, int] = {}
    different = list(dict.fromkeys(prompts))
    for prompt, tokens in zip(different, encode_documents(tokenizer, different), strict=True):
        known[prompt] = len(tokens)
    rows: list[np.ndarray | str] = []
    room = max_length - len(before) - len(after)
    for prompt, tokens in zip(prompts, encode_documents(tokenizer, texts), strict=True):
        if known[prompt] >= room:
            rows.append("prompts that fill the context")
        elif len(tokens) > room:
            rows.append("answers that do not fit the context")
        elif not len(tokens):
            rows.append("answers without any token")
        else:
            rows.append(np.array([*before, *tokens, *after], np.int32))
    return rows


def frame_of(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Return the tokens before and after a text, as a reward model reads it.

    They are those that the tokenizer adds, and at least the one that ends a text.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> frame_of(train_bpe(["a"], 260))
      ([], [2])
    """
    around = list(tokenizer("")["input_ids"])
    ends = {tokenizer.eos_token_id, tokenizer.sep_token_id} - {None}
    if around and around[-1] in ends and around[-1] != tokenizer.bos_token_id:
        return around[:-1], around[-1:]
    end = tokenizer.eos_token_id
    return around, [] if end is None else [end]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RewardModel:
    """A trained reward model.

    Attributes:
      head: the module.
      params: its variables, with the normalization in the head.
      tokenizer: of transformers.
      max_length: most tokens of a prompt with an answer.
      batch_size: rows in each call of the module.
    """

    head: ScalarHead
    params: Any
    tokenizer: Any
    max_length: int
    batch_size: int = 32

    def rewards(self, prompts: Sequence[str], answers: Sequence[str]) -> np.ndarray:
        """Return the reward of each answer to its prompt, `[N]` float32.

        Raises:
          DataError: a prompt that fills the context, an answer that does not fit, or a reward that
            is not finite.
        """
        rows = encode_answers(self.tokenizer, prompts, answers, self.max_length)
        for number, row in enumerate(rows):
            if isinstance(row, str):
                raise DataError(
                    f"sample {number} belongs to the {row} of {self.max_length} tokens: "
                    f"{files.shown(prompts[number])}, {files.shown(answers[number])}; shorten it"
                )
        tokens, valid = pad_rows([row for row in rows if not isinstance(row, str)], self.max_length)
        found = score_rows(self._score, self.params, tokens, valid, self.batch_size)
        check_rewards(found)
        return found

    @functools.cached_property
    def _score(self) -> Any:
        return jax.jit(functools.partial(reward_of, self.head))


def reward_of(head: ScalarHead, params: Any, tokens: jax.Array, valid: jax.Array) -> jax.Array:
    """Return the rewards of rows: `[B, T]` tokens and validity to `[B]` float32."""
    return last_scalars(head.apply(params, tokens, valid), valid)


def pad_rows(rows: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pad token rows on the right: `[N, length]` int32 tokens, and bool, False for padding.

    Example:
      >>> pad_rows([np.array([5]), np.array([6, 7])], 3)[1].tolist()
      [[True, False, False], [True, True, False]]
    """
    tokens = np.zeros((len(rows), length), np.int32)
    lengths = np.array([len(row) for row in rows], int)
    valid = np.arange(length)[None] < lengths[:, None]
    if len(rows):
        tokens[valid] = np.concatenate(rows)
    return tokens, valid


def score_rows(
    score: Any, params: Any, tokens: np.ndarray, valid: np.ndarray, batch_size: int
) -> np.ndarray:
    """Apply a compiled `reward_of` to batches of rows of one size: `[N]` float32.

    Args:
      score: maps parameters, tokens and validity to rewards.
      params: of the model.
      tokens: `[N, T]`.
      valid: `[N, T]`.
      batch_size: rows in each call; the last batch is filled up with the first row.
    """
    parts = []
    for first in range(0, len(tokens), batch_size):
        rows = np.arange(first, first + batch_size)
        rows[rows >= len(tokens)] = 0
        parts.append(score(params, tokens[rows], valid[rows]))
    # Results are fetched after all batches were sent.
    whole = [np.asarray(part, np.float32) for part in parts]
    return np.concatenate(whole or [np.zeros(0, np.float32)])[: len(tokens)]
