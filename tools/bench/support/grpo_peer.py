"""GRPO over items by the trainer of trl: whole sequences, one row for each item.

The trainer is that of trl as it is. Its hook for rollouts calls `generate` with
`prefix_allowed_tokens_fn` as a beam search (see `peers_decode`), once for each history of a batch,
as published recommenders do; trl itself would read a history again for each item of its group. The
rewards, the log-probabilities of policy and reference, the advantages and the loss are trl's. An
update is its loss, the gradient, and a step of AdamW.
"""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from support.peers_decode import Peer


class GrpoPeer:
    """The trainer of trl with the weights of a peer of the search.

    Args:
      peer: the model of transformers, its histories and the constraint.
      table: reward of each item, by the tokens of its ID.
      settings: "lr", "beta2", "eps", "clip", "kl".
    """

    def __init__(self, peer: Peer, table: dict[tuple[int, ...], float], settings: dict[str, float]):
        self.peer, self.table = peer, table
        histories = zip(peer.tokens.tolist(), peer.mask.bool().tolist(), strict=True)
        self.histories = [
            [token for token, there in zip(row, seen, strict=True) if there]
            for row, seen in histories
        ]
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.trainer = self._trainer(Path(place), settings)
        settled = peer.model.generation_config
        self.policy = peer.model = self.trainer.model.train()
        self.policy.generation_config = settled  # trl lets its tokenizer's tokens end a text
        self.rows = [
            {"prompt": str(number)}
            for number in range(len(self.histories))
            for _ in range(peer.beams)
        ]
        self.trainer.current_gradient_accumulation_steps = 1
        self.optimizer = self.trainer.create_optimizer()
        self.batch: dict[str, Any] = {}

    def _trainer(self, place: Path, settings: dict[str, float]) -> Any:
        import datasets
        import trl

        datasets.disable_progress_bars()
        transformers.utils.logging.disable_progress_bar()
        start, group = place / "start", self.peer.beams
        self.peer.model.save_pretrained(start)  # of which trl reads the policy and the reference
        config = trl.GRPOConfig(
            output_dir=str(place),
            use_cpu=True,
            bf16=False,
            report_to="none",
            gradient_checkpointing=False,
            num_generations=group,
            per_device_train_batch_size=group * len(self.histories),
            max_completion_length=self.peer.vocabulary.levels,
            loss_type="grpo",
            epsilon=settings["clip"],
            beta=settings["kl"],
            use_bias_correction_kl=False,  # the KL of the paper, without the ratio as a factor
            learning_rate=settings["lr"],
            adam_beta2=settings["beta2"],
            adam_epsilon=settings["eps"],
            weight_decay=0.0,
        )
        numbers = [{"prompt": str(number)} for number in range(len(self.histories))]
        return trl.GRPOTrainer(
            str(start),
            self._rewards,
            args=config,
            train_dataset=datasets.Dataset.from_list(numbers),
            processing_class=_tokenizer(self.peer.model.config.vocab_size),
            rollout_func=self._write,
        )

    def _write(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """The items of each history; a prompt is the number of a history, once for each item."""
        assert prompts == [row["prompt"] for row in self.rows]
        found = self.peer.constrained()
        tokens = self.peer.vocabulary.tokens(found.codes).reshape(-1, found.codes.shape[-1])
        histories = [self.histories[int(prompt)] for prompt in prompts]
        return {"prompt_ids": histories, "completion_ids": tokens.tolist(), "logprobs": None}

    def _rewards(self, completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [self.table[tuple(row)] for row in completion_ids]

    def roll(self) -> dict[str, Any]:
        """A rollout with its rewards, advantages, and log-probabilities of the reference."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # trl asks the model by an old name
            self.batch = self.trainer._generate_and_score_completions(self.rows)
        return self.batch

    def rolled(self, name: str) -> np.ndarray:
        """A field of the last rollout, `[B, G, ...]`."""
        cells = self.batch[name].numpy()
        return cells.reshape(len(self.histories), self.peer.beams, *cells.shape[1:])

    def log_probs(self) -> np.ndarray:
        """Log-probabilities of the last rollout under the policy as it is now, `[B, G, L]`."""
        both = [
            torch.cat([self.batch[f"prompt_{name}"], self.batch[f"completion_{name}"]], dim=1)
            for name in ("ids", "mask")
        ]
        levels = self.peer.vocabulary.levels
        with torch.no_grad():
            found = self.trainer._get_per_token_logps_and_entropies(self.policy, *both, levels)[0]
        return found.numpy().reshape(len(self.histories), self.peer.beams, levels)

    def step(self) -> float:
        """One update on the last rollout; the loss before it."""
        loss = self.trainer.compute_loss(self.policy, self.batch)
        self.trainer.accelerator.backward(loss)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.item()


def _tokenizer(size: int) -> Any:
    """A tokenizer of `size` words, which only has to exist: prompts are numbers of histories."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {f"t{number}": number for number in range(size)}
    made = Tokenizer(models.WordLevel(words, unk_token="t0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="t0", eos_token="t0"
    )
