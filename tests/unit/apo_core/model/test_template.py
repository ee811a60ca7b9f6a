import json
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from apo_core.embedded.arithmetic import ALPHABET
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import ApoError, InputError
from apo_core.model.directory import ModelRef, check_model_directory
from apo_core.model.end_tokens import end_tokens_of
from apo_core.model.loading import save_policy
from apo_core.model.template import Template, load_template, load_tokenizer, stop_ids

CHAT = (
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }};{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
RAW = {"style": "raw", "text": "{prompt}", "system": None}


@pytest.fixture(scope="module")
def bytewise():
    """A tokenizer with one token per byte, so that every text can be decoded exactly."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.WordLevel({text: token for token, text in enumerate(alphabet)}, alphabet[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            pre_tokenizers.Split(Regex("."), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize(
    ("text", "prompt", "expected"),
    [
        ("{prompt}", "7+5=", "7+5="),
        ("Q: {prompt}\nA:", "x", "Q: x\nA:"),
        (r"{prompt} Answer in \boxed{}.", r"\frac{1}{2} of {x}", r"\frac{1}{2} of {x} Answer in \boxed{}."),
        ("{prompt}{0}%s{other}", "{}", "{}{0}%s{other}"),
        ("{prompt}", "{prompt}", "{prompt}"),
        ("{prompt}, again: {prompt}", "x", "x, again: x"),
    ],
)
def test_a_template_is_literal_but_for_its_place(bytewise, text, prompt, expected):
    template = Template(bytewise, style="raw", text=text, system=None)
    assert template.decode(template.encode(prompt)) == expected


@given(st.text(alphabet=ALPHABET, max_size=20))
def test_the_character_tokenizer_gives_its_text_back(text):
    template = Template(character_tokenizer(), **RAW)
    token_ids = template.encode(text)
    assert len(token_ids) == len(text)
    assert template.decode(token_ids) == text


def test_characters_have_the_ids_of_their_places(tokenizer):
    template = Template(tokenizer, **RAW)
    # <pad> 0, <eos> 1, <unk> 2, then "0123456789+-=#".
    assert template.encode("07+=#") == [3, 10, 13, 15, 16]
    assert template.encode("x") == [2]


def test_special_tokens_are_left_out_of_a_responses_text(tokenizer):
    assert Template(tokenizer, **RAW).decode([8, 16, 0, 1]) == "5#"


def test_tags_of_an_answer_survive_decoding(bytewise):
    bytewise = deepcopy(bytewise)
    bytewise.add_special_tokens(
        {"eos_token": "<end>", "additional_special_tokens": ["<answer>", "</answer>", "<turn>"]}
    )
    ids = bytewise.encode("<answer>7</answer><turn><end>")
    assert len(ids) == 5
    turn = bytewise.convert_tokens_to_ids("<turn>")
    assert Template(bytewise, **RAW).decode(ids) == "<answer>7</answer><turn>"
    assert Template(bytewise, **RAW, end_ids=frozenset({turn})).decode(ids) == "<answer>7</answer>"


@pytest.mark.parametrize(("ids", "ends"), [(8, {8}), ([1, 8], {1, 8}), (None, set())])
def test_the_tokens_that_end_a_response_come_from_the_models_settings(model_directory, ids, ends):
    (model_directory / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
    assert end_tokens_of(model_directory) == ends
    # Token 8 is text: what ends a response there is read all the same.
    assert load_template(ModelRef(path=model_directory), **RAW).decode([3, 8, 10, 1]) == "057"


def test_without_generation_settings_the_models_own_count(model_directory):
    (model_directory / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((model_directory / "config.json").read_text())
    (model_directory / "config.json").write_text(json.dumps(config | {"eos_token_id": [1, 8]}))
    assert end_tokens_of(model_directory) == {1, 8}


@pytest.mark.parametrize(
    ("text", "opened"), [("{prompt}\nA: <think>\n", True), ("<think></think>{prompt}", False)]
)
def test_a_template_may_open_the_thinking_part(bytewise, text, opened):
    assert Template(bytewise, style="raw", text=text, system=None).ends_with("<think>") == opened


@pytest.mark.parametrize(
    ("system", "expected"), [(None, "u:7+5=;a:"), ("1", "s:1;u:7+5=;a:")], ids=["alone", "with system"]
)
def test_a_chat_template_is_applied_and_leaves_the_answer_open(model_directory, system, expected):
    (model_directory / "chat_template.jinja").write_text(CHAT)
    template = load_template(ModelRef(path=model_directory), style="chat", text="{prompt}", system=system)
    # Letters, colons and semicolons are no tokens of this tokenizer.
    known = {character: template.tokenizer.encode(character)[0] for character in expected}
    assert template.encode("7+5=") == [known[character] for character in expected]


CONVERSATION = '[{"role": "system", "content": "1"}, {"role": "user", "content": "2"}]'


def test_a_conversation_brings_its_own_system_turn(model_directory):
    (model_directory / "chat_template.jinja").write_text(CHAT)
    template = load_template(ModelRef(path=model_directory), style="chat", text="={prompt}=", system=None)
    assert template.encode(CONVERSATION) == template.tokenizer.encode("s:1;u:=2=;a:")


def test_a_conversation_that_no_template_writes_is_refused(tokenizer, model_directory):
    with pytest.raises(ApoError, match="has turns of system, user"):
        Template(tokenizer, **RAW).encode(CONVERSATION)
    (model_directory / "chat_template.jinja").write_text(CHAT)
    template = load_template(ModelRef(path=model_directory), style="chat", text="{prompt}", system="3")
    with pytest.raises(ApoError, match="has a system turn of its own"):
        template.encode(CONVERSATION)


def test_chat_without_a_chat_template_is_refused(saved_decoder):
    with pytest.raises(InputError) as refused:
        load_template(ModelRef(path=saved_decoder), style="chat", text="{prompt}", system=None)
    assert str(refused.value) == (
        f"{saved_decoder}: the tokenizer has no chat template (template.style: chat)"
    )


def test_raw_needs_no_chat_template(saved_decoder):
    template = load_template(ModelRef(path=saved_decoder), **RAW)
    assert template.decode(template.encode("1+1=")) == "1+1="


def test_a_whole_model_directory_is_accepted(saved_decoder):
    check_model_directory(saved_decoder)


@pytest.mark.parametrize(
    ("missing", "problem"),
    [
        ("config.json", "is not a model directory: config.json is missing"),
        ("model.safetensors", "has no *.safetensors weights; other formats are not loaded"),
        ("tokenizer_config.json", "is not a model directory: tokenizer_config.json is missing"),
    ],
)
def test_a_missing_part_of_a_model_is_named(model_directory, missing, problem):
    (model_directory / missing).unlink()
    with pytest.raises(InputError) as refused:
        check_model_directory(model_directory)
    assert str(refused.value) == f"{model_directory}: {problem}"


def test_other_weights_than_safetensors_are_refused(model_directory):
    (model_directory / "model.safetensors").rename(model_directory / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"has no \*\.safetensors weights"):
        check_model_directory(model_directory)


def test_a_missing_directory_or_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "nowhere", tmp_path / "file"):
        with pytest.raises(InputError, match="is not a model directory: no such directory"):
            check_model_directory(path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("tokenizer.json", "{", ": has no usable tokenizer: "),
        ("tokenizer_config.json", "{", "/tokenizer_config.json: malformed JSON"),
        ("tokenizer_config.json", "[]", "/tokenizer_config.json: must be a JSON object"),
        ("generation_config.json", "{", "/generation_config.json: malformed JSON"),
    ],
)
def test_a_damaged_tokenizer_is_refused_in_one_line(model_directory, name, content, problem):
    (model_directory / name).write_text(content)
    with pytest.raises(InputError) as refused:
        load_tokenizer(ModelRef(path=model_directory))
    assert str(refused.value).startswith(f"{model_directory}{problem}")
    assert "\n" not in str(refused.value)


def without(directory, *names):
    file = directory / "tokenizer_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({key: value for key, value in config.items() if key not in names}))


def test_a_tokenizer_that_cannot_end_a_sequence_is_refused(model_directory):
    without(model_directory, "eos_token")
    with pytest.raises(InputError, match="no end-of-sequence token"):
        load_tokenizer(ModelRef(path=model_directory))


def test_a_tokenizer_without_padding_pads_with_its_end(model_directory):
    without(model_directory, "pad_token")
    assert load_tokenizer(ModelRef(path=model_directory)).pad_token_id == 1


def test_a_policy_that_stops_at_a_character_reads_responses_as_its_reference_does(tmp_path):
    """The tokens with the character are ends in its directory, and text all the same."""
    tokenizer = character_tokenizer()
    model = tiny_decoder(tokenizer, hidden_size=8, layers=1, heads=2, seed=0)
    response = [*tokenizer.encode("1+6=7"), tokenizer.eos_token_id]
    for name, stop in (("reference", None), ("policy", stop_ids(tokenizer, "7"))):
        save_policy(model, tokenizer, tmp_path / name, stop=stop)
        assert load_template(ModelRef(path=tmp_path / name), **RAW).decode(response) == "1+6=7"


def test_special_tokens_do_not_stop(tokenizer):
    with pytest.raises(ApoError, match=r"no token whose text contains '>'"):  # <eos> has it
        stop_ids(tokenizer, ">")


def test_every_token_with_the_stop_character_stops(bytewise):
    words = {"<unk>": 0, "a": 1, "\n": 2, ".\n": 3, "\n\n": 4, "n": 5}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, "<unk>")))
    assert stop_ids(tokenizer, "\n") == {2, 3, 4}
    assert stop_ids(tokenizer, None) == set()
    with pytest.raises(ApoError, match=r"generation.stop_character: the tokenizer has no token .* 'é'"):
        stop_ids(tokenizer, "é")
    [newline] = stop_ids(bytewise, "\n")  # as it is read, not as the vocabulary writes it
    assert bytewise.decode([newline]) == "\n"
