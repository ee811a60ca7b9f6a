"""Steps of every algorithm with the real engine, in every precision and ZeRO stage that can be configured."""

import math
from dataclasses import replace

import pytest
import torch
from builders import MODES, OPTIMIZER, Failing, policy_weights, training_set, unchanged, with_scorer

from apo_core.algorithms import Apo, Grpo, Oapl, Ppo, Rebel
from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import PolicyCollapse
from apo_core.model.acceleration import accelerate
from apo_core.model.critic import Critic, PolicyAndCritic
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.lora import AdaptersOff, add_adapters
from apo_core.model.micro_batch import pad_responses
from apo_core.model.template import Template
from apo_core.sampling import TransformersSampler
from apo_core.training.checkpoint import Checkpoints
from apo_core.training.context import TrainingContext
from apo_core.training.engine import start_engine
from apo_core.training.in_place_sampler import InPlaceSampler
from apo_core.training.policy_copy import LaggingCopy
from apo_core.training.step import run_step
from apo_core.verifiers import ErrorBudget, InProcess, make_verifier

pytestmark = pytest.mark.needs_no_run

BATCH = [0, 1, 2, 3]
CRITIC_RATE = 3e-3
PPO = Ppo(
    kl_coefficient=0.1,
    clip=0.2,
    value_clip=0.2,
    value_coefficient=0.1,
    gamma=1.0,
    lam=0.95,
    whiten=True,
    critic_rate=CRITIC_RATE,
    epochs=1,
    minibatches=1,
)
GRPO = Grpo(responses=3, beta=0.04, clip_low=0.2, clip_high=0.2, scale="std", normalisation="response")
EACH = [
    Apo(beta2=0.1),
    GRPO,
    PPO,
    Rebel(eta=1.0, kl_coefficient=0.1),
    Oapl(responses=3, beta1=0.5, beta2=0.1, sync_every=2),
]
SEVERAL = [replace(algorithm, epochs=2, minibatches=2) for algorithm in EACH]


class Digits:
    """A scorer whose rewards differ between the responses to a prompt."""

    def score(self, attempts):
        whole = Failing().score(attempts)
        return [
            verdict._replace(reward=len(set(attempt.completion)) / 8)
            for verdict, attempt in zip(whole, attempts, strict=True)
        ]


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer()


def context_of(tokenizer, algorithm, mode=("float32", 0), *, micro_batch_tokens=24, lora=False, tied=False):
    dtype, zero_stage = mode

    def model(seed):
        made = tiny_decoder(tokenizer, hidden_size=16, layers=2, heads=2, seed=seed).eval()
        if tied:
            made.lm_head.weight = made.model.embed_tokens.weight
        made = made.to(getattr(torch, dtype))
        accelerate(made)
        return made

    policy = model(0)
    adapters = add_adapters(policy, rank=2, alpha=4.0, seed=0) if lora else None
    log_probs = ResponseLogProbs(policy, temperature=1.0)
    has_critic = algorithm.critic_rate is not None
    engine = start_engine(
        PolicyAndCritic(log_probs, Critic(model(0))) if has_critic else log_probs,
        dtype=dtype,
        zero_stage=zero_stage,
        other_rates={"critic": CRITIC_RATE} if has_critic else None,
        **OPTIMIZER,
    )
    lagging = None
    if algorithm.sync_every is not None:
        lagging = LaggingCopy(engine, model(2), temperature=1.0)
    reference = AdaptersOff(log_probs, adapters) if lora else ResponseLogProbs(model(1), temperature=1.0)
    sampled_policy = policy if lagging is None else lagging.model
    sampler = TransformersSampler(sampled_policy, eos_ids={1}, pad_id=0, batch_size=4)
    prompt_template = Template(tokenizer, style="raw", text="{prompt}", system=None)
    return TrainingContext(
        engine=engine,
        algorithm=algorithm,
        reference=(lagging or reference) if algorithm.needs_reference else None,
        adapters=adapters,
        sampler=InPlaceSampler(engine, sampler) if lagging is None else sampler,
        template=prompt_template,
        scorer=Digits(),
        errors=ErrorBudget(0.9, rows=12),
        prompts=training_set(prompt_template),
        max_new_tokens=6,
        temperature=1.0,
        micro_batch_tokens=micro_batch_tokens,
        pad_id=0,
        seed=0,
        lagging=lagging,
    )


