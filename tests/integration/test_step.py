"""One optimizer update with the real engine, in every precision and ZeRO stage that can be configured."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import MODES, OPTIMIZER, Failing, policy_weights, training_set, unchanged, with_scorer

from apo_core.algorithms.apo import Apo
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import PolicyCollapse, VerifierFailed
from apo_core.kernels import install, linear
from apo_core.kernels.tied_embedding import share_gradient
from apo_core.model.acceleration import accelerate
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import AdaptersOff, add_adapters
from apo_core.model.template import Template
from apo_core.sampling import TransformersSampler
from apo_core.training.checkpoint import Checkpoints
from apo_core.training.context import TrainingContext
from apo_core.training.engine import start_engine
from apo_core.training.in_place_sampler import InPlaceSampler
from apo_core.training.step import run_step
from apo_core.verifiers import ErrorBudget, InProcess, make_verifier

pytestmark = pytest.mark.needs_no_run


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer()


def context_of(
    tokenizer,
    mode=("float32", 0),
    *,
    beta2=0.1,
    micro_batch_tokens=24,
    lora=False,
    hidden_size=16,
    tied=False,
):
    dtype, zero_stage = mode
    policy, reference = (
        tiny_decoder(tokenizer, hidden_size=hidden_size, layers=2, heads=2, seed=seed).eval()
        for seed in (0, 1)
    )
    policy = policy.to(getattr(torch, dtype))
    if tied:
        policy.lm_head.weight = policy.model.embed_tokens.weight
    for model in (policy, reference):
        accelerate(model)
    adapters = add_adapters(policy, rank=2, alpha=4.0, seed=0) if lora else None
    log_probs = ResponseLogProbs(policy, temperature=1.0)
    engine = start_engine(
        log_probs,
        dtype=dtype,
        zero_stage=zero_stage,
        **OPTIMIZER,
    )
    prompt_template = Template(tokenizer, style="raw", text="{prompt}", system=None)
    return TrainingContext(
        engine=engine,
        algorithm=Apo(beta2=beta2),
        reference=_reference(reference.to(policy.dtype), adapters, log_probs) if beta2 else None,
        adapters=adapters,
        sampler=InPlaceSampler(engine, TransformersSampler(policy, eos_ids={1}, pad_id=0, batch_size=4)),
        template=prompt_template,
        scorer=InProcess(make_verifier("numeric", ("last",), Path())),
        errors=ErrorBudget(0.9, rows=4),
        prompts=training_set(prompt_template),
        max_new_tokens=6,
        temperature=1.0,
        micro_batch_tokens=micro_batch_tokens,
        pad_id=0,
        seed=0,
    )


def _reference(reference, adapters, log_probs):
    return AdaptersOff(log_probs, adapters) if adapters else ResponseLogProbs(reference, temperature=1.0)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_the_first_update_moves_weights_by_the_learning_rate(tokenizer, mode):
    """Adam's first update is as large as the rate; after one without gradients it would be three quarters."""
    context = context_of(tokenizer, mode)
    before = policy_weights(context)
    run_step(context, 0, [0, 1, 2, 3])
    rate, decay = OPTIMIZER["learning_rate"], OPTIMIZER["weight_decay"]
    moved = max(
        float((new - old * (1 - rate * decay)).abs().max())
        for old, new in zip(before, policy_weights(context), strict=True)
    )
    assert moved == pytest.approx(rate, rel=0.1)  # bfloat16 rounds


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_finite_step_is_applied(tokenizer, mode):
    context = context_of(tokenizer, mode)
    before = policy_weights(context)
    metrics = run_step(context, 0, [0, 1, 2, 3])
    assert not unchanged(context, before)
    assert metrics["step"] == 1
    assert metrics["gradient_norm"] > 0


