"""Runs with random parameters in a real checkpoint, which take no training."""

import dataclasses
import shutil

import jax
import numpy as np

from jaxrec.baselines import HstuConfig, SasrecConfig, sequential
from jaxrec.baselines.fitting import _trees
from jaxrec.core import MeshConfig, ShardingRules, make_mesh, to_json, write_text
from jaxrec.data import load_dataset
from jaxrec.runs import create_run, run_identity
from jaxrec.systems.generative import recommender as generative
from jaxrec.systems.generative.trainable import shapes_of
from jaxrec.systems.hstu.config import HstuRunConfig
from jaxrec.systems.sasrec import SasrecRunConfig
from jaxrec.testing import tiny_config, write_tiny_csv
from jaxrec.train import TrainConfig, make_optimizer, make_shapes
from jaxrec.train.checkpoint import Checkpoints


def save_random(init, train, directory, seed=0):
    """Save a checkpoint with random parameters, as the best of a training that has ended."""
    mesh = make_mesh(MeshConfig())
    shapes = make_shapes(init, make_optimizer(train), mesh, ShardingRules(), train)
    rng = np.random.default_rng(seed)
    state = jax.tree.map(
        lambda s: jax.device_put((0.3 * rng.normal(size=s.shape)).astype(s.dtype), s.sharding),
        shapes,
    )
    with Checkpoints(directory / "checkpoints") as checkpoints:
        checkpoints.save(1, state, {"run": run_identity(directory)}, score=0.5)
    write_text(directory / "train.json", to_json({"seconds": 1.0, "valid": {}}))


def generative_run(directory, **settings):
    """Make a run of the generative recommender on the tiny data below `directory`."""
    config = tiny_config(write_tiny_csv(directory))
    config = dataclasses.replace(config, **settings)
    codes = generative.open_run(config, load_dataset(config.data), directory / "run")
    save_random(shapes_of(config, codes).trainable, config.train, directory / "run")
    return config, directory / "run"


def sasrec_run(directory, **model):
    """Make a run of SASRec on the tiny data below `directory`."""
    network = SasrecConfig(width=8, depth=1, max_items=6, **model)
    return _sequential_run(SasrecRunConfig, network, directory)


def hstu_run(directory, **model):
    """Make a run of HSTU, which reads times, on the tiny data below `directory`."""
    network = HstuConfig(width=8, depth=1, max_items=6, **model)
    return _sequential_run(HstuRunConfig, network, directory)


def _sequential_run(kind, model, directory):
    config = kind(
        data=tiny_config(write_tiny_csv(directory)).data,
        model=model,
        train=TrainConfig(steps=2, batch_size=8),
    )
    dataset = load_dataset(config.data)
    create_run(config, dataset, None, directory / "run")
    count = dataset.num_items
    fixed = sequential.fixed_arrays(count, np.zeros(count), None)
    network = sequential.make_model(config.model, count)
    init = _trees(network, sequential._example(config.model), fixed, None)[0]
    save_random(init, config.train, directory / "run")
    return config, directory / "run"


def without_data(directory):
    """Remove everything beside the run, and its prepared training part."""
    for path in directory.parent.iterdir():
        if path != directory:
            path.unlink()
    shutil.rmtree(directory / "data", ignore_errors=True)
