"""Names by which one person could pass for another, or for two."""

import pytest

from apo_core.decisions.person import may_be_same_person, problem_of, spelling


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ada", "ada"),
        ("Ada", "Ada L."),
        ("Ada Lovelace", "A. Lovelace"),
        ("Ada Lovelace", "Lovelace, Ada"),
        ("Zoë", "Zoe"),
        ("Zoë", "Zoe\u0308"),
        ("Ada", "\uff21\uff44\uff41"),  # wide letters
        ("Ada", "\u0410d\u0430"),  # Cyrillic A and a
        ("pope", "\u0440\u043e\u0440\u0435"),  # Cyrillic throughout
        ("ada.lovelace", "Ada Lovelace"),
        ("Łukasz", "Lukasz"),
        ("Møller", "Moller"),
        ("Bill", "BiII"),  # two capital i
        ("Anna-Maria", "Annamaria"),
        ("Bob", "B0b"),
        ("Lovelace", "Ada Lovelace"),
        ("An Namaria", "Anna Maria"),  # spaces do not tell people apart
        ("Bob Brown", "B. Brown"),  # Brown is Brown, and no B.
        ("Ada Anna", "A. Anna"),
    ],
)
def test_names_that_may_be_the_same_person(name, other):
    assert may_be_same_person(name, other)
    assert may_be_same_person(other, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ada", "Bob"),
        ("Ada Lovelace", "Ada Byron"),
        ("Ada Lovelace", "Ada Lamarr"),
        ("Ada Lovelace", "Ada B."),
        ("Ada Lovelace", "Bob L."),
        ("Ada Ada", "Ada Lovelace"),
        ("Дима", "Dima"),
        ("田中", "山田"),
    ],
)
def test_names_that_two_people_have(name, other):
    assert not may_be_same_person(name, other)
    assert not may_be_same_person(other, name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (" \t", "is empty"),
        ("Ada\u200b", "cannot be seen: U+200B"),
        ("A\u202eda", "cannot be seen: U+202E"),
        ("Ada\ufe0f", "cannot be seen: U+FE0F"),
        ("\u0410da", "mixes letters of CYRILLIC and LATIN"),
    ],
)
def test_names_that_are_refused(name, problem):
    assert problem in problem_of(spelling(name))


def test_a_name_that_mixes_letters_is_refused_by_the_alphabets_names():
    assert problem_of("\u7530Ada") == "'\u7530Ada' mixes letters of EAST ASIAN and LATIN in one word"
    assert problem_of("") == "the name is empty"


def test_letters_that_unicode_has_no_name_for_are_of_one_alphabet():
    assert problem_of("\U00017000\U00017001") == ""  # Tangut


@pytest.mark.parametrize(
    "name", ["Ada L.", "Zoë O'Neil", "Дима (Dima)", "佐藤 はなコ", "user 4321", "김민준", "bot-2"]
)
def test_names_that_people_have(name):
    assert problem_of(spelling(name)) == ""
