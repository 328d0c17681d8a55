"""Personal data in texts: e-mail addresses, public IPv4 addresses, phone numbers and names.

Each is found by a pattern, checked by a validator and replaced by a fixed marker, so that running
it twice changes nothing more. Names come from a function, such as a named-entity tagger.
"""

import dataclasses
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable

Tagger = Callable[[str], Iterable[tuple[int, int]]]

_EMAIL = re.compile(
    r"(?<![\w.%+'-])[\w.%+'-]{1,64}@(?:[^\W_](?:[\w-]{0,62})\.){1,8}[^\W\d_]{2,24}(?![\w@])"
)
_HIDDEN_EMAIL = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}\s?[\[(<]\s?at\s?[\])>]\s?[\w-]{1,63}"
    r"(?:(?:\.|\s?[\[(<]\s?dot\s?[\])>]\s?)[\w-]{1,63}){1,8}",
    re.IGNORECASE,
)
_IP = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\w|[-+][A-Za-z])")
# Words before four numbers that are a version, and a name that a version is joined to.
_VERSION = re.compile(
    r"(?:\b(?:v|ver|version|release|rev|revision|build|firmware|patch|update|section|chapter|sec)\.?"
    r"[\s:=#]{0,3}|[A-Za-z0-9][-_/]v?)$",
    re.IGNORECASE,
)
_PHONE = re.compile(
    r"(?<![\w.+])(?:"
    r"(?:\+|00)\d{1,3}[\s.\-/]{0,2}(?:\(\d{1,5}\)[\s.\-/]?)?\d{1,5}(?:[\s.\-/]?\d{2,5}){1,5}"
    r"|(?:1[\s.-])?(?:\([2-9]\d{2}\)\s?|[2-9]\d{2}[\s.-])\d{3}[\s.-]\d{4}"
    r"|\(?0\d{1,4}\)?[\s/-]\d{3,5}[\s-]?\d{3,5}"
    r")(?!\w|[.\-/]\d)"
)
_DIGITS = range(8, 16)  # digits of a phone number with its country or area


@dataclasses.dataclass(frozen=True, kw_only=True)
class Privacy:
    """What to replace, and by which markers.

    Attributes:
      emails: replace e-mail addresses, also those written as "name [at] host [dot] org".
      ips: replace IPv4 addresses that are globally routable. Private and reserved addresses stay,
        and so do version numbers of four parts.
      phones: replace phone numbers with a country code or an area code.
      email_marker: replaces an e-mail address.
      ip_marker: replaces an IPv4 address.
      phone_marker: replaces a phone number.
      name_marker: replaces a name that a tagger finds.
    """

    emails: bool = True
    ips: bool = True
    phones: bool = True
    email_marker: str = "<email>"
    ip_marker: str = "<ip>"
    phone_marker: str = "<phone>"
    name_marker: str = "<name>"


def remove_personal(
    text: str, privacy: Privacy, tagger: Tagger | None = None
) -> tuple[str, dict[str, int]]:
    """Replace personal data in a text.

    Args:
      text: the text.
      privacy: what to replace.
      tagger: returns (begin, end) of the names in a text; None to leave names.

    Returns:
      The text, and how many of each kind were replaced.

    Example:
      >>> remove_personal("Ask ann@x.org at 10.0.0.1, 8.8.8.8 or +44 20 7946 0958.", Privacy())
      ('Ask <email> at 10.0.0.1, <ip> or <phone>.', {'email': 1, 'ip': 1, 'phone': 1})
    """
    counts: Counter[str] = Counter()

    def replace(kind: str, marker: str, valid: Callable[[re.Match[str]], bool]) -> Callable:
        def replaced(match: re.Match[str]) -> str:
            if not valid(match):
                return match[0]
            counts[kind] += 1
            return marker

        return replaced

    if tagger is not None:
        for begin, end in sorted(tagger(text), reverse=True):
            counts["name"] += 1
            text = text[:begin] + privacy.name_marker + text[end:]
    # The tests for single characters spare most texts the patterns.
    if privacy.emails:
        mark = replace("email", privacy.email_marker, lambda match: True)
        text = _EMAIL.sub(mark, text) if "@" in text else text
        if "at" in text and ("dot" in text.lower() or "[" in text or "(" in text):
            text = _HIDDEN_EMAIL.sub(mark, text)
    if any(map(str.isdigit, text)):
        if privacy.ips and text.count(".") >= 3:
            text = _IP.sub(replace("ip", privacy.ip_marker, is_public_ip), text)
        if privacy.phones:
            text = _PHONE.sub(replace("phone", privacy.phone_marker, _is_phone), text)
    return text, dict(counts)


def is_public_ip(match: re.Match[str]) -> bool:
    """Whether a match of four numbers is a globally routable address and no version number.

    Example:
      >>> [bool(is_public_ip(m)) for m in _IP.finditer("8.8.8.8, v8.8.8.8, 10.0.0.1, 999.1.1.1")]
      [True, False, False]
    """
    # Leading zeros are read as octal by some programs, and rejected by `ipaddress`.
    parts = [int(part) for part in match[0].split(".")]
    if max(parts) > 255 or not ipaddress.IPv4Address(bytes(parts)).is_global:
        return False
    begin = match.start()
    before = match.string[max(0, begin - 20) : begin]
    return _VERSION.search(before) is None


def _is_phone(match: re.Match[str]) -> bool:
    digits = sum(map(str.isdigit, match[0]))
    return digits in _DIGITS
