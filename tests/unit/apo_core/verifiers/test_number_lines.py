"""The number of a line behind `####`, and headings that have one."""

from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier


def reward(completion, rules=("hashes", "last")):
    return make_verifier("gsm8k", rules, Path()).score(completion, "#### 18", {}).reward


@pytest.mark.parametrize(
    "line",
    [
        "In 5 years, he will be 18 years old",
        "After 3 hours: 18 miles",
        "Total after 3 weeks is 18",
        "For all 4 of them it costs $18",
        "Week 2: 18",
        "The answer is 18, which is 3 more than 15",
        "18 apples, each is 2 dollars",
        "**18** dollars in 3 days",
        "18 (9*2)",
        "9*2 = 18 in 2 days",
        "18 and 18",
        "18 apples and 3 pears",
    ],
)
def test_the_number_that_a_line_states_is_read(line):
    assert reward(f"#### {line}", ("hashes",)) == 1.0


@pytest.mark.parametrize(
    "line",
    [
        "18 or 19",
        "18-20",
        "$18 to $20",
        "18, 20",
        "18 and 20",
        "18*2",
        r"18 \times 2",
        "18 hours 30 minutes",
        "18 thousand",
        "18 + 2",
        "In 18 years, he will be 20",
    ],
)
def test_one_of_several_numbers_is_not_read(line):
    assert reward(f"#### {line}", ("hashes",)) == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "#### Week 1:\n9\n#### Week 2:\n9+9=18",
        "#### Year 2:\nIt grows to 18",
        "#### For the first 3 days:\n9\n#### For the rest:\n9, so 18",
        "#### **Cost of 3 days:**\nIt is 18",
        "#### Trip 2\nIt is 18",
    ],
)
def test_a_heading_with_a_number_and_the_answer_below_is_no_mark(text):
    assert reward(text) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "#### 18\n#### Explanation: 9*2",
        "#### 18\n#### **Check:** 36/2 is 18, half of 36",
        "#### Calculation: 9*2 = 17\n#### 18",
        "#### Calculation: 9*2 = 18",
        "#### 18\n#### Note: it took 3 days\nDone.",
    ],
)
def test_an_aside_is_an_answer_only_if_there_is_no_other(text):
    assert reward(text) == 1.0
