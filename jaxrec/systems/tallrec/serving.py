"""A trained TALLRec run in use: questions about a whole catalogue, and the model for export."""

import dataclasses
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrec.core import ConfigError
from jaxrec.data import ClickWindows, Interactions
from jaxrec.models import Opened, Pretrained
from jaxrec.nn import TUNED
from jaxrec.peft import TuneConfig, merged
from jaxrec.quant import dequantize_params
from jaxrec.runs import RecommendRequest, find_user
from jaxrec.texts import TextModel


def known_items(data: Interactions, request: RecommendRequest) -> tuple[int, np.ndarray]:
    """Return the number of the user of a request, and all items that they rated, oldest first.

    Raises:
      ConfigError: no such user.
    """
    user = find_user(data.user_ids, request.user, data.name)
    return user, data.item[data.user == user]


def catalogue_windows(
    data: Interactions, user: int, history: int, threshold: float
) -> ClickWindows:
    """Ask about every item after the newest ratings of a user.

    Args:
      data: interactions with ratings, each user's in order of time.
      user: number of the user.
      history: H, ratings that are shown; fewer if the user has fewer.
      threshold: an item is liked if its rating is above.

    Returns:
      I windows, one per item. Their labels are False and mean nothing.

    Example:
      >>> from jaxrec.testing import tiny_interactions
      >>> windows = catalogue_windows(tiny_interactions(users=5, items=12), 3, 4, 3.0)
      >>> windows.history.shape, windows.target.tolist() == list(range(12))
      ((12, 4), True)
    """
    rows = np.flatnonzero(data.user == user)[-history:]
    count = data.num_items

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.tile(values[None], (count, 1))

    return ClickWindows(
        user=np.full(count, user, np.int32),
        history=repeated(data.item[rows]),
        liked=repeated(data.rating[rows] > threshold),
        target=np.arange(count, dtype=np.int32),
        label=np.zeros(count, bool),
    )


def open_model(tune: TuneConfig, text: TextModel, variables: Any, base: Opened | None) -> Opened:
    """Return the trained model with plain kernels, and its tokenizer.

    Args:
      tune: how it was trained.
      text: the text model.
      variables: all of its variables after training.
      base: the model that training began with; None for a model from scratch.

    Raises:
      ConfigError: tuning that no kernel can hold.
    """
    if tune.method not in ("full", "lora", "qlora"):
        raise ConfigError(
            f"tune.method {tune.method} trains parts that no plain kernel can hold; tune with "
            "lora, qlora or full to export the run"
        )
    if base is None:
        tokenizer = text.tokenizer
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        ids = {name: getattr(tokenizer, name) for name in names}
        tokens = {name: number for name, number in ids.items() if number is not None}
        family = None
    else:
        tokens, family = base.model.tokens, base.model.family
    model = Pretrained(
        spec=text.spec, params={"params": variables["params"]}, family=family, tokens=tokens
    )
    if TUNED in variables:
        model = merged(model, {TUNED: variables[TUNED]})
    params = {"params": dequantize_params(model.params["params"])}
    model = dataclasses.replace(model, params=params)
    return Opened(model=model, tokenizer=text.tokenizer)


def open_adapter(
    tune: TuneConfig, text: TextModel, variables: Any, base: Opened | None
) -> tuple[Opened, dict[str, Any], TuneConfig]:
    """Return the base of a tuned run, and what training added to it.

    Args:
      tune: how it was trained.
      text: the text model.
      variables: all of its variables after training.
      base: the model that training began with; None for a model from scratch.

    Raises:
      ConfigError: a run that trained all parameters.
    """
    if base is None or text.frozen is None:
        raise ConfigError(
            "this run trained all parameters, so there is no adapter; use jaxrec export --to hf"
        )
    leaves = flatten_dict(variables["params"], sep="/")
    besides = flatten_dict(text.trainable.get("params", {}), sep="/")
    trained = {TUNED: variables[TUNED]}
    if besides:
        trained["params"] = unflatten_dict({path: leaves[path] for path in besides}, sep="/")
    return base, trained, tune
