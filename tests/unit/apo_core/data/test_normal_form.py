import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.data.normal_form import normal_form, normal_hash, numbers_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Seven-year-old Ann's 1,200 dollars.", "7 year old anns 1200 dollars"),
        ("Costs $3.50, or .5!", "costs 3.50 or .5"),
        ("48/2=24 and 3-4, -5", "48 / 2 = 24 and 3 - 4 - 5"),
        ("x - y, well-known **Bold** text 3*4", "x - y well known bold text 3 * 4"),
        ("May.How\u00a0many\n\tleft?", "may how many left"),
        ("($5), [a]", "5 a"),
        ("Is ( [ ) ] valid?", "is ( [ ) ] valid"),
        ("他有3个苹果", "他 有 3 个 苹 果"),
        ("Twice half", "2x 1/2"),
    ],
)
def test_what_is_left_of_a_text(text, words):
    assert " ".join(words_of(text)) == words


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("Ann has 3 apples.", "ANN has  three apples"),
        ("a note book", "a notebook"),
        ("It’s 1,000", "Its 1000"),
    ],
)
def test_case_punctuation_and_white_space_make_no_difference(text, variant):
    assert normal_hash(text) == normal_hash(variant)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("3+4=", "3-4="),
        ("1 2", "12"),
        ("1.5 or", "15 or"),
        ("((", "()"),
        ("?", "!"),
        ("Ann", "Ana"),
        ("किया", "का"),
    ],
)
def test_numbers_operators_and_letters_do(text, other):
    assert normal_hash(text) != normal_hash(other)


def test_numbers_are_taken_in_order():
    assert numbers_of(words_of("5 apples, half of three, .5 x2")) == ("5", "1/2", "3", ".5", "2")


@given(st.text())
def test_any_text_has_a_hash_that_its_case_does_not_change(text):
    if text.upper().casefold() == text.casefold():  # not so of every letter there is
        assert normal_form(words_of(text.upper())) == normal_form(words_of(text))
    assert 0 <= normal_hash(text) < 2**64
