"""Beam search with parameters and users split over devices, as JSON.

Run by the tests with as many fake devices as `XLA_FLAGS` says.
"""

import dataclasses
import json

import jax
import numpy as np

from jaxrec.core.activations import sharded
from jaxrec.core.collectives import collectives
from jaxrec.core.mesh import (
    MeshConfig,
    ShardingRules,
    batch_sharding,
    make_mesh,
    param_shardings,
)
from jaxrec.decode import Recommender, beam_search
from jaxrec.ids import ItemCodes
from jaxrec.models import ModelSpec
from jaxrec.testing.brute_force import MAX_ITEMS, make_case

MESHES = {
    "data": ({}, {}, "causal"),
    "fsdp": ({}, {"preset": "fsdp"}, "causal"),
    "tensor": ({"model": 2}, {"preset": "tensor"}, "causal"),
    "sequence": ({"model": 2}, {"preset": "sequence"}, "causal"),
    "encoder-decoder": ({"model": 2}, {"preset": "fsdp_tensor"}, "encoder-decoder"),
}


def search(mesh_config, rules, kind):
    """Items and scores of the ten best after each of eight histories, and what was moved."""
    case = make_case(3, (8, 6), 0.7, users=8, kind=kind, depth=2, tie_embeddings=False)
    mesh, rules = make_mesh(MeshConfig(**mesh_config)), ShardingRules(**rules)
    spec = ModelSpec(
        "encoder_decoder" if kind == "encoder-decoder" else "causal", case.model.config
    )
    params = jax.device_put(case.params, param_shardings(spec.shapes(), mesh, rules))
    tokens = jax.device_put(case.tokens, batch_sharding(mesh, rules))
    arguments = {"vocabulary": case.vocabulary, "beams": 10}
    with sharded(mesh, dataclasses.replace(rules, sequence=None)):
        compiled = beam_search.lower(case.model, params, case.index, tokens, **arguments).compile()
        found = beam_search(case.model, params, case.index, tokens, **arguments)
    moved = [x.kind for x in collectives(compiled.as_text())] if mesh.size > 1 else []
    return {
        "items": np.asarray(found.items).tolist(),
        "scores": np.asarray(found.scores).tolist(),
        "rows": found.items.addressable_shards[0].data.shape[0],
        "moved": moved,
    }


def recommend():
    """What a `Recommender` gives five users, in batches of sixteen on all devices."""
    case = make_case(3, (8, 6), 0.7, depth=2)
    mesh, rules = make_mesh(MeshConfig()), ShardingRules("fsdp")
    spec = ModelSpec("causal", case.model.config)
    recommender = Recommender(
        model=case.model,
        params=jax.device_put(case.params, param_shardings(spec.shapes(), mesh, rules)),
        codes=ItemCodes(case.codes, (8, 6), "random"),
        index=case.index,
        max_items=MAX_ITEMS,
        beams=10,
        batch_size=16,
        mesh=mesh,
        rules=rules,
    )
    histories = [np.arange(user) for user in range(5)]
    items, scores = recommender.recommend(histories, histories)
    return {"items": items.tolist(), "scores": scores.tolist()}


if __name__ == "__main__":
    several = jax.device_count() > 1
    runs = {
        name: search(mesh if several else {}, rules if several else {}, kind)
        for name, (mesh, rules, kind) in MESHES.items()
        if several or name in ("data", "encoder-decoder")
    }
    print(json.dumps({"runs": runs, "recommended": recommend(), "devices": jax.device_count()}))
