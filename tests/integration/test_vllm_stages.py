"""The stages that sample responses, with `sampler.engine: vllm`: each starts engines of its own."""

import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch
from builders import run_stage
from transformers import LlamaForCausalLM, PreTrainedModel

from apo_core.config.file import load_params, set_params
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_config, tiny_decoder
from apo_core.errors import ApoError
from apo_core.model.directory import ModelRef
from apo_core.model.loading import save_policy
from apo_core.model.template import load_tokenizer
from apo_core.sampling import TransformersSampler, VllmSampler, vllm_sampler
from apo_core.tables import EVALUATIONS, SAMPLES, VALUES, read_metadata, read_table
from apo_core.training.policy_copy import computed, merged_weights
from apo_core.training.synchronised_vllm import SynchronisedVllm
from apo_core.training.weight_transfer import laid_into
from apo_core.values.fingerprint import check_fingerprint
from flows.workspaces import load_preset, preset_text
from tasks.prompts.table import read_split
from tasks.responses.conditions import value_conditions
from tasks.stages import evaluate, prepare, reference, sample, validate, values
from tasks.workspace import Workspace

pytestmark = [
    pytest.mark.before_trainings,
    pytest.mark.skipif(
        find_spec("vllm") is None, reason="vLLM is not installed; `make vllm` installs its CPU build"
    ),
]

SMALL = [
    "reference.source=directory",
    "data.train_prompts=48",
    "data.eval_prompts=24",
    "sampling.shard_prompts=20",
    "evaluation.samples=4",
    "evaluation.batch_size=64",
    "sampler.engine=vllm",
    "sampler.vllm.kv_cache_gib=0.25",
]