@pytest.mark.parametrize(("micro_batch", "value"), [(1, float("nan")), (2, float("-inf"))])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_gradient_that_is_not_finite_is_not_applied(tokenizer, mode, value, micro_batch):
    context = context_of(tokenizer, mode)
    before = policy_weights(context)
    calls = []

    def spoil(gradient):
        """Spoil one number of one gradient in one micro-batch; the loss stays finite."""
        calls.append(None)
        if len(calls) != micro_batch:
            return gradient
        spoiled = gradient.clone()
        spoiled.view(-1)[3] = value
        return spoiled

    context.engine.module.model.model.layers[0].mlp.up_proj.weight.register_hook(spoil)
    with pytest.raises(PolicyCollapse, match="step 1: a gradient is not finite; it was not applied"):
        run_step(context, 0, [0, 1, 2, 3])
    assert len(calls) == 2
    assert unchanged(context, before)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_loss_that_is_not_finite_is_not_applied(tokenizer, mode):
    context = context_of(tokenizer, mode)
    before = policy_weights(context)
    context.prompts.v_star[2] = float("nan")
    with pytest.raises(PolicyCollapse, match="step 1: the loss is not finite; the update was not applied"):
        run_step(context, 0, [0, 1, 2, 3])
    assert unchanged(context, before)


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_micro_batches_add_up_to_the_batch(tokenizer, mode):
    apart, whole = (context_of(tokenizer, mode, micro_batch_tokens=tokens) for tokens in (1, 999))
    split, expected = (run_step(context, 0, [0, 1, 2, 3]) for context in (apart, whole))
    loose = 3e-2 if mode[0] == "bfloat16" else 1e-4
    for name in ("loss", "kl", "gradient_norm"):
        assert split[name] == pytest.approx(expected[name], rel=loose, abs=1e-6), name


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_step_with_fast_linear_layers_equals_a_plain_step(tokenizer, monkeypatch, mode, lora):
    outcomes = []
    for large in (1, 2**62):  # every layer is large, or none
        monkeypatch.setattr(linear, "_LARGE", large)
        # ZeRO-3 shards only parameters of more than 100,000 weights.
        context = context_of(tokenizer, mode, lora=lora, hidden_size=256 if mode[1] == 3 else 16)
        if large == 1:
            context.engine.module.model.gradient_checkpointing_enable()
        outcomes.append((run_step(context, 0, [0, 1, 2, 3]), policy_weights(context)))
    (metrics, weights), (expected, expected_weights) = outcomes
    bfloat16 = mode[0] == "bfloat16"
    for name in ("loss", "kl", "gradient_norm", "response_length"):
        assert metrics[name] == pytest.approx(expected[name], rel=3e-2 if bfloat16 else 1e-4, abs=1e-6), name
    # Adam's first step is in the direction of the gradient's sign, which rounding may turn in bfloat16.
    apart = [(ours - plain).abs().mean() for ours, plain in zip(weights, expected_weights, strict=True)]
    assert max(apart) < OPTIMIZER["learning_rate"] * (0.1 if bfloat16 else 1e-2)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode[0] == "float32"], ids=str)
def test_tied_embeddings_get_the_gradient_of_autograd(tokenizer, monkeypatch, mode):
    outcomes = []
    for share in (share_gradient, lambda _: None):
        monkeypatch.setattr(install, "share_gradient", share)
        context = context_of(tokenizer, mode, tied=True, hidden_size=256 if mode[1] == 3 else 16)
        metrics = [run_step(context, step, [0, 1, 2, 3]) for step in range(2)]
        outcomes.append((metrics, policy_weights(context)))
    assert context.engine.module.head.shared is None
    (metrics, weights), (expected, expected_weights) = outcomes
    for shared, plain in zip(metrics, expected, strict=True):
        for name in ("loss", "kl", "gradient_norm"):
            assert shared[name] == pytest.approx(plain[name], rel=1e-3, abs=1e-6), name
    apart = [(ours - plain).abs().mean() for ours, plain in zip(weights, expected_weights, strict=True)]
    assert max(apart) < OPTIMIZER["learning_rate"] * 1e-2


