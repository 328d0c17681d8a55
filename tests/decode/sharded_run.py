"""Beam search with parameters and users split over devices, as JSON.

    python tests/decode/sharded_run.py CASE '{"name": {"mesh": {...}, "rules": {...}, ...}, ...}'

CASE are the arguments of `make_case`. Run by the tests with as many fake devices as `XLA_FLAGS`
says.
"""

import json
import sys

import jax
import numpy as np

from jaxrec.core.activations import sharded
from jaxrec.core.collective_counts import collectives
from jaxrec.core.mesh import (
    MeshConfig,
    ShardingRules,
    batch_sharding,
    make_mesh,
    param_shardings,
)
from jaxrec.decode import Prompts, Recommender, SearchOptions, beam_search
from jaxrec.ids import ItemCodes
from jaxrec.models import ModelSpec
from jaxrec.testing.brute_force import MAX_ITEMS, make_case


def place(case, mesh, rules):
    """The parameters of a case on a mesh."""
    kind = "encoder_decoder" if case.kind == "encoder-decoder" else "causal"
    shapes = ModelSpec(kind, case.model.config).shapes()
    return jax.device_put(case.params, param_shardings(shapes, mesh, rules))


def search(case, mesh, rules):
    """Items and scores of the ten best after each history, and what was moved for them."""
    tokens = jax.device_put(case.tokens, batch_sharding(mesh, rules))
    arguments = case.catalogue, Prompts(tokens=tokens)
    with sharded(mesh, rules):
        compiled = beam_search.lower(
            case.model, place(case, mesh, rules), *arguments, SearchOptions(beams=10)
        ).compile()
    found = compiled(place(case, mesh, rules), *arguments)
    return {
        "items": np.asarray(found.items).tolist(),
        "scores": np.asarray(found.scores).tolist(),
        "rows": found.items.addressable_shards[0].data.shape[0],
        "moved": [x.kind for x in collectives(compiled.as_text())],
    }


def recommend(case, mesh, rules):
    """What a `Recommender` gives five users, in batches of sixteen, of items new to them."""
    recommender = Recommender(
        model=case.model,
        params=place(case, mesh, rules),
        codes=ItemCodes(codes=case.codes, sizes=case.vocabulary.sizes, scheme="random"),
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
    found = {"devices": jax.device_count()}
    for name, run in json.loads(sys.argv[2]).items():
        case = make_case(**json.loads(sys.argv[1]) | run.get("flavour", {}), kind=run["kind"])
        mesh, rules = make_mesh(MeshConfig(**run["mesh"])), ShardingRules(**run["rules"])
        found[name] = (recommend if name == "recommender" else search)(case, mesh, rules)
    print(json.dumps(found))
