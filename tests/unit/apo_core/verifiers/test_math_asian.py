from pathlib import Path

import pytest

from apo_core.verifiers import make_verifier

MATH = make_verifier("math", ("boxed", "last"), Path())


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("180000", "18万"),
        ("180000", "18万元"),
        ("18000", "1.8万"),
        ("18万", "180000"),
        ("18万", "18万"),
        ("2亿", "200000000"),
        ("5000", "5千"),
        ("300", "3百"),
        ("5", "5千克"),
        ("5", "5百分点"),
        ("3,5", "3或5"),
        ("3,5", "x=3或x=5"),
        ("3,5", "3\\text{或}5"),
        ("3,5", "3和5"),
        ("2或3", "2,3"),
        ("2或3", "2或3"),
        ("2或3", "3,2"),
        ("$x=1$ 或 $x=2$", "1,2"),
        ("$x=1$ 或 $x=2$", "x=1或x=2"),
        ("$x=1$，$x=2$", "1,2"),
        ("①②", "①②"),
        ("①②", "①, ②"),
        ("上午9点", "上午9点"),
        ("3米5厘米", "3米5厘米"),
        ("9", "9点"),
        ("1亿2000万", "1亿2000万"),
    ],
)
def test_scales_joiners_and_units(gold, answer):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("18", "18万"),
        ("18", "18亿"),
        ("5", "5万"),
        ("18万", "18"),
        ("2亿", "2"),
        ("3", "3百"),
        ("3,5", "3或6"),
        ("3,5", "3"),
        ("3,5", "35"),
        ("2或3", "23"),
        ("2或3", "2"),
        ("$x=1$ 或 $x=2$", "1"),
        ("$x=1$，$x=2$", "1"),
        ("①②", "12"),
        ("①②", "①③"),
        ("上午9点", "下午9点"),
        ("3米5厘米", "35"),
        ("3米5厘米", "3"),
        ("120000000", "1亿2000万"),
        ("35", "3米5厘米"),
    ],
)
def test_words_that_are_part_of_the_answer(gold, answer):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(rf"\boxed{{{answer}}}", gold, {}).reward == 0.0


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("180000", "一共18万元"),
        ("3,5", "答案是3和5。"),
        ("3,5", "所以x=3或x=5"),
    ],
)
def test_scales_of_prose(gold, text):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(text, gold, {}).reward == 1.0


@pytest.mark.parametrize(
    ("gold", "text"),
    [
        ("18", "一共18万元"),
    ],
)
def test_scales_of_prose_are_not_dropped(gold, text):
    assert MATH.answer_problem(gold, {}) is None
    assert MATH.score(text, gold, {}).reward == 0.0