def test_the_update_is_adamw_on_the_mean_gradient_of_the_batch(tokenizer):
    context, whole = (
        context_of(tokenizer, micro_batch_tokens=1),
        context_of(tokenizer, micro_batch_tokens=999),
    )
    first, second = (policy_weights(each) for each in (context, whole))
    metrics = [run_step(each, 0, [0, 1, 2, 3]) for each in (context, whole)]
    assert metrics[0]["loss"] == pytest.approx(metrics[1]["loss"], rel=1e-5)
    assert metrics[0]["gradient_norm"] == pytest.approx(metrics[1]["gradient_norm"], rel=1e-4)
    # Adam's first step is lr in the direction of the gradient's sign, after the decay of the weight.
    for before, after, expected in zip(first, policy_weights(context), policy_weights(whole), strict=True):
        torch.testing.assert_close(after, expected, atol=2e-4, rtol=0)
        moved = (after - before * (1 - 1e-2 * 0.1)).abs().max()
        assert moved == pytest.approx(1e-2, rel=1e-2)
    assert all(torch.equal(*start) for start in zip(first, second, strict=True))


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("mode", MODES, ids=str)
def test_a_resumed_run_continues_bit_for_bit(tokenizer, tmp_path, mode, lora):
    checkpoints = Checkpoints(tmp_path, keep=1, min_free_mib=0)
    whole = context_of(tokenizer, mode, lora=lora)
    run_step(whole, 0, [0, 1, 2, 3])
    checkpoints.save(whole.engine, 1, 0.5)
    run_step(whole, 1, [3, 2, 1, 0])
    resumed = context_of(tokenizer, mode, lora=lora)
    assert checkpoints.restore_latest(resumed.engine, at_most=2) == 1
    run_step(resumed, 1, [3, 2, 1, 0])
    assert unchanged(resumed, policy_weights(whole))


def test_without_regularisation_a_step_needs_no_reference_and_reports_no_kl(tokenizer):
    plain, slight = context_of(tokenizer, beta2=0.0), context_of(tokenizer, beta2=1e-6)
    unregularised, expected = (run_step(context, 0, [0, 1, 2, 3]) for context in (plain, slight))
    assert plain.reference is None
    assert set(expected) - set(unregularised) == {"kl"}
    assert unregularised["advantage"] == expected["advantage"]
    # The gradient is that of the regularised loss over 2 beta2.
    assert unregularised["gradient_norm"] == pytest.approx(expected["gradient_norm"] / 2e-6, rel=1e-3)


@pytest.mark.parametrize("beta2", [0.1, 0.0])
def test_a_response_that_the_verifier_failed_on_does_not_move_the_policy(tokenizer, beta2):
    """The update sums the other responses only, and divides by the number of all."""
    failing, changed = (with_scorer(context_of(tokenizer, beta2=beta2), Failing(1)) for _ in range(2))
    metrics = run_step(failing, 0, [0, 1, 2, 3])
    changed.prompts.v_star[1] = 7.0  # V* of the failed response's prompt does not count either
    expected = run_step(changed, 0, [0, 1, 2, 3])
    for name in ("loss", "reward", "advantage", "gradient_norm"):
        assert metrics[name] == expected[name], name
    assert metrics["verifier_errors"] == 1
    assert (metrics["reward"], metrics["advantage"]) == (0.5, pytest.approx(0.5 - (0.5 + 0.9 + 0.4) / 3))
    whole, rest = (
        run_step(with_scorer(context_of(tokenizer, beta2=beta2), scorer), 0, [0, 1, 2, 3])
        for scorer in (Failing(), Failing(0, 2, 3))
    )
    assert "verifier_errors" not in whole
    assert whole["loss"] == pytest.approx(metrics["loss"] + rest["loss"], rel=1e-5)


def test_a_step_stops_when_the_verifier_fails_too_often(tokenizer):
    context = with_scorer(context_of(tokenizer), Failing(0, 2), max_share=0.25)
    with pytest.raises(
        VerifierFailed, match=r"failed on 2 of 4 rows.*step 3, a: of mine; step 3, c: of mine$"
    ):
        run_step(context, 2, [0, 1, 2, 3])


def test_a_step_without_any_reward_stops_whatever_the_share(tokenizer):
    context = replace(
        with_scorer(context_of(tokenizer), Failing(0, 1, 2, 3)), errors=ErrorBudget(0.9, rows=400)
    )
    with pytest.raises(VerifierFailed, match="step 1, a and all others of its step: error: of mine"):
        run_step(context, 0, [0, 1, 2, 3])
