"""Toolformer: a language model finds out by itself when a call of a tool helps it.

texts and random calls -> model -> sampled calls -> run -> filtered by loss -> texts with calls ->
tuned model -> answers with one call of a tool

(Schick et al. 2023, arXiv:2302.04761.) The paper starts from a large model that is prompted with
demonstrations. A small model cannot be prompted, so here the first training shows it the form of
calls: at random places, with random tools and inputs. Which calls are useful is not shown; the
filter finds it out.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrec.core import DataError, is_writer
from jaxrec.data import TokenRows, instruction_batches
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval
from jaxrec.models import Opened, Pretrained
from jaxrec.objectives import language_loss
from jaxrec.peft import TuneConfig, Tuning, size_of
from jaxrec.prompting import (
    MARKER,
    GenerateOptions,
    LocalMarkingModel,
    Tool,
    continue_with_tools,
    without_calls,
)
from jaxrec.runs import (
    MODEL,
    Options,
    check_run,
    create_run,
    is_run,
    read_parts,
    run_identity,
    write_summary,
)
from jaxrec.systems.toolformer.calls import (
    CALLS_FILE,
    Stored,
    call_shares,
    describe_calls,
    make_calls,
    next_number,
)
from jaxrec.systems.toolformer.config import ToolformerConfig
from jaxrec.systems.toolformer.data import NUMBERS, TOOLS, Corpus, Sum, make_corpus, tool_prompt
from jaxrec.texts import TextModel, tuned as tuned_text
from jaxrec.train import Plan, Start, TrainConfig, Validation, fit

METRIC = "accuracy"
CONFIG = ToolformerConfig
NO_TOOL, UNTUNED, UNTUNED_NO_TOOL = "without tools", "untuned", "untuned, without tools"
FACTS = SystemFacts(
    name="Toolformer",
    summary="A language model that taught itself when to call a calculator.",
    tags=("tool-use",),
    metric=METRIC,
    has_ids=False,
    recommends=False,
    unit="texts",
    variants=(NO_TOOL, UNTUNED, UNTUNED_NO_TOOL),
)
INSTEAD = {
    "rank": "it completes sentences and knows no items; see jaxrec eval",
    "recommend": "it completes sentences and knows no items",
    "fit_ids": "it completes sentences, and items have no IDs here",
    "open_adapter": "all parameters are tuned; use jaxrec export --to hf",
}
_PRETRAIN = "pretrain"


def train(config: ToolformerConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    corpus = make_corpus(config.data)
    new = not is_run(directory)
    if not new:
        check_run(config, corpus, directory)
    text = _open(config, directory, corpus)
    plain, lists, shown = (
        encode_rows(text.tokenizer, texts, config.length)
        for texts in ([item.text for item in corpus.plain], corpus.lists, corpus.demonstrated)
    )
    print(
        f"{corpus.name}: {len(plain):,} plain texts, {len(lists):,} lists and {len(shown):,} texts "
        f"with random calls to train on, {len(corpus.annotated):,} to annotate"
    )
    plans = {
        name: text.plan(
            functools.partial(language_loss, text.model),
            plain.take(np.zeros(settings.batch_size, int)),
            settings,
        )
        for name, settings in ((_PRETRAIN, config.pretrain), ("tune", config.train))
    }
    for name, plan in plans.items():
        print(f"{name}:\n{plan}")
        plan.memory.check()
    if options.dry:
        return
    if new:
        text.save(directory)
        create_run(config, corpus, None, directory)
    others = (config.list_share, config.demonstrated_share)
    rows = mix_rows((plain, lists, shown), (1 - sum(others), *others), config.pretrain.seed)
    held = [item.text for item in corpus.valid]

    def validate(params: Any) -> dict[str, float]:
        model = _marking(config, text, params)
        likelihood = -float(text_losses(model, held).mean())
        return {"log_likelihood": likelihood, "copied": copied(model, corpus.valid)}

    _fit(
        plans[_PRETRAIN],
        rows,
        Validation(validate, "log_likelihood"),
        directory / _PRETRAIN,
        (text.start, run_identity(directory), options.profile),
    )
    base = _before(config, text, directory)
    stored = make_calls(config, _marking(config, text, base), corpus.annotated, directory)
    print(*describe_calls(stored), sep="\n")
    if not any(call["kept"] for call in stored["calls"]):
        print(
            "no call helps, so the tuning teaches none; lower calls.min_gain, or train longer "
            "before (pretrain.steps)"
        )
    marked, unchanged = (
        encode_rows(text.tokenizer, texts, config.length)
        for texts in (stored["texts"], [item.text for item in corpus.annotated])
    )
    share = config.unchanged_share
    tuning = mix_rows((unchanged, marked), (share, 1 - share), config.train.seed)

    def accuracy(params: Any) -> dict[str, float]:
        right = answered(config, _marking(config, text, params), corpus.valid, TOOLS)
        return {METRIC: float(right.mean())}

    result = _fit(
        plans["tune"],
        tuning,
        Validation(accuracy, METRIC),
        directory,
        (lambda: _before(config, text, directory), run_identity(directory), options.profile),
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plans["tune"].size.trainable)


def evaluate(
    config: ToolformerConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`: accuracy with and without tools, and the loss of texts without calls."""
    del baselines  # the config has no setting for them, so there are none
    corpus, text, params, stored = _trained(config, directory)
    models = {
        MODEL: (_marking(config, text, params), TOOLS),
        NO_TOOL: (_marking(config, text, params), ()),
        UNTUNED: (_marking(config, text, _before(config, text, directory)), TOOLS),
        UNTUNED_NO_TOOL: (_marking(config, text, _before(config, text, directory)), ()),
    }
    texts = [item.text for item in corpus.test]
    rows, scores = {}, {}
    for name, (model, tools) in models.items():
        values = {METRIC: answered(config, model, corpus.test, tools)}
        if not tools:
            values["loss"] = text_losses(model, texts)
        if name == MODEL:
            values |= call_shares(stored)
        scores[name] = values
        intervals = {
            metric: bootstrap_interval(value, resamples=config.eval.resamples)
            for metric, value in values.items()
            if len(value)
        }
        rows[name] = {
            "metrics": {metric: i.mean for metric, i in intervals.items()},
            "intervals": {metric: [i.low, i.high] for metric, i in intervals.items()},
        }
    rows[MODEL]["parameters"] = size_of(Tuning(text.trainable, text.frozen)).total
    change = np.exp(scores[NO_TOOL]["loss"].mean() - scores[UNTUNED_NO_TOOL]["loss"].mean()) - 1
    return {
        "rows": rows,
        "comparisons": [],
        "protocol": dict(corpus.describe()),
        "heading": f"{corpus.name}: {len(texts)} held-out texts",
        "lines": [
            f"perplexity of held-out texts without calls changes by {change:+.2%} in the tuning",
            *describe_calls(stored),
        ],
        "values": {METRIC: scores[MODEL][METRIC].tolist()},
    }


