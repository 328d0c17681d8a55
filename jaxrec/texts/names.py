"""How prompts write users and items.

Names only go out: a prompt is made of numbers, and its answer comes back as a number. Nothing is
looked up by its name, so two items may have one name.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from jaxrec.core import DataError
from jaxrec.data import Template, holes, id_tokens
from jaxrec.ids import ItemCodes

Writing = Literal["tokens", "numbers"]
# The first item's number. Four digits, so that the tokenizer cuts all numbers in similar ways, as
# in the sequential IDs of Hua et al. 2023.
_FIRST = 1001
_TOKEN = re.compile(r"<[a-z]+_[0-9]+>")
# Holes of templates that stand for users and for items.
_USERS, _ITEMS = "user", "item|items|asked|candidates"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Names:
    """The strings that stand for users and items.

    Attributes:
      users: [U] strings.
      items: [I] strings; two items may have the same.
      separator: what stands between items.
      anyone: what prompts with a history call their user; "" for the user's own name.

    Example:
      >>> import numpy as np
      >>> from jaxrec.texts import Names
      >>> names = Names(users=["ann"], items=["Alien", "Blade Runner"], separator=" , ")
      >>> names.list(np.array([1, 0]))
      'Blade Runner , Alien'
    """

    users: list[str]
    items: list[str]
    separator: str
    anyone: str = ""

    def list(self, items: np.ndarray) -> str:
        """Several items in a row."""
        return self.separator.join(self.items[item] for item in items.tolist())


def item_numbers(codes: ItemCodes) -> np.ndarray:
    """Read IDs as numbers whose digits are the codes: `[I]` int64, different for different IDs.

    Example:
      >>> import numpy as np
      >>> from jaxrec.ids import ItemCodes
      >>> from jaxrec.texts import item_numbers
      >>> codes = ItemCodes(codes=np.array([[0, 3], [2, 1]]), sizes=(4, 10), scheme="by hand")
      >>> item_numbers(codes).tolist()
      [3, 21]
    """
    number = np.zeros(codes.num_items, np.int64)
    for level, size in enumerate(codes.sizes):
        number = number * size + codes.codes[:, level]
    return number


def make_names(items: Writing, users: Writing, codes: ItemCodes, num_users: int) -> Names:
    """Name users and items.

    Args:
      items: "tokens" writes each code of an ID as one token, side by side. "numbers" writes the
        number that the codes spell as text, which the tokenizer cuts ("item_7391").
      users: "tokens" writes one token for each user ("<user_7>"), "numbers" writes text ("user_7").
      codes: item IDs.
      num_users: U.

    Example:
      >>> from jaxrec.ids import simple
      >>> from jaxrec.texts import make_names
      >>> make_names("tokens", "numbers", simple.independent(3), num_users=2).items
      ['<a_0>', '<a_1>', '<a_2>']
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


def check_writable(names: Names) -> None:
    """Check that a written item stands for one item alone, as free text has to.

    Prompts may show names that items share. A model that answers with such a name, however, leaves
    open which item it means.

    Raises:
      DataError: two items have one name; the message gives their numbers.

    Example:
      >>> from jaxrec.texts import Names, check_writable
      >>> check_writable(Names(users=["ann"], items=["Alien", "Aliens"], separator=" , "))
    """
    first: dict[str, int] = {}
    for item, name in enumerate(names.items):
        if first.setdefault(name, item) != item:
            raise DataError(
                f"items {first[name]} and {item} are both written {name!r}, so an answer could "
                "mean either; write items by their IDs"
            )


def fit_templates(templates: Sequence[Template], names: Names) -> tuple[Template, ...]:
    """Adapt templates to the names.

    Prompts with a history call their user `names.anyone`, where that is set. No space stands before
    names that are tokens of their own, because the space would become a token.

    Example:
      >>> from jaxrec.data import Template
      >>> from jaxrec.texts import Names, fit_templates
      >>> names = Names(users=["<user_1>"], items=["<a_0>"], separator="", anyone="someone")
      >>> template = Template(name="next", source="{user} saw {items} then", target="{item}")
      >>> fit_templates([template], names)[0].source
      'someone saw{items} then'
    """
    sources = [template.source for template in templates]
    if names.anyone:
        sources = [
            text.replace(f"{{{_USERS}}}", names.anyone) if "items" in holes(text) else text
            for text in sources
        ]
    targets = [template.target for template in templates]
    for hole, written in ((_USERS, names.users), (_ITEMS, names.items)):
        if written and is_token(written[0]):
            space = re.compile(rf" (?={{(?:{hole})}})")
            sources, targets = ([space.sub("", t) for t in texts] for texts in (sources, targets))
    return tuple(
        dataclasses.replace(template, source=source, target=target)
        for template, source, target in zip(templates, sources, targets, strict=True)
    )


def is_token(name: str) -> bool:
    """Whether a name is one or more tokens of its own, such as "<a_3><b_1>"."""
    return _TOKEN.match(name) is not None


def without_tokens(text: str) -> str:
    """A text with a space in the place of every name that is a token of its own."""
    return _TOKEN.sub(" ", text)


def close_up(text: str) -> str:
    """A text without the space before each name that is a token of its own, as `fit_templates`.

    Example:
      >>> close_up("not <a_3> , but Alien")
      'not<a_3> , but Alien'
    """
    return re.sub(rf" (?={_TOKEN.pattern})", "", text)
