"""The gradient of weights that input and output share, in one tensor."""

import copy

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from apo_core.kernels.tied_embedding import share_gradient
from apo_core.model.acceleration import accelerate
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses

BATCH = pad_responses([[1, 2, 3, 2], [4]], [[5, 2], [6, 6, 1]], pad_id=0)


def model(*, tied=True, **changes):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        tie_word_embeddings=tied, **changes,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def accelerated(plain):
    accelerate(plain)
    return plain


def gradients(log_probs, times=1):
    for _ in range(times):
        log_probs(*BATCH.inputs).sin().sum().backward()
    return [parameter.grad for parameter in log_probs.parameters()]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("reentrant", [None, False, True])
@pytest.mark.parametrize(("padding", "chunk_tokens"), [(None, 256), (2, 256), (2, 2)])
def test_it_is_that_of_autograd(times, reentrant, padding, chunk_tokens):
    ours, plain = (
        ResponseLogProbs(accelerated(model(pad_token_id=padding)), temperature=0.7, chunk_tokens=chunk_tokens)
        for _ in range(2)
    )
    assert ours.head.shared is not None
    plain.head.shared = None
    plain.model.get_input_embeddings().__class__ = nn.Embedding
    if reentrant is not None:
        ours.train().model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    for gradient, expected in zip(gradients(ours, times), gradients(plain, times), strict=True):
        torch.testing.assert_close(gradient, expected)


def test_what_a_broken_backward_pass_has_left_is_not_added():
    log_probs = ResponseLogProbs(accelerated(model()), temperature=1.0)
    expected_gradients = [gradient.clone() for gradient in gradients(log_probs)]
    log_probs.zero_grad()
    log_probs.head.shared.left = torch.ones(11, 16)
    for gradient, expected in zip(gradients(log_probs), expected_gradients, strict=True):
        torch.testing.assert_close(gradient, expected)


def test_the_model_by_itself_and_a_copy_learn_as_ever():
    shared, plain = model(), model()
    share_gradient(shared)
    embedding_gradients = []
    for variant in (shared, copy.deepcopy(shared), plain):
        variant(input_ids=BATCH.token_ids, labels=BATCH.token_ids).loss.backward()
        embedding_gradients.append(variant.get_input_embeddings().weight.grad)
    for gradient in embedding_gradients[:2]:
        torch.testing.assert_close(gradient, embedding_gradients[2])


def test_frozen_weights_get_none():
    log_probs = ResponseLogProbs(accelerated(model()), temperature=1.0)
    embedding = log_probs.model.get_input_embeddings()
    embedding.weight.requires_grad_(False)
    gradients(log_probs)
    assert embedding.weight.grad is None
    assert log_probs.head.shared.left is None


def test_it_is_left_to_autograd_where_the_sum_would_differ():
    for tied in (True, False):
        embedding = accelerated(model(tied=tied)).get_input_embeddings()
        assert hasattr(embedding, "of_head") == tied
    log_probs = ResponseLogProbs(accelerated(model()), temperature=1.0).bfloat16()  # as an engine may do
    log_probs(*BATCH.inputs).sum().backward()
    assert log_probs.head.shared.left is None
    assert log_probs.model.get_input_embeddings().weight.grad.dtype == torch.bfloat16
