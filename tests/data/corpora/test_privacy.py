"""Personal data are found where they are planted, and nothing else is changed."""

import ipaddress

import numpy as np
import pytest

from jaxrec.data.corpora import Privacy, remove_personal

EMAILS = [
    "ann@x.org",
    "o'brien+news@mail.example.co.uk",
    "j_d@h-1.io",
    "josé@exämple.de",
    "john [at] example [dot] com",
    "ann (at) mail.example.org",
]
PHONES = [
    "+44 20 7946 0958",
    "(415) 555-2671",
    "415-555-2671",
    "415.555.2671",
    "1-800-555-0199",
    "+1 (415) 555-2671",
    "+49 171 1234567",
    "+442079460958",
    "0171/1234567",
    "020 7946 0958",
    "(030) 901820",
    "+33 1 23 45 67 89",
    "+91 98765 43210",
]
OTHERS = [
    "10.0.0.1",
    "192.168.0.255",
    "172.16.9.9",
    "127.0.0.1",
    "169.254.1.1",
    "0.0.0.0",
    "300.1.2.3",
    "1.2.3",
    "1.2.3.4.5",
    "version 2.10.3.7",
    "Version: 8.8.8.8",
    "v1.2.3.4",
    "Chrome/90.1.2.3",
    "lib-8.8.8.8",
    "8.8.8.8-beta",
    "section 8.1.2.3",
    "1990-1991",
    "1,234,567",
    "12 345 678",
    "2001-09-11 10:00",
    "978-3-16-148410-0",
    "3.14159265358979",
    "a@b",
    "@name",
    "5 @ 3",
    "look at the dot",
]


@pytest.mark.parametrize("frame", ["{}", "Write to {}, please.", "({})", "{}\n", "x: {}; y"])
def test_planted_data_are_replaced_and_the_rest_is_kept(frame):
    planted = {"email": EMAILS, "phone": PHONES, "ip": ["8.8.8.8", "93.184.216.34"]}
    for kind, values in planted.items():
        for value in values:
            text = frame.format(value)
            assert remove_personal(text, Privacy()) == (frame.format(f"<{kind}>"), {kind: 1}), text


@pytest.mark.parametrize("value", OTHERS)
def test_what_only_looks_alike_is_kept(value):
    for frame in ("{}", "See {}, and so on.", "({})"):
        text = frame.format(value)
        assert remove_personal(text, Privacy()) == (text, {})


def test_an_address_is_replaced_exactly_if_it_is_globally_routable():
    for number in np.random.default_rng(0).integers(0, 2**32, 300).tolist():
        address = ipaddress.IPv4Address(number)
        left, _ = remove_personal(f"from {address} to", Privacy(phones=False))
        assert (left == "from <ip> to") == address.is_global, address


def test_names_come_from_a_tagger_and_kinds_can_be_left():
    text = "Ann met Bob at ann@x.org."
    left, counts = remove_personal(text, Privacy(emails=False), lambda text: [(0, 3), (8, 11)])
    assert left == "<name> met <name> at ann@x.org."
    assert counts == {"name": 2}
    again, none = remove_personal(remove_personal(text, Privacy())[0], Privacy())
    assert (again, none) == ("Ann met Bob at <email>.", {})


def test_long_runs_of_characters_take_no_more_than_linear_time():
    import time

    seconds = []
    for size in (20_000, 80_000):
        begun = time.process_time()
        for text in ("a" * size + "@", "a." * size, "1." * size, "1 " * size, "+1-" * size):
            remove_personal(text, Privacy())
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 12 * seconds[0] + 0.1
