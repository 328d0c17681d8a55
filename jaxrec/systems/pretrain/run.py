"""Pre-training: a language model is trained from scratch on the text of documents.

documents -> parts -> tokens -> corrupted examples -> loss -> a model and its tokenizer

The objectives are those of `jaxrec.objectives`: language modeling, T5's and BART's denoising, UL2's
mixtures, and BERT's masked tokens with next sentences. A trained run is a text model: every command
and config that takes one opens it by the directory of the run.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from flax import linen as nn

from jaxrec.core import (
    MeshConfig,
    ShardingRules,
    batch_shard,
    batch_sharding,
    describe_shardings,
    is_writer,
    make_mesh,
    on_writer,
)
from jaxrec.data import load_tokenizer, save_tokenizer, train_reserved
from jaxrec.eval import RunParts, SystemFacts, bootstrap_interval
from jaxrec.models import Opened, Pretrained, fold_scales, init_function
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
from jaxrec.systems.pretrain.config import PretrainConfig
from jaxrec.systems.pretrain.corpus import Corpus, Encoded, Part, encode, load_corpus
from jaxrec.systems.pretrain.measure import Meter, own_rows, test_values, yardsticks
from jaxrec.systems.pretrain.objective import Learning
from jaxrec.systems.pretrain.start import begin_with, token_vectors
from jaxrec.train import (
    Start,
    Validation,
    check_batch,
    fit,
    load_params,
    make_optimizer,
    make_plan,
    make_shapes,
)

# Checkpoints are ranked by the highest value, and a loss is best if it is low.
METRIC = "minus_loss"
_TOKENIZER = "tokenizer"

CONFIG = PretrainConfig
FACTS = SystemFacts(
    name="Pre-trained language model",
    tags=("text-generation", "pretraining"),
    summary="A language model that was trained from scratch on the text of documents.",
    metric=METRIC,
    has_ids=False,
    recommends=False,
    unit="rows of text",
)
INSTEAD = {
    "rank": "a pre-trained model knows no items; tune it, for instance with a tallrec config",
    "recommend": "a pre-trained model knows no items; tune it, for instance with a tallrec config",
    "fit_ids": "a pre-trained model knows no items",
    "open_adapter": "pre-training trains all parameters; use jaxrec export --to hf",
}


def train(config: PretrainConfig, directory: Path, options: Options) -> None:
    """See `System`."""
    corpus = load_corpus(config.data)
    print(corpus)
    check_batch(config.train, make_mesh(MeshConfig()), ShardingRules())
    new = not is_run(directory)
    if not new:
        check_run(config, corpus, directory)
    tokenizer = _tokenizer(config, corpus, directory)
    learning = Learning.of(config, tokenizer, corpus.phrases)
    parts = {name: _encoded(learning, corpus, name) for name in ("train", "valid", "test")}
    print(
        f"{len(tokenizer):,} tokens in the vocabulary; {len(parts['train'].stream):,} tokens to "
        f"train on, {_bytes_per_token(corpus, parts['train']):.2f} bytes each"
    )
    # Every part is cut into examples before anything is trained or written.
    held = own_rows(learning, parts["valid"]).spread(config.eval.valid_rows)
    yardsticks(learning, parts["test"])
    init = init_function(learning.model)
    plan = make_plan(init, learning.loss, learning.example(), config.train)
    vectors = token_vectors(learning, parts["train"])
    shard = batch_shard(batch_sharding(plan.mesh, plan.rules))
    batches = learning.batches(parts["train"], shard)
    if options.show_shardings:
        shapes = jax.eval_shape(init, jax.random.key(0))
        print(describe_shardings(shapes, plan.mesh, plan.rules))
    print(plan)
    plan.memory.check()
    if options.dry:
        return
    if new:
        on_writer(lambda: _begin(config, corpus, tokenizer, directory))
    meter = Meter(learning)

    def validate(params: Any) -> dict[str, float]:
        if not learning.masked:
            loss = float(meter.nats(params, held).mean())
            return {METRIC: -loss, "loss": loss}
        values = {name: float(v.mean()) for name, v in meter.masked(params, held).items()}
        return {METRIC: -values["masked_loss"]} | values

    result = fit(
        plan,
        iter(batches),
        Validation(validate, METRIC),
        directory,
        start=Start(
            params=None if vectors is None else lambda: begin_with(plan, vectors),
            run=run_identity(directory),
        ),
        measure=count_tokens,
        profile=options.profile,
    )
    if is_writer():
        write_summary(directory, result, trained_parameters=plan.size.trainable)


def count_tokens(batch: Mapping[str, Any]) -> tuple[int, int]:
    """Count the tokens of a batch that are not padding, and all its cells."""
    masks = [batch[name] for name in ("source_valid", "valid") if name in batch]
    return sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)


def evaluate(
    config: PretrainConfig, directory: Path, *, baselines: Sequence[str]
) -> dict[str, Any]:
    """See `System`; a pre-trained model has no baselines.

    Intervals resample rows of the test part. The further figures of a row count parameters with
    and without those of the vocabulary.
    """
    del baselines  # the config has no setting for them, so there are none
    corpus = load_corpus(config.data)
    check_run(config, corpus, directory)
    learning, params = _trained(config, directory, corpus.phrases)
    parts = {name: _encoded(learning, corpus, name) for name in ("train", "test")}
    facts = corpus.describe()
    values = test_values(
        learning, params, parts["train"], parts["test"], int(str(facts["test_bytes"]))
    )
    intervals = {
        name: bootstrap_interval(value, resamples=config.eval.resamples)
        for name, value in values.items()
    }
    sizes, training = parameter_counts(params), read_training(directory)
    row = {
        "metrics": {name: interval.mean for name, interval in intervals.items()},
        "intervals": {name: [i.low, i.high] for name, i in intervals.items()},
        "fit_seconds": training["seconds"],
    } | sizes
    rows = training.get("steps", config.train.steps) * config.train.batch_size
    tokens = rows * config.length * config.per_row
    heading = (
        f"{facts['dataset']}: objective {config.objective.name}, backbone {config.backbone}; test: "
        f"{facts['test']:,} documents of {facts['test_bytes']:,} bytes, "
        f"{len(parts['test'].stream):,} tokens"
    )
    return {
        "rows": {MODEL: row},
        "comparisons": [],
        "protocol": dict(facts) | {"test": f"{facts['test']} documents"},
        "heading": heading,
        "lines": [
            f"losses are nats per token; {sizes['parameters']:,} parameters, "
            f"{sizes['parameters_without_vocabulary']:,} without the vocabulary; trained on "
            f"{tokens:,} tokens"
        ],
        "trained_tokens": tokens,
        "values": {name: value.tolist() for name, value in values.items()},
    }


def parameter_counts(params: Any) -> dict[str, int]:
    """Count the parameters of a model, and those that do not belong to its vocabulary."""
    total = size_of(Tuning(params, None)).total
    leaves = jax.tree_util.tree_leaves_with_path(params)
    names = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    table = sum(
        leaf.size
        for name, leaf in names.items()
        if name.rpartition("params/")[2]
        in (
            *("embedding/table", "embedding/position", "head/table", "head/bias"),
            *("backbone/embedding/table", "backbone/embedding/position"),
        )
    )
    return {"parameters": total, "parameters_without_vocabulary": total - table}


def report(config: PretrainConfig, directory: Path) -> RunParts:
    """See `System`."""
    return read_parts(config, directory, FACTS)


def open_model(config: PretrainConfig, directory: Path) -> Opened:
    """See `System`: a decoder, an encoder-decoder, or an encoder with the masked-token head.

    A prefix decoder becomes an ordinary one, since the prefix is a matter of how it is read. The
    corpus is not needed.
    """
    learning, params = _trained(config, directory)
    tree, spec, reserved = params["params"], learning.spec, learning.reserved
    tokens = {"bos_token_id": reserved.bos, "eos_token_id": reserved.eos}
    tokens["pad_token_id"] = reserved.pad
    tokens = {name: number for name, number in tokens.items() if number >= 0}
    if spec.kind == "encoder_decoder":
        spec, tree = fold_scales(spec, tree)
        tokens["decoder_start_token_id"] = max(reserved.pad, 0)
    elif spec.kind == "masked":
        # Neither the pooler nor the head for pairs belongs to a masked language model.
        backbone = {name: part for name, part in tree["backbone"].items() if name != "pooler"}
        tree = {"backbone": backbone, "head": tree["head"]}
    model = Pretrained(spec=spec, params={"params": tree}, tokens=tokens)
    return Opened(model=model, tokenizer=learning.tokenizer)


def _begin(config: PretrainConfig, corpus: Corpus, tokenizer: Any, directory: Path) -> None:
    save_tokenizer(tokenizer, directory / _TOKENIZER)
    create_run(config, corpus, None, directory)


def _tokenizer(config: PretrainConfig, corpus: Corpus, directory: Path) -> Any:
    """The tokenizer of an existing run, or the one that a new run begins with."""
    if is_run(directory):
        return load_tokenizer(directory / _TOKENIZER)
    if config.tokenizer:
        return load_tokenizer(Path(config.tokenizer))
    return train_reserved(corpus.train, config.vocab_size)


def _encoded(learning: Learning, corpus: Corpus, part: Part) -> Encoded:
    return encode(learning.tokenizer, corpus.part(part), learning.reserved.eos)


def _bytes_per_token(corpus: Corpus, encoded: Encoded) -> float:
    return sum(len(text.encode()) for text in corpus.train) / len(encoded.stream)


def _trained(
    config: PretrainConfig, directory: Path, phrases: tuple[str, ...] = ()
) -> tuple[Learning, Any]:
    """Open a run with the variables of its best checkpoint.

    Raises:
      DataError: not trained yet, or damaged.
    """
    read_training(directory)
    learning = Learning.of(config, load_tokenizer(directory / _TOKENIZER), phrases)
    mesh, rules = make_mesh(MeshConfig()), ShardingRules()
    init = init_function(learning.model)
    target = make_shapes(init, make_optimizer(config.train), mesh, rules, config.train)
    params, _ = load_params(directory / "checkpoints", target, run=run_identity(directory))
    return learning, nn.meta.unbox(params)
