import pandas as pd
import pytest

from tasks.reporting.examples import examples_of
from tasks.reporting.markdown import cell, table


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("2*3 | 4", r"2\*3 \| 4"),
        ("a\\|b", r"a\\\|b"),  # what is escaped already is text too
        ("one\ntwo\r\nthree", "one ⏎ two ⏎ three"),
        ("<b>&amp;`x_1` $y$", r"&lt;b>&amp;amp;\`x\_1\` \$y\$"),
        ("tab\tand\x00nul\u2028end", "tab and nul end"),
        (1.0, "1"),
        (0.123456, "0.1235"),
        (7, "7"),
        ("x" * 120, "x" * 120),
    ],
)
def test_a_cell_is_one_line_of_plain_text(value, shown):
    assert cell(value) == shown


def test_long_text_keeps_both_ends():
    assert cell("begin" + "x" * 200 + "#42", 20) == "beginxxxxx ... xxxxxxx#42"


def test_every_row_of_a_table_has_as_many_cells():
    lines = table([{"a": "1|2", "b": "x\ny"}, {"a": "", "b": None}]).splitlines()
    assert lines == ["| a | b |", "| --- | --- |", r"| 1\|2 | x ⏎ y |", "|  | None |"]


def test_an_empty_table_says_so():
    assert table([]) == "(none)"


@pytest.mark.parametrize("sets", [["s", "s"], ["s", "t"]])
def test_the_examples_can_be_read(sets):
    rows = pd.DataFrame(
        [
            ("a", "reference", -1, "5|6\n#7", 0.0),
            ("a", "policy", -1, "#8", 1.0),
            ("b", "reference", -1, "#1", 1.0),
            ("b", "policy", -1, "#1", 1.0),
        ],
        columns=["prompt_id", "policy", "sample_index", "text", "reward"],
    )
    prompts = pd.DataFrame(
        {"prompt_id": ["a", "b"], "set": sets, "prompt": ["3+5=", "1="], "answer": ["8", "1"]}
    )
    named = len(set(sets)) > 1
    text = examples_of(rows, prompts)
    assert text.startswith("# Samples\n\nGreedy responses")
    assert "2 prompts." in text
    row = r"3+5= | 8 | 5\|6 ⏎ #7 | 0 | #8 | 1 |"
    assert ("| s | " if named else "| ") + row in text.splitlines()
    sections = [line for line in text.splitlines() if line.startswith("## ")]
    assert sections == [
        "## Gained: wrong before, right after (1 of 1)",
        "## Lost: right before, wrong after (0 of 0)",
        "## Still wrong (0 of 0)",
        "## Still right (1 of 1)",
    ]
