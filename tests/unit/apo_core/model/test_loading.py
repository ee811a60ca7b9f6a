import json

import pytest
import torch
from builders import tied_llama
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig, LlamaForCausalLM

from apo_core.errors import ApoError, InputError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import end_ids, load_policy, save_policy
from apo_core.model.template import load_tokenizer


@pytest.fixture
def loaded(saved_decoder):
    return load_policy(ModelRef(path=saved_decoder, dtype="float32"))


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_policy_comes_back_as_it_was_saved(decoder, loaded):
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == decoder.state_dict().keys()
    for name, weight in decoder.state_dict().items():
        assert torch.equal(state[name].cpu(), weight), name


def test_a_head_that_shares_the_embedding_is_not_missing(tmp_path, tokenizer):
    tied = LlamaForCausalLM(tied_llama())
    save_policy(tied, tokenizer, tmp_path / "tied")
    assert "lm_head.weight" not in load_file(tmp_path / "tied" / "model.safetensors")
    loaded = load_policy(ModelRef(path=tmp_path / "tied", dtype="float32"))
    assert torch.equal(loaded.lm_head.weight.cpu(), tied.model.embed_tokens.weight)


def test_a_saved_policy_is_a_plain_directory_of_safetensors(saved_decoder):
    assert {file.name for file in saved_decoder.iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert load_tokenizer(ModelRef(path=saved_decoder)).encode("1+1=") == [4, 13, 4, 15]
    # An account of the same team reads the weights if it reads the rest.
    assert len({file.stat().st_mode for file in saved_decoder.iterdir()}) == 1


def test_saving_again_gives_the_same_bytes_and_replaces_what_was_there(tmp_path, saved_decoder, loaded):
    tokenizer = load_tokenizer(ModelRef(path=saved_decoder))
    target = tmp_path / "policy"
    target.mkdir()
    (target / "old").write_text("old")
    save_policy(loaded, tokenizer, target, max_new_tokens=9)
    assert not (target / "old").exists()
    for name in ("model.safetensors", "config.json", "generation_config.json"):
        assert (target / name).read_bytes() == (saved_decoder / name).read_bytes(), name
    assert list(tmp_path.iterdir()) == [target]


def test_the_saved_generation_settings_are_those_of_the_training_sampler(tmp_path, saved_decoder, loaded):
    tokenizer = load_tokenizer(ModelRef(path=saved_decoder))
    loaded.generation_config = GenerationConfig(
        top_p=0.8, top_k=20, repetition_penalty=1.1, temperature=0.7, eos_token_id=[1, 5], do_sample=True
    )
    save_policy(loaded, tokenizer, tmp_path / "policy", max_new_tokens=12)
    saved_config = json.loads((tmp_path / "policy" / "generation_config.json").read_text())
    saved_config.pop("transformers_version")
    assert saved_config == {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "top_p": 1.0,
        "eos_token_id": [1, 5],
        "pad_token_id": 0,
        "max_new_tokens": 12,
    }


@pytest.mark.parametrize(
    ("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("auto", torch.float32)]
)
def test_the_precision_is_the_one_asked_for(saved_decoder, dtype, expected):
    model = load_policy(ModelRef(path=saved_decoder, dtype=dtype))
    assert {parameter.dtype for parameter in model.parameters()} == {expected}


def test_there_is_no_dropout_in_training_mode(model_directory):
    edit(model_directory / "config.json", attention_dropout=0.9)
    model = load_policy(ModelRef(path=model_directory, dtype="float32")).train()
    token_ids = torch.tensor([[4, 13, 4, 15]])
    with torch.no_grad():
        assert torch.equal(model(token_ids).logits, model(token_ids).logits)


@pytest.mark.parametrize(
    ("extra", "expected"), [(None, {1}), (1, {1}), (7, {1, 7}), ([1, 7], {1, 7}), ([8, 7], {1, 7, 8})]
)
def test_every_end_of_tokenizer_and_model_ends_a_response(loaded, tokenizer, extra, expected):
    loaded.generation_config = GenerationConfig(eos_token_id=extra)
    assert end_ids(loaded, tokenizer) == expected


def test_what_stopped_responses_in_training_stops_those_of_the_saved_policy(loaded, tokenizer, tmp_path):
    save_policy(loaded, tokenizer, tmp_path / "saved", stop={5, 9})
    assert end_ids(load_policy(ModelRef(path=tmp_path / "saved", dtype="float32")), tokenizer) == {1, 5, 9}


def test_a_model_without_generation_settings_ends_with_the_tokenizers_token(loaded, tokenizer):
    loaded.generation_config = None
    assert end_ids(loaded, tokenizer) == {1}


def test_only_safetensors_are_loaded(model_directory, decoder):
    (model_directory / "model.safetensors").unlink()
    torch.save(decoder.state_dict(), model_directory / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"has no \*\.safetensors weights"):
        load_policy(ModelRef(path=model_directory, dtype="float32"))


def test_a_models_own_code_does_not_run_unless_it_is_allowed_to(model_directory):
    marker = model_directory / "ran"
    (model_directory / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    edit(
        model_directory / "config.json",
        model_type="own",
        auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"},
    )
    with pytest.raises(InputError, match="is not a model directory"):
        load_policy(ModelRef(path=model_directory, dtype="float32"))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", "{"), ("config.json", "{}"), ("model.safetensors", "no tensors")],
)
def test_a_damaged_model_is_refused_in_one_line(model_directory, name, content):
    (model_directory / name).write_text(content)
    with pytest.raises(InputError) as refused:
        load_policy(ModelRef(path=model_directory, dtype="float32"))
    problems = (
        ": is not a model directory: ",
        "/config.json: malformed JSON",
        "/config.json: must be a JSON",
    )
    assert str(refused.value).startswith(tuple(f"{model_directory}{problem}" for problem in problems))
    assert "\n" not in str(refused.value)


def test_cut_off_weights_are_refused(model_directory):
    file = model_directory / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="is not a model directory"):
        load_policy(ModelRef(path=model_directory, dtype="float32"))


def test_missing_weights_are_refused(model_directory):
    file = model_directory / "model.safetensors"
    weights = load_file(file)
    del weights["lm_head.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(InputError, match="lm_head"):
        load_policy(ModelRef(path=model_directory, dtype="float32"))


def test_weights_of_another_shape_are_refused(model_directory):
    edit(model_directory / "config.json", vocab_size=18)
    with pytest.raises(InputError, match="is not a model directory"):
        load_policy(ModelRef(path=model_directory, dtype="float32"))


def test_layers_attend_as_asked(saved_decoder):
    eager = load_policy(ModelRef(path=saved_decoder, attention="eager"))
    assert eager.config._attn_implementation == "eager"


def test_an_attention_that_is_not_installed_is_named(saved_decoder):
    with pytest.raises(ApoError, match=r"^train\.attention: flash_attention_2: ") as refused:
        load_policy(ModelRef(path=saved_decoder, dtype="bfloat16", attention="flash_attention_2"))
    assert "\n" not in str(refused.value)
