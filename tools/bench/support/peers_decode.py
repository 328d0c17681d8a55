"""Hugging Face in PyTorch as a peer of constrained beam search, with our weights.

- *constrained*: `generate` with `prefix_allowed_tokens_fn`, a Python function that looks up the
  prefix of each beam in a dict, as published systems do;
- *free*: the same call without it;
- *tuned*: the fastest form that still is `generate`. A decoder reads all but the last token of each
  history once a user; an encoder-decoder reads the history, and projects its keys and values for
  the cross-attention, once a user. `batch_repeat_interleave(K)` copies that cache to the beams,
  and a logits processor applies the trie to all beams at once, without a Python loop. `generate`
  still moves the whole cache, with that of the history, whenever it chooses beams.

No token ends a sequence, so all have L tokens and the length penalty does not matter (it is 0).
"""

import dataclasses
import inspect
from typing import Any

import jax
import numpy as np
import torch
import transformers
from flax.traverse_util import flatten_dict

from jaxrec.ids import IdVocabulary
from jaxrec.models import ModelSpec, table_of, write_config
from support.padded_trie import PaddedTrie

# Hugging Face can normalize over the vocabulary, which its log-softmax spans, or with
# `renormalize_logits`, which takes another one after the constraint, over the legal tokens.
RENORMALIZE = {"vocabulary": False, "legal": True}
# The name of the argument for the cache, which is another one before transformers 5.24.
_ARGUMENTS = inspect.signature(transformers.LlamaForCausalLM.forward).parameters
CACHE = "cache" if "cache" in _ARGUMENTS else "past_key_values"


def hugging_face(spec: ModelSpec, params: Any, device: str = "cpu") -> Any:
    """Build the model of transformers with the same weights, in memory."""
    family, settings = write_config(spec)
    kind, values = settings["architectures"][0], dict(settings)
    config = transformers.CONFIG_MAPPING[values.pop("model_type")](**values)
    with torch.device(device):
        model = getattr(transformers, kind)(config)
    table, leaves = table_of(family, spec), flatten_dict(params["params"], sep="/")
    state = {}
    for row in table.weights:
        leaf = np.asarray(jax.device_get(leaves[row.path]), np.float32)
        for layer in range(len(leaf)) if row.stacked else [None]:
            name = row.name if layer is None else row.name.replace("{layer}", str(layer))
            own = leaf if layer is None else leaf[layer]
            state[name] = torch.from_numpy(np.array(row.there([own], leaf.shape), order="C"))
    missing, unused = model.load_state_dict(state, strict=False)
    if unused or set(missing) - set(table.aliases):
        raise ValueError(
            f"the weights do not fit the model of {family}: {missing} missing, {unused} unused"
        )
    model.tie_weights()
    return model.eval()


class TrieProcessor(transformers.LogitsProcessor):
    """Masks all illegal tokens, of all beams at once.

    Each step finds the nodes of the beams from their tokens again: at most L - 1 gathers of
    [beams, width of a node].
    """

    def __init__(self, trie: PaddedTrie, vocabulary: IdVocabulary, offset: int, device: str):
        def tensors(arrays: Any) -> list[Any]:
            return [torch.from_numpy(np.array(x)).long().to(device) for x in arrays]

        self.pairs, self.starts = tensors(trie.pairs), tensors(trie.starts)
        self.widths, self.firsts, self.offset = trie.widths, vocabulary.offsets.tolist(), offset

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        prefix = input_ids[:, self.offset :]
        level = prefix.shape[1]
        node = torch.zeros(len(prefix), dtype=torch.long, device=scores.device)
        for above in range(level):
            code, child, there = self._children(above, node)
            taken = there & (code == (prefix[:, above] - self.firsts[above])[:, None])
            node = torch.where(taken, child, 0).amax(1)
        code, _, there = self._children(level, node)
        # One more column takes the writes of places that hold no child.
        none = scores.shape[1]
        token = torch.where(there, code + self.firsts[level], none)
        legal = torch.full((len(scores), none + 1), -torch.inf, device=scores.device)
        legal.scatter_(1, token, scores.gather(1, token.clamp(max=none - 1)))
        return legal[:, :none]

    def _children(self, level: int, node: Any) -> tuple[Any, Any, Any]:
        slots = torch.arange(self.widths[level], device=node.device)[None]
        first, end = self.starts[level][node], self.starts[level][node + 1]
        both = self.pairs[level][first[:, None] + slots]
        return both[..., 0], both[..., 1], slots < (end - first)[:, None]


@dataclasses.dataclass
class Ranked:
    """Ranked IDs `[B, K, L]` int64, and their scores `[B, K]` if they were requested."""

    codes: np.ndarray
    scores: np.ndarray | None


