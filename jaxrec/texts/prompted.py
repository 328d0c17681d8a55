"""An encoder-decoder that reads text prompts about users and items, and answers with text.

dataset -> names of users and items -> prompts -> tokenizer -> encoder-decoder -> item, word, text

What systems with text prompts share: the names, the tokenizer, the plan of the training, and the
ways to answer: the best of a trie, a score for each of a few texts, and free text.
"""

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import MeshConfig, ShardingRules
from jaxrec.data import (
    Group,
    Mixture,
    Template,
    add_id_tokens,
    encode_texts,
    holes,
    id_tokens,
    train_unigram,
)
from jaxrec.decode import (
    Answers,
    Prompts,
    Request,
    SearchOptions,
    TextOptions,
    choose_answers,
    complete,
    score_answers,
    write_answers,
)
from jaxrec.ids import ItemCodes
from jaxrec.models import WORDS, EncoderDecoder, TransformerConfig, word_kinds
from jaxrec.objectives import Loss, language_loss
from jaxrec.texts.tasks import Names
from jaxrec.train import Plan, TrainConfig, make_plan

Writing = Literal["tokens", "numbers"]
# The first item's number, of four digits so that the tokenizer cuts all numbers much alike, as in
# the sequential IDs of Hua et al. 2023.
_FIRST = 1001
_TOKEN = re.compile(r"<[a-z]+_[0-9]+>")
# Holes of templates that stand for users and for items.
USERS, ITEMS = "user", "item|items|asked|candidates"
# Share of the prompts that a word must be in to be a token of its own.
_FREQUENT = 0.002


def item_numbers(codes: ItemCodes) -> np.ndarray:
    """IDs as numbers, their codes being the digits: `[I]` int64."""
    number = np.zeros(codes.num_items, np.int64)
    for level, size in enumerate(codes.sizes):
        number = number * size + codes.codes[:, level]
    return number


def make_names(items: Writing, users: Writing, codes: ItemCodes, num_users: int) -> Names:
    """Write users and items.

    Args:
      items: "tokens": the codes of an ID are tokens of their own, side by side. "numbers": the
        number that the codes spell is text, which the tokenizer cuts ("item_7391").
      users: likewise; one token a user.
      codes: item IDs.
      num_users: U.
    """
    if items == "tokens":
        pieces = id_tokens(codes.sizes)
        starts = np.cumsum([0, *codes.sizes[:-1]])
        rows = (codes.codes + starts[None]).tolist()
        named = ["".join(pieces[code] for code in row) for row in rows]
    else:
        named = [f"item_{_FIRST + number}" for number in item_numbers(codes).tolist()]
    bare = [f"user_{user + 1}" for user in range(num_users)]
    people = [f"<{name}>" for name in bare] if users == "tokens" else bare
    return Names(users=people, items=named, separator="" if items == "tokens" else " , ")


def fitted(templates: Sequence[Template], names: Names) -> tuple[Template, ...]:
    """Templates as the names want them.

    Users with a history may go unnamed; and no spaces stand before those names that are tokens,
    where they would be tokens.
    """
    if names.anyone:
        templates = [
            dataclasses.replace(
                template, source=template.source.replace(f"{{{USERS}}}", names.anyone)
            )
            if "items" in holes(template)
            else template
            for template in templates
        ]
    for hole, written in ((USERS, names.users), (ITEMS, names.items)):
        if _TOKEN.match(written[0]):
            templates = [
                dataclasses.replace(
                    template, source=re.sub(rf" (?={{(?:{hole})}})", "", template.source)
                )
                for template in templates
            ]
    return tuple(templates)


def make_tokenizer(corpus: Sequence[str], names: Names, codes: ItemCodes, size: int) -> Any:
    """Train a Unigram tokenizer on prompts, and add those names that are tokens.

    Args:
      corpus: prompts and answers of the training.
      names: as the prompts have them.
      codes: item IDs.
      size: tokens of the text, the names' not counted.
    """
    from tokenizers import AddedToken

    bare = [_TOKEN.sub(" ", text) for text in corpus]
    counts = Counter(word for text in bare for word in text.split())
    # Names are cut, however often they are met.
    named = {*names.users, *names.items}
    words = [w for w, n in counts.items() if n >= _FREQUENT * len(bare) and w not in named]
    tokenizer = train_unigram(bare, size, words=words)
    if _TOKEN.match(names.items[0]):
        add_id_tokens(tokenizer, codes.sizes)
    if _TOKEN.match(names.users[0]):
        tokenizer.add_tokens([AddedToken(n, normalized=False, special=False) for n in names.users])
    return tokenizer


