"""The mutations that `mutate.py` applies: each breaks one line that the results depend on."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mutation:
    """A wrong line, and the tests that must notice it.

    Attributes:
      name: what goes wrong, in a few words; unique.
      file: path of the changed file, from the root of the repository.
      old: text that occurs exactly once in the file.
      new: text that replaces it.
      tests: arguments of pytest, in the order in which they run: files, or single tests
        (`file::test`) of files that take long.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MODEL = (
    Mutation(
        name="attention mask: upper triangle",
        file="jaxrec/nn/masks.py",
        old="jnp.tril(",
        new="jnp.triu(",
        tests=("tests/nn/test_masks.py",),
    ),
    Mutation(
        name="attention mask: not causal",
        file="jaxrec/nn/masks.py",
        old="seen = seen & (lower if prefix is None else lower | prefix[:, None, :])",
        new="seen = seen & (lower | True)",
        tests=("tests/nn/test_masks.py",),
    ),
    Mutation(
        name="attention mask: padding is visible",
        file="jaxrec/nn/masks.py",
        old="jnp.broadcast_to(valid[:, None, :],",
        new="jnp.broadcast_to(jnp.ones_like(valid)[:, None, :],",
        tests=("tests/nn/test_masks.py",),
    ),
    Mutation(
        name="attention mask: packed sequences see one another",
        file="jaxrec/nn/masks.py",
        old="seen = seen & (segments[:, :, None] == segments[:, None, :])",
        new="seen = seen & True",
        tests=("tests/nn/test_masks.py",),
    ),
    Mutation(
        name="positions: off by one",
        file="jaxrec/nn/positions.py",
        old="jnp.cumsum(valid.astype(jnp.int32), axis=-1) - 1, 0)",
        new="jnp.cumsum(valid.astype(jnp.int32), axis=-1), 0)",
        tests=("tests/nn/test_positions.py",),
    ),
    Mutation(
        name="rotary embedding: wrong sign",
        file="jaxrec/nn/positions.py",
        old="left * cos - right * sin",
        new="left * cos + right * sin",
        tests=("tests/nn/test_positions.py",),
    ),
    Mutation(
        name="norm: mean over the wrong axis",
        file="jaxrec/nn/norms.py",
        old="jnp.mean(y * y, -1, keepdims=True)",
        new="jnp.mean(y * y, -2, keepdims=True)",
        tests=("tests/nn/test_norms.py",),
    ),
    Mutation(
        name="dropout: active in evaluation",
        file="jaxrec/nn/dropout.py",
        old="if deterministic or self.rate == 0.0:",
        new="if self.rate == 0.0:",
        tests=("tests/nn/test_dropout.py",),
    ),
    Mutation(
        name="dropout: kept values not rescaled",
        file="jaxrec/nn/dropout.py",
        old="x / jnp.asarray(1.0 - rate, x.dtype)",
        new="x / jnp.asarray(1.0, x.dtype)",
        tests=("tests/nn/test_dropout.py",),
    ),
    Mutation(
        name="LoRA: scale dropped",
        file="jaxrec/peft/lora.py",
        old="thin = thin * jnp.asarray(self.scale, x.dtype)",
        new="thin = thin * jnp.asarray(1.0, x.dtype)",
        tests=("tests/peft/test_lora.py",),
    ),
)

