import pytest
import transformers
from transformers import (
    BloomConfig,
    FalconConfig,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen2Config,
)

from apo_core.errors import ApoError
from apo_core.model.architecture_checks import check_context, check_states, max_positions

STATEFUL = [
    "Qwen3NextConfig",
    "Qwen3_5TextConfig",
    "MambaConfig",
    "Mamba2Config",
    "FalconMambaConfig",
    "FalconH1Config",
    "JambaConfig",
    "BambaConfig",
    "Zamba2Config",
    "GraniteMoeHybridConfig",
    "NemotronHConfig",
    "RwkvConfig",
    "xLSTMConfig",
    "MiniMaxConfig",
    "RecurrentGemmaConfig",
]
PLAIN = ["LlamaConfig", "Qwen2Config", "Qwen3Config", "GPT2Config", "MistralConfig", "Gemma3TextConfig"]
PLAIN += ["Phi3Config", "MixtralConfig", "Olmo2Config", "GPTNeoXConfig", "BloomConfig", "GptOssConfig"]


@pytest.mark.slow  # each imports the module of its architecture
@pytest.mark.parametrize("name", STATEFUL)
def test_models_with_states_beside_keys_and_values_are_refused_by_type(name):
    refused_by_type(getattr(transformers, name)())


def refused_by_type(config):
    with pytest.raises(
        ApoError, match=f"^models of type {config.model_type} keep convolutional or recurrent"
    ):
        check_states(config)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Lfm2Config", "Lfm2MoeConfig"])
def test_one_convolution_among_layers_of_attention_is_enough(name):
    kinds = ["full_attention", "conv"]
    refused_by_type(getattr(transformers, name)(num_hidden_layers=2, layer_types=kinds))


@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_models_of_attention_layers_are_taken(name):
    check_states(getattr(transformers, name)())


@pytest.mark.parametrize(
    ("config", "positions"),
    [
        (LlamaConfig(max_position_embeddings=4096), 4096),
        (Qwen2Config(max_position_embeddings=32768), 32768),
        (GPT2Config(n_positions=1024), 1024),
        (MistralConfig(max_position_embeddings=512, sliding_window=16), 512),
        (MixtralConfig(max_position_embeddings=64), 64),
        (BloomConfig(), None),
        (FalconConfig(alibi=True), None),
        (FalconConfig(max_position_embeddings=77), 77),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_the_positions_are_those_of_the_configuration(config, positions):
    assert max_positions(config) == positions


@pytest.mark.parametrize(
    ("rope", "positions"),
    [
        # Llama 3.1: what it reaches is said; Qwen 2.5 with YaRN: what it starts from.
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "original_max_position_embeddings": 8,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
            },
            64,
        ),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}, 64),
        ({"rope_type": "linear", "factor": 2.0}, 128),
        ({"rope_type": "dynamic", "factor": 2.0}, 128),
        ({"rope_type": "default"}, 64),
    ],
)
def test_a_scaling_may_reach_further_than_the_configuration_says(rope, positions):
    config = LlamaConfig(max_position_embeddings=64, rope_parameters={"rope_theta": 1e4, **rope})
    assert max_positions(config) == positions


def test_a_prompt_and_its_response_must_fit_into_the_positions():
    config = LlamaConfig(max_position_embeddings=64)
    check_context(config, prompt_tokens=24, new_tokens=40)
    with pytest.raises(ApoError) as refused:
        check_context(config, prompt_tokens=25, new_tokens=40)
    assert str(refused.value) == (
        "template.max_prompt_tokens 25 and generation.max_new_tokens 40 are together 65 tokens, the model "
        "has 64 positions"
    )


def test_a_kind_of_layer_without_a_cache_is_refused():
    config = LlamaConfig(num_hidden_layers=1)
    config.layer_types = ["attention_of_tomorrow"]
    refused_by_type(config)