def report(config: ToolformerConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: ToolformerConfig, directory: Path) -> Opened:
    """See `System`."""
    _, text, params, _ = _trained(config, directory)
    tokens = {"bos_token_id": text.tokenizer.bos_token_id}
    tokens["eos_token_id"] = text.tokenizer.eos_token_id
    model = Pretrained(spec=text.spec, params=params, tokens=tokens)
    return Opened(model=model, tokenizer=text.tokenizer)


def encode_rows(tokenizer: Any, texts: Sequence[str], length: int) -> TokenRows:
    """Encode texts as rows that are learned whole, from the first token to the end of the text.

    Texts of more than `length` tokens are left out.

    Raises:
      DataError: no text fits.
    """
    encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    whole = [[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id] for ids in encoded]
    fitting = [row for row in whole if len(row) <= length]
    if not fitting:
        raise DataError(f"none of {len(whole)} texts fits in {length} tokens; raise --length")
    sizes = np.array([len(row) for row in fitting])
    valid = np.arange(length)[None] < sizes[:, None]
    tokens = np.full(valid.shape, tokenizer.pad_token_id or 0, np.int32)
    tokens[valid] = np.concatenate(fitting)
    return TokenRows(
        tokens=tokens,
        valid=valid,
        weights=valid.astype(np.float32),
        answer=np.ones(len(fitting), np.int32),
    )


