"""Linear-chain conditional random fields: partition, score, Viterbi, marginals and partial labels.

A CRF gives a sequence of tags y for a text of T tokens the score (Lafferty, McCallum and Pereira,
ICML 2001)::

    s(y) = start[y_1] + Σ_t emissions[t, y_t] + Σ_t transitions[y_t, y_t+1] + end[y_T]

and the probability exp(s(y)) / Z, where Z sums exp(s) over all sequences. Everything is computed in
float32 in one scan over the tokens. A mask may have gaps: tokens that it leaves out are skipped, as
if the text did not have them. A text without tokens has one sequence, the empty one with score 0.

Shapes: `B` texts, `T` tokens, `C` tags.
"""

import dataclasses

import jax
import jax.numpy as jnp

# The score of what is not allowed. exp() of it is 0 in float32, and its gradients are finite.
FORBIDDEN = -1e4
_INIT = 0.1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Crf:
    """Parameters of a CRF.

    Attributes:
      transitions: `[C, C]`, score of tag j (column) directly after tag i (row).
      start: `[C]`, score of a first tag.
      end: `[C]`, score of a last tag.
    """

    transitions: jax.Array
    start: jax.Array
    end: jax.Array


def init_crf(key: jax.Array, tags: int) -> Crf:
    """Draw all parameters from U(-0.1, 0.1), as `pytorch-crf` does.

    Args:
      key: random key.
      tags: C.

    Example:
      >>> import jax
      >>> init_crf(jax.random.key(0), 5).transitions.shape
      (5, 5)
    """
    shapes = ((tags, tags), (tags,), (tags,))
    keys = jax.random.split(key, len(shapes))
    return Crf(
        *(
            jax.random.uniform(k, shape, jnp.float32, -_INIT, _INIT)
            for k, shape in zip(keys, shapes, strict=True)
        )
    )


def constrain_crf(crf: Crf, transitions: jax.Array, start: jax.Array, end: jax.Array) -> Crf:
    """Forbid transitions, first tags and last tags: their score becomes -10,000.

    Args:
      crf: parameters.
      transitions: `[C, C]` bool, whether tag j may follow tag i.
      start: `[C]` bool, whether a tag may be the first.
      end: `[C]` bool, whether a tag may be the last.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> yes, no_repeats = jnp.array([True, True]), ~jnp.eye(2, dtype=bool)
      >>> crf = constrain_crf(free, no_repeats, yes, yes)
      >>> total = crf_log_partition(crf, jnp.zeros((1, 3, 2)), jnp.ones((1, 3), bool))
      >>> round(float(jnp.exp(total[0])), 3)  # 0 1 0 and 1 0 1
      2.0
    """
    return Crf(
        *(
            jnp.where(jnp.asarray(allowed), scores, jnp.float32(FORBIDDEN))
            for scores, allowed in (
                (crf.transitions, transitions),
                (crf.start, start),
                (crf.end, end),
            )
        )
    )


@jax.jit
def crf_log_partition(crf: Crf, emissions: jax.Array, mask: jax.Array) -> jax.Array:
    """The logarithm of the sum Z over all sequences, by the forward algorithm.

    Args:
      crf: parameters.
      emissions: `[B, T, C]` scores of the tags at each token.
      mask: `[B, T]` bool, False for tokens to skip.

    Returns:
      `[B]` float32.

    Cost: B T C² operations; the gradient costs twice as much.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> mask = jnp.array([[True, True, False]])
      >>> total = crf_log_partition(free, jnp.zeros((1, 3, 2)), mask)
      >>> round(float(total[0]), 4)  # ln 2²
      1.3863
    """
    return _forward(crf, emissions, mask)[1]


