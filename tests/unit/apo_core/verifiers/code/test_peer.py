import os
import threading
from collections import Counter, namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest

from apo_core.verifiers.code.inside.peer import Peer, Remote
from apo_core.verifiers.code.inside.values import NotPlain, decode, encode, receive, send

Point = namedtuple("Point", "x y")
VALUES = [
    None,
    True,
    -3,
    10**50,
    1.5,
    float("inf"),
    "é\ud800",
    b"\0",
    1j,
    [1, (2, {3}), frozenset({4})],
    {(1, 2): {"a": []}},
    range(1, 9, 2),
    Decimal("0.10"),
    Fraction(1, 3),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_plain_data_crosses_unchanged(value):
    reader, writer = os.pipe()
    send(writer, encode(value))
    assert repr(decode(receive(reader))) == repr(value)


class Same(int):
    def __eq__(self, other):
        return True

    __hash__ = int.__hash__


def test_of_a_subclass_only_the_value_crosses():
    assert [type(decode(encode(value))) for value in (Same(1), Point(1, 2), Counter("a"))] == [
        int,
        tuple,
        dict,
    ]
    assert decode(encode(Same(1))) != 2


@pytest.mark.parametrize("value", [object(), len, [object()], (n for n in [])])
def test_other_objects_do_not_cross(value):
    with pytest.raises(NotPlain, match=r"cannot be compared"):
        encode(value)


@pytest.mark.parametrize("message", [{}, {"code": "1"}, {"bytes": 1}, {"a": 1, "b": 2}, {"Decimal": "x"}])
def test_malformed_messages_are_refused(message):
    with pytest.raises((ValueError, TypeError, KeyError, ArithmeticError)):
        decode(message)


class Yes:
    """What a program returns that wants to pass every test."""

    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return 0

    def __lt__(self, other):
        return True

    def __contains__(self, item):
        return True

    __hash__ = None


class Stack:
    def __init__(self, *items):
        self.items = list(items)

    def push(self, item):
        self.items.append(item)

    def __len__(self):
        return len(self.items)

    def __iter__(self):
        return iter(self.items)

    def __eq__(self, other):
        return self.items == other.items

    __hash__ = None


def raise_stop(_):
    raise StopIteration


PROGRAM = {
    "yes": Yes,
    "Stack": Stack,
    "double": lambda x: 2 * x,
    "append": lambda items, *, item: items.append(item),
    "apply": lambda function, x: function(x),
    "squares": lambda: (n * n for n in range(3)),
    "fail": lambda: {}["key"],
    "stop": raise_stop,
}


@pytest.fixture
def names():
    requests_end, requests = os.pipe()
    replies_end, replies = os.pipe()
    program = Peer(requests_end, replies, calls_only=False)
    thread = threading.Thread(target=program.serve, args=(PROGRAM, None))
    thread.start()
    tests = Peer(replies_end, requests, calls_only=True)
    yield {name: tests.request("name", name=name) for name in PROGRAM}
    os.close(requests)
    thread.join()


@pytest.mark.parametrize(
    "test",
    [
        "double(2) == 4 and double('a') == 'aa'",
        "(items := [1], append(items, item=2)) and items == [1, 2]",  # a change of an argument comes back
        "apply(lambda n: n + 1, 3) == 4",
        "list(squares()) == [0, 1, 4] and next(squares()) == 0 and 4 in squares()",
        "(stack := Stack(1), stack.push(2)) and len(stack) == 2 and list(stack) == stack.items == [1, 2]",
        "Stack(1) == Stack(1) and Stack(1) != Stack(2)",
        "Stack(1) != [1]",
    ],
)
def test_tests_use_the_program_as_if_it_were_theirs(names, test):
    assert eval(test, names)


@pytest.mark.parametrize("test", ["yes() == 5", "[yes()] == [5]", "5 == yes()", "yes() != yes() and False"])
def test_an_object_that_equals_everything_equals_nothing(names, test):
    assert not eval(test, names)


@pytest.mark.parametrize("test", ["yes() - 5", "yes() < 5", "5 in yes()", "all(map(stop, [1, 2]))"])
def test_an_object_does_not_learn_what_is_expected(names, test):
    with pytest.raises((TypeError, RuntimeError)):
        eval(test, names)


def test_exceptions_of_the_program_are_raised_in_the_test(names):
    with pytest.raises(KeyError, match="key"):
        names["fail"]()


@pytest.mark.parametrize(
    "message",
    [
        {"do": "attribute", "of": 0, "name": "__globals__", "arguments": [], "named": {}},
        {"do": "operate", "of": 0, "name": "__repr__", "arguments": [], "named": {}},
        {"do": "name", "of": 0, "name": "secret", "arguments": [], "named": {}},
        {"do": "call", "of": 1, "name": "", "arguments": [], "named": {}},
    ],
)
def test_a_program_may_only_call_what_it_was_passed(message):
    requests_end, requests = os.pipe()
    replies_end, replies = os.pipe()
    send(replies, message)  # in the place of an answer
    send(replies, {"value": None, "changed": [None]})
    Peer(replies_end, requests, calls_only=True).request("call", 0, "", (lambda: 12345,))
    assert receive(requests_end)["do"] == "call"
    assert "raised" in receive(requests_end)


def test_a_remote_of_another_program_is_refused(names):
    other = Peer(0, 1, calls_only=True)
    with pytest.raises(TypeError, match="another program"):
        names["double"](Remote(other, 0))
