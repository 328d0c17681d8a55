"""Reading what a language model wrote: new instructions and instances, and why some are rejected.

The rules are those of Self-Instruct (Wang et al. 2023, arXiv:2212.10560, appendix A, and its code)
and of Alpaca (Taori et al. 2023), which changes the form of an answer and forbids more words.
"""

import dataclasses
import re
import string
from collections.abc import Sequence

from jaxrec.data import Instruction
from jaxrec.decode import Completion

# Words of tasks that a language model cannot do.
BANNED = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files"),
    *("map", "maps", "draw", "plot", "go to"),
)
ALPACA_BANNED = (*BANNED, "video", "audio", "music", "flowchart", "diagram")
_FEWEST, _MOST = 3, 150  # an instruction has more words than the first, and at most the second
MOST_INSTANCES = 5
NO_INPUT = "<noinput>"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A new instruction, and why it is rejected.

    Attributes:
      instruction: its text.
      input, output: its instance; "" where instances are written later.
      reason: why it is rejected; "" if no rule rejects it.
    """

    instruction: str
    input: str = ""
    output: str = ""
    reason: str = ""


def fault(instruction: str, banned: Sequence[str] = BANNED) -> str:
    """Say which rule rejects an instruction; "" if none does.

    Example:
      >>> from jaxrec.texts import fault
      >>> fault("Draw a map of Peru for me."), fault("List the rivers of Peru.")
      ('banned word: map', '')
    """
    words = len(instruction.split())
    if words <= _FEWEST:
        return "too short"
    if words > _MOST:
        return "too long"
    for word in banned:
        if re.search(rf"\b{re.escape(word)}\b", instruction, re.IGNORECASE):
            return f"banned word: {word}"
    if instruction.startswith("Write a program"):
        return "asks for a program"
    if instruction[0] in string.punctuation:
        return "starts with punctuation"
    if not instruction[0].isascii():
        return "starts with a character that is not ASCII"
    return ""


def read_series(completion: Completion) -> list[Candidate]:
    r"""Read a numbered series of instructions, as Self-Instruct asks for.

    A truncated completion is dropped whole. White space is one space, and each instruction is
    capitalized, as in the published code.

    Example:
      >>> from jaxrec.decode import Completion
      >>> from jaxrec.texts import read_series
      >>> found = read_series(Completion(" Name a long river.\n10. Draw a map of it."))
      >>> [(candidate.instruction, candidate.reason) for candidate in found]
      [('Name a long river.', ''), ('Draw a map of it.', 'banned word: map')]
    """
    parts = re.split(r"\n\d+\s?\. ", completion.text)
    texts = [re.sub(r"\s+", " ", part).strip().capitalize() for part in parts]
    return [
        Candidate(instruction=text, reason="truncated" if completion.truncated else fault(text))
        for text in texts
        if text
    ]


def read_tasks(completion: Completion, first: int) -> list[Candidate]:
    r"""Read numbered tasks with their instances, as Alpaca asks for.

    The last task of a truncated completion is dropped. A part without all three fields under its
    own number is rejected.

    Args:
      completion: continues "###\n{first}. Instruction:".
      first: number of the first task.

    Example:
      >>> from jaxrec.decode import Completion
      >>> from jaxrec.texts import read_tasks
      >>> text = " Name a big city.\n4. Input:\n<noinput>\n4. Output:\nLima\n###\n5. Instr"
      >>> [(t.instruction, t.output, t.reason) for t in read_tasks(Completion(text), 4)]
      [('Name a big city.', 'Lima', ''), ('5. Instr', '', 'malformed')]
    """
    parts = f"{first}. Instruction:{completion.text}".split("###")
    candidates = []
    for number, part in enumerate(parts, start=first):
        if not part.strip():
            continue
        fields = re.split(rf"{number}\.\s+(Instruction|Input|Output):", part)
        whole = fields[1::2] == ["Instruction", "Input", "Output"]
        text, given, output = (
            [field.strip() for field in fields[2::2]] if whole else [part.strip(), "", ""]
        )
        given = "" if given.lower() == NO_INPUT else given
        if completion.truncated and number == first + len(parts) - 1:
            reason = "truncated"
        elif not whole:
            reason = "malformed"
        else:
            reason = fault(text, ALPACA_BANNED) or ("" if output else "empty output")
        candidates.append(Candidate(instruction=text, input=given, output=output, reason=reason))
    return candidates


def read_class(completion: Completion) -> bool:
    """Whether a model says that an instruction asks for a class.

    Example:
      >>> from jaxrec.decode import Completion
      >>> from jaxrec.texts import read_class
      >>> read_class(Completion(" Yes")), read_class(Completion(" No"))
      (True, False)
    """
    return completion.text.strip() in ("Yes", "yes", "YES")


def read_instances(
    completion: Completion, instruction: str, *, classes: bool
) -> tuple[list[Instruction], list[tuple[Instruction, str]]]:
    r"""Read the instances of an instruction, and filter them.

    Args:
      completion: what the model wrote.
      instruction: what it was asked to give instances of.
      classes: the model wrote a class label before each input ("Class label:"), not an input before
        each output.

    Returns:
      At most five instances, and the others with the reason why each is rejected.

    Example:
      >>> from jaxrec.decode import Completion
      >>> from jaxrec.texts import read_instances
      >>> text = "Class label: good\nI like it.\nClass label: bad\nI hate it."
      >>> kept, rejected = read_instances(Completion(text), "Judge this.", classes=True)
      >>> [(record.input, record.output) for record in kept], rejected
      ([('I like it.', 'good'), ('I hate it.', 'bad')], [])
    """
    pairs = _labelled(completion.text) if classes else _examples(completion.text)
    records = [Instruction(instruction.strip(), given, output) for given, output in pairs]
    rejected: list[tuple[Instruction, str]] = []
    if completion.truncated and records:
        rejected.append((records.pop(), "truncated"))
    kept: list[Instruction] = []
    for record in records:
        reason = _instance_fault(record)
        if not reason and record in kept:
            reason = "duplicate"
        if reason:
            rejected.append((record, reason))
        else:
            kept.append(record)
    answers: dict[str, set[str]] = {}
    for record in kept:
        answers.setdefault(record.input, set()).add(record.output)
    if any(given and len(outputs) > 1 for given, outputs in answers.items()):
        # If the model contradicts itself about one input, the others are not trusted either.
        rejected += [(record, "one input with different outputs") for record in kept]
        return [], rejected
    rejected += [(record, "more than five") for record in kept[MOST_INSTANCES:]]
    return kept[:MOST_INSTANCES], rejected


def _instance_fault(record: Instruction) -> str:
    if record.input == record.output:
        return "output is the input" if record.output else "empty output"
    if not record.output:
        return "empty output"
    if record.input.endswith(":") or record.output.endswith(":"):
        return "ends with a colon"
    return ""


def _labelled(text: str) -> list[tuple[str, str]]:
    """Inputs and labels of "Class label: LABEL", each followed by its input."""
    pairs = []
    for part in text.split("Class label:")[1:]:
        label, _, given = part.strip().partition("\n")
        pairs.append((given.strip(), label.strip()))
    return pairs


def _examples(text: str) -> list[tuple[str, str]]:
    """Inputs and outputs of "Example N", with "Output:" between them."""
    text = text.strip()
    parts = [part.strip() for part in re.split(r"Example\s?\d*\.?", text)]
    if len(parts) > 1:
        return [_pair(part) for part in parts if part]
    return [_pair(text)] if re.search(r"Output\s*\d*\s*:", text) else []


def _pair(text: str) -> tuple[str, str]:
    parts = re.split(r"Output\s*\d*\s*:", text)
    given, output = (parts[0], parts[1]) if len(parts) > 1 else ("", parts[0])
    # A second input begins a further pair, of which nothing is known.
    output = re.split(r"Input\s*\d*\s*:", output)[0].strip()
    return re.sub(r"^Input\s*\d*\s*:", "", given.strip()).strip(), output
