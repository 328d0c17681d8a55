"""LLM4RS: how well a language model ranks five candidates (Dai et al., RecSys 2023).

ratings -> instances -> prompts -> answers, free or constrained -> scores of candidates -> NDCG@3

arXiv:2305.02182. The model is any language model as it is, one that is tuned on ratings outside
the instances, or a small one from scratch whose vocabulary has every title as one token.

`System` describes the functions of this module.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import ConfigError, DataError, to_json, write_text
from jaxrec.data import Mix, TokenTexts, encode_marked, mixed_batches
from jaxrec.eval import RunParts, SystemFacts
from jaxrec.models import Opened, TransformerConfig
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.prompting import LocalModel
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    create_run,
    is_run,
    open_any,
    read_parts,
    run_identity,
    write_summary,
)
from jaxrec.systems.llm4rs.answers import RATINGS, ask_form
from jaxrec.systems.llm4rs.config import Llm4rsConfig
from jaxrec.systems.llm4rs.instances import Instances, load_instances
from jaxrec.systems.llm4rs.prompts import Prompter, clean_title
from jaxrec.systems.llm4rs.table import measure
from jaxrec.systems.llm4rs.training import training_texts
from jaxrec.texts import (
    LETTERS,
    TextModel,
    candidate_metrics,
    open_asked_model,
    open_tuned,
    open_tuned_adapter,
    tuned as tuned_text,
)
from jaxrec.train import Start, Validation, fit

METRIC = "ndcg@3"
CONFIG = Llm4rsConfig
FACTS = SystemFacts(
    name="LLM4RS",
    summary=(
        "A language model reads what a user liked and ranks a few candidates, by a rating of each, "
        "by comparing each two, or by ordering all."
    ),
    tags=("prompt-based-recommendation",),
    metric=METRIC,
    has_ids=False,
    variants=(),
)
INSTEAD = {
    "rank": "LLM4RS ranks a few candidates of each user; see jaxrec eval",
    "fit_ids": "LLM4RS calls items by their titles",
    "recommend": "LLM4RS ranks given candidates; see jaxrec eval, or ask the model in Python",
}
_TOKENIZER_TEXTS = 1000


def train(config: Llm4rsConfig, directory: Path, options: Options) -> None:
    """See `System`. A model that is asked as it is needs no training."""
    instances = load_instances(config)
    facts = instances.describe()
    print(
        f"{facts['dataset']}: {facts['test']:,} instances of {facts['test_users']} users, "
        f"{facts['train']:,} ratings outside their candidates"
    )
    new = not is_run(directory)
    if not new:
        check_run(config, instances, directory)
    if config.asked.given:
        # A model that cannot be opened is found before anything is written.
        open_asked_model(dataclasses.replace(config.asked, answers=""))
        if not options.dry and new:
            create_run(config, instances, None, directory)
        if not options.dry:
            write_text(directory / "train.json", to_json({"seconds": 0.0}))
        return
    if not instances.valid:
        raise DataError(
            "no user has enough ratings outside the instances for a validation instance, which "
            "ranks checkpoints; give more data, or ask a model as it is (--asked.path)"
        )
    prompter = make_prompter(config, instances)
    text, encoded = _encoded(config, instances, prompter, directory)
    longest = int(encoded.lengths.max())
    text.model.config.check_length(longest, "the longest text", "raise --model.max-length")
    # Rows with room for several short texts waste little.
    length = max(-(-longest // 64) * 64, 192)
    batches = functools.partial(
        mixed_batches,
        encoded,
        Mix(sizes=(len(encoded),), seed=config.train.seed),
        length=length,
        batch_size=config.train.batch_size,
    )
    loss = functools.partial(language_loss, text.model)
    plan = text.plan(loss, next(iter(batches())), config.train)
    print(f"{len(encoded):,} texts, {len(encoded.tokens):,} tokens, at most {longest} a text")
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        text.save(directory)
        create_run(config, instances, None, directory)
    valid = instances.valid[: config.eval.valid_instances]

    def validate(params: Any) -> dict[str, float]:
        model = _local(text, params)
        found = {
            form: ask_form(model, prompter, valid, form, "constrained", batch=config.eval.batch)
            for form in config.eval.forms
        }
        values = {
            f"{METRIC}_{form}": float(candidate_metrics(answered.scores, valid)[METRIC].mean())
            for form, answered in found.items()
        }
        return {METRIC: float(np.mean(list(values.values())))} | values

    result = fit(
        plan,
        iter(batches()),
        Validation(validate, METRIC),
        directory,
        start=Start(
            params=text.start, frozen=text.frozen, base=text.base, run=run_identity(directory)
        ),
        profile=options.profile,
    )
    write_summary(directory, result, trained_parameters=plan.size.trainable)


def evaluate(config: Llm4rsConfig, directory: Path, *, baselines: Sequence[str]) -> dict[str, Any]:
    """See `System`: all forms and kinds of answers beside the baselines."""
    instances = load_instances(config)
    check_run(config, instances, directory)
    prompter = make_prompter(config, instances)
    if config.asked.given:
        model = open_asked_model(config.asked, directory / "answers.jsonl")
        return measure(config, model, prompter, instances, baselines)
    text = _load(config, prompter, directory)
    own = _local(text, text.variables(_trained(config, text, directory)))
    report = measure(config, own, prompter, instances, baselines)
    report["rows"][MODEL]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    return report


def report(config: Llm4rsConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: Llm4rsConfig, directory: Path) -> Opened:
    """See `System`."""
    return open_tuned(config.tune, *_opened(config, directory))


def open_adapter(
    config: Llm4rsConfig, directory: Path
) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """See `System`."""
    return open_tuned_adapter(config.tune, *_opened(config, directory))


def make_prompter(config: Llm4rsConfig, instances: Instances) -> Prompter:
    """Make what writes a run's prompts.

    Raises:
      DataError: a pretrained model would be asked about items without titles.
    """
    items = instances.data.items
    if "title" not in items.fields and (config.asked.given or config.tune.base):
        raise DataError(
            f"the items of {instances.data.name} have no titles, and a pretrained model knows "
            "items by their titles; give --data.item-table a table with a column title"
        )
    titles = items.fields.get("title", items.ids)
    named = [
        clean_title(title) or str(key)
        for title, key in zip(titles, items.ids.tolist(), strict=True)
    ]
    seed = config.instances.seed
    return Prompter(config=config.prompt, titles=named, pool=instances.pool, seed=seed)


def _encoded(
    config: Llm4rsConfig, instances: Instances, prompter: Prompter, directory: Path
) -> tuple[TextModel, TokenTexts]:
    """Open the model that a run begins with, and encode the training texts."""
    texts = training_texts(
        instances,
        prompter,
        config.eval.forms,
        history=config.instances.history,
        candidates=config.instances.candidates,
        draws=config.draws,
        shortened=config.shortened,
        seed=config.train.seed,
    )
    seed = config.train.seed
    if is_run(directory):
        text = _load(config, prompter, directory)
    elif config.tune.base:
        text = tuned_text.from_base(config.tune, seed)
    else:
        step = max(1, len(texts) // _TOKENIZER_TEXTS)
        sample = [text.text for text in texts[::step]]
        written, read = _words(config, prompter)
        text = tuned_text.from_scratch(
            _shape(config, prompter), sample, config.vocab_size, [*written, *read], seed
        )
    encoded = encode_marked(text.tokenizer, texts, config.max_length)
    if encoded.cut or encoded.rejected:
        raise ConfigError(
            f"{encoded.cut + encoded.rejected:,} of {len(texts):,} training texts are longer than "
            f"--max-length {config.max_length} tokens; raise it"
        )
    return text, encoded


def _words(config: Llm4rsConfig, prompter: Prompter) -> tuple[list[str], list[str]]:
    """Texts that become one token each of a model from scratch: what it writes, what it reads.

    It writes letters and ratings. It only reads titles, the fixed pieces of prompts, and marks.
    """
    letters = LETTERS[: config.instances.candidates]
    written = [f" {letter}" for letter in letters] + [f" {rating}" for rating in RATINGS]
    titles = [f'"{title}"' for title in prompter.titles] if config.prompt.quoted else []
    pieces = [piece for form in config.eval.forms for piece in prompter.pieces(form)]
    read = [*titles, *pieces, ", ", "(A) ", *(f" ({letter}) " for letter in letters)]
    return written, [text for text in dict.fromkeys(read) if text not in written]


def _shape(config: Llm4rsConfig, prompter: Prompter) -> TransformerConfig:
    """The shape of a model from scratch: it has no logits for what it only reads."""
    read = len(_words(config, prompter)[1])
    # The tokenizer, which decides the size of the vocabulary, comes later.
    return dataclasses.replace(config.model, vocab_size=read + config.vocab_size, read_only=read)


def _load(config: Llm4rsConfig, prompter: Prompter, directory: Path) -> TextModel:
    shape = config.model if config.tune.base else _shape(config, prompter)
    return TextModel.load(config.tune, shape, directory, config.train.seed)


def _local(text: TextModel, variables: Any) -> LocalModel:
    """The model as prompting methods ask it."""
    return LocalModel(text.model, variables, text.tokenizer, name="llm4rs", batch_size=64)


def _trained(config: Llm4rsConfig, text: TextModel, directory: Path) -> Any:
    return text.trained(directory, config.train, run_identity(directory))


def _opened(config: Llm4rsConfig, directory: Path) -> tuple[TextModel, Any, Opened | None]:
    """Return the text model of a trained run, its variables, and the base if it has one."""
    if config.asked.given:
        raise ConfigError(
            "this run asks a model as it is and has none of its own; export the model that "
            "--asked names"
        )
    instances = load_instances(config)
    check_run(config, instances, directory)
    text = _load(config, make_prompter(config, instances), directory)
    base = open_any(Path(config.tune.base)) if config.tune.base else None
    return text, text.variables(_trained(config, text, directory)), base
