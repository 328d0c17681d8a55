"""Hugging Face's `generate` with constraints as a ranker, behind the same service as ours."""

from typing import Any

import numpy as np
import torch

from jaxrec.ids import write_histories
from jaxrec.models import ModelSpec
from support.peers_decode import Peer


class PeerRanker:
    """Answers what `GenerativeRanker` answers, by `generate` with `prefix_allowed_tokens_fn`.

    The constraint is the catalogue. Items that are left out are dropped from the list that was
    found, which is cheaper than a constraint for each row.

    Args:
      ranker: ours.
    """

    def __init__(self, ranker: Any) -> None:
        base = ranker.recommender
        spec = ModelSpec("causal", base.model.config)
        self._ours = ranker
        self._tokens_of = base.vocabulary.tokens(base.codes.codes)
        codes = base.codes.codes
        self._number = {tuple(code): number for number, code in enumerate(codes.tolist())}
        self._peers = {
            width: Peer(
                spec,
                base.params,
                codes,
                base.vocabulary,
                self._read([np.zeros(1, np.int32)], width),
                base.beams,
                "vocabulary",
            )
            for width in ranker.history_widths
        }
        self.history_widths, self.meaning = ranker.history_widths, ranker.meaning
        self.num_items = ranker.num_items

    def check(self, asked: Any) -> None:
        """Any name is that of a user."""

    def with_batch(self, size: int) -> "PeerRanker":
        """Any number of rows is one batch."""
        return self

    def list_length(self, top: int) -> int:
        """The same lengths as ours."""
        return self._ours.list_length(top)

    def best(self, asked: Any, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the best items of each row."""
        longest = max(map(len, asked.histories))
        width = next((w for w in self.history_widths if longest <= w), self.history_widths[-1])
        peer = self._peers[width]
        tokens = torch.from_numpy(self._read(asked.histories, width).astype(np.int64))
        peer.tokens, peer.mask = tokens, (tokens != 0).long()
        ranked = peer.constrained()
        items = np.full((len(tokens), top), -1, np.int32)
        scores = np.full((len(tokens), top), -np.inf, np.float32)
        for row, codes in enumerate(np.asarray(ranked.codes).tolist()):
            out = set() if asked.excluded is None else set(asked.excluded[row].tolist())
            found = [self._number[tuple(code)] for code in codes]
            kept = [number for number in found if number not in out][:top]
            items[row, : len(kept)] = kept
            scores[row, : len(kept)] = 0.0
        return items, scores

    def _read(self, histories: Any, width: int) -> np.ndarray:
        return write_histories(histories, self._tokens_of, width, None)
