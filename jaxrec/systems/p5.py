"""P5 and OpenP5: recommendation as language processing, all tasks as text by one encoder-decoder.

dataset -> item IDs -> prompts of every task -> T5 with whole words -> items, stars, words, text

(Geng et al., RecSys 2022, arXiv:2203.13366; Hua et al., SIGIR-AP 2023, arXiv:2305.06569; Xu et al.,
SIGIR 2024, arXiv:2306.11134.) The parts: item IDs, `data.prompts`, `models.words`, the next-token
loss, a beam search over the trie of all IDs. Where this differs from the publications: the model is
trained from scratch; a batch has a fixed number of rows of each task; held-out items are kept out
of the rating and review prompts of the training too (`held_out_reviews` puts them in).
"""

import dataclasses
from pathlib import Path
from typing import ClassVar

from jaxrec.core import ConfigError
from jaxrec.core.mesh import MeshConfig, ShardingRules, batch_sharding, make_mesh
from jaxrec.core.processes import batch_shard
from jaxrec.data import random_split
from jaxrec.data.prompts import Group, Mixture, group_tasks, prompt_batches
from jaxrec.data.reviews import synthetic_reviews
from jaxrec.data.tokenizers import load_tokenizer, save_tokenizer
from jaxrec.ids import ItemCodes
from jaxrec.models import TransformerConfig
from jaxrec.systems import item_ids, item_text, p5_measure, run
from jaxrec.systems.config import DataConfig, DecodeConfig, EvalConfig
from jaxrec.systems.dataset import Dataset
from jaxrec.systems.id_config import IdConfig
from jaxrec.systems.p5_prompts import TEMPLATES
from jaxrec.systems.prompt_tasks import (
    NEEDS_RATINGS,
    NEEDS_REVIEWS,
    PromptData,
    check_rows,
    held_out,
    make_task,
)
from jaxrec.systems.prompted import (
    Prompted,
    Writing,
    fitted,
    make_names,
    make_tokenizer,
    measure,
    plan_prompts,
)
from jaxrec.train import (
    FitResult,
    TrainConfig,
    check_batch,
    fit,
    load_params,
    make_optimizer,
    make_shapes,
)

# Prompts of each task that the tokenizer is trained on.
_CORPUS = 2000


