"""InstructRec: recommendation as following instructions, by one encoder-decoder.

histories, ratings, genres -> instructions of the grammar -> encoder-decoder -> likelihood of titles

(Zhang et al. 2023, arXiv:2305.07001.) An instruction says what is known of a user (preference),
what they want now (intention), and what is asked (task); `grammar.py` has its templates. Candidates
are ranked by the likelihood of their names as the answer.

An intention is made of the genres of the very item that is to be found. A row with an intention
therefore measures how well a query is followed, as in search. Only rows without one are
recommendation.

It differs from the publication in three ways. The model is small and trained from scratch, unless
`tune.base` names a pretrained encoder-decoder. No language model writes preferences and intentions:
templates write them from genres and ratings. And by default each title is one token, see
`item_names`.

`System` describes the functions of this module.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import (
    make_mesh,
)
from jaxrec.data import (
    Dataset,
    group_tasks,
    holes,
    load_dataset,
    load_tokenizer,
    save_tokenizer,
)
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.ids import ItemCodes
from jaxrec.runs import (
    Kept,
    Options,
    Recommendations,
    RecommendRequest,
    check_run,
    create_run,
    is_run,
    known_items,
    listed,
    read_parts,
)
from jaxrec.systems.instructrec import base, measure
from jaxrec.systems.instructrec.config import InstructRecConfig
from jaxrec.systems.instructrec.instructions import instruct_data, mix, one_token_each, tasks_of
from jaxrec.systems.instructrec.tasks import InstructData
from jaxrec.systems.instructrec.tested import METRIC, SEQUENTIAL, Tested, validation_score
from jaxrec.texts import (
    Datum,
    Names,
    Prompted,
    PromptParts,
    PromptRanker,
    ask,
    check_data,
    load_trained,
    make_tokenizer,
    open_once,
    train_parts,
    validation_units,
)
from jaxrec.train import (
    Validation,
    check_batch,
)

# Number of instructions of each task that the tokenizer is trained on.
_CORPUS = 300


Parts = PromptParts[InstructData]


def open_run(
    config: InstructRecConfig, dataset: Dataset, directory: Path, *, write: bool = True
) -> Parts:
    """Fit and save the tokenizer of a new run, or check and read that of an old one.

    Args:
      config: of the run.
      dataset: its data.
      directory: of the run.
      write: save what a new run needs; without it nothing is written.

    Raises:
      ConfigError: the settings contradict the data, or the run in the directory has others.
      DataError: the run in the directory has other data, or the data lack genres.
    """
    return open_once(lambda write: _open_run(config, dataset, directory, write), write)


def _open_run(config: InstructRecConfig, dataset: Dataset, directory: Path, write: bool) -> Parts:
    codes = one_token_each(dataset)
    known = is_run(directory)
    if known:
        check_run(config, dataset, directory)
    else:
        check_batch(config.train, make_mesh(config.mesh), config.sharding)
    data = instruct_data(config, dataset, codes)
    tasks = tasks_of(config, data)
    for setting, count in (("candidates", config.candidates), ("eval.many", config.eval.many)):
        check_data(dataset, list(tasks.values()), count, setting)
    mixture = mix(config, tasks, data)
    if known:
        tokenizer = load_tokenizer(directory / "tokenizer")
    else:
        if config.tune.base:
            tokenizer = base.open_base(config).tokenizer
        else:
            corpus = [*mixture.corpus(_CORPUS), *data.names.items]
            tokenizer = make_tokenizer(corpus, data.names, codes, config.text_tokens)
        if write:
            save_tokenizer(tokenizer, directory / "tokenizer")
            create_run(config, dataset, None, directory)
    prompted = _prompted(config, tokenizer, data.names, codes)
    groups = group_tasks(mixture, tokenizer, config.groups, sample=128, targets=True)
    return Parts(data=data, tasks=tasks, mixture=mixture, groups=groups, prompted=prompted)


def _prompted(
    config: InstructRecConfig, tokenizer: Any, names: Names, codes: ItemCodes
) -> Prompted:
    """The model without parameters."""
    size = config.eval.batch_size
    if config.tune.base:
        return Prompted.of_base(config.model, tokenizer, names, size)
    return Prompted.build(config.model, tokenizer, names, codes, size)


def resolve(config: InstructRecConfig) -> InstructRecConfig:
    """See `System`."""
    return base.resolve(config)


def train(config: InstructRecConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    config = base.resolve(config)
    dataset = load_dataset(config.data)
    print(dataset)
    parts = open_run(config, dataset, directory, write=not options.dry)
    task, users = parts.tasks[SEQUENTIAL], config.eval.validated(dataset.num_users)

    def validates() -> Validation:
        units = validation_units(task, parts.data, users=users, seed=config.train.seed)

        def validate(params: Any) -> dict[str, float]:
            model = parts.prompted.with_params(params)
            tested = Tested(config=config, data=parts.data, tasks=parts.tasks, prompted=model)
            return validation_score(tested, units)

        return Validation(validate, METRIC, (len(units), "user"))

    first = base.first_params(config)
    train_parts(config, parts, directory, options, validation=validates, first=first)


def load(config: InstructRecConfig, directory: Path) -> Tested:
    """Open a run with the parameters of its best checkpoint.

    Raises:
      ConfigError: the run in the directory has other settings.
      DataError: the run is not trained yet, damaged, or has other data.
    """
    parts = open_run(config, load_dataset(config.data), directory)
    trained = load_trained(config, parts.prompted, directory)
    return Tested(config=config, data=parts.data, tasks=parts.tasks, **vars(trained))


def evaluate(
    config: InstructRecConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`: candidates of the test items, by every kind of instruction."""
    return measure.measure(load(config, directory), directory, baselines)


