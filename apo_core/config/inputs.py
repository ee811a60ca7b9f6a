"""What a run starts from: the reference, the prompts, their template and their verifier."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from apo_core.config.section import Positive, PositiveFloat, Section, Share
from apo_core.data.entries import overlapping, parse_entry
from apo_core.verifiers.extraction import Rule
from apo_core.verifiers.names import name_problem, rules_problem


class Arithmetic(Section):
    """Chains such as `7+5-3=`: the embedded task, shared by its data and its from-scratch reference."""

    min_terms: Annotated[int, Field(ge=2)]
    max_terms: Annotated[int, Field(ge=2, le=12)]
    max_operand: Annotated[int, Field(ge=1, le=999)]

    @model_validator(mode="after")
    def _terms_in_order(self) -> Self:
        if self.min_terms > self.max_terms:
            raise ValueError(f"min_terms {self.min_terms} is above max_terms {self.max_terms}")
        return self


class Scratch(Section):
    """The tiny decoder that is trained from nothing when there is no model to start from."""

    hidden_size: Positive
    layers: Positive
    heads: Positive
    steps: Positive
    batch_size: Positive
    learning_rate: PositiveFloat
    guess_share: Share
    """Share of training examples that answer at once instead of step by step."""
    guess_error: Share
    """Share of those whose answer is wrong."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.hidden_size // self.heads % 2:
            raise ValueError("a head's share of hidden_size must be even: positions rotate pairs")
        return self


class Reference(Section):
    """The frozen policy that is sampled in stage 1 and regularised towards in stage 2."""

    source: Literal["scratch", "directory", "hub"]
    """`directory` reads `data/raw/model`, `hub` downloads `name` at `revision`."""
    name: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")] | None
    revision: str | None
    scratch: Scratch

    @model_validator(mode="after")
    def _hub_has_a_name(self) -> Self:
        if (self.source == "hub") != (self.name is not None):
            raise ValueError("name is needed with source: hub, and only there")
        if self.revision is not None and self.source != "hub":
            raise ValueError("revision needs source: hub")
        return self


def _shown(given: str | tuple[str, ...]) -> str:
    return given if isinstance(given, str) else ", ".join(given)


