"""An encoder-decoder that reads text prompts about users and items, and answers with text.

data set -> names of users and items -> prompts -> tokenizer -> encoder-decoder -> item, word, text

This is what systems with text prompts share: the tokenizer, the training plan, and three ways to
answer: the best items of a trie, a score for each of a few texts, and free text.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrec.core import ConfigError, MeshConfig, ShardingRules, check_mask, check_numbers
from jaxrec.data import (
    Group,
    Mixture,
    add_id_tokens,
    encode_texts,
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
    length_groups,
    score_answers,
    score_candidates,
    write_answers,
)
from jaxrec.ids import ItemCodes
from jaxrec.models import WORDS, EncoderDecoder, TransformerConfig, word_kinds
from jaxrec.objectives import Loss, language_loss
from jaxrec.texts.names import Names, check_writable, is_token, without_tokens
from jaxrec.train import Plan, TrainConfig, make_plan

# A word becomes a token of its own if at least this share of the prompts has it.
_FREQUENT = 0.002


def make_tokenizer(corpus: Sequence[str], names: Names, codes: ItemCodes, size: int) -> Any:
    """Train a Unigram tokenizer on prompts, and add the names that are tokens of their own.

    Args:
      corpus: prompts and answers of the training.
      names: the names that the prompts use.
      codes: item IDs.
      size: number of tokens for the text, the names not counted.

    Example:
      >>> from jaxrec.ids import simple
      >>> from jaxrec.texts import make_names, make_tokenizer
      >>> codes = simple.independent(3)
      >>> names = make_names("tokens", "tokens", codes, num_users=2)
      >>> tokenizer = make_tokenizer(["after <a_0> comes <a_2>"] * 9, names, codes, size=360)
      >>> tokenizer.tokenize("after<a_0> comes<user_2>")
      ['▁after', '<a_0>', '▁comes', '<user_2>']
    """
    from tokenizers import AddedToken

    bare = [without_tokens(text) for text in corpus]
    counts = Counter(word for text in bare for word in text.split())
    # Names stay out however frequent they are: the tokenizer cuts them.
    named = {*names.users, *names.items}
    words = [w for w, n in counts.items() if n >= _FREQUENT * len(bare) and w not in named]
    tokenizer = train_unigram(bare, size, words=words)
    if is_token(names.items[0]):
        add_id_tokens(tokenizer, codes.sizes)
    if is_token(names.users[0]):
        tokenizer.add_tokens([AddedToken(n, normalized=False, special=False) for n in names.users])
    return tokenizer


def first_token(tokenizer: Any, codes: ItemCodes) -> int | None:
    """The token of the first code of item IDs; None where items are written as text."""
    return tokenizer.get_vocab().get(id_tokens(codes.sizes)[0])


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Prompted:
    """A model with its tokenizer and items, ready to answer prompts.

    Attributes:
      model: reads prompts and writes answers.
      params: its variables; None before there are any.
      tokenizer: of transformers.
      items: the trie of all items as the model writes them.
      variables: variables of the model that are not trained, by collection.
      batch_size: prompts in each call of the model.
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
        """Make a model without parameters, whose vocabulary is the tokenizer's.

        Raises:
          DataError: two items are written alike, so an answer could mean either.
        """
        check_writable(names)
        size = len(tokenizer)
        first = first_token(tokenizer, codes)
        begins = [] if first is None else list(range(first, first + codes.sizes[0]))
        users = tokenizer.convert_tokens_to_ids(names.users) if is_token(names.users[0]) else []
        begins += users
        # The model never writes a user. If users were in the softmax, which shares its table with
        # the inputs, each step would push all their vectors in the same direction, until the
        # encoder could not tell one user from another.
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

    @classmethod
    def of_base(
        cls, shape: TransformerConfig, tokenizer: Any, names: Names, batch_size: int = 128
    ) -> "Prompted":
        """Make a model without parameters that has the vocabulary of a pretrained one.

        Args:
          shape: of the pretrained model.
          tokenizer: of the pretrained model.
          names: of the items, written as text.
          batch_size: see the class.

        Raises:
          DataError: two items are written alike, so an answer could mean either.
        """
        check_writable(names)
        return cls(
            model=EncoderDecoder(shape),
            params=None,
            tokenizer=tokenizer,
            items=Answers.of_texts(tokenizer, names.items, shape.vocab_size),
            variables={},
            batch_size=batch_size,
        )

    def init(self, key: jax.Array) -> Any:
        """Draw the initial parameters, with their axis names."""
        tokens = jnp.zeros((1, 2), jnp.int32)
        variables = self.model.init(key, tokens, tokens == 0, tokens, tokens == 0)
        return {"params": variables["params"]}

    def join(self, trained: Any, frozen: Any = None) -> Any:
        """The model's variables: the trained parameters and what is not trained."""
        del frozen
        return {**trained, **self.variables}

    def with_params(self, params: Any) -> "Prompted":
        """The same model with other variables."""
        return dataclasses.replace(self, params=params)

    @property
    def num_items(self) -> int:
        """I, items that it can recommend."""
        return len(self.items)

    @property
    def _call(self) -> dict[str, Any]:
        return {"batch_size": self.batch_size, "start": self.tokenizer.pad_token_id}

    def _read(self, prompts: Sequence[str], length: int = 0) -> Prompts:
        tokens, valid = encode_texts(self.tokenizer, prompts, length)
        return Prompts(tokens=jnp.asarray(tokens), valid=jnp.asarray(valid))

    def recommend(
        self,
        prompts: Sequence[str],
        *,
        beams: int,
        allowed: np.ndarray | None = None,
        excluded: Sequence[np.ndarray] | None = None,
        length: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find the best items for each prompt by an exact search over the trie.

        Args:
          prompts: N texts.
          beams: K.
          allowed: `[N, I]` bool items that may be found; None for all.
          excluded: N arrays of items that may not be found; None for none.
          length: tokens to which prompts are padded; 0 for the longest, see `encode_texts`.

        Returns:
          `[N, K]` item numbers, best first and -1 in unfilled places, and their log-probabilities.

        Raises:
          ConfigError: `allowed` or `excluded` is not about these prompts and items.
          DataError: an item outside the catalogue.
        """
        options = SearchOptions(beams=beams, normalize="vocabulary")
        read = self._read(prompts, length)

        def choose(read: Prompts, request: Request, size: int) -> tuple[np.ndarray, np.ndarray]:
            call = self._call | {"batch_size": size}
            return choose_answers(
                self.model, self.params, self.items, read, options, request, **call
            )

        if allowed is not None:
            check_mask(allowed, (len(prompts), self.num_items), "allowed items")
        if excluded is None:
            request = Request(allowed=None if allowed is None else jnp.asarray(allowed))
            return choose(read, request, self.batch_size)
        if len(excluded) != len(prompts):
            raise ConfigError(
                f"{len(excluded)} lists of excluded items for {len(prompts)} prompts; give one "
                "list for each"
            )
        check_numbers(excluded, self.num_items, "excluded items")
        items = np.full((len(prompts), beams), -1, np.int32)
        scores = np.full((len(prompts), beams), -np.inf, np.float32)
        for group in length_groups([len(row) for row in excluded], self.batch_size):
            rows = group.rows
            mine = None if allowed is None else jnp.asarray(np.asarray(allowed)[rows])
            own = jax.tree.map(lambda x, rows=rows: x[rows], read)
            request = Request.excluding([excluded[row] for row in rows], mine)
            items[rows], scores[rows] = choose(own, request, group.batch_size)
        return items, scores

    def recommend_freely(self, prompts: Sequence[str], *, beams: int) -> np.ndarray:
        """Search the whole vocabulary: `[N, K]` item numbers, -1 for a text that is no item."""
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
        """Log-probability of each text as the answer to each prompt: `[N, A]`."""
        answers = Answers.of_texts(self.tokenizer, texts, len(self.tokenizer))
        read = self._read(prompts)
        return score_answers(self.model, self.params, answers, read, **self._call)

    def score_items(
        self,
        prompts: Sequence[str],
        candidates: np.ndarray,
        written: Sequence[str] = (),
    ) -> np.ndarray:
        """Score some items as the answer to each prompt, without a search.

        Args:
          prompts: N texts.
          candidates: `[N, C]` item numbers.
          written: N texts that the model has written before the item; none by default.

        Returns:
          `[N, C]` float64 log-probabilities, sums over the `items.lengths` tokens of each item.

        Raises:
          ConfigError: candidates or written texts for another number of prompts.
          DataError: a candidate outside the catalogue.
        """
        encoded = self.tokenizer.backend_tokenizer.encode_batch(list(written))
        return score_candidates(
            self.model,
            self.params,
            self.items,
            self._read(prompts),
            candidates,
            # Without the end of the text, because it goes on.
            written=[row.ids[:-1] for row in encoded],
            **self._call,
        )

    def write(self, prompts: Sequence[str], max_tokens: int) -> list[str]:
        """Answer each prompt with text, token by token, each time with the likeliest one."""
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
    """Plan the training step for batches of `data.prompt_batches`.

    Args:
      prompted: the model.
      mixture: the tasks, whose rows give the shapes.
      groups: from `data.group_tasks`.
      config: of the training.
      mesh: devices.
      rules: where parameters and batches lie.

    Raises:
      ConfigError: see `make_plan`.
    """
    model = prompted.model

    def loss(params: Any, batch: Mapping[str, Any], key: jax.Array) -> Loss:
        keys = jax.random.split(key, len(groups))
        losses = [
            language_loss(model, params, batch[name], keys[n])
            for n, name in enumerate(sorted(batch))
        ]
        return Loss(
            total=jnp.stack([part.total for part in losses]).sum(),
            weight=jnp.stack([part.weight for part in losses]).sum(),
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


def count_tokens(batch: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[int, int]:
    """Count the tokens of a batch that are not padding, and all its cells.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import count_tokens
      >>> mask = np.array([[True, True, False]])
      >>> count_tokens({"group_0": {"source_valid": mask, "valid": mask}})
      (4, 6)
    """
    masks = [group[name] for group in batch.values() for name in ("source_valid", "valid")]
    return sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
