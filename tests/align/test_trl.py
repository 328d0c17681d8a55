"""DPO, reward models and GRPO against the trainers of trl: losses and gradients of the same logits.

The gradient of our loss with respect to the logits goes backwards through the model of PyTorch, so
that it can be compared with the gradient that trl's own loss leaves there.
"""

import math
import types
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.align import (
    dpo,
    group_advantages,
    grpo,
    ordered_pairs,
    pairwise_loss,
    sequence_log_probs,
)
from jaxrec.objectives import cross_entropy

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

# trl hands transformers 5.24 a setting by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def trl():
    """The module, with the trainers that are imported when they are first named."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bitsandbytes and of torch, in the import alone
        module = pytest.importorskip("trl")
        for name in ("DPOTrainer", "GRPOTrainer", "RewardTrainer"):
            getattr(module, name)
    pytest.importorskip("datasets").disable_progress_bars()
    return module


@pytest.fixture(scope="module")
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: number for number, word in enumerate(["<pad>", "<eos>", *LETTERS])}
    letters = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=letters, pad_token="<pad>", eos_token="<eos>"
    )


def llama(seed, kind="LlamaForCausalLM", **more):
    config = transformers.LlamaConfig(
        vocab_size=2 + len(LETTERS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        initializer_range=0.5,
        **more,
    )
    torch.manual_seed(seed)
    return getattr(transformers, kind)(config)


def rows(texts):
    from datasets import Dataset

    return Dataset.from_list(texts)


def settings(place, **more):
    given = {"use_cpu": True, "bf16": False, "gradient_checkpointing": False, "report_to": "none"}
    return given | {"output_dir": str(place), "disable_tqdm": True} | more


def gradients(model, loss):
    """The gradient of every parameter, and none is left in the model."""
    model.zero_grad()
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_equal(model, theirs, scores, ours):
    """Compare trl's loss and its gradient with ours, a function of an array.

    Args:
      model: what trl's loss was computed with.
      theirs: trl's loss.
      scores: a tensor that `model` computes, such as logits.
      ours: our loss as a function of the same scores.
    """
    value, slope = jax.value_and_grad(ours)(jnp.asarray(scores.detach().numpy()))
    assert float(value) == pytest.approx(theirs.item(), abs=1e-5)
    expected = gradients(model, theirs)
    surrogate = (scores * torch.from_numpy(np.array(slope))).sum()
    found = gradients(model, surrogate)
    assert found.keys() == expected.keys() and found
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.01
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("beta", [0.1, 1.5])
def test_the_loss_of_dpo_is_that_of_trl(trl, tokenizer, tmp_path, beta):
    policy, reference = llama(0), llama(1)
    pairs = [
        {"prompt": "abc", "chosen": "de", "rejected": "fgh"},
        {"prompt": "q", "chosen": "xxyz", "rejected": "n"},
        {"prompt": "lm", "chosen": "b", "rejected": "cccc"},
    ]
    trainer = trl.DPOTrainer(
        policy,
        reference,
        args=trl.DPOConfig(**settings(tmp_path, beta=beta)),
        train_dataset=rows(pairs),
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(policy, dict(batch))
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits = policy(**inputs).logits
    with torch.no_grad():
        fixed = jnp.asarray(reference(**inputs).logits.numpy())
    tokens = jnp.asarray(batch["input_ids"].numpy())
    answer = jnp.asarray(batch["completion_mask"].numpy(), bool)

    def ours(logits):
        now, before = (sequence_log_probs(x, tokens, answer) for x in (logits, fixed))
        return dpo(now[:3], now[3:], before[:3], before[3:], beta=beta).mean()

    assert_equal(policy, theirs, logits, ours)


def reward_trainer(trl, tokenizer, place, model, pairs, centering):
    return trl.RewardTrainer(
        model,
        args=trl.RewardConfig(**settings(place, center_rewards_coefficient=centering or None)),
        train_dataset=rows(pairs),
        processing_class=tokenizer,
    )


@pytest.mark.parametrize(("margins", "centering"), [(None, 0.0), ((0.5, 0.25), 0.1)])
def test_the_loss_of_pairs_is_that_of_trl(trl, tokenizer, tmp_path, margins, centering):
    model = llama(0, "LlamaForSequenceClassification", num_labels=1)
    pairs = [{"chosen": "abcde", "rejected": "gf"}, {"chosen": "bc", "rejected": "dadad"}]
    if margins:
        pairs = [pair | {"margin": margin} for pair, margin in zip(pairs, margins, strict=True)]
    trainer = reward_trainer(trl, tokenizer, tmp_path, model, pairs, centering)
    batch = next(iter(trainer.get_train_dataloader()))
    theirs = trainer.compute_loss(model, dict(batch))
    scores = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    margin = jnp.asarray(batch["margin"].numpy())[:, None, None] if margins else 0.0

    def ours(scores):
        wins = jnp.tile(jnp.array([[0.0, 1.0], [0.0, 0.0]]), (2, 1, 1))
        # trl puts all chosen texts before all rejected ones.
        rewards = scores.reshape(2, 2).T
        return pairwise_loss(rewards, wins, margin=margin, centering=centering).mean()

    assert_equal(model, theirs, scores, ours)


@pytest.mark.parametrize(("margin", "centering"), [(0.0, 0.0), (0.7, 0.0), (0.0, 0.01), (0.7, 0.1)])
def test_the_pairs_of_ranked_answers_weigh_as_rows_of_trl(
    trl, tokenizer, tmp_path, margin, centering
):
    rewards = 2 * torch.randn(5, generator=torch.Generator().manual_seed(0))
    pairs = [tuple(pair) for pair in ordered_pairs([2, 1, 3, 3, 4])]
    assert len(pairs) == 9  # one tie
    wins = np.zeros((5, 5), np.float32)
    wins[tuple(zip(*pairs, strict=True))] = 1 / math.comb(5, 2)
    value, gradient = jax.value_and_grad(
        lambda r: pairwise_loss(r, jnp.asarray(wins), margin=margin, centering=centering)
    )(jnp.asarray(rewards.numpy()))

    rewards.requires_grad_()
    # trl has a row for each pair; these are their rewards, the chosen ones first.
    places = [pair[side] for side in (0, 1) for pair in pairs]
    logits = rewards[places][:, None]
    network = llama(0, "LlamaForSequenceClassification", num_labels=1)
    two = [{"chosen": "ab", "rejected": "c"}]
    trainer = reward_trainer(trl, tokenizer, tmp_path, network, two, centering)
    inputs = {"attention_mask": torch.ones(18, 1), "margin": torch.full((9,), margin)}
    theirs = trainer.compute_loss(lambda **_: types.SimpleNamespace(logits=logits), inputs)
    theirs.backward()
    # The mean of trl is over nine pairs, and ours over ten with the tie.
    assert float(value) == pytest.approx(0.9 * theirs.item(), abs=1e-5)
    np.testing.assert_allclose(gradient, 0.9 * rewards.grad, atol=1e-5)


@pytest.mark.parametrize(("loss_type", "scale"), [("grpo", "group"), ("dr_grpo", "none")])
def test_advantages_and_loss_of_groups_are_those_of_trl(trl, tokenizer, tmp_path, loss_type, scale):
    llama(0).save_pretrained(tmp_path / "start")
    rewards = []

    def letters(completions, **_):
        rewards[:] = [float(len(set(text))) for text in completions]
        return rewards

    trainer = trl.GRPOTrainer(
        str(tmp_path / "start"),
        letters,
        args=trl.GRPOConfig(
            **settings(
                tmp_path,
                beta=0.04,
                loss_type=loss_type,
                scale_rewards=scale,
                num_generations=4,
                per_device_train_batch_size=8,
                max_completion_length=6,
                num_iterations=2,  # the ratio is not 1 in the second
                use_bias_correction_kl=False,  # the KL of the paper, without the ratio as a factor
                seed=3,
            )
        ),
        train_dataset=rows([{"prompt": "abc"}, {"prompt": "q"}]),
        processing_class=tokenizer,
    )
    batch = trainer._generate_and_score_completions(next(iter(trainer.get_train_dataloader())))
    advantages = group_advantages(jnp.array(rewards).reshape(2, 4), scaled=scale == "group")
    np.testing.assert_allclose(advantages.reshape(-1), batch["advantages"], atol=1e-5)
    assert len(set(rewards)) > 1
    policy = trainer.model.train()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    batch["completion_mask"][1, 3:] = 0  # one completion ends early, and one after a token
    batch["completion_mask"][6, 1:] = 0
    trainer.current_gradient_accumulation_steps = 1
    theirs = trainer._compute_loss(policy, batch)
    ids, masks = (
        torch.cat([batch[f"prompt_{name}"], batch[f"completion_{name}"]], dim=1)
        for name in ("ids", "mask")
    )
    length = batch["completion_ids"].shape[1]
    assert length == 6  # trl divides by the largest length in Dr. GRPO, and ours by this one
    scores = policy(input_ids=ids, attention_mask=masks).logits[:, -length - 1 : -1]
    tokens, mask, old, reference = (
        jnp.asarray(batch[name].numpy()).reshape(2, 4, length)
        for name in (
            "completion_ids",
            "completion_mask",
            "old_per_token_logps",
            "ref_per_token_logps",
        )
    )

    def ours(logits):
        return grpo(
            -cross_entropy(logits.reshape(2, 4, length, -1), tokens),
            advantages,
            mask.astype(bool),
            old=old,
            reference=reference,
            beta=0.04,
            per_length=loss_type == "grpo",
        ).mean()

    (clipped,) = trainer._metrics["train"]["clip_ratio/region_mean"]
    assert 0 < clipped < 1
    assert_equal(policy, theirs, scores, ours)