@jax.jit
def crf_score(crf: Crf, emissions: jax.Array, tags: jax.Array, mask: jax.Array) -> jax.Array:
    """The score s(y) of given sequences.

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      tags: `[B, T]` int, y; tags of skipped tokens are not read.
      mask: `[B, T]` bool.

    Returns:
      `[B]` float32.

    Example:
      >>> import jax.numpy as jnp
      >>> crf = Crf(jnp.array([[0.0, 5.0], [0.0, 0.0]]), jnp.array([1.0, 0.0]), jnp.zeros(2))
      >>> ones = jnp.ones((1, 2, 2))
      >>> crf_score(crf, ones, jnp.array([[0, 1]]), jnp.array([[True, True]])).tolist()
      [8.0]
    """
    steps, last = _steps(crf, emissions.astype(jnp.float32), jnp.where(mask, tags, 0), mask)
    return steps.sum(axis=1) + jnp.where(mask.any(axis=1), crf.end[last], 0.0)


def crf_loss(crf: Crf, emissions: jax.Array, tags: jax.Array, mask: jax.Array) -> jax.Array:
    """-ln P(y) = ln Z - s(y) of fully labeled texts.

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      tags: `[B, T]` int, a tag for every token of the mask.
      mask: `[B, T]` bool.

    Returns:
      `[B]` float32.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> mask = jnp.array([[True, True]])
      >>> loss = crf_loss(free, jnp.zeros((1, 2, 2)), jnp.array([[0, 1]]), mask)
      >>> round(float(loss[0]), 4)  # one of four sequences
      1.3863
    """
    return crf_log_partition(crf, emissions, mask) - crf_score(crf, emissions, tags, mask)


def partial_crf_loss(
    crf: Crf, emissions: jax.Array, allowed: jax.Array, mask: jax.Array
) -> jax.Array:
    """-ln of the probability of all sequences that agree with partial labels.

    ln Z(all sequences) - ln Z(those with an allowed tag at every token). A token of unknown tag
    allows every tag: with unknown tags alone the loss is 0. With one tag for each token it is
    `crf_loss`. (Effland and Collins, TACL 2021.)

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      allowed: `[B, T, C]` bool. If no legal sequence agrees with a text's labels, its loss is about
        10,000; see `has_legal_path`.
      mask: `[B, T]` bool.

    Returns:
      `[B]` float32.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> mask, zeros = jnp.array([[True, True]]), jnp.zeros((1, 2, 2))
      >>> allowed = jnp.array([[[True, True], [True, False]]])  # unknown, then tag 0
      >>> loss = partial_crf_loss(free, zeros, allowed, mask)
      >>> round(float(loss[0]), 4)  # two of four sequences
      0.6931
      >>> partial_crf_loss(free, zeros, jnp.ones((1, 2, 2), bool), mask).tolist()
      [0.0]
    """
    emissions = emissions.astype(jnp.float32)
    agreeing = jnp.where(allowed, emissions, jnp.float32(FORBIDDEN))
    # Both partitions in one scan: [2, B, T, C] -> [2, B]
    totals = jax.vmap(crf_log_partition, (None, 0, None))(
        crf, jnp.stack([emissions, agreeing]), mask
    )
    return totals[0] - totals[1]


def has_legal_path(crf: Crf, allowed: jax.Array, mask: jax.Array) -> jax.Array:
    """Whether a legal sequence agrees with partial labels.

    Args:
      crf: parameters that `constrain_crf` constrained; only what it forbids is read.
      allowed: `[B, T, C]` bool.
      mask: `[B, T]` bool.

    Returns:
      `[B]` bool.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> crf = constrain_crf(free, ~jnp.eye(2, dtype=bool), jnp.ones(2, bool), jnp.ones(2, bool))
      >>> same = jnp.array([[[True, False], [True, False]]])
      >>> has_legal_path(crf, same, jnp.array([[True, True]])).tolist()
      [False]
    """
    rules = jax.tree.map(
        lambda scores: jnp.where(scores <= FORBIDDEN / 2, jnp.float32(FORBIDDEN), 0.0), crf
    )
    emissions = jnp.where(allowed, jnp.float32(0), jnp.float32(FORBIDDEN))
    return viterbi(rules, emissions, mask)[1] > FORBIDDEN / 2