def first_token(tokenizer: Any, codes: ItemCodes) -> int | None:
    """The token of the first code of item IDs; None where items are text."""
    return tokenizer.get_vocab().get(id_tokens(codes.sizes)[0])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prompted:
    """A model with its tokenizer and items, ready to be asked.

    Attributes:
      model: reads prompts.
      params: its variables; None before there are any.
      tokenizer: of transformers.
      items: what stands for items.
      variables: those of the model that nobody trains, by collection.
      batch_size: prompts a call.
    """

    model: EncoderDecoder
    params: Any
    tokenizer: Any
    items: Answers
    variables: Mapping[str, Any]
    batch_size: int = 128

    @classmethod
    def build(
        cls,
        shape: TransformerConfig,
        tokenizer: Any,
        names: Names,
        codes: ItemCodes,
        batch_size: int = 128,
    ) -> "Prompted":
        """Make the model of a shape, whose vocabulary is the tokenizer's; without parameters."""
        size = len(tokenizer)
        first = first_token(tokenizer, codes)
        begins = [] if first is None else list(range(first, first + codes.sizes[0]))
        users = tokenizer.convert_tokens_to_ids(names.users) if _TOKEN.match(names.users[0]) else []
        begins += users
        # Nobody writes a user. With the table of the inputs in the softmax, each step would push
        # all users' vectors the same way, until the encoder could not tell one from another.
        shape = dataclasses.replace(shape, vocab_size=size, read_only=len(users))
        kinds = word_kinds(tokenizer, size, begins)
        return cls(
            model=EncoderDecoder(shape),
            params=None,
            tokenizer=tokenizer,
            items=Answers.of_texts(tokenizer, names.items, size)
            if first is None
            else Answers.of_codes(codes, first),
            variables={WORDS: {"kinds": jnp.asarray(kinds)}} if shape.word_rows else {},
            batch_size=batch_size,
        )

    def init(self, key: jax.Array) -> Any:
        """Parameters to begin with, with their axis names."""
        tokens = jnp.zeros((1, 2), jnp.int32)
        found = self.model.init(key, tokens, tokens == 0, tokens, tokens == 0)
        return {"params": found["params"]}

    def join(self, trained: Any, frozen: Any = None) -> Any:
        """The model's variables, from its parameters."""
        del frozen
        return {**trained, **self.variables}

    def with_params(self, params: Any) -> "Prompted":
        """The same with the model's variables."""
        return dataclasses.replace(self, params=params)

    @property
    def _call(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "start": self.tokenizer.pad_token_id}

    def _read(self, prompts: Sequence[str]) -> Prompts:
        tokens, valid = encode_texts(self.tokenizer, prompts)
        return Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid))

    def recommend(
        self,
        prompts: Sequence[str],
        *,
        beams: int,
        allowed: np.ndarray | None = None,
        excluded: Sequence[np.ndarray] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best items for each prompt, see `decode.choose_answers`: `[N, K]` and scores."""
        request = Request(allowed=None if allowed is None else jnp.asarray(allowed))
        if excluded is not None:
            request = Request.excluding(excluded, request.allowed)
        return choose_answers(
            self.model,
            self.params,
            self.items,
            self._read(prompts),
            SearchOptions(beams=beams, normalize="vocabulary"),
            request,
            **self._call,
        )

    def recommend_freely(self, prompts: Sequence[str], *, beams: int) -> np.ndarray:
        """The same over the whole vocabulary, -1 for what is no item: `[N, K]`."""
        return write_answers(
            self.model,
            self.params,
            self.items,
            self._read(prompts),
            beams=beams,
            end=self.tokenizer.eos_token_id,
            **self._call,
        )

    def score(self, prompts: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        """Log-probability of each of a few texts as the answer to each prompt: `[N, A]`."""
        answers = Answers.of_texts(self.tokenizer, texts, len(self.tokenizer))
        read = self._read(prompts)
        return score_answers(self.model, self.params, answers, read, **self._call)

    def write(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Answer each prompt with text, greedily."""
        return complete(
            self.model,
            self.params,
            self.tokenizer,
            prompts,
            TextOptions(max_tokens=max_tokens),
            batch_size=self.batch_size,
        )


def plan_prompts(
    prompted: Prompted,
    mixture: Mixture,
    groups: Sequence[Group],
    config: TrainConfig,
    mesh: MeshConfig,
    rules: ShardingRules,
) -> Plan:
    """Compile the training step for batches of `data.prompts.prompt_batches`.

    Raises:
      ConfigError, ResourceError: as of `make_plan`.
    """
    model = prompted.model

    def loss(params: Any, batch: Mapping[str, Any], key: jax.Array) -> Loss:
        keys = jax.random.split(key, len(groups))
        each = [
            language_loss(model, params, batch[name], keys[n])
            for n, name in enumerate(sorted(batch))
        ]
        return Loss(
            total=jnp.stack([found.total for found in each]).sum(),
            weight=jnp.stack([found.weight for found in each]).sum(),
            parts={},
        )

    def shapes(group: Group) -> dict[str, jax.ShapeDtypeStruct]:
        rows = sum(mixture.rows[task] for task in group.tasks)
        read, written = (rows, group.source), (rows, group.target + 1)
        return {
            "source": jax.ShapeDtypeStruct(read, jnp.int32),
            "source_valid": jax.ShapeDtypeStruct(read, jnp.bool_),
            "tokens": jax.ShapeDtypeStruct(written, jnp.int32),
            "valid": jax.ShapeDtypeStruct(written, jnp.bool_),
            "weights": jax.ShapeDtypeStruct(written, jnp.float32),
        }

    batch = {f"group_{number}": shapes(group) for number, group in enumerate(groups)}
    return make_plan(
        prompted.init, loss, batch, config, join=prompted.join, mesh_config=mesh, rules=rules
    )


def measure(batch: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[int, int]:
    """Tokens that the model reads and writes of a batch, and the cells that they lie in."""
    masks = [group[name] for group in batch.values() for name in ("source_valid", "valid")]
    return sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
