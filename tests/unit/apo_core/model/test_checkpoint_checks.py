import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from apo_core.errors import InputError
from apo_core.model.checkpoint_checks import quantisation_of, tensors_of
from apo_core.model.directory import check_model_directory


def edit(file, **changes):
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def refusal(directory):
    with pytest.raises(InputError) as refused:
        check_model_directory(directory)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "method"),
    [
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, "fp8"),
        ({"quant_method": "mxfp4", "modules_to_not_convert": []}, "mxfp4"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"load_in_8bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq", "bits": 4}, "awq"),
        ({"quant_method": "compressed-tensors", "config_groups": {}}, "compressed-tensors"),
        ({"quant_algo": "NVFP4"}, "NVFP4"),
        ({"bits": 2}, "unknown method"),
    ],
)
def test_quantised_weights_are_refused_by_their_method(model_directory, content, method):
    edit(model_directory / "config.json", quantization_config=content)
    assert refusal(model_directory) == (
        f"{model_directory}: is quantised ({method}): a policy that trains needs plain weights"
    )


def test_a_part_of_a_model_may_say_that_it_is_quantised():
    assert quantisation_of({"text_config": {"quantization_config": {"quant_method": "fp8"}}}) == "fp8"
    assert quantisation_of({"compression_config": {"format": "pack-quantized"}}) == "pack-quantized"


@pytest.mark.parametrize("content", [None, {}])
def test_settings_that_are_empty_quantise_nothing(model_directory, content):
    edit(model_directory / "config.json", quantization_config=content)
    check_model_directory(model_directory)


@pytest.mark.parametrize(
    ("name", "method"),
    [("quantize_config.json", "gptq"), ("quant_config.json", "awq"), ("hf_quant_config.json", "modelopt")],
)
def test_a_quantisers_own_file_beside_the_weights_says_so_too(model_directory, name, method):
    (model_directory / name).write_text("{}")
    assert f"is quantised ({method})" in refusal(model_directory)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_weights_in_eight_bits_are_quantised_whatever_the_configuration_says(model_directory, dtype):
    file = model_directory / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file(weights | {name: weights[name].to(dtype)}, file, metadata={"format": "pt"})
    assert "is quantised (F8_" in refusal(model_directory)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_plain(model_directory, dtype):
    file = model_directory / "model.safetensors"
    save_file({name: weight.to(dtype) for name, weight in load_file(file).items()}, file)
    check_model_directory(model_directory)


@pytest.mark.parametrize(
    "content", [b"", b"no tensors at all", b"\xff" * 16, (2).to_bytes(8, "little") + b"[]"]
)
def test_a_damaged_file_of_weights_is_left_to_the_loader(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert tensors_of(tmp_path / "model.safetensors") == {}


def test_an_adapter_beside_a_model_is_refused(model_directory):
    (model_directory / "adapter_config.json").write_text("{}")
    assert "adapter_config.json: an adapter lies beside config.json" in refusal(model_directory)


def test_an_adapter_alone_is_called_so(model_directory):
    (model_directory / "adapter_config.json").write_text("{}")
    (model_directory / "config.json").unlink()
    assert "holds an adapter alone" in refusal(model_directory)


@pytest.mark.parametrize(
    "name",
    [
        "LlamaForSequenceClassification",
        "Qwen2ForRewardModel",
        "MistralForTokenClassification",
        "BertForMaskedLM",
        "LlamaForQuestionAnswering",
        "LlamaModel",
    ],
)
def test_other_heads_are_no_language_models(model_directory, name):
    edit(model_directory / "config.json", architectures=[name])
    assert f": architectures: is no language model: it has the head of {name}" in refusal(model_directory)


@pytest.mark.parametrize(
    "names",
    [
        ["LlamaForCausalLM"],
        ["GPT2LMHeadModel"],
        ["Gemma3ForConditionalGeneration"],
        ["RWForCausalLM"],
        [],
        None,
    ],
)
def test_language_models_are_taken_by_every_name(model_directory, names):
    edit(model_directory / "config.json", architectures=names)
    check_model_directory(model_directory)


def test_a_directory_with_its_own_code_says_itself_what_it_is(model_directory):
    edit(
        model_directory / "config.json",
        architectures=["ChatGLMModel"],
        auto_map={"AutoModelForCausalLM": "modeling.ChatGLMForConditionalGeneration"},
    )
    check_model_directory(model_directory)


def test_two_halves_are_no_policy(model_directory):
    edit(
        model_directory / "config.json",
        architectures=["BartForConditionalGeneration"],
        **{"is_encoder_decoder": True},
    )
    assert "a policy is a decoder alone" in refusal(model_directory)