def recommend(
    config: InstructRecConfig, directory: Path, request: RecommendRequest
) -> Recommendations:
    """See `System`: the likeliest titles of the whole catalogue after the user's history."""
    tested = load(config, directory)
    data, task = tested.data, tested.tasks[SEQUENTIAL]
    user, history = known_items(data.dataset, request)
    questions = ask(
        task, task.wordings["seen"], data, [Datum(user=user, history=np.asarray(history))]
    )
    items, scores = tested.prompted.recommend(
        questions.prompts,
        beams=request.top,
        excluded=None if request.include_seen else questions.seen,
    )
    return listed(
        request,
        data.dataset.interactions.items.labels(),
        history,
        items[0],
        scores[0],
        score="log-probability of each title",
    )


def open_ranker(config: InstructRecConfig, directory: Path, kept: Kept) -> PromptRanker:
    """See `System`: the likeliest titles of the whole catalogue after a history."""
    dataset = kept.dataset()
    codes = one_token_each(dataset)
    data = instruct_data(config, dataset, codes)
    prompted = _prompted(config, load_tokenizer(directory / "tokenizer"), data.names, codes)
    trained = load_trained(config, prompted, directory)
    tested = Tested(config=config, data=data, tasks=tasks_of(config, data), **vars(trained))
    task = tested.tasks[SEQUENTIAL]
    template = task.wordings["seen"]

    def write(users: Sequence[int], histories: Sequence[np.ndarray]) -> Sequence[str]:
        asked = [Datum(user=u, history=h) for u, h in zip(users, histories, strict=True)]
        return ask(task, template, data, asked).prompts

    return PromptRanker(
        prompted=tested.prompted,
        write=write,
        kept=kept,
        reads_user="user" in holes(template.source),
        beams=1,
        meaning="log-probability of each title",
        max_items=config.max_items,
    )


def report(config: InstructRecConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


CONFIG = InstructRecConfig
FACTS = SystemFacts(
    name="InstructRec",
    summary=(
        "One encoder-decoder follows instructions that state a preference, an intention and a "
        "task, and ranks candidates by the likelihood of their titles."
    ),
    tags=("prompt-based-recommendation",),
    metric=METRIC,
    variants=measure.VARIANTS,
    has_ids=False,
)
INSTEAD = {
    "rank": "InstructRec ranks candidates, which is another protocol; see jaxrec eval",
    "fit_ids": "InstructRec writes titles and fits no IDs",
}