@jax.jit
def crf_log_marginals(crf: Crf, emissions: jax.Array, mask: jax.Array) -> jax.Array:
    """Log-probabilities ln P(y_t = c) of every token and tag, by the forward-backward algorithm.

    The gradient of ln Z with respect to the emissions is the same, as probabilities. This form can
    be differentiated once more at little cost.

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      mask: `[B, T]` bool.

    Returns:
      `[B, T, C]` float32; 0 at skipped tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> mask = jnp.array([[True, True]])
      >>> logs = crf_log_marginals(free, jnp.zeros((1, 2, 2)), mask)
      >>> [round(x, 4) for x in logs[0, 0].tolist()]
      [-0.6931, -0.6931]
    """
    forward, total = _forward(crf, emissions, mask)
    logs = forward + _backward(crf, emissions, mask) - total[:, None, None]
    return jnp.where(mask[:, :, None], logs, 0.0)


def crf_marginals(crf: Crf, emissions: jax.Array, mask: jax.Array) -> jax.Array:
    """P(y_t = c) of every token and tag; see `crf_log_marginals`.

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      mask: `[B, T]` bool.

    Returns:
      `[B, T, C]` float32; 0 at skipped tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> mask = jnp.array([[True, False]])
      >>> crf_marginals(free, jnp.zeros((1, 2, 2)), mask).round(4).tolist()
      [[[0.5, 0.5], [0.0, 0.0]]]
    """
    logs = crf_log_marginals(crf, emissions, mask)
    return jnp.where(mask[:, :, None], jnp.exp(logs), 0.0)


