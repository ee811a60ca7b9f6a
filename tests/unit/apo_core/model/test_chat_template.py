from datetime import date, timedelta

import pytest

from apo_core.embedded.tiny_decoder import character_tokenizer
from apo_core.errors import ApoError, InputError
from apo_core.model import chat_template
from apo_core.model.chat_template import check_chat_template, encode_chat, keep_date, kept_date, write_chat
from apo_core.model.directory import ModelRef
from apo_core.model.template import Template, load_template, load_tokenizer

TURNS = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
GEMMA = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + TURNS
)
TODAY = "{% macro head(d) %}Today: {{ d }}{% endmacro %}{{ head(strftime_now('%d %b %Y')) }};" + TURNS
OR_GIVEN = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%Y-%m-%d %H:%M') %}{% endif %}"
)
USER = [{"role": "user", "content": "1+1="}]


@pytest.fixture
def own():
    return character_tokenizer()  # of its own for each test, which gives it a template


def problem(own, template, system=None, text="{prompt}"):
    own.chat_template = template
    with pytest.raises(ApoError) as refused:
        check_chat_template(own, text, system)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("template", "system", "expected"),
    [
        (GEMMA, "Be brief.", "the chat template refuses template.system: System role not supported"),
        ("{{ messages[1].content }}", None, "the chat template fails: list object has no element 1"),
        (
            "{% for m in messages %}{{ m.content }}{% endfor",
            None,
            "the chat template fails: unexpected end",
        ),
        (
            "{{ messages[0].contentt.strip() }}",
            None,
            "the chat template fails: 'dict object' has no",
        ),
        ("{{ messages[0].content + none }}", None, "the chat template fails: can only concatenate"),
        ("{{ raise_exception('a\nb') }}", None, "the chat template fails: a b"),
        ("{{ 1 / 0 }}", None, "the chat template fails: division by zero"),
        ("{{ messages.__class__.__mro__ }}", None, "the chat template fails: access to attribute"),
        ("{{ messages[0].contentt }}", None, "the chat template leaves the user's turn out"),
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
            "s",
            "the chat template leaves",
        ),
        (
            {"rag": TURNS, "tool_use": TURNS},
            None,
            "the tokenizer has several chat templates (rag, tool_use)",
        ),
    ],
)
def test_what_a_template_cannot_write_is_one_line(own, template, system, expected):
    assert problem(own, template, system).startswith(expected)


@pytest.mark.parametrize("template", [GEMMA, TURNS, TODAY, {"default": TURNS, "rag": "{{ 1 / 0 }}"}])
def test_a_template_that_writes_its_turns_is_taken(own, template):
    own.chat_template = template
    check_chat_template(own, "Q: {prompt}", None)


def test_a_system_turn_that_is_written_is_taken(own):
    own.chat_template = TURNS
    check_chat_template(own, "{prompt}", "Be brief.")


def test_the_model_directory_is_named(model_directory):
    (model_directory / "chat_template.jinja").write_text(GEMMA)
    with pytest.raises(InputError) as refused:
        load_template(ModelRef(path=model_directory), style="chat", text="{prompt}", system="Be brief.")
    assert str(refused.value) == (
        f"{model_directory}: the chat template refuses template.system: System role not supported"
    )


def test_a_template_may_refuse_one_prompt_only(own):
    own.chat_template = "{% if '9' in messages[0].content %}{{ raise_exception('no 9') }}{% endif %}" + TURNS
    template = Template(own, style="chat", text="{prompt}", system=None)
    template.encode("1+1=")
    with pytest.raises(ApoError, match="the chat template fails: no 9"):
        template.encode("9+1=")


@pytest.mark.parametrize("template", [TODAY, OR_GIVEN + "{{ date_string }}" + TURNS])
def test_the_day_that_is_kept_is_the_one_that_is_written(own, template, tmp_path, monkeypatch):
    own.chat_template = template
    keep_date(own, date(2024, 2, 29))
    text, token_ids = write_chat(own, USER), encode_chat(own, USER)
    assert "29 Feb 2024" in text or "2024-02-29 00:00" in text
    own.save_pretrained(tmp_path)

    class Tomorrow(date):
        @classmethod
        def today(cls):
            return date(2024, 2, 29) + timedelta(days=1)

    monkeypatch.setattr(chat_template, "date", Tomorrow)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    again = load_tokenizer(ModelRef(path=tmp_path))
    keep_date(again, Tomorrow.today())  # of a policy that is trained further: it keeps its day
    assert kept_date(again) == "2024-02-29"
    assert (write_chat(again, USER), encode_chat(again, USER)) == (text, token_ids)


def test_without_a_kept_day_it_is_today(own):
    own.chat_template = TODAY
    assert date.today().strftime("%d %b %Y") in write_chat(own, USER)


@pytest.mark.parametrize("template", [None, TURNS, {"default": TURNS}])
def test_a_tokenizer_whose_template_writes_no_date_is_saved_without_one(own, template):
    own.chat_template = template
    keep_date(own, date(2024, 2, 29))
    assert kept_date(own) is None
