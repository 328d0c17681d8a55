"""RecruitPro as the commands run it (Fang et al., KDD 2023); see `System` for each function.

records -> task tables -> rows of tokens among prompts -> one encoder -> a head for each task

An encoder that was pre-trained on recruitment texts (a run of `pretrain` with masked tokens and
next sentences) learns thirteen tasks together: three levels of classes of jobs and of resumes, the
sections of resumes, the level of a person and the outcome of an interview, the fit of a person and
a job, the recommendation of jobs, salaries, and the extraction of skills. A step has a batch of one
task; a config with one task trains that task alone.

A text stands among prompt vectors, and a head reads the state of the mask. The skill prompt is the
same for all tasks, and every task has task prompts of its own. In training, the same prompts also
stand beside the text's skill sentence, which lists the skills that are found in it: the skill
prompt's state is drawn to that of the skill sentence, and skill sentences of different labels are
told apart by supervised contrast. Resumes and jobs are matched chunk by chunk: a two-layer LSTM
reads the vectors of the chunks.

The publication has neither code nor data. The lengths of the prompts, the weights of the losses,
the temperature, and the joint training are our choices; the division by the temperature follows
the publication of supervised contrast.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import batch_shard, batch_sharding, is_writer, on_writer
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.peft import Tuning, size_of
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    create_run,
    is_run,
    read_parts,
    read_training,
    run_identity,
    write_summary,
)
from jaxrec.systems.recruitpro.batches import examples, joint_batches
from jaxrec.systems.recruitpro.config import RecruitProConfig
from jaxrec.systems.recruitpro.data import load_tasks
from jaxrec.systems.recruitpro.measure import (
    METRIC,
    all_values,
    frequent,
    make_validation,
    planted,
    predict_part,
    row_of,
)
from jaxrec.systems.recruitpro.objective import make_loss
from jaxrec.systems.recruitpro.opened import Opened, join
from jaxrec.systems.recruitpro.predict import Predictor
from jaxrec.train import Plan, Start, Validation, fit, make_plan

FREQUENT, PLANTED = "most frequent label", "planted probabilities"
CONFIG = RecruitProConfig
FACTS = SystemFacts(
    name="RecruitPro",
    summary="An encoder of recruitment texts, adapted to many tasks by skill-aware prompts.",
    tags=("text-classification",),
    metric=METRIC,
    has_ids=False,
    recommends=False,
    unit="rows of all tasks",
)
INSTEAD = {
    "rank": "a model of recruitment tasks ranks the candidates of its task; see jaxrec eval",
    "recommend": "a model of recruitment tasks knows no items; see jaxrec eval",
    "fit_ids": "a model of recruitment tasks knows no items",
    "open_model": "no other library has its prompts and heads; export the run it begins with",
    "open_adapter": "no other library has its prompts and heads",
}


def train(config: RecruitProConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    data = load_tasks(config.data, config.world, config.tasks)
    print(data)
    new = not is_run(directory)
    if not new:
        check_run(config, data, directory)
    opened = Opened.of(config, data.tasks)
    _print_cuts(opened)
    plan = _plan(opened)
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        on_writer(lambda: create_run(config, data, None, directory))
    batches = joint_batches(
        [tables["train"] for tables in opened.tables],
        batch_size=config.train.batch_size,
        pairs=config.pairs,
        per_class=config.per_class,
        seed=config.train.seed,
        shard=batch_shard(batch_sharding(plan.mesh, plan.rules)),
    )
    result = fit(
        plan,
        iter(batches),
        Validation(make_validation(opened), METRIC),
        directory,
        start=Start(
            params=lambda: opened.begin(config.train.seed),
            frozen=opened.base.params if config.encoder.frozen else None,
            base=opened.base.name,
            run=run_identity(directory),
        ),
        measure=_count,
        profile=options.profile,
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def _plan(opened: Opened) -> Plan:
    config = opened.config
    tables = [tables["train"] for tables in opened.tables]
    first, *more = examples(tables, config.train.batch_size, config.pairs)
    numbers = tuple(task.kind == "regression" for task in opened.tasks)
    return make_plan(
        opened.shapes(),
        make_loss(opened.network, config.auxiliary, numbers),
        first,
        config.train,
        more=more,
        frozen=opened.encoder_shapes() if config.encoder.frozen else None,
        join=join,
    )


def _print_cuts(opened: Opened) -> None:
    """Say how many texts are longer than what is read of them."""
    for task, tables in zip(opened.tasks, opened.tables, strict=True):
        cut = sum(rows.cut for rows in tables.values())
        if cut:
            print(f"{task.name}: {cut:,} texts are longer than --input allows, and end early")


def _count(batch: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Tokens of a batch and its cells."""
    names = [name for name in ("", "skill_") if f"{name}tokens" in batch]
    tokens = sum(int(batch[f"{name}sizes"].sum()) for name in names)
    return tokens, sum(batch[f"{name}tokens"].size for name in names)


def evaluate(
    config: RecruitProConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`: the scores of every task on its test rows.

    "accuracy" is the mean over all classification and matching tasks. Beside the model stand the
    most frequent training label of each task, and for synthetic data what the planted probabilities
    reach. Intervals are by a bootstrap over rows.
    """
    del baselines  # the config has no setting for them, so there are none
    data = load_tasks(config.data, config.world, config.tasks)
    check_run(config, data, directory)
    opened = Opened.of(config, data.tasks)
    variables = opened.trained(directory)
    predictor = Predictor(network=opened.network, batch_size=config.eval.batch_size)
    scored = predict_part(opened, predictor, variables, "test")
    resamples = config.eval.resamples
    rows = {MODEL: row_of(scored, resamples)}
    for name, other in ((FREQUENT, frequent(data.tasks)), (PLANTED, planted(data.tasks))):
        if other:
            rows[name] = row_of(other, resamples)
    rows[MODEL] |= {
        "parameters": size_of(Tuning(variables, None)).total,
        "fit_seconds": read_training(directory)["seconds"],
    }
    facts = data.describe()
    return {
        "rows": rows,
        "comparisons": [],
        "protocol": dict(facts),
        "heading": (
            f"{facts['dataset']}{' (synthetic)' if facts['synthetic'] else ''}: "
            f"{len(data.tasks)} tasks, {facts['train']:,} training and {facts['test']:,} test rows"
        ),
        "lines": [
            "accuracy is the mean over the tasks that have one; f1 is weighted by class; salaries "
            "are in standard deviations; intervals over rows"
        ],
        "values": {name: values.tolist() for name, values in all_values(scored).items()},
    }


def report(config: RecruitProConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)
