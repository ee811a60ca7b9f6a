"""Inputs of a run: the reference policy, the prompts and their template."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from apo_core.config.section import Positive, PositiveFloat, Section, Share
from apo_core.data.entries import overlapping, parse_entry


class Arithmetic(Section):
    """Chains such as `7+5-3=`: the embedded task, shared by its data and its from-scratch reference."""

    min_terms: Annotated[int, Field(ge=2)]
    """Fewest numbers in a chain."""
    max_terms: Annotated[int, Field(ge=2, le=12)]
    """Most numbers in a chain, at most 12."""
    max_operand: Annotated[int, Field(ge=1, le=999)]
    """Largest number in a chain, at most 999."""

    @model_validator(mode="after")
    def _terms_in_order(self) -> Self:
        if self.min_terms > self.max_terms:
            raise ValueError(f"min_terms {self.min_terms} is above max_terms {self.max_terms}")
        return self


class Scratch(Section):
    """The tiny decoder that is trained from scratch where there is no model to start from."""

    hidden_size: Positive
    """Width of the decoder; an even multiple of `heads`."""
    layers: Positive
    """Number of layers."""
    heads: Positive
    """Attention heads per layer."""
    steps: Positive
    """Steps of supervised training."""
    batch_size: Positive
    """Examples per step."""
    learning_rate: PositiveFloat
    """Peak learning rate of AdamW."""
    guess_share: Share
    """Share of training examples that answer at once instead of step by step."""
    guess_error: Share
    """Share of those examples whose answer is wrong."""

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.hidden_size // self.heads % 2:
            raise ValueError("a head's share of hidden_size must be even: positions rotate pairs")
        return self


class Reference(Section):
    """The reference policy: frozen, sampled in stage 1, regularised towards in stage 2."""

    source: Literal["scratch", "directory", "hub"]
    """`scratch` trains the tiny decoder, `directory` reads `data/raw/model`, `hub` downloads `name` at
    `revision`."""
    name: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")] | None
    """Name of a model on the Hugging Face hub, with `source: hub` only."""
    revision: str | None
    """Branch, tag or commit on the hub; null: the newest."""
    scratch: Scratch
    """The tiny decoder of `source: scratch`."""

    @model_validator(mode="after")
    def _hub_has_a_name(self) -> Self:
        if (self.source == "hub") != (self.name is not None):
            raise ValueError("name is needed with source: hub, and only there")
        if self.revision is not None and self.source != "hub":
            raise ValueError("revision needs source: hub")
        return self


def _shown(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


class Data(Section):
    """Where prompts come from."""

    source: Literal["arithmetic", "files"]
    """`arithmetic` generates chains (section `arithmetic`); `files` reads `train_files` and `eval_files`."""
    train_files: tuple[str, ...]
    """Training prompts. Each entry is a .jsonl, .ndjson, .json, .csv or .parquet file below
    `data/raw/prompts`, text compressed (.gz, .bz2, .xz) or not; a directory of such files, or one that
    `datasets` saved; `s3://bucket/key`, `s3://bucket/prefix/` (all prompts below it) or
    `hf:owner/name[/config][@revision][:split]`, which `apo run` mirrors there; or `reasoning_gym:task`."""
    eval_files: tuple[str, ...]
    """Evaluation prompts, in the same forms; each entry is one evaluation set."""
    prompt_field: str
    """Field of a row that `template.text` is filled with: a text, or chat messages {role, content}. Dots lead
    into a field: `task.question`."""
    answer_field: str
    """Field of a row that the verifier compares with; dots lead into a field: `reward_model.ground_truth`."""
    group_field: str | None
    """Field of a row that results are broken down by; null: none."""
    split: Literal["files", "column", "seed"]
    """How training and evaluation prompts are separated: by `files`; or the rows of `train_files` are
    divided, by a field (`column`) or `eval_prompts` of them at random (`seed`)."""
    split_field: str | None
    """Field of a row that names its split, with `split: column` only."""
    train_rows: tuple[str, ...]
    """Values of `split_field` in training rows; rows with other values are left out."""
    eval_rows: tuple[str, ...]
    """Values of `split_field` in evaluation rows."""
    train_prompts: Positive | None
    """Number of training prompts: chosen by the seed, or generated; null: all there are."""
    eval_prompts: Positive | None
    """Number of evaluation prompts, as `train_prompts`."""
    duplicates: Literal["refuse", "drop"]
    """Whether prompts that repeat another of their split, except for case, punctuation and white space, are
    refused or dropped; signs of mathematics are no punctuation."""
    contamination: Literal["refuse", "drop"]
    """Whether training prompts that give an evaluation prompt away are refused or dropped: see
    `apo_core.data.contamination`."""
    too_long: Literal["refuse", "drop"]
    """Whether prompts above `template.max_prompt_tokens` are refused or dropped."""

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
            for name, value in (
                ("split", self.split if self.split != "files" else None),
                ("train_files", self.train_files),
                ("eval_files", self.eval_files),
                ("group_field", self.group_field),
            ):
                if value:
                    raise ValueError(f"{name}: {_shown(value)} needs source: files")
            return self
        if not self.train_files or bool(self.eval_files) != (self.split == "files"):
            both, train_only = (
                "train_files and eval_files are needed",
                "train_files are needed, and no eval_files,",
            )
            needed = both if self.split == "files" else train_only
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
    """`raw`: the model reads `text` as it is; `chat`: `text` is the user's turn in the model's own chat
    template."""
    text: str
    """Text around a prompt, with {prompt} where the prompt goes."""
    system: str | None
    """The system's turn before it, with `style: chat` only; null: none, or that of a prompt's messages."""
    max_prompt_tokens: Positive
    """Tokens per prompt, at most; see `data.too_long`. With `generation.max_new_tokens` it must fit into the
    model's positions."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if "{prompt}" not in self.text:
            raise ValueError("text must contain {prompt}")
        if self.system is not None and self.style != "chat":
            raise ValueError("system needs style: chat")
        return self