@pytest.mark.parametrize(
    ("algorithm", "mode"),
    [(algorithm, mode) for algorithm in EACH[1:] for mode in MODES]
    + [(algorithm, MODES[0]) for algorithm in SEVERAL],
    ids=str,
)
def test_a_step_moves_the_policy_and_says_what_the_guard_asks_for(tokenizer, algorithm, mode):
    context = context_of(tokenizer, algorithm, mode)
    before = policy_weights(context)
    for step in range(2):
        metrics = run_step(context, step, BATCH)
        assert {"kl", "reward", "response_length", "loss", "gradient_norm"} <= set(metrics)
        assert metrics["gradient_norm"] > 0
        assert all(number == number for number in metrics.values())
    moved = [not torch.equal(old, new) for old, new in zip(before, policy_weights(context), strict=True)]
    assert all(moved)


@pytest.mark.parametrize("algorithm", EACH, ids=str)
def test_micro_batches_add_up_to_the_batch(tokenizer, algorithm):
    apart, whole = (context_of(tokenizer, algorithm, micro_batch_tokens=tokens) for tokens in (1, 9999))
    split, expected = (run_step(context, 0, BATCH) for context in (apart, whole))
    for name in ("loss", "kl", "gradient_norm", "reward"):
        assert split[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("normalisation", ["response", "constant", "tokens"])
def test_minibatches_do_not_depend_on_how_they_are_cut(tokenizer, normalisation):
    algorithm = replace(GRPO, scale="none", normalisation=normalisation, epochs=2, minibatches=2)
    contexts = [context_of(tokenizer, algorithm, micro_batch_tokens=tokens) for tokens in (1, 9999)]
    small, large = ([run_step(context, step, BATCH) for step in range(2)] for context in contexts)
    for metrics, expected in zip(small, large, strict=True):
        assert metrics["loss"] == pytest.approx(expected["loss"], rel=1e-2, abs=1e-5)
        assert metrics["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-2)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("mode", [MODES[0], MODES[3], MODES[4]], ids=str)
@pytest.mark.parametrize("algorithm", [SEVERAL[2], EACH[4]], ids=str)
def test_a_resumed_run_continues_bit_for_bit(tokenizer, tmp_path, algorithm, mode, lora):
    """OAPL's lagging copy is older than the checkpoint: step 1 samples with the weights before step 0."""

    def start():
        context = context_of(tokenizer, algorithm, mode, lora=lora, tied=not lora)
        beside = None if context.lagging is None else context.lagging.model
        return context, Checkpoints(tmp_path, keep=1, min_free_mib=0, beside=beside)

    whole, checkpoints = start()
    run_step(whole, 0, BATCH)
    checkpoints.save(whole.engine, 1, 0.5)
    expected = [run_step(whole, step, BATCH) for step in (1, 2)]
    resumed, checkpoints = start()
    assert checkpoints.restore_latest(resumed.engine, at_most=2) == 1
    continued = [run_step(resumed, step, BATCH) for step in (1, 2)]
    for metrics, uninterrupted in zip(continued, expected, strict=True):
        for name in ("loss", "kl", "reward", "gradient_norm"):
            assert metrics[name] == uninterrupted[name], name
    assert unchanged(resumed, policy_weights(whole))


class ReplacedResponse:
    """A sampler that fills the response at one position with one token, at the same length."""

    def __init__(self, sampler, position, token):
        self.sampler, self.position, self.token = sampler, position, token

    def generate(self, prompts, keys, **limits):
        responses = self.sampler.generate(prompts, keys, **limits)
        original = responses[self.position]
        token_ids = [self.token] * len(original.token_ids)
        responses[self.position] = original._replace(token_ids=token_ids)
        return responses


class KeptLogProbs:
    """A sampler that keeps log-probs: the policy's own, each less by `lower`."""

    def __init__(self, context, lower):
        self.sampler, self.lower = context.sampler, lower
        self.log_probs = ResponseLogProbs(context.engine.module.model, temperature=1.0)

    def generate(self, prompts, keys, **limits):
        responses = self.sampler.generate(prompts, keys, **limits)
        batch = pad_responses(prompts, [response.token_ids for response in responses], pad_id=0)
        with torch.no_grad():
            log_probs = self.log_probs(*batch.inputs) - self.lower
        rows = zip(responses, log_probs, batch.mask, strict=True)
        return [response._replace(log_probs=row[mask].tolist()) for response, row, mask in rows]


@pytest.mark.parametrize("algorithm", EACH[:4] + SEVERAL[:4], ids=str)
def test_the_mismatch_is_that_of_the_policy_before_its_first_update(tokenizer, algorithm):
    context = context_of(tokenizer, algorithm)
    assert "sampler_kl" not in run_step(context, 0, BATCH)  # the module that trains is the one that samples
    metrics = run_step(replace(context, sampler=KeptLogProbs(context, 0.0)), 1, BATCH)
    assert metrics["sampler_kl"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["sampler_off"] == 0
    metrics = run_step(replace(context, sampler=KeptLogProbs(context, 0.1)), 2, BATCH)
    assert metrics["sampler_kl"] == pytest.approx(math.expm1(0.1) - 0.1, rel=1e-3)
    assert metrics["sampler_off"] == 0
    metrics = run_step(replace(context, sampler=KeptLogProbs(context, -0.7)), 3, BATCH)
    assert metrics["sampler_kl"] == pytest.approx(math.expm1(-0.7) + 0.7, rel=1e-3)
    assert metrics["sampler_off"] == 1  # e^0.7 is above 2


@pytest.mark.parametrize("algorithm", EACH[:4], ids=str)
def test_importance_weights_weigh_each_response(tokenizer, algorithm):
    """Every ratio is above 1/2, so every weight is the limit, and so is the gradient's share."""
    norms = []
    for limit in (None, 0.5):
        context = context_of(tokenizer, algorithm)
        context = replace(context, sampler=KeptLogProbs(context, 0.1), importance_limit=limit)
        norms.append(run_step(context, 0, BATCH)["gradient_norm"])
    assert norms[1] == pytest.approx(0.5 * norms[0], rel=1e-5)
    context = context_of(tokenizer, algorithm)
    context = replace(context, sampler=KeptLogProbs(context, 0.0), importance_limit=2.0)
    assert run_step(context, 0, BATCH)["gradient_norm"] == pytest.approx(norms[0], rel=1e-4)


@pytest.mark.parametrize("algorithm", [EACH[0], EACH[1], EACH[2], EACH[4]], ids=str)
def test_a_failed_response_is_of_weight_0(tokenizer, algorithm):
    """Neither update depends on the response; at the second, the policy differs from its reference policy."""
    updates = []
    for token in (5, 6):
        context = with_scorer(context_of(tokenizer, algorithm), Failing(1))
        context = replace(context, sampler=ReplacedResponse(context.sampler, 1, token))
        before = policy_weights(context)
        for step in (0, 1):
            metrics = run_step(context, step, BATCH)
            assert metrics["verifier_errors"] == 1
            updates.append((metrics["loss"], metrics["gradient_norm"]))
        assert not unchanged(context, before)
    assert updates[:2] == [pytest.approx(update, rel=1e-5) for update in updates[2:]]


def test_a_pair_with_a_failed_response_is_of_weight_0(tokenizer):
    half = run_step(with_scorer(context_of(tokenizer, EACH[3]), Failing(0)), 0, BATCH)
    both = run_step(with_scorer(context_of(tokenizer, EACH[3]), Failing(0, 1)), 0, BATCH)
    assert half["loss"] == pytest.approx(both["loss"], rel=1e-6)
    assert half["gradient_norm"] == pytest.approx(both["gradient_norm"], rel=1e-6)


@pytest.mark.parametrize("algorithm", [EACH[1], PPO], ids=str)
def test_later_updates_clip_against_the_policy_that_sampled(tokenizer, algorithm):
    tight = {"clip": 1e-3} if algorithm is PPO else {"clip_low": 1e-3, "clip_high": 1e-3}
    clipped = []
    for epochs in (1, 3):
        context = context_of(tokenizer, replace(algorithm, epochs=epochs, **tight))
        clipped.append(run_step(context, 0, BATCH)["clipped"])
    assert clipped[0] == 0
    assert clipped[1] > 0.1


def test_the_first_response_is_sampled_as_a_single_response_is(tokenizer):
    calls = []

    class RecordedKeys:
        def __init__(self, sampler):
            self.sampler = sampler

        def generate(self, prompts, keys, **limits):
            calls.append(keys)
            return self.sampler.generate(prompts, keys, **limits)

    for algorithm in (EACH[0], EACH[1]):
        context = context_of(tokenizer, algorithm)
        run_step(replace(context, sampler=RecordedKeys(context.sampler)), 5, [2, 0])
    assert calls[0] == ["train/0/5/0/c", "train/0/5/1/a"]
    assert calls[1][::3] == calls[0]
    assert calls[1][1:3] == ["train/0/5/0/c/1", "train/0/5/0/c/2"]


def test_critic_and_policy_learn_at_their_own_rates(tokenizer):
    context = context_of(tokenizer, PPO)
    body = context.engine.module.critic.body.layers[0].mlp.up_proj.weight
    start, before = body.detach().clone(), weights_by_name(context)
    run_step(context, 0, BATCH)
    first = weights_by_name(context)
    # Adam's first step is the rate itself, after the decay of the weight.
    policy, head = "policy.model.lm_head.weight", "critic.head.weight"
    moved = (first[policy] - before[policy] * (1 - 1e-2 * 0.1)).abs().max()
    assert moved == pytest.approx(OPTIMIZER["learning_rate"], rel=1e-2)
    assert (first[head] - before[head]).abs().max() == pytest.approx(CRITIC_RATE, rel=1e-2)
    # The critic's body gets a gradient only once its head is not 0.
    torch.testing.assert_close(body.detach(), start * (1 - CRITIC_RATE * 0.1))
    run_step(context, 1, BATCH)
    assert (body.detach() - start).abs().max() > CRITIC_RATE / 2


def weights_by_name(context):
    return {name: weight.detach().clone() for name, weight in context.engine.module.named_parameters()}


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("mode", [MODES[0], MODES[3], MODES[4]], ids=str)
def test_the_lagging_copy_equals_the_policy_until_it_learns(tokenizer, mode, lora):
    context = context_of(tokenizer, EACH[4], mode, lora=lora, tied=not lora)
    batch = pad_responses([[3, 4]], [[5, 6, 1]], pad_id=0)
    kls = [run_step(context, step, BATCH)["kl"] for step in range(3)]
    # The copy of a policy with adapters holds their sum with the weights, rounded.
    rounding = 0.02 if lora and mode[0] == "bfloat16" else 1e-5
    assert abs(kls[0]) < rounding and abs(kls[2]) < rounding
    assert abs(kls[1]) > 1e-3
    with torch.no_grad():
        before = context.lagging(*batch.inputs)
        context.lagging.synchronise()
        assert not torch.equal(context.lagging(*batch.inputs), before)
        assert not any(parameter.requires_grad for parameter in context.lagging.model.parameters())


@pytest.mark.parametrize("algorithm", EACH[1:3], ids=str)
def test_a_loss_that_is_not_finite_is_not_applied(tokenizer, algorithm):
    context = context_of(tokenizer, algorithm)

    class Infinite:
        def score(self, attempts):
            whole = Digits().score(attempts)
            return [whole[0]._replace(reward=float("inf")), *whole[1:]]

    before = policy_weights(context)
    with pytest.raises(PolicyCollapse, match="step 1: the loss is not finite; the update was not applied"):
        run_step(replace(context, scorer=Infinite()), 0, BATCH)
    assert unchanged(context, before)


def test_without_a_penalty_there_is_no_reference_and_no_kl(tokenizer):
    algorithms = [replace(EACH[1], beta=0.0), replace(PPO, kl_coefficient=0.0)]
    algorithms.append(Rebel(eta=1.0, kl_coefficient=0.0))
    for algorithm in algorithms:
        context = context_of(tokenizer, algorithm)
        assert context.reference is None
        assert "kl" not in run_step(context, 0, BATCH)


def test_a_real_verifier_scores_every_response_of_a_group(tokenizer):
    scorer = InProcess(make_verifier("numeric", ("last",), None))
    metrics = run_step(replace(context_of(tokenizer, EACH[1]), scorer=scorer), 0, BATCH)
    assert 0 <= metrics["reward"] <= 1
