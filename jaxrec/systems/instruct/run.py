"""Instruction tuning: a language model learns to answer, from tasks, chats and records.

sources -> instances -> texts with marked answers -> packed rows -> next-token loss on the answers

(FLAN, Wei et al. 2022, arXiv:2109.01652; InstructGPT, Ouyang et al. 2022, arXiv:2203.02155; Alpaca,
Taori et al. 2023.) The loss is that of the answers and of the tokens that end them; what the model
only reads has the weight 0. It is measured by what it writes, token by token, for data, wordings
and tasks that training did not see.

`System` describes the functions of this module.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, batch_shard, batch_sharding, is_writer, on_writer
from jaxrec.data import Instruction, Mix, TokenTexts, encode_joined, encode_marked, mixed_batches
from jaxrec.decode import TextOptions, complete
from jaxrec.eval import (
    RunParts,
    SystemFacts,
    bootstrap_interval,
    holm,
    paired_bootstrap,
    rouge,
)
from jaxrec.models import Opened
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.runs import (
    Options,
    check_run,
    create_run,
    is_run,
    open_any,
    read_parts,
    run_identity,
    write_summary,
)
from jaxrec.systems.instruct.config import InstructConfig
from jaxrec.systems.instruct.data import TASKS, Prepared, constant_answers, prepare
from jaxrec.texts import (
    CHAT_TEMPLATE,
    Instance,
    TextModel,
    answer_ends,
    answer_of,
    mark,
    open_tuned,
    open_tuned_adapter,
    plain_text,
    prompt_of,
    tuned as tuned_text,
)
from jaxrec.train import Plan, Start, TrainConfig, Validation, fit

METRIC = "rougeL"
CONFIG = InstructConfig
UNTUNED, CONSTANT = "untuned", "constant answer"
FACTS = SystemFacts(
    name="Instruction-tuned model",
    summary=(
        "A language model that was tuned to answer instructions, on tasks in several wordings, on "
        "chats or on records of instruction, input and output."
    ),
    tags=("instruction-tuning",),
    metric=METRIC,
    has_ids=False,
    recommends=False,
    variants=(UNTUNED,),
)
INSTEAD = {
    "rank": "an instruction-tuned model ranks no catalogue; see jaxrec eval",
    "recommend": "ask the exported model; see jaxrec export --to hf",
    "fit_ids": "an instruction-tuned model has no item IDs",
}
# Texts that a tokenizer from scratch is trained on, at most.
_TOKENIZER_TEXTS = 20_000
_PLAIN = "plain"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One training.

    Attributes:
      name: of the stage and of its directory.
      texts: what is learned.
      mix: the sets of the texts.
      length: T, tokens of a row.
      packed: whether rows hold several texts.
      config: settings of the training.
    """

    name: str
    texts: TokenTexts
    mix: Mix
    length: int
    packed: bool
    config: TrainConfig

    def batches(self, shard: tuple[int, int] = (0, 1)) -> Any:
        """The stage's batches."""
        return mixed_batches(
            self.texts,
            self.mix,
            length=self.length,
            batch_size=self.config.batch_size,
            packed=self.packed,
            shard=shard,
        )

    def plan(self, text: TextModel) -> Plan:
        """The plan of its steps."""
        example = next(iter(self.batches()))
        return text.plan(functools.partial(language_loss, text.model), example, self.config)