@dataclasses.dataclass(frozen=True)
class P5Config:
    """A run: data, IDs, tasks, model, training, decoding, evaluation.

    Attributes:
      max_items: most recent items of a history that a prompt shows.
      tasks: what is trained, see `p5_prompts`.
      rows: of each task in every batch; they add up to `train.batch_size`.
      groups: most lengths that the rows of a batch are padded to.
      item_names: IDs as tokens of their own, or as numbers that the tokenizer cuts (P5's default).
      user_names: likewise.
      candidates: items to choose from, the target among them.
      held_out_reviews: leave ratings and reviews of held-out items among the training prompts, as
        published; they tell the model which items those are.
      text_tokens: vocabulary of the text.
      model: shape; `word_rows` 0 does without whole words. Its vocabulary follows from the rest.
    """

    system: ClassVar[str] = "jaxrec.systems.p5"

    max_items: int = 20
    tasks: tuple[str, ...] = ("sequential", "straightforward")
    rows: tuple[int, ...] = (96, 32)
    groups: int = 3
    item_names: Writing = "tokens"
    user_names: Writing = "tokens"
    candidates: int = 100
    held_out_reviews: bool = False
    text_tokens: int = 600
    data: DataConfig = DataConfig()
    ids: IdConfig = IdConfig(scheme="independent")
    model: TransformerConfig = TransformerConfig(
        width=128, num_heads=4, positions="relative", activation="relu", gated=False, word_rows=512
    )
    train: TrainConfig = TrainConfig(batch_size=128)
    decode: DecodeConfig = DecodeConfig(beams=20)
    eval: EvalConfig = EvalConfig(baselines=("popularity", "markov"))
    mesh: MeshConfig = MeshConfig()
    sharding: ShardingRules = ShardingRules()

    def __post_init__(self) -> None:
        """Reject settings that contradict one another."""
        for task in self.tasks:
            if task not in TEMPLATES:
                raise ConfigError(f"no task {task!r} in tasks; known: {', '.join(TEMPLATES)}")
        if sum(self.rows) != self.train.batch_size or len(self.rows) != len(self.tasks):
            raise ConfigError(
                f"rows {self.rows} must be one number for each of {len(self.tasks)} tasks, and add "
                f"up to train.batch_size {self.train.batch_size}"
            )
        if not set(self.tasks) & set(p5_measure.MEASURED):
            raise ConfigError(
                f"tasks {self.tasks} hold none that ranks checkpoints; add one of "
                f"{', '.join(p5_measure.MEASURED)}"
            )
        if self.max_items < 1 or self.candidates < 2:
            raise ConfigError(
                f"max_items must be at least 1 and candidates 2, got {self.max_items} and "
                f"{self.candidates}"
            )
        if max(self.eval.ks) > self.decode.beams:
            raise ConfigError(
                f"eval.ks asks for the top {max(self.eval.ks)}, decode.beams generates only "
                f"{self.decode.beams} items; raise decode.beams"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """All of a run but its parameters."""

    data: PromptData
    mixture: Mixture
    groups: list[Group]
    prompted: Prompted


def prompt_data(config: P5Config, dataset: Dataset, codes: ItemCodes) -> PromptData:
    """What the prompts are made of.

    Raises:
      DataError: a task needs ratings that the data have not.
    """
    check_rows(dataset.interactions, config.tasks)
    ratings = reviews = None
    if set(config.tasks) & {*NEEDS_RATINGS, *NEEDS_REVIEWS}:
        ratings = random_split(dataset.interactions)
        if not config.held_out_reviews:
            kept = ratings.train[~held_out(dataset)[ratings.train]]
            ratings = dataclasses.replace(ratings, train=kept)
    if set(config.tasks) & set(NEEDS_REVIEWS):
        reviews = synthetic_reviews(dataset.interactions)
    names = make_names(config.item_names, config.user_names, codes, dataset.num_users)
    return PromptData(dataset, names, ratings, reviews, config.max_items, config.candidates)


def open_run(config: P5Config, dataset: Dataset, directory: Path) -> Parts:
    """Fit and keep the IDs and the tokenizer of a new run, or check and read those of an old one.

    Raises:
      ConfigError: settings that contradict the data or the run that the directory holds.
      DataError: other data than the run's, or data that lack what a task needs.
    """
    known = run.exists(directory)
    if known:
        run.check(config, dataset, directory)
        codes = run.load_codes(directory)
    else:
        check_batch(config.train, make_mesh(config.mesh), config.sharding)
        check_rows(dataset.interactions, config.tasks)
        item_ids.check_ids(config.ids, dataset)
        text = item_text.read(config.ids, dataset, item_text.choose(config.ids))
        codes = item_ids.fit_ids(config.ids, dataset, text)
    data = prompt_data(config, dataset, codes)
    tasks = tuple(
        make_task(name, fitted(TEMPLATES[name], data.names), data) for name in config.tasks
    )
    mixture = Mixture(tasks, config.rows, config.train.seed)
    if known:
        tokenizer = load_tokenizer(directory / "tokenizer")
    else:
        corpus = [*mixture.corpus(_CORPUS), *data.names.items, *data.names.users]
        tokenizer = make_tokenizer(corpus, data.names, codes, config.text_tokens)
        save_tokenizer(tokenizer, directory / "tokenizer")
        run.create(config, dataset, codes, directory)
    prompted = Prompted.build(config.model, tokenizer, data.names, codes, config.decode.batch_size)
    groups = group_tasks(mixture, tokenizer, config.groups)
    return Parts(data, mixture, groups, prompted)


def train_model(config: P5Config, dataset: Dataset, directory: Path) -> FitResult:
    """Train, or go on training, below `directory`.

    Raises:
      ConfigError, DataError, ResourceError: as of `open_run`, `plan_prompts` and `fit`.
    """
    parts = open_run(config, dataset, directory)
    prompted = parts.prompted
    plan = plan_prompts(
        prompted, parts.mixture, parts.groups, config.train, config.mesh, config.sharding
    )
    print(plan)
    plan.memory.check()
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    batches = prompt_batches(parts.mixture, parts.groups, prompted.tokenizer, shard)
    asked = p5_measure.validation(config, parts.data)
    return fit(
        plan,
        iter(batches),
        lambda params: p5_measure.validate(prompted.with_params(params), asked, config),
        directory,
        metric=p5_measure.METRIC,
        measure=measure,
    )


def load(config: P5Config, dataset: Dataset, directory: Path) -> Parts:
    """The run with the best checkpoint's parameters.

    Raises:
      DataError: not trained yet, damaged, or of other data.
    """
    parts = open_run(config, dataset, directory)
    prompted, mesh = parts.prompted, make_mesh(config.mesh)
    optimizer = make_optimizer(config.train)
    target = make_shapes(prompted.init, optimizer, mesh, config.sharding, config.train)
    params, _ = load_params(directory / "checkpoints", target)
    return dataclasses.replace(parts, prompted=prompted.with_params(prompted.join(params)))