def save_decoder(directory, *, seed):
    """Save an untrained decoder whose tokens depend on each other, and that is right now and then."""
    tokenizer = character_tokenizer()
    model = tiny_decoder(tokenizer, hidden_size=64, layers=2, heads=2, seed=seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(6)
    save_policy(model, tokenizer, directory, max_new_tokens=24)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with a reference policy, validated prompts, and a policy of other weights."""
    workspace = Workspace(tmp_path_factory.mktemp("stages"))
    workspace.params.write_text(preset_text("ci"))
    set_params(workspace.params, SMALL)
    save_decoder(workspace.raw_model, seed=0)
    for stage in (reference, prepare, validate):
        run_stage(stage, workspace)
    save_decoder(workspace.policy, seed=1)
    return workspace


@pytest.fixture
def no_transformers(monkeypatch):
    """Fail every call that samples with transformers."""

    def refuse(*_, **__):
        raise AssertionError("sampled with transformers")

    monkeypatch.setattr(TransformersSampler, "generate", refuse)
    monkeypatch.setattr(PreTrainedModel, "generate", refuse, raising=False)


def test_values_come_from_vllms_samples(workspace, no_transformers):
    facts = run_stage(sample, workspace)
    assert facts["responses"] == 48 * 4
    samples = read_table(workspace.samples, SAMPLES)
    assert {*samples["finish_reason"]} <= {"stop", "length"}
    assert samples.groupby("prompt_id")["text"].nunique().mean() > 1.5
    tokenizer = load_tokenizer(ModelRef(path=workspace.reference))
    ended = samples["token_ids"].map(lambda ids: ids[-1] == tokenizer.eos_token_id)
    assert (ended == (samples["finish_reason"] == "stop")).all()
    assert ended.any()
    texts = samples["token_ids"].map(lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
    assert (texts == samples["text"]).all()

    run_stage(values, workspace)
    table = read_table(workspace.values, VALUES)
    assert len(table) == 48
    assert table["dropped"].isna().sum() > 0
    # The conditions that `train` compares before its first step; the engine is not among them.
    params = load_params(workspace.params)
    expected = value_conditions(
        workspace,
        params.template,
        params.generation,
        params.verifier,
        read_split(workspace, "train"),
    )
    check_fingerprint(workspace.values, read_metadata(workspace.values)["fingerprint"], expected)


def test_sampling_again_gives_the_same_table(workspace, no_transformers):
    before = workspace.samples.read_bytes()
    shutil.rmtree(workspace.work("sample"))
    workspace.samples.unlink()
    run_stage(sample, workspace)
    assert workspace.samples.read_bytes() == before
    # Unfinished shards belong to one engine: with another, sampling starts anew, and fails here.
    set_params(workspace.params, ["sampler.engine=transformers"])
    with pytest.raises(AssertionError, match="sampled with transformers"):
        run_stage(sample, workspace)
    set_params(workspace.params, ["sampler.engine=vllm"])


def test_each_policy_is_evaluated_with_its_own_weights(workspace, capsys):
    run_stage(evaluate, workspace)
    by_vllm = read_table(workspace.evaluations, EVALUATIONS)
    sampled = by_vllm[(by_vllm["policy"] == "policy") & (by_vllm["sample_index"] >= 0)]
    # The KL is positive: the samples are the policy's, not the reference policy's.
    assert sampled["log_ratio"].mean() > 0.05
    # Greedy responses do not depend on the engine, so transformers shows whose weights vLLM used.
    set_params(workspace.params, ["sampler.engine=transformers"])
    run_stage(evaluate, workspace)
    assert "evaluate: what is there is dropped, these have changed: engine\n" in capsys.readouterr().out
    by_transformers = read_table(workspace.evaluations, EVALUATIONS)
    greedy = [table[table["sample_index"] < 0].reset_index(drop=True) for table in (by_vllm, by_transformers)]
    assert (greedy[0]["text"] == greedy[1]["text"]).all()
    answers = greedy[0].groupby("policy")["text"].agg(list)
    assert answers["policy"] != answers["reference"]


def tied_decoder(seed):
    tokenizer = character_tokenizer()
    shape = tiny_config(tokenizer, hidden_size=64, layers=2, heads=2)
    shape.tie_word_embeddings = True
    torch.manual_seed(seed)
    return LlamaForCausalLM(shape).eval(), tokenizer


class OwnEngine(VllmSampler):
    """An engine in the trainer's own process, which needs no descriptor to share memory."""

    lora_rank = None
    needs_weights = True

    @contextmanager
    def buffer(self, size):
        self.shared_memory = torch.empty(size, dtype=torch.uint8)
        yield self.shared_memory


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """An engine without weights for a model with a tied head, and a policy of that shape."""
    directory = tmp_path_factory.mktemp("tied") / "model"
    (shape, tokenizer), (policy, _) = tied_decoder(0), tied_decoder(1)
    save_policy(shape, tokenizer, directory)
    engine_arguments = load_preset("ci").sampler.vllm.model_dump()
    with OwnEngine(
        ModelRef(path=directory, dtype="float32"),
        eos_ids={1},
        max_length=64,
        with_weights=False,
        **engine_arguments,
    ) as vllm:
        # A stand-in for DeepSpeed's engine, whose process group would collide with vLLM's in this process.
        engine = SimpleNamespace(
            module=SimpleNamespace(model=policy), zero_optimization_stage=lambda: 0, device=policy.device
        )
        yield SynchronisedVllm(engine, vllm, tokenizer.encode("12+34-5=7#"))


def test_a_tied_head_that_keeps_its_old_weights_is_an_error(tied, monkeypatch):
    """vLLM's own reload on CPU keeps a tied head's old weights without an error."""
    with monkeypatch.context() as patch:
        patch.setattr(vllm_sampler, "pack_tied_heads", _no_op)
        with pytest.raises(ApoError, match="has not taken the weights over"):
            tied.synchronise()
    tied.synchronise()


def test_an_engine_sleeps_between_batches_and_wakes_with_new_weights(tied, monkeypatch):
    """On CPU vLLM frees nothing, but it keeps to its order: asleep it schedules no request."""
    monkeypatch.setattr(tied.vllm, "sleeps", True)
    prompts = [[3, 4, 5, 14]]
    for _ in range(2):
        with torch.no_grad():
            for parameter in tied.engine.module.model.parameters():
                parameter.add_(0.01)
        (response,) = tied.generate(prompts, ["a"], max_new_tokens=4, temperature=1.0)
        assert 1 <= len(response.token_ids) <= 4
        assert tied.vllm.engine.is_sleeping()
    woken = []
    wake_up = tied.vllm.engine.wake_up
    monkeypatch.setattr(tied.vllm.engine, "wake_up", lambda tags: woken.append(tags) or wake_up(tags))
    tied.synchronise()
    assert woken == [["weights"], ["kv_cache"]]
    assert not tied.vllm.engine.is_sleeping()


def test_vllms_transfer_on_gpus_understands_our_buckets(tied):
    """Its own form of an update, its own reading of the bytes: only the handle of a GPU is missing here."""
    from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferUpdateInfo
    from vllm.distributed.weight_transfer.packed_tensor import unpack_tensor

    policy = tied.engine.module.model
    (bucket,) = computed(tied.engine, merged_weights(policy))
    buffer = torch.empty(sum(weight.bytes for weight, _ in bucket), dtype=torch.uint8)
    update = IPCWeightTransferUpdateInfo(**laid_into(buffer, bucket), ipc_handles={"GPU-1": ()})
    dtypes = [getattr(torch, name) for name in update.dtype_names]
    received = dict(unpack_tensor(buffer, update.names, update.shapes, dtypes, update.tensor_sizes))
    assert received.keys() == policy.state_dict().keys() - {"lm_head.weight"}
    for name, tensor in received.items():
        assert torch.equal(tensor, policy.state_dict()[name])


def _no_op(worker):
    pass