TRAINING = (
    Mutation(
        name="ID loss: labels not shifted",
        file="jaxrec/objectives/id_modeling.py",
        old="inputs, targets = tokens[:, :-1], tokens[:, 1:]",
        new="inputs, targets = tokens[:, 1:], tokens[:, 1:]",
        tests=("tests/objectives/test_id_loss.py",),
    ),
    Mutation(
        name="ID loss: padding counted",
        file="jaxrec/objectives/id_modeling.py",
        old="(targets[:, :, 0] >= vocabulary.num_special)",
        new="(targets[:, :, 0] >= 0)",
        tests=("tests/objectives/test_id_loss.py",),
    ),
    Mutation(
        name="ID loss: softmax over the wrong axes",
        file="jaxrec/objectives/id_modeling.py",
        old="jax.nn.logsumexp(logits, axis=-1) - chosen",
        new="jax.nn.logsumexp(logits, axis=tuple(range(logits.ndim))) - chosen",
        tests=("tests/objectives/test_id_loss.py",),
    ),
    Mutation(
        name="language loss: labels not shifted",
        file="jaxrec/objectives/language_modeling.py",
        old="jnp.where(real, tokens[:, 1:], 0)",
        new="jnp.where(real, tokens[:, :-1], 0)",
        tests=("tests/objectives/test_language_loss.py",),
    ),
    Mutation(
        name="BPR: sign of the difference",
        file="jaxrec/objectives/ranking.py",
        old="jax.nn.softplus(negative - positive[..., None])",
        new="jax.nn.softplus(positive[..., None] - negative)",
        tests=("tests/objectives/test_ranking_losses.py",),
    ),
    Mutation(
        name="step: gradient not divided by the targets",
        file="jaxrec/train/step.py",
        old="lambda g: g / weight,",
        new="lambda g: g,",
        tests=("tests/train/test_train.py",),
    ),
    Mutation(
        name="moving average: ignored",
        file="jaxrec/train/step.py",
        old="return self.params if self.ema is None else self.ema",
        new="return self.params",
        tests=("tests/train/test_train.py",),
    ),
    Mutation(
        name="weight decay: applied to norms",
        file="jaxrec/train/optimizer.py",
        old='_NOT_DECAYED = ("scale", "bias")',
        new='_NOT_DECAYED = ("bias",)',
        tests=("tests/train/test_optimizer.py", "tests/train/test_train.py"),
    ),
)

DATA = (
    Mutation(
        name="split: validation item stays in training",
        file="jaxrec/data/splits.py",
        old="keep[ends - 1] = keep[ends - 2] = False",
        new="keep[ends - 1] = False",
        tests=("tests/data/test_splits.py",),
    ),
    Mutation(
        name="split: validation target is the test item",
        file="jaxrec/data/splits.py",
        old="valid_target=ordered.item[ends - 2],",
        new="valid_target=ordered.item[ends - 1],",
        tests=("tests/data/test_splits.py",),
    ),
    Mutation(
        name="training: checkpoints chosen on the test items",
        file="jaxrec/systems/generative/recommender.py",
        old='dataset.split.history("valid"), dataset.split.target("valid")',
        new='dataset.split.history("test"), dataset.split.target("test")',
        tests=("tests/systems/generative/test_leaks.py",),
    ),
    Mutation(
        name="training: held-out items in the training windows",
        file="jaxrec/data/dataset.py",
        old="train = dataset.split.train\n",
        new="train = dataset.interactions\n",
        tests=("tests/systems/generative/test_leaks.py",),
    ),
    Mutation(
        name="k-core: a single pass",
        file="jaxrec/data/filters.py",
        old="        keep &= ~few\n",
        new="        keep &= ~few\n        break\n",
        tests=("tests/data/test_k_core.py",),
    ),
    Mutation(
        name="collisions: repair skipped",
        file="jaxrec/ids/collisions.py",
        old='if before["must_move"] == 0:',
        new='if before["must_move"] >= 0:',
        tests=("tests/ids/test_collisions.py",),
    ),
    Mutation(
        name="histories: oldest items kept instead of the newest",
        file="jaxrec/ids/sequences.py",
        old="present(history)[-max_items:]",
        new="present(history)[:max_items]",
        tests=("tests/decode/test_recommender.py",),
    ),
)

