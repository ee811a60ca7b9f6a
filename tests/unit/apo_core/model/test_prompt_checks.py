import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from apo_core.errors import ApoError
from apo_core.model.prompt_checks import check_special_tokens, read_prompts, token_check
from apo_core.model.template import Template

WORDS = {"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, "a": 4, "b": 5, "<box>": 6}


def tokenizer(single="$A"):
    inner = Tokenizer(models.WordLevel(WORDS, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("<s>", 0), ("</s>", 1)]
    inner.post_processor = processors.TemplateProcessing(single=single, special_tokens=ends)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def problem(own, prompt, style="raw", text="{prompt}", embeddings=7, end_ids=frozenset({1})):
    check = token_check(own, style=style, end_ids=set(end_ids), embeddings=embeddings)
    template = Template(own, style="raw", text=text, system=None)
    _, [answer] = read_prompts(template, [prompt], check)
    return answer


def test_plain_prompts_have_no_problem():
    assert problem(tokenizer(), "a b") is None
    assert problem(tokenizer("<s> $A"), "a b") is None


def test_a_token_beyond_the_embeddings_is_named():
    assert problem(tokenizer(), "a <box>", embeddings=6) == (
        "needs token 6 ('<box>'), the model has embeddings for 6"
    )
    assert problem(tokenizer(), "a <box>") is None


def test_two_beginnings_are_refused():
    assert problem(tokenizer("<s> $A"), "a", text="<s> {prompt}") == (
        "begins with '<s>' twice: the tokenizer adds it, template.text need not"
    )
    assert problem(tokenizer(), "a", text="<s> {prompt}") is None


def test_a_prompt_that_ends_with_an_end_is_refused():
    assert problem(tokenizer("$A </s>"), "a") == (
        "ends with '</s>', behind which a response would begin after its own end"
    )
    assert problem(tokenizer(), "a b", end_ids={1, 5}) is not None  # generation settings name more ends
    assert problem(tokenizer("$A </s>"), "a", style="chat") is None  # as some chat templates close a turn


def test_a_beginning_that_is_also_the_end_may_stand_alone():
    own = tokenizer("<s> $A")
    assert token_check(own, style="raw", end_ids={0}, embeddings=7)([0]) is None


def test_a_prompt_without_tokens_is_refused():
    assert problem(tokenizer(), " ") == "has no token"


def test_what_a_template_cannot_write_is_the_prompts_problem():
    conversation = '[{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]'
    template = Template(tokenizer(), style="raw", text="{prompt}", system=None)
    tokens, problems = read_prompts(template, ["a b", conversation], lambda token_ids: None)
    assert tokens == [2, 0]
    assert problems[0] is None
    assert "has turns of system, user; template.style raw reads one text" in problems[1]


@pytest.mark.parametrize(("embeddings", "name"), [(2, "pad_token '<pad>'"), (1, "eos_token '</s>'")])
def test_special_tokens_beyond_the_embeddings_are_named(embeddings, name):
    check_special_tokens(tokenizer(), embeddings=3)
    with pytest.raises(ApoError, match=f"the tokenizer's {name} is token"):
        check_special_tokens(tokenizer(), embeddings=embeddings)
