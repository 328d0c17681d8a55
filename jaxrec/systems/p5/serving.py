"""A trained P5 run in use: recommendations for one user, and the model as a plain T5."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrec.core import ConfigError
from jaxrec.data import holes
from jaxrec.items import item_rows
from jaxrec.models import ModelSpec, Opened, Pretrained, fold_scales
from jaxrec.runs import Kept, Recommendations, RecommendRequest, known_items, listed
from jaxrec.systems.p5.tested import Tested, first_ranking, recommend_items
from jaxrec.texts import Datum, PromptRanker, ask


def recommend(tested: Tested, codes: Any, request: RecommendRequest) -> Recommendations:
    """Ask the first task that ranks the whole catalogue, in a wording of the training.

    Args:
      tested: a trained run.
      codes: its item IDs.
      request: what is asked for.

    Raises:
      ConfigError: an unknown user, tasks that rank no catalogue, or more items than the search
        generates.
    """
    data = tested.data
    user, history = known_items(data.dataset, request)
    items, scores = recommend_items(
        tested, [user], [history], top=request.top, filter_seen=not request.include_seen
    )
    return listed(
        request,
        data.dataset.interactions.items.labels(),
        history,
        items[0],
        scores[0],
        score="log-probability of each ID",
        codes=codes.codes,
    )


def ranker(tested: Tested, kept: Kept, codes: np.ndarray) -> PromptRanker:
    """Rank by the task and wording that `recommend` asks.

    Args:
      tested: a trained run.
      kept: its users.
      codes: `[I, L]` item IDs.

    Raises:
      ConfigError: no task ranks the whole catalogue.
    """
    task = first_ranking(tested)
    template = task.wordings["seen"]

    def write(users: Sequence[int], histories: Sequence[np.ndarray]) -> Sequence[str]:
        data = [Datum(user=u, history=history) for u, history in zip(users, histories, strict=True)]
        return ask(task, template, tested.data, data).prompts

    return PromptRanker(
        prompted=tested.prompted,
        write=write,
        kept=kept,
        reads_user="user" in holes(template.source),
        beams=min(tested.config.decode.beams, tested.prompted.num_items),
        meaning="log-probability of each ID",
        max_items=tested.config.max_items,
        codes=codes,
    )


def open_model(tested: Tested, codes: Any) -> Opened:
    """Return the model as a T5 of Hugging Face can be: the same logits, other parameters.

    T5 scales neither embeddings nor attention scores, so both scales are folded into parameters:
    the encoder and the decoder read a scaled table, and the head has the unscaled one for itself.
    T5 cannot forbid tokens, so the tokens of users, which are never written, are listed as
    `suppress_tokens` for generation; their rows of the head are zero.

    Args:
      tested: a trained run.
      codes: its item IDs.

    Raises:
      ConfigError: a model with whole-word embeddings, which T5 does not have.
    """
    prompted, dataset = tested.prompted, tested.data.dataset
    c = prompted.model.config
    if c.word_rows:
        raise ConfigError(
            f"model.word_rows {c.word_rows} adds embeddings of whole words, which no class of "
            "transformers does; train with --model.word-rows 0 to export the run"
        )
    tokenizer = prompted.tokenizer
    written = c.vocab_size - c.read_only
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "decoder_start_token_id": tokenizer.pad_token_id,
        "suppress_tokens": list(range(written, c.vocab_size)),
    }
    if not c.read_only:
        del tokens["suppress_tokens"]
    spec, params = fold_scales(ModelSpec("encoder_decoder", c), prompted.params["params"])
    model = Pretrained(spec=spec, params={"params": params}, tokens=tokens)
    names = tested.data.names.items
    rows = [row | {"id": name} for row, name in zip(item_rows(codes, dataset), names, strict=True)]
    return Opened(model=model, tokenizer=tokenizer, items=rows)