def train(config: InstructConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    prepared = prepare(config)
    print(f"{prepared.name}: {len(prepared.everything):,} instances of {len(prepared.train)} sets")
    for reason, count in prepared.counts.items():
        print(f"  {count:,} x {reason}")
    text = _open(config, directory, prepared)
    new = not is_run(directory)
    if not new:
        check_run(config, prepared, directory)
    stages = make_stages(config, text, prepared)
    plans = []
    for stage in stages:
        plan = stage.plan(text)
        rows = f"{len(stage.texts):,} texts, {len(stage.texts.tokens):,} tokens"
        left = f", {stage.texts.cut} shortened, {stage.texts.rejected} that do not fit left out"
        print(f"{stage.name}: {rows} in rows of {stage.length}{left}")
        print(plan)
        plan.memory.check()
        plans.append(plan)
    if options.dry:
        return
    if new:
        on_writer(lambda: _begin(config, text, prepared, directory))

    def measure(params: Any) -> dict[str, float]:
        return _validation(config, text, params, prepared.valid)

    start: Callable[[], Any] = text.start
    owner = run_identity(directory)
    for stage, plan in zip(stages, plans, strict=True):
        place = directory if stage is stages[-1] else directory / stage.name
        result = fit(
            plan,
            iter(stage.batches(batch_shard(batch_sharding(plan.mesh, plan.rules)))),
            Validation(measure, METRIC),
            place,
            start=Start(params=start, frozen=text.frozen, base=text.base, run=owner),
            title=stage.name,
            measure=count_tokens,
            profile=options.profile,
        )
        start = functools.partial(text.trained, place, stage.config, owner)
    if is_writer():
        write_summary(directory, result, trained_parameters=plans[-1].size.trainable)


def _begin(config: InstructConfig, text: TextModel, prepared: Prepared, directory: Path) -> None:
    text.save(directory)
    create_run(config, prepared, None, directory)


def count_tokens(batch: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """Count the tokens of a batch that are not padding, and all its cells.

    Example:
      >>> import numpy as np
      >>> from jaxrec.systems.instruct.run import count_tokens
      >>> count_tokens({"valid": np.array([[True, True, False]])})
      (2, 3)
    """
    return int(batch["valid"].sum()), batch["valid"].size


def make_stages(config: InstructConfig, text: TextModel, prepared: Prepared) -> list[Stage]:
    """Encode the data of each training of a run; the last is the tuning.

    Raises:
      ConfigError: a tokenizer that cannot write chats, or rows that the model cannot read.
      DataError: none of the texts of a set fits.
    """
    writing, tokenizer = config.writing, text.tokenizer
    text.model.config.check_length(
        writing.max_length, "writing.max_length", "lower it to the model's length"
    )
    marked = [mark(tokenizer, i.record, writing.frame) for i in prepared.everything]
    encoded = encode_marked(tokenizer, marked, writing.max_length)
    ends = np.cumsum([0, *map(len, prepared.train.values())])
    sizes = np.diff(np.searchsorted(encoded.source, ends))
    for name, size in zip(prepared.train, sizes.tolist(), strict=True):
        if not size:
            raise DataError(
                f"no text of {name} has an answer that fits in writing.max_length "
                f"{writing.max_length} tokens; raise it, or leave {name} out"
            )
    longest = -(-int(encoded.lengths.max()) // 32) * 32
    stage = Stage(
        name="train",
        texts=encoded,
        mix=Mix(sizes=tuple(sizes.tolist()), cap=writing.cap, seed=config.train.seed),
        length=writing.max_length if writing.packed else min(longest, writing.max_length),
        packed=writing.packed,
        config=config.train,
    )
    if not config.plain_steps:
        return [stage]
    plain = encode_joined(tokenizer, prepared.plain, writing.max_length)
    first = Stage(
        name=_PLAIN,
        texts=plain,
        mix=Mix(sizes=(len(plain),), seed=config.train.seed),
        length=writing.max_length,
        packed=False,
        config=_plain_config(config),
    )
    return [first, stage]


def _plain_config(config: InstructConfig) -> TrainConfig:
    # Nothing is chosen by validation here: the answers to instructions say nothing of plain text.
    steps = config.plain_steps
    return dataclasses.replace(config.train, steps=steps, eval_every=steps, patience=0)


def evaluate(
    config: InstructConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`: exact match and ROUGE-L of what the model writes, beside the untuned model.

    "constant answer" is the most frequent right answer of each task: what can be had without
    reading.
    """
    prepared = prepare(config)
    check_run(config, prepared, directory)
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    models = {
        "model": _trained(config, text, directory),
        UNTUNED: _untuned(config, text, directory),
    }
    scores: dict[str, dict[str, np.ndarray]] = {name: {} for name in (*models, CONSTANT)}
    lines = [_long_prompts(config, text, prepared)]
    for part, instances in prepared.test.items():
        wanted = [answer_of(instance.record) for instance in instances]
        for name, variables in models.items():
            written = answers(config, text, variables, instances)
            scores[name] |= _scores(written, wanted, part)
            if name == "model" and part == TASKS:
                lines += _by_task(instances, scores[name][f"exact_match_{part}"])
        constant = constant_answers(instances)
        scores[CONSTANT] |= _scores(constant, wanted, part)
    rows: dict[str, dict[str, Any]] = {}
    for name, by_metric in scores.items():
        intervals = {
            metric: bootstrap_interval(values, resamples=config.eval.resamples)
            for metric, values in by_metric.items()
        }
        rows[name] = {
            "metrics": {metric: value.mean for metric, value in intervals.items()},
            "intervals": {metric: [value.low, value.high] for metric, value in intervals.items()},
        }
    rows["model"]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    facts = prepared.describe()
    return {
        "rows": rows,
        "comparisons": _comparisons(scores, config.eval.resamples),
        "values": {metric: values.tolist() for metric, values in scores["model"].items()},
        "heading": f"{prepared.name}, {facts['train']:,} instances trained on; test: "
        + ", ".join(f"{len(part):,} {name}" for name, part in prepared.test.items()),
        "protocol": dict(facts),
        "lines": [
            "answers written greedily; intervals by a bootstrap over instances",
            *filter(None, lines),
        ],
    }


def answers(
    config: InstructConfig, text: TextModel, variables: Any, instances: Sequence[Instance]
) -> list[str]:
    """Write the answer to each instance, token by token, each time with the likeliest one.

    Args:
      config: of the run.
      text: the text model.
      variables: all of its variables.
      instances: N questions; their answers are not read.

    Returns:
      N texts without white space around them.
    """
    frame, tokenizer = config.writing.frame, text.tokenizer
    records = [instance.record for instance in instances]
    written = complete(
        text.model,
        variables,
        tokenizer,
        [prompt_of(tokenizer, record, frame) for record in records],
        TextOptions(max_tokens=config.eval.max_tokens, eos=answer_ends(tokenizer, records, frame)),
        batch_size=config.eval.batch_size,
    )
    return [answer.strip() for answer in written]


def report(config: InstructConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: InstructConfig, directory: Path) -> Opened:
    """See `System`."""
    return open_tuned(config.tune, *_load(config, directory))


def open_adapter(
    config: InstructConfig, directory: Path
) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`."""
    return open_tuned_adapter(config.tune, *_load(config, directory))


def _load(config: InstructConfig, directory: Path) -> tuple[TextModel, Any, Opened | None]:
    """Return the text model of a trained run, its variables, and the base if it has one."""
    text = TextModel.load(config.tune, config.model, directory, config.train.seed)
    base = open_any(Path(config.tune.base)) if config.tune.base else None
    return text, _trained(config, text, directory), base


def _trained(config: InstructConfig, text: TextModel, directory: Path) -> Any:
    return text.variables(text.trained(directory, config.train, run_identity(directory)))


def _untuned(config: InstructConfig, text: TextModel, directory: Path) -> Any:
    """The variables that the tuning began with."""
    if not config.plain_steps:
        return text.variables(text.start())
    owner = run_identity(directory)
    return text.variables(text.trained(directory / _PLAIN, _plain_config(config), owner))


def _open(config: InstructConfig, directory: Path, prepared: Prepared) -> TextModel:
    """Open the model of an existing run, or make the one that a new run begins with."""
    seed = config.train.seed
    if is_run(directory):
        return TextModel.load(config.tune, config.model, directory, seed)
    if config.tune.base:
        return tuned_text.from_base(config.tune, seed)
    step = -(-len(prepared.everything) // _TOKENIZER_TEXTS)
    records = [instance.record for instance in prepared.everything[::step]]
    texts = [
        record.marked.text
        if config.writing.frame == "alpaca" and isinstance(record, Instruction)
        else plain_text(record)
        for record in records
    ]
    text = tuned_text.from_scratch(config.model, texts, config.vocab_size, prepared.words, seed)
    text.tokenizer.chat_template = CHAT_TEMPLATE
    return text


def _validation(
    config: InstructConfig, text: TextModel, variables: Any, instances: Sequence[Instance]
) -> dict[str, float]:
    wanted = [answer_of(instance.record) for instance in instances]
    found = _scores(answers(config, text, variables, instances), wanted, "")
    return {
        METRIC: float(found["rougeL_"].mean()),
        "exact_match": float(found["exact_match_"].mean()),
    }


def _long_prompts(config: InstructConfig, text: TextModel, prepared: Prepared) -> str:
    """Say how many prompts are longer than the texts of the training; "" if none is."""
    records = [instance.record for part in prepared.test.values() for instance in part]
    prompts = [prompt_of(text.tokenizer, record, config.writing.frame) for record in records]
    lengths = map(len, text.tokenizer(prompts)["input_ids"])
    count = sum(length > config.writing.max_length for length in lengths)
    if not count:
        return ""
    return f"{count:,} prompts are longer than the {config.writing.max_length} tokens of training"


def _scores(written: Sequence[str], wanted: Sequence[str], part: str) -> dict[str, np.ndarray]:
    """One value per instance of each metric."""
    pairs = list(zip(written, wanted, strict=True))
    return {
        f"exact_match_{part}": np.array([float(a.strip() == b.strip()) for a, b in pairs]),
        f"rougeL_{part}": np.array([rouge([a], [b])["rougeL"] for a, b in pairs]),
    }


def _by_task(instances: Sequence[Instance], exact: np.ndarray) -> list[str]:
    """A line for each task, with the share of exact answers and that of the constant answer."""
    tasks = np.array([instance.task for instance in instances])
    wanted = [answer_of(instance.record) for instance in instances]
    constant = np.array(constant_answers(instances)) == np.array(wanted)
    return [
        f"{task}: exact match {exact[tasks == task].mean():.3f}, constant answer "
        f"{constant[tasks == task].mean():.3f}"
        for task in dict.fromkeys(tasks.tolist())
    ]


def _comparisons(
    scores: Mapping[str, Mapping[str, np.ndarray]], resamples: int
) -> list[dict[str, Any]]:
    """Test exact match of the model against the other rows, part by part."""
    model, *others = scores
    pairs = [
        (name, metric)
        for name in others
        for metric in scores[model]
        if metric.startswith("exact_match")
    ]
    tests = [
        paired_bootstrap(scores[model][metric], scores[name][metric], resamples=resamples)
        for name, metric in pairs
    ]
    return [
        {
            "baseline": name,
            "metric": metric,
            "difference": test.difference,
            "interval": [test.low, test.high],
            "p": test.p,
            "p_holm": float(p),
        }
        for (name, metric), test, p in zip(pairs, tests, holm([t.p for t in tests]), strict=True)
    ]
