"""A trained reward model as the reward of a policy, and rewards that are added up.

If both models have the same tokenizer, the reward reads the policy's own tokens, on the device:

    policy    . . p1 p2 p3 | r1 r2 .          padded on the left and on the right
    reward    b . . p1 p2 p3 r1 r2 . e        in the frame that it was trained in

`b` and `e` are the tokens that `encode_answers` puts around a text. Padding between them changes
nothing, because positions count real tokens. Other tokenizers read the text in between, on the
host.

Shapes: `B` episodes, `P` tokens of a prompt, `R` of a response.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.align.episodes import Episodes
from jaxrec.align.reward_model import RewardModel, frame_of, reward_of
from jaxrec.align.rewards import Reward, device_reward, host_reward
from jaxrec.core import ConfigError

# Maps prompts and their responses to a number for each.
TextFunction = Callable[[list[str], list[str]], Any]


def reads_tokens(model: RewardModel, tokenizer: Any, vocab_size: int) -> bool:
    """Whether a reward model can read the tokens of a policy: each number is the same token.

    Args:
      model: the reward model.
      tokenizer: of the policy.
      vocab_size: V of the policy, which may exceed that of its tokenizer.
    """
    same = model.tokenizer.get_vocab() == tokenizer.get_vocab()
    return same and vocab_size <= model.head.backbone.config.vocab_size


def text_reward(model: RewardModel, tokenizer: Any, vocab_size: int, name: str) -> Reward:
    """Make a reward of a trained reward model, with its normalization.

    Args:
      model: the reward model.
      tokenizer: of the policy.
      vocab_size: V of the policy.
      name: what messages call the reward.

    Example:
      >>> from jaxrec.data import train_bpe
      >>> from jaxrec.models import CausalLM, ScalarHead
      >>> from jaxrec.testing import tiny_model
      >>> tokenizer = train_bpe(["a"], 260)
      >>> head = ScalarHead(CausalLM(tiny_model(len(tokenizer))))
      >>> model = RewardModel(head=head, params={}, tokenizer=tokenizer, max_length=16)
      >>> text_reward(model, tokenizer, len(tokenizer), "mine").name
      'mine'
    """
    if not reads_tokens(model, tokenizer, vocab_size):
        return host_text_reward(model.rewards, tokenizer, name)
    before, after = frame_of(model.tokenizer)
    head = model.head

    def score(params: Any, episodes: Episodes) -> jax.Array:
        return reward_of(head, params, *_framed(episodes, before, after))

    return device_reward(score, name, model.params)


def host_text_reward(score: TextFunction, tokenizer: Any, name: str) -> Reward:
    """Make a reward of a function of texts, which runs on the host.

    Args:
      score: maps B prompts and their B responses to B numbers.
      tokenizer: of the policy, which spells the tokens.
      name: what messages call the reward.

    Example:
      >>> host_text_reward(lambda asked, said: [len(r) for r in said], None, "length").name
      'length'
    """
    return host_reward(_Between(score, tokenizer), name)


def _framed(
    episodes: Episodes, before: Sequence[int], after: Sequence[int]
) -> tuple[jax.Array, jax.Array]:
    """Put the frame of the reward model around episodes: tokens and validity `[B, T]`."""
    tokens, valid = episodes.tokens, episodes.valid
    places = jnp.arange(valid.shape[1], dtype=jnp.int32)[None]
    first = jnp.argmax(valid, axis=1, keepdims=True)
    last = jnp.max(jnp.where(valid, places, 0), axis=1, keepdims=True)

    def added(frame: Sequence[int], edge: jax.Array, own: int) -> tuple[jax.Array, jax.Array]:
        shape = (tokens.shape[0], len(frame))
        # A text that already begins or ends with the token of the frame does not get it twice.
        missing = jnp.take_along_axis(tokens, edge, axis=1) != own
        new = jnp.asarray(frame, tokens.dtype)[None]
        return jnp.broadcast_to(new, shape), jnp.broadcast_to(missing, shape)

    rows = [(tokens, valid)]
    if before:
        rows.insert(0, added(before, first, before[-1]))
    if after:
        rows.append(added(after, last, after[0]))
    whole, there = zip(*rows, strict=True)
    return jnp.concatenate(whole, axis=1), jnp.concatenate(there, axis=1)


class _Between:
    """Rewards of tokens by way of the text that they spell."""

    def __init__(self, score: TextFunction, tokenizer: Any) -> None:
        self._score, self._tokenizer = score, tokenizer

    def __call__(self, prompts: list[np.ndarray], responses: list[np.ndarray]) -> Any:
        pairs = zip(prompts, responses, strict=True)
        texts = [self._split(prompt, response) for prompt, response in pairs]
        return self._score([p for p, _ in texts], [r for _, r in texts])

    def _split(self, prompt: np.ndarray, response: np.ndarray) -> tuple[str, str]:
        whole = _text(self._tokenizer, np.concatenate([prompt, response]))
        begin = _text(self._tokenizer, prompt)
        # A character may lie across the boundary.
        return (begin, whole.removeprefix(begin)) if whole.startswith(begin) else ("", whole)


def _text(tokenizer: Any, tokens: np.ndarray) -> str:
    return tokenizer.decode(tokens.tolist(), skip_special_tokens=True)


def check_text_reward(
    model: RewardModel, tokenizer: Any, vocab_size: int, prompts: np.ndarray, response: int
) -> None:
    """Check, before any work, that a reward model can read what a policy will write.

    Args:
      model: the reward model.
      tokenizer: of the policy.
      vocab_size: V of the policy.
      prompts: `[N, P]` tokens of the policy, without padding.
      response: R, most tokens of a response.

    Raises:
      ConfigError: prompts with responses do not fit the context of the reward model, or its
        tokenizer has no tokens for the text of the prompts.
    """
    limit, around = model.max_length, sum(map(len, frame_of(model.tokenizer)))
    longest, text = prompts.shape[1], "the same tokenizer"
    if not reads_tokens(model, tokenizer, vocab_size):
        texts = [_text(tokenizer, prompt) for prompt in prompts]
        encoded = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
        longest, text = max(map(len, encoded)), "another tokenizer"
        unknown = model.tokenizer.unk_token_id
        bad = [
            written
            for written, row in zip(texts, encoded, strict=True)
            if (unknown is not None and unknown in row) or (written.strip() and not row)
        ]
        if bad:
            raise ConfigError(
                f"its tokenizer has no tokens for a part of the prompt {bad[0]!r:.60} "
                f"({len(bad)} of {len(texts)} prompts); train a reward model from the same base as "
                "the policy"
            )
    if longest + response + around > limit:
        raise ConfigError(
            f"it reads at most {limit} tokens, and a prompt of {longest} tokens, a response of "
            f"{response} and {around} around them need {longest + response + around} ({text}); "
            "shorten prompt or ppo.response, or train a reward model with a larger --max-length"
        )


def weighted_sum(rewards: Sequence[tuple[float, Reward]]) -> Reward:
    """Add up rewards, each multiplied by its weight.

    Args:
      rewards: weights and rewards; at least one.

    Raises:
      ConfigError: there is no reward.

    Example:
      >>> from jaxrec.align import host_reward
      >>> longer = host_reward(lambda prompts, responses: [len(r) for r in responses], "length")
      >>> weighted_sum([(0.5, longer), (1.0, longer)]).name
      '0.5 length + length'
    """
    if not rewards:
        raise ConfigError("there is no reward to add up; give at least one")
    names = [
        reward.name if weight == 1 else f"{weight:g} {reward.name}" for weight, reward in rewards
    ]

    def score(episodes: Episodes) -> np.ndarray:
        # Each names itself in its errors.
        scores = [w * reward.score(episodes, "a weighted sum") for w, reward in rewards]
        return np.sum(scores, axis=0)

    if len(rewards) == 1 and rewards[0][0] == 1:
        return rewards[0][1]
    return Reward(name=" + ".join(names), function=score)
