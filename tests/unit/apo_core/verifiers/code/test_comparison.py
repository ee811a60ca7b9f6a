import pytest

from apo_core.verifiers.code.comparison import same_output, same_value


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("1\n2\n", "1\n2"),
        ("1 \r\n2\r\n\n", "1\n2\n"),
        ("a  b", "a b"),
        ("0.3333333", "0.333333333333"),
        ("1e3", "1000.0"),
        ("7.0", "7"),
        ("", "\n"),
        ("1000000.4", "1000000.5"),
    ],
)
def test_the_same_output(printed, expected):
    assert same_output(printed, expected)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("1\n2", "2\n1"),
        ("1 2", "1\n2"),
        ("12", "1 2"),
        ("1\n\n2", "1\n2"),
        ("yes", "YES"),
        ("1000001", "1000000"),
        ("0.334", "0.333"),
        ("nan", "1.0"),
        ("", "0"),
        ("1" * 500, "1" * 499 + "2"),
        ("1e99999999", "1"),
        ("[1, 2]", "[1,2]"),
    ],
)
def test_another_output(printed, expected):
    assert not same_output(printed, expected)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (1, 1),
        (True, True),
        ((1, (2.0000000001,)), [1, [2.0]]),
        ({1: "a"}, {"1": "a"}),
        (None, None),
        (3, 3.0),
    ],
)
def test_the_same_value(returned, expected):
    assert same_value(returned, expected)


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        (1, 2),
        ("1", 1),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ({1, 2}, [1, 2]),
        ({"a": 1}, {"a": 2}),
        ({}, []),
        (None, 0),
        (float("nan"), 1.0),
        (10**400, 1.0),
        ("1.0", 1.0),
    ],
)
def test_another_value(returned, expected):
    assert not same_value(returned, expected)