DECODING = (
    Mutation(
        name="search: seen items not excluded",
        file="jaxrec/decode/recommend.py",
        old="                if excluded is not None:",
        new="                if excluded is not None and len(excluded) == 0:",
        tests=("tests/decode/test_recommender.py",),
    ),
    Mutation(
        name="search: seen items removed after the top-k",
        file="jaxrec/decode/recommend.py",
        old="best = self._searched(tokens[rows], rows, request, read)",
        new=(
            "best = self._searched(tokens[rows], rows, Request(), read)\n"
            "                        if out is not None:\n"
            "                            hidden = best.items[:, :, None] == out[:, None, :]\n"
            "                            kept = jnp.where(hidden.any(-1), -1, best.items)\n"
            "                            best = Recommendations(kept, best.scores)"
        ),
        tests=("tests/decode/test_recommender.py",),
    ),
    Mutation(
        name="lists: seen items removed after the top-k",
        file="jaxrec/eval/ranking.py",
        old=(
            "        scores = jnp.where(seen_mask(seen, scores.shape[1]), -jnp.inf, scores)\n"
            "    best, items = jax.lax.top_k(scores, most)\n"
        ),
        new=(
            "        hidden = seen_mask(seen, scores.shape[1])\n"
            "    best, items = jax.lax.top_k(scores, most)\n"
            "    if seen is not None:\n"
            "        hidden = jnp.take_along_axis(hidden, items, axis=1)\n"
            "        best = jnp.where(hidden, -jnp.inf, best)\n"
        ),
        tests=("tests/eval/test_ranking.py",),
    ),
    Mutation(
        name="seen mask: padding marks the last item",
        file="jaxrec/eval/ranking.py",
        old="seen = jnp.where(jnp.asarray(seen) < 0, num_items, jnp.asarray(seen))",
        new="seen = jnp.asarray(seen)",
        tests=("tests/eval/test_ranking.py",),
    ),
    Mutation(
        name="beam search: ancestors of the first beam",
        file="jaxrec/decode/search.py",
        old="pick(beams.ancestors, step.parent)",
        new="pick(beams.ancestors, jnp.zeros_like(step.parent))",
        tests=("tests/decode/test_beam_search.py",),
    ),
    Mutation(
        name="KV cache: written one slot early",
        file="jaxrec/decode/kv_cache.py",
        old="first = cache.length",
        new="first = cache.length - 1",
        tests=("tests/decode/test_kv_cache.py",),
    ),
)

METRICS = (
    Mutation(
        name="ranking: tied items count as better",
        file="jaxrec/eval/ranking.py",
        old="takes_part & (scores > score)",
        new="takes_part & (scores >= score)",
        tests=("tests/eval/test_ranking.py",),
    ),
    Mutation(
        name="ranking: mean rank of ties off by a half",
        file="jaxrec/eval/ranking.py",
        old="rank = better + (some - 1) / 2",
        new="rank = better + some / 2",
        tests=("tests/eval/test_ranking.py",),
    ),
    Mutation(
        name="NDCG: wrong discount",
        file="jaxrec/eval/ranking.py",
        old="1 / np.log2(r + 2)",
        new="1 / np.log2(r + 3)",
        tests=("tests/eval/test_ranking.py",),
    ),
    Mutation(
        name="bootstrap: users not paired",
        file="jaxrec/eval/significance.py",
        old="d = a - b\n",
        new="d = np.sort(a) - np.sort(b)\n",
        tests=("tests/eval/test_significance.py",),
    ),
    Mutation(
        name="Holm: step-down maximum dropped",
        file="jaxrec/eval/significance.py",
        old="np.maximum.accumulate(scaled)",
        new="scaled",
        tests=("tests/eval/test_significance.py",),
    ),
    Mutation(
        name="Holm: not applied in the table",
        file="jaxrec/runs/table.py",
        old="holm([test.p for test in tests])",
        new="[test.p for test in tests]",
        tests=("tests/runs/test_table.py",),
    ),
    Mutation(
        name="AUC: ties decided by the order of the rows",
        file="jaxrec/eval/clicks.py",
        old="rank = np.unique(scores, return_inverse=True)[1]",
        new='rank = np.argsort(np.argsort(scores, kind="stable"))',
        tests=("tests/eval/test_clicks.py",),
    ),
)

