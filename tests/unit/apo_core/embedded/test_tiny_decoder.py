import itertools
import random

import pytest
import torch

from apo_core.embedded import tiny_decoder
from apo_core.embedded.arithmetic import chains


def completed(count):
    examples = chains("pretrain", 0, min_terms=3, max_terms=5, max_operand=5)
    return tiny_decoder._completed(itertools.islice(examples, count), 0.5, 0.7, random.Random(0))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_padding_in_halves_does_not_change_the_loss_or_its_gradient(tokenizer, count):
    model = tiny_decoder.tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=0).double()
    losses, gradients = [], []
    for batches in (
        tiny_decoder._halves(tokenizer, completed(count)),
        [tiny_decoder._padded(tokenizer, completed(count))],
    ):
        model.zero_grad()
        loss = tiny_decoder._completion_loss(model, batches)
        loss.backward()
        losses.append(loss)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*gradients)


def test_the_loss_is_the_mean_over_completion_tokens(tokenizer):
    model = tiny_decoder.tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=0)
    examples = completed(4)
    parts = []
    for prompt, completion in examples:
        ids = torch.tensor([[*tokenizer.encode(prompt + completion), tokenizer.eos_token_id]])
        log_probs = model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None])[:, 0]
        parts.append(-log_probs[len(prompt) - 1 :])
    loss = tiny_decoder._completion_loss(model, tiny_decoder._halves(tokenizer, examples))
    torch.testing.assert_close(loss, torch.cat(parts).mean())


def test_the_same_seed_gives_the_same_weights(tokenizer):
    def weights(seed):
        model = tiny_decoder.tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=seed)
        examples = chains("pretrain", seed, min_terms=3, max_terms=5, max_operand=5)
        hyperparameters = {"learning_rate": 0.01, "guess_share": 0.5, "guess_error": 0.7, "seed": seed}
        tiny_decoder.pretrain(model, tokenizer, examples, steps=3, batch_size=8, **hyperparameters)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
