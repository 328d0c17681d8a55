"""The losses against numpy and against the formula of SupContrast in torch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrec.systems.recruitpro import OFF, AuxiliaryConfig
from jaxrec.systems.recruitpro.objective import make_loss
from jaxrec.systems.recruitpro.opened import Opened

GAIN = 3.0


@pytest.fixture(scope="module")
def opened(encoder):
    from jaxrec.systems.recruitpro import EncoderConfig, InputConfig, RecruitProConfig

    return lambda tasks: Opened.of(
        RecruitProConfig(
            encoder=EncoderConfig(base=encoder),
            input=InputConfig(
                slots=(1, 2, 1, 1), text_tokens=8, skill_tokens=4, chunk_tokens=6, chunks=2
            ),
            dropout=0.0,
            gain=GAIN,
        ),
        tasks,
    )


def _sup_contrast(vectors, labels, tau):
    """`SupConLoss` of HobbitLong/SupContrast with one view, equal temperatures and its guard."""
    torch = pytest.importorskip("torch")
    features = torch.nn.functional.normalize(torch.tensor(vectors, dtype=torch.float64), dim=1)
    labels = torch.tensor(labels)[:, None]
    mask = torch.eq(labels, labels.T).double()
    logits = features @ features.T / tau
    logits = logits - logits.max(dim=1, keepdim=True).values.detach()
    others = 1 - torch.eye(len(labels), dtype=torch.float64)
    mask = mask * others
    log_prob = logits - torch.log((torch.exp(logits) * others).sum(1, keepdim=True))
    pairs = mask.sum(1)
    pairs = torch.where(pairs < 1e-6, 1, pairs)
    return float((-(mask * log_prob).sum(1) / pairs).mean())


def _batch(network, tables, rows=8):
    return tables[0]["train"].take(np.arange(rows), 0)


def _states(network, variables, table, tokens, sizes):
    return np.asarray(network.states(variables, table, jnp.asarray(tokens), jnp.asarray(sizes)))


@pytest.mark.parametrize("center", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_loss_of_texts_is_that_of_the_paper(opened, planted_tasks, center):
    run = opened(planted_tasks(("jd_1st_class",)))
    network, variables = run.network, run.begin(0)
    batch = _batch(network, run.tables)
    # The skill sentences of two rows are missing.
    batch["skill_sizes"][[1, 4]] = 0
    config = AuxiliaryConfig(similarity=0.3, comparison=0.7, temperature=0.2, center=center)
    loss = jax.jit(make_loss(network, config, (False,)))(variables, batch, None)

    table = network.prompts(variables, jnp.int32(0))
    states = _states(network, variables, table, batch["tokens"], batch["sizes"])
    # [CLS] t s s t [MASK] t ...: the mask is at 5 and the skill prompt at 2 and 3.
    assert network.layout.read == 5
    heads = jax.tree.map(np.asarray, variables["heads"])
    logits = GAIN * (states[:, 5] @ heads["kernel"][0] + heads["bias"][0])
    nats = np.log(np.exp(logits).sum(1)) - logits[np.arange(8), batch["labels"]]
    there = batch["skill_sizes"] > 0
    texts = states[:, 2:4].mean(1)[there]
    sentences = _states(network, variables, table, batch["skill_tokens"], batch["skill_sizes"])
    sentences = sentences[:, 2:4].mean(1)[there]
    if center:
        texts, sentences = texts - texts.mean(0), sentences - sentences.mean(0)
    lengths = np.linalg.norm(texts, axis=1) * np.linalg.norm(sentences, axis=1)
    similar = -((texts * sentences).sum(1) / lengths).mean()
    compared = _sup_contrast(sentences, batch["labels"][there], 0.2)
    assert float(loss.weight) == 8
    mean = {name: float(part) / 8 for name, part in loss.parts.items()}
    assert mean["task"] == pytest.approx(nats.mean(), rel=1e-4)
    assert mean["similarity"] == pytest.approx(similar, rel=1e-4)
    assert mean["comparison"] == pytest.approx(compared, rel=1e-4)
    total = nats.mean() + 0.3 * similar + 0.7 * compared
    assert float(loss.total) / 8 == pytest.approx(total, rel=1e-4)


@pytest.mark.slow
def test_only_the_text_learns_from_a_detached_similarity(opened, planted_tasks):
    run = opened(planted_tasks(("jd_1st_class",)))
    network, variables = run.network, run.begin(0)
    batch = _batch(network, run.tables)
    batch["tokens"][:] = batch["skill_tokens"][:, :1]  # texts without any gradient of their own

    def change(detach):
        config = AuxiliaryConfig(similarity=1.0, comparison=0.0, detach=detach)
        loss = make_loss(network, config, (False,))
        gradient = jax.grad(lambda v: loss(v, batch, None).parts["similarity"])(variables)
        rows = np.unique(batch["skill_tokens"])
        rows = rows[(rows > 5) & (rows < network.encoder.config.vocab_size)]
        return np.abs(np.asarray(gradient["encoder"]["embedding"]["table"])[rows]).max()

    assert change(False) > 1e-4
    assert change(True) == 0


@pytest.mark.slow
def test_the_loss_of_pairs_reads_the_lstm_of_torch(opened, planted_tasks):
    torch = pytest.importorskip("torch")
    run = opened(planted_tasks(("person_job_fit",)))
    network, variables = run.network, run.begin(0)
    batch = _batch(network, run.tables)
    # Some texts have one chunk.
    batch["sizes"][[0, 3], 1] = 0
    batch["sizes"][[1, 3], 3] = 0
    loss = make_loss(network, AuxiliaryConfig(similarity=0.5, comparison=0.5), (False,))
    found = jax.jit(loss)(variables, batch, None)

    table = network.prompts(variables, jnp.int32(0))
    shape = batch["tokens"].shape
    types = np.broadcast_to(batch["second"][..., None], shape).reshape(-1, shape[2])
    tokens, sizes = batch["tokens"].reshape(-1, shape[2]), batch["sizes"].reshape(-1)
    given = {"params": variables["encoder"], "tuned": {"embedding": {"prompt": table}}}
    valid = np.arange(shape[2])[None] < np.maximum(sizes, 1)[:, None]
    states = network.encoder.apply(given, tokens, valid, types=types.astype(np.int32))
    chunks = np.asarray(states)[:, network.layout.read].reshape(*shape[:2], -1)
    width = network.width
    lstm = torch.nn.LSTM(width, width, 2, batch_first=True)
    parts = jax.tree.map(np.asarray, variables["match"])
    kernel, bias = (np.asarray(variables["heads"][name])[0] for name in ("kernel", "bias"))
    scores = []
    with torch.no_grad():
        for number, layer in enumerate(parts["lstm"]):
            for name, values in (
                ("weight_ih", layer.read.T),
                ("weight_hh", layer.state.T),
                ("bias_ih", layer.bias),
                ("bias_hh", 0 * layer.bias),
            ):
                getattr(lstm, f"{name}_l{number}").copy_(torch.tensor(values))
        for row, present in zip(chunks, batch["sizes"] > 0, strict=True):
            last = lstm(torch.tensor(row[present])[None])[0][0, -1].numpy()
            hidden = np.maximum(last @ parts["dense"].kernel + parts["dense"].bias, 0)
            scores.append(GAIN * float((hidden @ kernel + bias)[0]))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(scores), torch.tensor(batch["labels"]).float()
    )
    assert float(found.parts["task"]) / 8 == pytest.approx(float(expected), rel=1e-4)
    assert np.isfinite(float(found.total))


@pytest.mark.slow
def test_the_losses_of_numbers_and_of_words(opened, planted_tasks):
    torchcrf = pytest.importorskip("torchcrf")
    import torch

    run = opened(planted_tasks(("salary", "skill_extraction")))
    network, variables = run.network, run.begin(0)
    loss = jax.jit(make_loss(network, OFF, (True, False)))
    batch = run.tables[0]["train"].take(np.arange(8), 0)
    table = network.prompts(variables, jnp.int32(0))
    states = _states(network, variables, table, batch["tokens"], batch["sizes"])
    heads = jax.tree.map(np.asarray, variables["heads"])
    guessed = states[:, network.layout.read] @ heads["kernel"][0, :, 0] + heads["bias"][0, 0]
    expected = ((GAIN * guessed - batch["values"]) ** 2).mean()
    assert float(loss(variables, batch, None).total) / 8 == pytest.approx(expected, rel=1e-4)

    batch = run.tables[1]["train"].take(np.arange(8), 1)
    table = network.prompts(variables, jnp.int32(1))
    states = _states(network, variables, table, batch["tokens"], batch["sizes"])
    vectors = np.take_along_axis(states, batch["first"][..., None], 1)
    head = jax.tree.map(np.asarray, variables["tags"])
    emissions = torch.tensor(GAIN * (vectors @ head["kernel"] + head["bias"]))
    crf, ours = torchcrf.CRF(5, batch_first=True), network.crf(variables)
    with torch.no_grad():
        crf.transitions.copy_(torch.tensor(np.asarray(ours.transitions)))
        crf.start_transitions.copy_(torch.tensor(np.asarray(ours.start)))
        crf.end_transitions.copy_(torch.tensor(np.asarray(ours.end)))
        mask = torch.tensor(batch["present"])
        nats = -crf(emissions, torch.tensor(batch["tags"]).long(), mask, reduction="none")
    found = loss(variables, batch, None)
    mean = float(nats.sum()) / batch["present"].sum()
    assert float(found.total / found.weight) == pytest.approx(mean, rel=1e-4)


def test_an_extractor_without_a_run_and_a_loss_of_nothing():
    from jaxrec.core import ConfigError

    with pytest.raises(ConfigError, match=r"extractor is tagger and --auxiliary\.tagger is ''"):
        AuxiliaryConfig(extractor="tagger")
    with pytest.raises(ConfigError, match="leaves nothing that a text is similar to"):
        dataclasses.replace(OFF, similarity=0.1)
