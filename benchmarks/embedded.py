"""Rewards of the embedded task's reference policy, sampled by the stages' code in a temporary workspace."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from torch import Tensor

from apo_core.config import Params
from apo_core.model.directory import ModelRef
from apo_core.model.loading import load_policy
from apo_core.sampling.scored import sample_questions, score_samples
from tasks.prompts.prompt_template import load_prompt_template
from tasks.prompts.table import read_split, to_questions
from tasks.responses.samplers import make_sampler
from tasks.responses.scoring import scorer_of
from tasks.stages import prepare, reference
from tasks.workspace import Workspace


def sampled_rewards(params: Params, *, prompts: int, samples: int) -> Tensor:
    """(P, N) rewards of the first training prompts in float64, after training the reference policy."""
    with tempfile.TemporaryDirectory() as directory:
        workspace = Workspace(Path(directory))
        seed, trust = params.seed, params.trust_remote_code
        reference.run(workspace, seed, params.arithmetic, params.reference, trust)
        prepare.run(workspace, seed, trust, params.arithmetic, params.data, params.template)
        questions = to_questions(read_split(workspace, "train"))[:prompts]
        source = ModelRef(path=workspace.reference, dtype=params.sampling.dtype, trust_remote_code=trust)
        prompt_template = load_prompt_template(source, params.template)
        model = load_policy(source)
        rows = samples * len(questions)
        with scorer_of(
            params.verifier, workspace.raw_verifiers, rows=rows, prompt_template=prompt_template
        ) as scorer:
            responses = sample_questions(
                questions,
                range(samples),
                sampler=make_sampler(model, prompt_template.tokenizer, batch_size=512, stop=set()),
                template=prompt_template,
                max_new_tokens=params.generation.max_new_tokens,
                temperature=params.generation.temperature,
                key="benchmark",
            )
            scored = score_samples(responses, scorer, max_new_tokens=params.generation.max_new_tokens)
    rewards = torch.tensor([response.reward for response in scored], dtype=torch.float64)
    return rewards.view(len(questions), samples)