class Data(Section):
    """Where prompts come from."""

    source: Literal["arithmetic", "files"]
    """`files` reads what `train_files` and `eval_files` name."""
    train_files: tuple[str, ...]
    """Each a .jsonl, .json, .csv or .parquet file below `data/raw/prompts`, a directory of such files or one
    that `datasets` saved; `s3://bucket/key`, `s3://bucket/prefix/` (all prompts below it) or
    `hf:owner/name[/config][@revision][:split]`, which `apo run` mirrors there; or `reasoning_gym:task`."""
    eval_files: tuple[str, ...]
    """The same; each is one evaluation set."""
    prompt_field: str
    """Of a row: what `template.text` is filled with."""
    answer_field: str
    """Of a row: what the verifier compares with."""
    group_field: str | None
    """What results are broken down by."""
    split: Literal["files", "column", "seed"]
    """`column` and `seed` divide the rows of `train_files`: by a field, or `eval_prompts` at random."""
    split_field: str | None
    train_rows: tuple[str, ...]
    """What `split_field` says of training rows; those with other values are left out."""
    eval_rows: tuple[str, ...]
    train_prompts: Positive | None
    """How many to take (seeded choice); all there are where null. Of a generated task, how many to make."""
    eval_prompts: Positive | None
    duplicates: Literal["refuse", "drop"]
    """What becomes of a prompt that is another one of its split but for case, punctuation and white space."""
    contamination: Literal["refuse", "drop"]
    """What becomes of training prompts that give an evaluation prompt away: see
    `apo_core.data.contamination`."""
    too_long: Literal["refuse", "drop"]
    """What becomes of prompts above `template.max_prompt_tokens`."""

    @field_validator("train_files", "eval_files")
    @classmethod
    def _can_be_read(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        for text in entries:
            parse_entry(text)
            if entries.count(text) > 1:
                raise ValueError(f"{text!r} is named twice")
        return entries

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.source == "arithmetic" and not (self.train_prompts and self.eval_prompts):
            raise ValueError("train_prompts and eval_prompts are needed with source: arithmetic")
        if self.source == "arithmetic":
            for name, given in (
                ("split", self.split if self.split != "files" else None),
                ("train_files", self.train_files),
                ("eval_files", self.eval_files),
                ("group_field", self.group_field),
            ):
                if given:
                    raise ValueError(f"{name}: {_shown(given)} needs source: files")
            return self
        if not self.train_files or bool(self.eval_files) != (self.split == "files"):
            one, other = "train_files and eval_files are needed", "train_files are needed, and no eval_files,"
            needed = one if self.split == "files" else other
            raise ValueError(f"{needed} with source: files and split: {self.split}")
        for name, entries, count in (
            ("train", self.train_files, self.train_prompts),
            ("eval", self.eval_files, self.eval_prompts),
        ):
            generated = [text for text in entries if parse_entry(text).kind == "generated"]
            if generated and (count is None or self.split != "files"):
                raise ValueError(f"{generated[0]} needs {name}_prompts, and split: files")
        return self

    @model_validator(mode="after")
    def _mirrors_are_apart(self) -> Self:
        both = overlapping([parse_entry(text) for text in (*self.train_files, *self.eval_files)])
        if both is not None:
            raise ValueError(f"{both[0].text!r} lies in {both[1].text!r}: its prompts would come twice")
        return self

    @model_validator(mode="after")
    def _split_is_complete(self) -> Self:
        column = (self.split_field is not None, bool(self.train_rows), bool(self.eval_rows))
        if any(column) != (self.split == "column") or (any(column) and not all(column)):
            raise ValueError(
                "split_field, train_rows and eval_rows are needed with split: column, and only there"
            )
        if both := sorted({*self.train_rows} & {*self.eval_rows}):
            raise ValueError(f"{both[0]!r} is in train_rows and in eval_rows")
        if self.split == "seed" and self.eval_prompts is None:
            raise ValueError("eval_prompts is needed with split: seed")
        return self


class Template(Section):
    """How a prompt becomes the tokens the policy reads."""

    style: Literal["raw", "chat"]
    """`chat`: `text` is the user's turn in the model's own chat template."""
    text: str
    """With {prompt} where the prompt goes."""
    system: str | None
    """The system's turn before it; with `style: chat` only."""
    max_prompt_tokens: Positive
    """See `data.too_long`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "{prompt}" not in self.text:
            raise ValueError("text must contain {prompt}")
        if self.system is not None and self.style != "chat":
            raise ValueError("system needs style: chat")
        return self


class Verifier(Section):
    """What turns a completion into a reward. One verifier serves sampling, training and evaluation."""

    name: str
    """numeric, gsm8k, math, choice, exact, `reasoning_gym:TASK`, or `package.module:function` of the user's
    own, below `data/raw/verifiers` or installed."""
    extract: Annotated[tuple[Rule, ...], Field(min_length=1)]
    """Where in a completion the answer stands: behind the last `####` (hashes), in the last `boxed{}` (boxed)
    or `<answer></answer>` (tag), the last one anywhere (last), or the text as it is (whole). The first rule
    decides whose mark is there, so that a single one is strict."""
    time_limit_seconds: PositiveFloat
    """For one completion, by verifiers that need processes of their own: math, reasoning_gym, the user's."""
    memory_limit_mib: Annotated[int, Field(ge=64)]
    """For one such process."""
    workers: Positive
    """Such processes of a stage, or of each of its sampling workers or ranks."""
    max_error_share: Annotated[float, Field(ge=0, lt=1)]
    """Of the rows that a stage scores, of the last `train.guard.window` steps in training: it stops when the
    verifier hangs, crashes or raises on more of them. Such a row has no reward, and takes no part."""

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        problem = name_problem(name)
        if problem is not None:
            raise ValueError(problem)
        return name

    @model_validator(mode="after")
    def _rules_fit(self) -> Self:
        problem = rules_problem(self.name, self.extract)
        if problem is not None:
            raise ValueError(f"extract: {problem}")
        return self
