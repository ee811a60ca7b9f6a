"""The evaluation's log-ratios do not depend on how rows are cut."""

import pytest
import torch

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.template import Template
from apo_core.sampling.base import Response
from apo_core.sampling.scored import Question, Scored
from tasks.responses.evaluator import log_ratios


def test_log_ratios_are_of_their_rows_however_those_are_cut():
    tokenizer = character_tokenizer()
    heads = [
        ResponseLogProbs(
            tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=seed).eval(), temperature=1.0
        )
        for seed in (0, 1)
    ]
    prompt_template = Template(tokenizer, style="raw", text="{prompt}", system=None)
    prompts = ["1+2=", "1+2+3+4=", "5+5=", "1+2+3="]
    scored = [
        Scored(
            Question(prompt, prompt, "", "{}"),
            0,
            Response(prompt_template.encode("7" * length), "stop"),
            "",
            1.0,
            None,
            "",
        )
        for prompt, length in zip(prompts, (9, 1, 5, 3), strict=True)
    ]
    one_by_one = [log_ratios(*heads, prompt_template, 1000, [row])[0] for row in scored]
    assert len(set(one_by_one)) == 4
    for budget in (1, 14, 1000):
        assert log_ratios(*heads, prompt_template, budget, scored) == pytest.approx(one_by_one, abs=1e-5)
    assert torch.is_grad_enabled()