def mix_rows(kinds: Sequence[TokenRows], shares: Sequence[float], seed: int) -> TokenRows:
    """Mix rows so that each kind has its share: as many rows as all kinds have, drawn at random."""
    rng, count = np.random.default_rng(seed), sum(map(len, kinds))
    chosen = [
        rng.integers(len(rows), size=round(share * count))
        for rows, share in zip(kinds, shares, strict=True)
    ]
    return TokenRows(
        **{
            field.name: np.concatenate(
                [
                    getattr(rows, field.name)[numbers]
                    for rows, numbers in zip(kinds, chosen, strict=True)
                ]
            )
            for field in dataclasses.fields(TokenRows)
        }
    )


def answered(
    config: ToolformerConfig, model: LocalMarkingModel, sums: Sequence[Sum], tools: Sequence[Tool]
) -> np.ndarray:
    """Complete questions, and say which are answered rightly: `[N]` of 0 and 1."""
    answers = continue_with_tools(
        model,
        [item.question for item in sums],
        tools,
        GenerateOptions(max_tokens=config.eval.max_tokens),
        top=config.calls.top,
        max_call_tokens=config.calls.max_tokens,
    )
    given = [next_number(without_calls(answer.text)) for answer in answers]
    return np.array([float(a == item.answer) for a, item in zip(given, sums, strict=True)])


def copied(model: LocalMarkingModel, sums: Sequence[Sum]) -> float:
    """Return how often a model writes the result of the right call that stands before it.

    A model that does not read results cannot tell which calls help.
    """
    questions = [
        f"{tool_prompt(item.call.name)}{item.question} "
        f"{dataclasses.replace(item.call, result=item.answer)}"
        for item in sums
    ]
    options = GenerateOptions(max_tokens=6)
    written = [row[0][0] for row in model.write(questions, options, marker=False)]
    right = [next_number(t) == item.answer for t, item in zip(written, sums, strict=True)]
    return float(np.mean(right))


def text_losses(model: LocalMarkingModel, texts: Sequence[str]) -> np.ndarray:
    """Return the loss of texts in nats per token where no call may begin: `[N]`.

    The marker has no chance, and the other tokens share what it would have. The mean over texts is
    that over all tokens.
    """
    readings = model.read([""] * len(texts), texts)
    totals = np.array([-(r.logprobs - np.log1p(-np.exp(r.marker[:-1]))).sum() for r in readings])
    return totals / np.mean([len(r.logprobs) for r in readings])


def _marking(config: ToolformerConfig, text: TextModel, params: Any) -> LocalMarkingModel:
    return LocalMarkingModel(
        model=text.model,
        params=params,
        tokenizer=text.tokenizer,
        batch_size=config.eval.batch_size,
    )


def _fit(
    plan: Plan,
    rows: TokenRows,
    validation: Validation,
    directory: Path,
    rest: tuple[Any, Mapping[str, str], bool],
) -> Any:
    start, owner, profile = rest
    settings: TrainConfig = plan.config
    return fit(
        plan,
        iter(instruction_batches(rows, batch_size=settings.batch_size, seed=settings.seed)),
        validation,
        directory,
        start=Start(params=start, run=owner),
        title=_PRETRAIN if directory.name == _PRETRAIN else "tune",
        profile=profile,
    )


def _open(config: ToolformerConfig, directory: Path, corpus: Corpus) -> TextModel:
    if is_run(directory):
        return _load(config, directory)
    texts = [*(item.text for item in corpus.plain), *corpus.lists, *corpus.demonstrated]
    words = (MARKER, *NUMBERS)
    return tuned_text.from_scratch(
        config.model, texts, config.vocab_size, words, config.pretrain.seed
    )


def _load(config: ToolformerConfig, directory: Path) -> TextModel:
    return TextModel.load(TuneConfig(), config.model, directory, config.pretrain.seed)


def _before(config: ToolformerConfig, text: TextModel, directory: Path) -> Any:
    """The variables before the tuning."""
    return text.trained(directory / _PRETRAIN, config.pretrain, run_identity(directory))


def _trained(config: ToolformerConfig, directory: Path) -> tuple[Corpus, TextModel, Any, Stored]:
    corpus = make_corpus(config.data)
    check_run(config, corpus, directory)
    text = _load(config, directory)
    params = text.trained(directory, config.train, run_identity(directory))
    if not (directory / CALLS_FILE).exists():
        raise DataError(f"{directory} has no {CALLS_FILE}; train it again")
    model = _marking(config, text, params)
    return corpus, text, params, make_calls(config, model, corpus.annotated, directory)
