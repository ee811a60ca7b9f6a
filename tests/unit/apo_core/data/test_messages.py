import pytest

from apo_core.data.messages import Turn, is_conversation, prompt_of_turns, text_of_turns, turns_of


def messages(*turns):
    return [{"role": role, "content": content} for role, content in turns]


TALK = (("system", "Be brief."), ("user", "1+1?"), ("assistant", "2"), ("user", 'π, "twice"?'))


def test_a_conversation_comes_back_as_it_was():
    prompt = prompt_of_turns(messages(*TALK))
    assert turns_of(prompt) == [Turn(*turn) for turn in TALK]
    assert text_of_turns(prompt) == 'Be brief.\n1+1?\n2\nπ, "twice"?'
    assert text_of_turns(prompt, system=False) == '1+1?\n2\nπ, "twice"?'


@pytest.mark.parametrize(
    "prompt",
    [
        "1+1?",
        "",
        "[1, 2]",
        '[{"role": "user", "content": "x"}]',  # a text: one turn is kept as its content
        '[{"role": "system", "content": "x"} is how a chat begins. True?',
        '[{"role": "system", "content": "x"}, {"role": "user", "content": 3}]',
        '[{"role": "system","content": "x"}, {"role": "user", "content": "y"}]',  # not as it would be kept
    ],
)
def test_any_other_text_is_the_users(prompt):
    assert turns_of(prompt) == [Turn("user", prompt)]
    assert text_of_turns(prompt) == prompt


def test_the_text_of_parts_is_joined():
    parts = [{"type": "text", "text": "1+"}, {"type": "text", "text": "1?"}]
    assert prompt_of_turns(messages(("user", parts))) == "1+1?"


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ([("user", "x"), ("assistant", "y")], "ends with a turn of assistant; a prompt ends with the user's"),
        ([("system", "x")], "ends with a turn of system"),
        ([("user", "x"), ("system", "y"), ("user", "z")], "turn 2 is the system's; only the first may be"),
        ([("tool", "x")], 'turn 1 has role "tool"; expected system, user, assistant'),
        ([(None, "x")], "turn 1 has role null"),
        ([("user", None)], "turn 1 has no text as its content, found null"),
        ([("user", [{"type": "image_url", "image_url": "x"}])], "turn 1 has no text as its content, found"),
        ([("user", [])], "turn 1 has no text as its content, found []"),
        ([("system", "x"), ("user", " ")], "the user's last turn is empty"),
    ],
)
def test_what_is_no_prompt_is_said(turns, problem):
    with pytest.raises(ValueError) as refused:
        prompt_of_turns(messages(*turns))
    assert str(refused.value).startswith(problem)


@pytest.mark.parametrize(("value", "expected"), [([{}], True), ([], False), ("text", False), ([1], False)])
def test_a_list_of_objects_is_a_conversation(value, expected):
    assert is_conversation(value) is expected
