"""Verifiers of a run: one, or several with the prompts that each is for and its weight in their rewards."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from apo_core.config.section import Positive, PositiveFloat, Section
from apo_core.verifiers.extraction import Rule
from apo_core.verifiers.names import name_problem, rules_problem
from apo_core.verifiers.thinking import Tags, Thinking, tags_problem

_MAX_PROCESSES = 8  # where the configuration does not say; each takes memory
_Names = Annotated[tuple[str, ...], Field(min_length=1)]


class When(Section):
    """The prompts that a verifier is for; a key that is left out asks for nothing."""

    set: _Names | None = None
    """Names of sets of prompts: of the entries of `data.train_files` and `data.eval_files`, without their
    endings, or values of `data.split_field`."""
    group: _Names | None = None
    """Values of `data.group_field`."""

    def fits(self, set_name: str, group: str | None) -> bool:
        """Whether a prompt of that set and group is one of them."""
        return (self.set is None or set_name in self.set) and (self.group is None or group in self.group)


class Overlong(Section):
    """What a long response loses of its reward, as in DAPO (arXiv 2503.14476, equation 13).

    Nothing up to `buffer_tokens` before `generation.max_new_tokens`, from there on in proportion.
    """

    buffer_tokens: Positive
    """Last tokens of `generation.max_new_tokens` that cost something."""
    penalty: Annotated[float, Field(gt=0, le=1)]
    """What the last of them costs; a reward never falls below 0."""


class Verifier(Section):
    """The rule that turns a response into a reward, in sampling, training and evaluation alike.

    Or a list of them: a prompt is scored by all whose `when` fits it, and the reward is their mean, each with
    its weight. What a further one leaves out is as in the first, except `when`.
    """

    name: str
    """The verifier: numeric, gsm8k, math, choice, exact, code, form, `reasoning_gym:TASK`, or
    `package.module:function` of your own, below `data/raw/verifiers` or installed."""
    extract: Annotated[tuple[Rule, ...], Field(min_length=1)]
    """Where in a response the answer stands: behind the last `####` (hashes), in the last `boxed{}` (boxed)
    or `<answer></answer>` (tag), in its last block of code (code), the last one anywhere (last), or the text
    as it is (whole). The first rule whose mark the response has decides; with one rule alone, a response
    without its mark has no answer."""
    thinking: Thinking
    """`drop`: the thinking part of a response, all before its last closing tag, is no answer, and a response
    that ends while thinking has none; `keep`: the verifier, yours too, gets the response whole."""
    thinking_tags: tuple[str, str]
    """The two tags around a thinking part, `["<think>", "</think>"]` with most models."""
    when: When | None
    """The prompts that it scores, by `set` and `group`; null: all."""
    weight: PositiveFloat
    """Its weight in the reward of a prompt that several verifiers score."""
    overlong: Overlong | None
    """What a response that is nearly too long loses, in sampling and training; null: nothing."""
    time_limit_seconds: PositiveFloat
    """Seconds per response, for verifiers that run in processes of their own: math, code, reasoning_gym,
    yours. For code: of all tests of a program together."""
    memory_limit_mib: Annotated[int, Field(ge=64)]
    """MiB per such process, at least 64; for code: per process of a program."""
    workers: Positive | None
    """Such processes per stage, or per sampling worker or rank; null: one per core that it has, at most 8."""
    max_error_share: Annotated[float, Field(ge=0, lt=1)]
    """Share of the rows of a stage (in training: of the last `train.guard.window` steps) on which the
    verifier may hang, crash or raise before the stage stops. Such a row has no reward and takes no part. Of
    several verifiers, the smallest share counts."""

    def processes(self, own_cores: int) -> int:
        """How many processes score for a worker that has so many cores."""
        return self.workers or min(own_cores, _MAX_PROCESSES)

    @field_validator("thinking_tags")
    @classmethod
    def _are_tags(cls, tags: Tags) -> Tags:
        _refuse(tags_problem(tags))
        return tags

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        _refuse(name_problem(name))
        return name

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        problem = rules_problem(self.name, self.extract)
        _refuse(problem and f"extract: {problem}")
        return self


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise ValueError(problem)


Verifiers = Annotated[tuple[Verifier, ...], Field(min_length=1)]


def as_list(section: Any) -> Any:
    """The section `verifier` of a file as a list of whole verifiers; what is neither stays as it is."""
    if isinstance(section, dict):
        return [section]
    if not (isinstance(section, list) and section and all(isinstance(item, dict) for item in section)):
        return section
    first, *others = section
    return [first, *({**first, "when": None, **other} for other in others)]


def list_in_place_of(before: Any, section: Any) -> Any:
    """A list whose first verifier takes the keys that it leaves out, except `when`, from the one before."""
    first = before[0] if isinstance(before, list) and before else before
    if isinstance(section, list) and section and isinstance(section[0], dict) and isinstance(first, dict):
        section[0] = {**first, "when": None, **section[0]}
    return section
