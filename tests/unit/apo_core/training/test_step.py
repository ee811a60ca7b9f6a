"""What a training step asks of its sampler."""

from types import SimpleNamespace

from apo_core.sampling.scored import Question
from apo_core.training.context import TrainingSet
from apo_core.training.step import sample_responses


class Recorder:
    """A sampler that notes what it is asked for."""

    def generate(self, prompts, keys, **limits):
        self.prompts, self.keys, self.limits = prompts, keys, limits
        return []


def sampled(responses, own, step=5):
    """What a step asks for, whose prompts are a and b."""
    questions = [Question(name, "", "", "{}") for name in "ab"]
    context = SimpleNamespace(
        algorithm=SimpleNamespace(responses=responses),
        prompts=TrainingSet(questions=questions, token_ids=[[7], [8, 9]], v_star=[0.0, 0.0]),
        sampler=Recorder(),
        max_new_tokens=6,
        temperature=0.5,
        seed=3,
    )
    sample_responses(context, step, own)
    return context.sampler


def test_every_response_of_a_group_has_a_key_of_its_own():
    sampler = sampled(3, [(0, 1), (1, 0)])
    assert sampler.prompts == [[8, 9]] * 3 + [[7]] * 3
    assert sampler.keys == [
        *("train/3/5/0/b", "train/3/5/0/b/1", "train/3/5/0/b/2"),
        *("train/3/5/1/a", "train/3/5/1/a/1", "train/3/5/1/a/2"),
    ]
    assert sampler.limits == {"max_new_tokens": 6, "temperature": 0.5}


def test_a_prompt_that_is_in_a_batch_twice_is_answered_with_other_noise():
    keys = sampled(1, [(0, 0), (1, 1), (2, 0)]).keys
    assert keys == ["train/3/5/0/a", "train/3/5/1/b", "train/3/5/2/a"]
