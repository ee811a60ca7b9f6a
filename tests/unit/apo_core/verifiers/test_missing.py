from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier

NAMES = [
    "nan",
    "NaN",
    "None",
    "none",
    "NA",
    "null",
    "NULL",
    "N/A",
    "n/a",
    "<NA>",
    "NaT",
    "#N/A",
    " nan ",
    '"null"',
    "None.",
    "(none)",
    "[NA]",
    "N.A.",
    "$NaN$",
    "**null**",
    r"\text{N/A}",
    r"\boxed{\text{None}}",
    "tbd",
    "TBA",
    "(see solution)",
    "To be determined.",
]


@pytest.mark.parametrize("name", ["numeric", "gsm8k", "math", "exact", "choice"])
@pytest.mark.parametrize("gold", NAMES)
def test_the_name_of_a_missing_value_is_no_gold(name, gold):
    rules = ("whole",) if name == "exact" else ("last",)
    assert make_verifier(name, rules, Path()).answer_problem(gold, {})


@pytest.mark.parametrize(
    "gold", ["Na", "na", "Nan Goldin", "none of them", "Null set", "nano", "NASA", "(Na)", "todo"]
)
def test_words_that_look_alike_are_golds(gold):
    assert make_verifier("exact", ("whole",), Path()).answer_problem(gold, {}) is None


def test_the_reason_names_it():
    problem = make_verifier("exact", ("whole",), Path()).answer_problem("NaN", {})
    assert problem == "is 'NaN', the name of a missing value: drop the row, or write its answer"