SERVING = (
    Mutation(
        name="stepwise: a row that the host ended goes on",
        file="jaxrec/decode/stepwise.py",
        old="done=state.done | ended)",
        new="done=state.done)",
        tests=("tests/decode/test_stepwise.py",),
    ),
    Mutation(
        name="stepwise: rows share one limit",
        file="jaxrec/decode/stepwise.py",
        old=">= settings.limit)",
        new=">= settings.limit.max())",
        tests=("tests/decode/test_stepwise.py",),
    ),
    Mutation(
        name="row settings: top-p ignores top-k",
        file="jaxrec/decode/row_settings.py",
        old="share = jnp.where(jnp.arange(size)[None] < most, share, 0.0)",
        new="share = jnp.exp(ordered - jax.nn.logsumexp(ordered, axis=-1, keepdims=True))",
        tests=("tests/decode/test_stepwise.py",),
    ),
    Mutation(
        name="row settings: greedy rows draw beside others",
        file="jaxrec/decode/row_settings.py",
        old="return jnp.where(drawn, token.astype(jnp.int32), best)",
        new="return token.astype(jnp.int32)",
        tests=("tests/decode/test_stepwise.py",),
    ),
    Mutation(
        name="written text: the beginning of a stop string is released",
        file="jaxrec/serve/written_text.py",
        old="len(self.text) - self._held()",
        new="len(self.text)",
        tests=("tests/serve/test_written_text.py",),
    ),
    Mutation(
        name="batching: a cancelled job stays in the queue",
        file="jaxrec/serve/batching.py",
        old="if not entry[2].cancelled]",
        new="if entry[2]]",
        tests=("tests/serve/test_batching.py",),
    ),
    Mutation(
        name="batching: no job waits for company",
        file="jaxrec/serve/batching.py",
        old="min(since + self._options.wait, longest)",
        new="min(since, longest)",
        tests=("tests/serve/test_batching.py",),
    ),
    Mutation(
        name="batching: no job waits for a batch of its bucket",
        file="jaxrec/serve/batching.py",
        old="if bucket in running and",
        new="if bucket in () and",
        tests=("tests/serve/test_batching.py",),
    ),
    Mutation(
        name="history cache: an entry is used whatever the history",
        file="jaxrec/serve/history_cache.py",
        old="or (kept != tokens[: len(kept)]).any():",
        new="or not len(kept):",
        tests=("tests/serve/test_history_cache.py",),
    ),
    Mutation(
        name="history cache: clients share the entries of a user",
        file="jaxrec/serve/history_cache.py",
        old='b"%d:" % len(client) + client + user.encode()',
        new="user.encode()",
        tests=("tests/serve/test_history_cache.py",),
    ),
    Mutation(
        name="together: a process that was started again keeps what the dead one took",
        file="jaxrec/serve/together.py",
        old="self._ready[number], self._taken[number] = False, 0",
        new="self._ready[number] = False",
        tests=("tests/serve/test_workers.py",),
    ),
    Mutation(
        name="gate: any key opens",
        file="jaxrec/serve/gate.py",
        old="or digest not in self._keys:",
        new="or not digest:",
        tests=("tests/serve/test_completions_hostile.py",),
    ),
    Mutation(
        name="completions: offsets begin at the answer",
        file="jaxrec/serve/openai_answers.py",
        old="*(start + token.offset for token in written),",
        new="*(token.offset for token in written),",
        tests=("tests/serve/test_completions.py",),
    ),
)

BASELINES = (
    Mutation(
        name="HSTU: unknown times have a bias",
        file="jaxrec/nn/hstu.py",
        old="bias + jnp.where((query >= 0) & (key >= 0), of_gap, 0.0)",
        new="bias + of_gap",
        tests=("tests/nn/test_hstu.py",),
    ),
    Mutation(
        name="history among the negatives: drawn items count twice",
        file="jaxrec/baselines/sequential_loss.py",
        old="out = was_read(drawn, read, len(table)) | (",
        new="out = (",
        tests=("tests/baselines/test_sequential.py",),
    ),
    Mutation(
        name="RPG: an item that was read and left out returns",
        file="jaxrec/systems/rpg/repeats.py",
        old="counts &= ~(read[:, :, None] == excluded[:, None]).any(-1)",
        new="counts &= True",
        tests=("tests/systems/rpg/test_rpg_repeats.py",),
    ),
)

MUTATIONS = (*MODEL, *TRAINING, *DATA, *DECODING, *METRICS, *SERVING, *BASELINES)
