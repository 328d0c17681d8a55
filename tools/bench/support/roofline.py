"""The least time that a decode can take, from bytes and operations at the peaks of the device.

Shapes: B users, S history tokens, K beams, L levels of C codes, `depth` blocks of width D, N query
and G key/value heads of size H. P is the number of weights of a block, e the bytes of a number.

    prefill   products    2 B S depth P + depth 2 B N H S^2 (each token sees half of the others)
              bytes       e depth P
    one step  products    2 B K depth P + depth 4 B K N H S
              bytes       e (depth P + depth 2 B S G H)       weights, and keys and values, once
    logits    products    2 B K D C                           of each level; K = 1 at the first
              bytes       e D C

There are L - 1 steps. Each of these parts takes the longer of its two times, products / peak or
bytes / bandwidth, and the floor is their sum. The encoder of an encoder-decoder sees both ways, so
its attention has twice the products. P of the decoder counts the cross-attention's query and
output; computing its keys and values of the S history tokens belongs to the prefill. Writes to the
caches, norms, softmax, the search and the beams' own suffixes are not counted, so the floor is too
low rather than too high.
"""

import dataclasses

from jaxrec.ids import IdVocabulary
from jaxrec.models import ModelSpec


@dataclasses.dataclass(frozen=True)
class Peaks:
    """FLOP/s of matrix products, and bytes/s of copies."""

    flops: float
    bandwidth: float

    def seconds(self, flops: float, bytes_: float) -> float:
        """Seconds of a part: the longer of its computation and its transfer."""
        return max(flops / self.flops, bytes_ / self.bandwidth)


@dataclasses.dataclass(frozen=True)
class Floor:
    """Seconds of a decode at the peaks, and the operations of its prefill."""

    prefill: float
    steps: float
    prefill_flops: float

    @property
    def total(self) -> float:
        """Seconds of the whole decode."""
        return self.prefill + self.steps


def floor(
    spec: ModelSpec,
    vocabulary: IdVocabulary,
    batch: int,
    history: int,
    beams: int,
    item: int,
    peaks: Peaks,
) -> Floor:
    """Compute the floor of a decode.

    Args:
      spec: the model.
      vocabulary: levels and codes of the IDs.
      batch: B.
      history: S.
      beams: K.
      item: e, bytes of a number.
      peaks: of the device.
    """
    c = spec.config
    heads, kv, width = c.num_heads * c.head_width, c.kv_heads * c.head_width, c.width
    mlp = (3 if c.gated else 2) * width * c.mlp_hidden
    block = 2 * width * (heads + kv) + mlp
    tokens, scores = batch * history, batch * heads * history**2
    weights = c.depth * block
    prefill_flops = 2.0 * tokens * weights + 2.0 * c.depth * scores
    prefill_bytes = item * weights
    if spec.kind == "encoder_decoder":
        depth = c.encoder.depth
        read = depth * block + c.depth * 2 * width * kv
        prefill_flops, prefill_bytes = 2.0 * tokens * read + 4.0 * depth * scores, item * read
        weights = c.depth * (block + 2 * width * heads)
        # The start token is one more step, of one beam.
        prefill_flops += 2.0 * batch * weights
        prefill_bytes += item * weights
    cache = c.depth * 2 * tokens * kv
    prefill = peaks.seconds(prefill_flops, prefill_bytes)
    steps = 0.0
    for level, size in enumerate(vocabulary.sizes):
        rows = batch * (beams if level else 1)
        steps += peaks.seconds(2.0 * rows * width * size, item * width * size)
        if level:
            flops = 2.0 * rows * weights + 4.0 * c.depth * rows * heads * history
            steps += peaks.seconds(flops, item * (weights + cache))
    return Floor(prefill, steps, prefill_flops)