class Peer:
    """A batch of histories and the three ways to decode it.

    Args:
      spec: the model.
      params: parameters of our model.
      codes: `[I, L]` IDs of the catalogue.
      vocabulary: tokens of the IDs.
      tokens: `[B, S]` int32 histories, padded on the left with 0.
      beams: K.
      normalize: a key of `RENORMALIZE`.
      dtype: dtype of weights and activations.
      device: PyTorch's name of the device.
    """

    def __init__(
        self,
        spec: ModelSpec,
        params: Any,
        codes: np.ndarray,
        vocabulary: IdVocabulary,
        tokens: np.ndarray,
        beams: int,
        normalize: str,
        dtype: str = "float32",
        device: str = "cpu",
    ):
        self.model = hugging_face(spec, params, device).to(getattr(torch, dtype))
        self.encodes = spec.kind == "encoder_decoder"
        self.tokens = torch.from_numpy(tokens.astype(np.int64)).to(device)
        self.mask = (self.tokens != 0).long()
        self.vocabulary, self.beams, self.device = vocabulary, beams, device
        # Where the ID begins among the tokens that `generate` passes on.
        offset = 1 if self.encodes else tokens.shape[1]
        self.allowed = _prefixes(vocabulary.tokens(codes))
        self.offset = offset
        trie = PaddedTrie.build(codes, vocabulary.sizes, dense=0)
        self.processor = TrieProcessor(trie, vocabulary, offset, device)
        settings = self.model.generation_config
        settings.eos_token_id = None
        settings.bos_token_id = settings.pad_token_id = settings.decoder_start_token_id = 0
        self.settings = {
            "max_new_tokens": vocabulary.levels,
            "num_beams": beams,
            "num_return_sequences": beams,
            "do_sample": False,
            "length_penalty": 0.0,
            "renormalize_logits": RENORMALIZE[normalize],
        }

    def constrained(self, scores: bool = False) -> Ranked:
        """Decode with `prefix_allowed_tokens_fn`."""

        def allowed(_: int, sequence: Any) -> list[int]:
            return self.allowed[tuple(sequence[self.offset :].tolist())]

        return self._generate(scores, prefix_allowed_tokens_fn=allowed)

    def free(self, scores: bool = False) -> Ranked:
        """Decode without a constraint: the result may contain IDs of no item."""
        return self._generate(scores)

    def tuned(self, scores: bool = False) -> Ranked:
        """Decode with a cache of each user's history and the vectorized constraint."""
        given = {"logits_processor": transformers.LogitsProcessorList([self.processor])}
        with torch.inference_mode():
            if self.encodes:
                return self._generate(scores, **given, **self._read())
            cache = transformers.DynamicCache(config=self.model.config)
            self.model(
                input_ids=self.tokens[:, :-1],
                attention_mask=self.mask[:, :-1],
                position_ids=(self.mask.cumsum(1) - 1).clamp(min=0)[:, :-1],
                logits_to_keep=1,
                **{CACHE: cache},
            )
            cache.batch_repeat_interleave(self.beams)
            return self._generate(scores, **given, **{CACHE: cache})

    def _read(self) -> dict[str, Any]:
        """Compute the encoder's states and their keys and values, and copy these to the beams."""
        states = self.model.get_encoder()(input_ids=self.tokens, attention_mask=self.mask)
        config = self.model.config.get_text_config(decoder=True)
        caches = [transformers.DynamicCache(config=config) for _ in range(2)]
        self.model(
            encoder_outputs=states,
            attention_mask=self.mask,
            decoder_input_ids=torch.zeros_like(self.tokens[:, :1]),
            **{CACHE: transformers.EncoderDecoderCache(*caches)},
        )
        caches[1].batch_repeat_interleave(self.beams)
        # `generate` reads the start token itself, with the keys and values of the history at hand.
        empty = transformers.DynamicCache(config=config)
        return {
            "encoder_outputs": states,
            CACHE: transformers.EncoderDecoderCache(empty, caches[1]),
        }

    def _generate(self, scores: bool, **more: Any) -> Ranked:
        with torch.inference_mode():
            output = self.model.generate(
                self.tokens,
                attention_mask=self.mask,
                return_dict_in_generate=scores,
                output_scores=scores,
                **self.settings,
                **more,
            )
        rows = (output.sequences if scores else output)[:, -self.vocabulary.levels :]
        rows = rows.reshape(len(self.tokens), self.beams, -1).cpu().numpy()
        sums = output.sequences_scores.reshape(rows.shape[:2]).cpu().numpy() if scores else None
        return Ranked(self.vocabulary.codes(rows), sums)


def _prefixes(ids: np.ndarray) -> dict[tuple[int, ...], list[int]]:
    """The tokens that may follow each prefix of the IDs `[I, L]`."""
    following: dict[tuple[int, ...], set[int]] = {}
    for row in ids.tolist():
        for level, token in enumerate(row):
            following.setdefault(tuple(row[:level]), set()).add(token)
    return {prefix: sorted(tokens) for prefix, tokens in following.items()}
