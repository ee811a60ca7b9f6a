import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.verifiers.extraction import Extract, extract
from apo_core.verifiers.names import name_problem, rules_problem


@pytest.mark.parametrize(
    ("text", "rule", "expected"),
    [
        ("a #### b", "hashes", "b"),
        ("#### 1 #### 2 \n 3", "hashes", "2"),
        ("####\n\n 2 \n 3", "hashes", "2"),
        ("a ####", "hashes", ""),
        ("a ### b", "hashes", None),
        (r"\boxed{a} \boxed{ b }", "boxed", "b"),
        (r"\boxed {b} c", "boxed", "b"),
        (r"\boxed{\frac{1}{2}} }", "boxed", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}} x", "boxed", r"\{1, 2\}"),
        (r"\boxed{\boxed{3}}", "boxed", "3"),
        (r"\boxed{1} and \boxed{12", "boxed", ""),  # cut off: the rest may have been longer
        (r"\boxed 5", "boxed", None),
        ("<answer>a</answer> <answer> b\nc </answer> d", "tag", "b\nc"),
        ("<answer>a</answer> <answer>b", "tag", ""),
        ("answer: a", "tag", None),
        (" a \n", "last", "a"),
        (" a \n", "whole", "a"),
    ],
)
def test_a_rule_points_to_its_last_mark(text, rule, expected):
    assert extract(text, (rule,)) == (None if expected is None else Extract(rule, expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"#### 1 \boxed{2} 3", Extract("hashes", r"1 \boxed{2} 3")),
        (r"\boxed{2} 3", Extract("boxed", "2")),
        (r"\boxed{} 3", Extract("boxed", "")),  # the box is found, though empty: later rules are not tried
        ("3", Extract("last", "3")),
    ],
)
def test_the_first_rule_whose_mark_is_there_decides(text, expected):
    assert extract(text, ("hashes", "boxed", "last")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\boxed{3}, \boxed{5}, \boxed{7}", "3, 5, 7"),
        (r"$\boxed{3}$, $\boxed{5}$ and $\boxed{7}$", "3, 5, 7"),
        (r"$x = \boxed{3}$ or $x = \boxed{5}$", "3, 5"),
        (r"\boxed{3}\text{ and }\boxed{5}", "3, 5"),
        (r"\boxed{3}; \boxed{5}", "3, 5"),
        (r"\boxed{3}、\boxed{5}", "3, 5"),
        (r"\boxed{5}, \boxed{5}", "5"),
        (r"\boxed{2} \boxed{3}, \boxed{5}", "3, 5"),
        (r"\boxed{3}. No: \boxed{5}", "5"),
        (r"\boxed{3}, so the answer is \boxed{5}", "5"),
        (r"\boxed{3}, \boxed{5", ""),
        (r"\boxed{\boxed{3}, \boxed{5}}", "3, 5"),
    ],
)
def test_boxes_that_a_comma_or_a_word_joins_are_one_answer(text, expected):
    assert extract(text, ("boxed",)) == Extract("boxed", expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#### Final Answer\n18", None),
        ("#### The Solution:\n18", None),
        ("#### 18\n#### Explanation", "18"),
        ("#### 18 ####", "18"),
        ("#### 3. Conclusion\nIt is 18.", None),
        ("#### Step 2: Add\nIt is 18.", None),
        ("#### Case 1\n18", None),
        ("#### 3. Rest", "3. Rest"),  # nothing below
        ("##### 18", "18"),
        ("18 ####", ""),  # cut off
    ],
)
def test_a_heading_is_no_mark(text, expected):
    match = extract(text, ("hashes",))
    assert (match and match.text) == expected


def test_a_line_that_holds_no_answer_of_the_verifier_is_no_mark():
    assert extract("#### 18\n#### Done", ("hashes",), holds=lambda line: "18" in line) == Extract(
        "hashes", "18"
    )


@given(st.text(alphabet="{}\\ab", max_size=20), st.text(max_size=5))
def test_a_box_holds_what_its_braces_balance(inside, after):
    depth, escaped = 0, False
    for character in inside:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            depth += {"{": 1, "}": -1}.get(character, 0)
            if depth < 0:
                return
    if depth or escaped or "boxed" in after:
        return
    extracted = extract(rf"so \boxed{{{inside}}}{after}", ("boxed",))
    assert extracted == Extract("boxed", inside.strip())


@pytest.mark.parametrize(
    "name", ["math", "choice", "reasoning_gym:chain_sum", "mine:score", "a.b_c.d1:_f", "straße:zählt"]
)
def test_a_name_may_be_a_function(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name", ["alpha", "", "a:", ":b", "a.:b", "a:b.c", "a/b:c", "1a:b", "a:b:c", "a b:c", "math:", "a:b\n"]
)
def test_other_names_are_refused_with_those_that_there_are(name):
    assert name_problem(name) == (
        "must be numeric, gsm8k, math, choice, exact, code, form, reasoning_gym:TASK "
        "or package.module:function"
    )


@pytest.mark.parametrize(
    ("name", "rules", "problem"),
    [
        ("numeric", ("hashes", "boxed", "tag", "last"), None),
        ("reasoning_gym:chain_sum", ("tag", "whole"), None),
        ("mine:score", ("whole",), None),
        ("numeric", ("whole",), "whole is unknown to verifier numeric, which has hashes, boxed, tag, last"),
        ("exact", ("last",), "last is unknown to verifier exact, which has hashes, boxed, tag, whole"),
        ("mine:score", ("boxed",), "boxed is unknown to verifier mine:score, which has whole"),
        ("math", ("last", "boxed"), "last always finds something, so that no rule after it has a say"),
        ("math", ("boxed", "boxed"), "a rule is listed twice"),
    ],
)
def test_rules_fit_the_verifier_and_each_other(name, rules, problem):
    assert rules_problem(name, rules) == problem