@jax.jit
def crf_part_terms(
    crf: Crf, emissions: jax.Array, tags: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Two terms of each token whose sums are the log-probabilities of all parts of sequences.

    ln P(y_a, ..., y_b) = first[a] + last[b]: the probability that the tokens from a to b have these
    tags, whatever the others have. One forward-backward pass serves all parts.

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      tags: `[B, T]` int, y; tags of skipped tokens are not read.
      mask: `[B, T]` bool. A part begins and ends at tokens that it keeps.

    Returns:
      first and last, `[B, T]` float32; 0 at skipped tokens.

    Example:
      >>> import jax.numpy as jnp
      >>> free = Crf(jnp.zeros((2, 2)), jnp.zeros(2), jnp.zeros(2))
      >>> mask, tags = jnp.ones((1, 3), bool), jnp.array([[0, 1, 1]])
      >>> first, last = crf_part_terms(free, jnp.zeros((1, 3, 2)), tags, mask)
      >>> round(float(first[0, 1] + last[0, 2]), 4)  # two tokens: ln 1/4
      -1.3863
    """
    emissions, tags = emissions.astype(jnp.float32), jnp.where(mask, tags, 0)
    forward, total = _forward(crf, emissions, mask)
    backward = _backward(crf, emissions, mask)
    # [B, T, C] -> [B, T]
    before, after = (
        jnp.take_along_axis(sums, tags[:, :, None], axis=2)[:, :, 0] for sums in (forward, backward)
    )
    path = _steps(crf, emissions, tags, mask)[0].cumsum(axis=1)
    first, last = before - path, path + after - total[:, None]
    return jnp.where(mask, first, 0.0), jnp.where(mask, last, 0.0)


@jax.jit
def viterbi(crf: Crf, emissions: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The sequence of tags with the highest score, and that score.

    Among equal scores, the lower tag is preferred, from the last token backwards.

    Args:
      crf: parameters.
      emissions: `[B, T, C]`.
      mask: `[B, T]` bool.

    Returns:
      `[B, T]` int32 tags, -1 at skipped tokens, and `[B]` float32 scores.

    Example:
      >>> import jax.numpy as jnp
      >>> crf = Crf(jnp.array([[0.0, 5.0], [0.0, 0.0]]), jnp.zeros(2), jnp.zeros(2))
      >>> tags, score = viterbi(crf, jnp.zeros((1, 3, 2)), jnp.array([[True, True, False]]))
      >>> tags.tolist(), score.tolist()
      ([[0, 1, -1]], [5.0])
    """
    emissions = emissions.astype(jnp.float32)
    own = jnp.arange(emissions.shape[2])[None]

    def forward(
        carry: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        (best, begun), (scores, here) = carry, inputs
        # [B, C, 1] + [1, C, C'] -> [B, C, C']
        paths = best[:, :, None] + crf.transitions[None]
        known = (begun & here)[:, None]
        back = jnp.where(known, jnp.argmax(paths, axis=1), own)
        new = jnp.where(known, jnp.max(paths, axis=1), crf.start[None]) + scores
        return (jnp.where(here[:, None], new, best), begun | here), back

    def backward(tag: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.take_along_axis(back, tag[:, None], axis=1)[:, 0], tag

    first = (jnp.zeros_like(emissions[:, 0]), jnp.zeros_like(mask[:, 0]))
    (best, begun), back = jax.lax.scan(forward, first, _by_token(emissions, mask))
    total = best + crf.end[None]
    _, tags = jax.lax.scan(backward, jnp.argmax(total, axis=1), back, reverse=True)
    score = jnp.where(begun, total.max(axis=1), 0.0)
    return jnp.where(mask, tags.T, -1).astype(jnp.int32), score


def _forward(crf: Crf, emissions: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logarithms of the sums over all beginnings, `[B, T, C]`, and over all sequences, `[B]`."""
    emissions = emissions.astype(jnp.float32)

    def step(
        carry: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        (sums, begun), (scores, here) = carry, inputs
        # [B, C, 1] + [1, C, C'] -> [B, C']
        moved = jax.nn.logsumexp(sums[:, :, None] + crf.transitions[None], axis=1)
        new = jnp.where(begun[:, None], moved, crf.start[None]) + scores
        sums = jnp.where(here[:, None], new, sums)
        return (sums, begun | here), sums

    first = (jnp.zeros_like(emissions[:, 0]), jnp.zeros_like(mask[:, 0]))
    (sums, begun), every = jax.lax.scan(step, first, _by_token(emissions, mask))
    total = jax.nn.logsumexp(sums + crf.end[None], axis=1)
    return jnp.moveaxis(every, 0, 1), jnp.where(begun, total, 0.0)


def _backward(crf: Crf, emissions: jax.Array, mask: jax.Array) -> jax.Array:
    """Logarithms of the sums over all ends behind each token and tag, `[B, T, C]`."""
    emissions = emissions.astype(jnp.float32)

    def step(carry: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        scores, here = inputs
        # [1, C, C'] + [B, 1, C'] -> [B, C]
        moved = jax.nn.logsumexp(crf.transitions[None] + (scores + carry)[:, None, :], axis=2)
        return jnp.where(here[:, None], moved, carry), carry

    last = jnp.broadcast_to(crf.end.astype(jnp.float32)[None], emissions[:, 0].shape)
    _, backward = jax.lax.scan(step, last, _by_token(emissions, mask), reverse=True)
    return jnp.moveaxis(backward, 0, 1)


def _steps(
    crf: Crf, emissions: jax.Array, tags: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What each token adds to the score, 0 where skipped, `[B, T]`; and the last tags, `[B]`."""

    def step(
        carry: tuple[jax.Array, jax.Array], inputs: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        (last, begun), (tag, here) = carry, inputs
        moved = jnp.where(begun, crf.transitions[last, tag], crf.start[tag])
        return (jnp.where(here, tag, last), begun | here), moved

    first = (jnp.zeros_like(tags[:, 0]), jnp.zeros_like(mask[:, 0]))
    (last, _), moved = jax.lax.scan(step, first, (tags.T, mask.T))
    # [B, T, C] -> [B, T]
    own = jnp.take_along_axis(emissions, tags[:, :, None], axis=2)[:, :, 0]
    return jnp.where(mask, own + moved.T, 0.0), last


def _by_token(emissions: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Put the tokens first, as a scan needs them: `[T, B, C]` and `[T, B]`."""
    return jnp.moveaxis(emissions, 1, 0), mask.T
