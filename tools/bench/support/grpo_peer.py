"""GRPO over items in PyTorch, as trl's trainer does it: whole sequences, one row for each item.

A rollout is `generate` with `prefix_allowed_tokens_fn` (see `peers_decode`). An update reads the
history again for each of the G items, takes the log-probabilities of the completion's tokens, and
steps AdamW. Where trl normalizes over the vocabulary, this normalizes over the codes of a level, so
that both sides compute the same loss.
"""

from typing import Any

import numpy as np
import torch

from jaxrec.ids import IdVocabulary


class GrpoPeer:
    """A model of transformers and the groups that it learns from.

    Args:
      model: of transformers.
      vocabulary: tokens of the IDs.
      tokens: `[B, S]` histories, padded on the left with 0.
      items: `[B, G, L]` tokens of the items.
      advantages: `[B, G]`.
      settings: "lr", "beta2", "eps", "clip", "kl".
    """

    def __init__(
        self,
        model: Any,
        vocabulary: IdVocabulary,
        tokens: np.ndarray,
        items: np.ndarray,
        advantages: np.ndarray,
        settings: dict[str, float],
    ):
        self.model, self.vocabulary, self.settings = model, vocabulary, settings
        group = items.shape[1]
        history = torch.from_numpy(np.repeat(tokens, group, axis=0).astype(np.int64))
        self.answers = torch.from_numpy(items.reshape(-1, items.shape[2]).astype(np.int64))
        self.rows = torch.cat([history, self.answers], dim=1)
        seen = torch.cat([history != 0, torch.ones_like(self.answers, dtype=torch.bool)], dim=1)
        self.mask = seen.long()
        self.positions = (self.mask.cumsum(1) - 1).clamp(min=0)
        self.advantages = torch.from_numpy(advantages.reshape(-1, 1))
        with torch.inference_mode():
            self.reference = self.log_probs().clone()
        self.optimizer = torch.optim.AdamW(
            model.parameters(),
            settings["lr"],
            (0.9, settings["beta2"]),
            settings["eps"],
            weight_decay=0.0,
        )

    def log_probs(self) -> Any:
        """Log-probabilities of the codes, `[B G, L]`."""
        levels = self.vocabulary.levels
        logits = self.model(
            input_ids=self.rows,
            attention_mask=self.mask,
            position_ids=self.positions,
            logits_to_keep=levels + 1,
            use_cache=False,
        ).logits
        result = []
        for level in range(levels):
            codes = self.vocabulary.level(level)
            logs = torch.log_softmax(logits[:, level, codes.start : codes.stop], dim=-1)
            chosen = self.answers[:, level, None] - codes.start
            result.append(logs.gather(1, chosen)[:, 0])
        return torch.stack(result, dim=1)

    def loss(self) -> Any:
        """The loss of GRPO with one update on a rollout."""
        new = self.log_probs()
        ratio = torch.exp(new - new.detach())
        clip = self.settings["clip"]
        kept = torch.clamp(ratio, 1 - clip, 1 + clip)
        losses = -torch.min(ratio * self.advantages, kept * self.advantages)
        gap = self.reference - new
        return (losses + self.settings["kl"] * (torch.exp(gap) - gap - 1)).mean(dim=1).mean()

    def step(self) -> float:
        """One update; the loss before it."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        return loss.item()
