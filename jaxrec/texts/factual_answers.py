"""Answers of language models that agree with the facts of a catalogue, and the shares that do."""

from collections.abc import Sequence

from jaxrec.eval import Verdicts
from jaxrec.texts.fact_sentences import RELEASED_IN, relation_words
from jaxrec.texts.facts import Facts
from jaxrec.texts.repair import AnswerForm, Illegal


def factual_form(form: AnswerForm[str], facts: Facts, item: int, title: str) -> AnswerForm[str]:
    """A form that also rejects what contradicts the facts of an item, so that it is asked again.

    Args:
      form: what a text must look like otherwise.
      facts: of the catalogue.
      item: the item that the text is about.
      title: what the item is called.

    Example:
      >>> from jaxrec.texts import Facts, factual_form, sentence_form
      >>> facts = Facts(((("has_genre", "horror"),), (("has_genre", "drama"),)))
      >>> form = factual_form(sentence_form(9), facts, 0, "Alien")
      >>> form.read("A fine drama.").fault
      'it says drama, and the genres of Alien are horror'
    """

    def read(text: str) -> str | Illegal:
        value = form.read(text)
        if isinstance(value, Illegal):
            return value
        wrong = facts.contradicted(facts.mentioned(value, item, title), item)
        if not wrong:
            return value
        relation, said = wrong[0]
        own = [known for name, known in facts.of_item[item] if name == relation]
        word = relation_words(facts.kind)[relation]
        verb = "is" if relation == RELEASED_IN else "are"
        return Illegal(f"it says {said}, and the {word} of {title} {verb} {', '.join(own)}")

    return AnswerForm(read=read, rules=form.rules)


def factual_shares(verdicts: Sequence[Verdicts]) -> dict[str, float]:
    """Shares over all statements of texts, and the share of texts that state something.

    Returns:
      "factual_precision", supported by all statements; "contradicted", contradicted ones by all;
      "factual_coverage", texts with a statement by all texts. nan where nothing is stated.

    Example:
      >>> from jaxrec.eval import Verdicts
      >>> one = Verdicts(supported=1, contradicted=1, unverifiable=0)
      >>> factual_shares([one, Verdicts(supported=0, contradicted=0, unverifiable=0)])
      {'factual_precision': 0.5, 'contradicted': 0.5, 'factual_coverage': 0.5}
    """
    total = sum(one.total for one in verdicts)
    nan = float("nan")
    return {
        "factual_precision": sum(o.supported for o in verdicts) / total if total else nan,
        "contradicted": sum(o.contradicted for o in verdicts) / total if total else nan,
        "factual_coverage": (
            sum(o.total > 0 for o in verdicts) / len(verdicts) if len(verdicts) else nan
        ),
    }
