"""Whether the configured model, its tokenizer and the first prompts fit together; no weight is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from apo_core.config import Params, Reference
from apo_core.errors import ApoError, InputError
from apo_core.model.checkpoint_checks import check_config
from apo_core.model.directory import ModelRef, check_model_directory
from flows.doctor.inputs import Finding, read_first_prompts
from flows.doctor.memory import model_config
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

_SUBJECT = "model and prompts"
_LATER = (
    "stage reference checks what needs the weights: that none is missing or left over, that they are the "
    "same once saved, that the model samples and learns"
)


def examine_model(workspace: Workspace, params: Params) -> Finding:
    """Check what can be checked of the reference policy without its weights."""
    try:
        source = _source(workspace, params)
        config = model_config(workspace, params.reference, params.trust_remote_code)
        _check_config(config, params)
        if source is None and params.reference.source == "hub":
            return Finding(_SUBJECT, True, f"tokenizer and prompts are checked once it is here; {_LATER}")
        _check_tokens(workspace, params, config, source)
    except ApoError as error:
        return Finding(_SUBJECT, False, str(error))
    return Finding(_SUBJECT, True, f"fit together; {_LATER}")


def _source(workspace: Workspace, params: Params) -> ModelRef | None:
    """The model's directory, if it is on this machine."""
    path: Path | None = None
    if params.reference.source == "directory":
        path = workspace.raw_model
    elif params.reference.source == "hub":
        path = _cached(params.reference)
    if path is None:
        return None
    check_model_directory(path)
    return ModelRef(path=path, trust_remote_code=params.trust_remote_code)


def _cached(reference: Reference) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    assert reference.name is not None, "refused by the configuration"
    try:
        path = Path(snapshot_download(reference.name, revision=reference.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return path if list(path.glob("*.safetensors")) else None  # a configuration may have been fetched alone


def _check_config(config: PretrainedConfig, params: Params) -> None:
    from apo_core.model.architecture_checks import check_context, check_states

    check_config(params.reference.name or "the model", config.to_dict())
    check_states(config)
    check_context(
        config,
        prompt_tokens=params.template.max_prompt_tokens,
        new_tokens=params.generation.max_new_tokens,
    )


def _check_tokens(
    workspace: Workspace, params: Params, config: PretrainedConfig, source: ModelRef | None
) -> None:
    from apo_core.model.loading import saved_end_ids
    from apo_core.model.prompt_checks import check_special_tokens, read_prompts, token_check
    from apo_core.model.template import make_template, stop_ids

    tokenizer, template = _tokenizer(source), params.template
    embeddings = config.get_text_config(decoder=True).vocab_size
    check_special_tokens(tokenizer, embeddings=embeddings)
    written = make_template(tokenizer, style=template.style, text=template.text, system=template.system)
    ends = stop_ids(tokenizer, params.generation.stop_character)
    if source is not None:
        ends |= saved_end_ids(source.path, tokenizer)
    problem_of = token_check(tokenizer, style=template.style, end_ids=ends, embeddings=embeddings)
    prompts = read_first_prompts(workspace, params)
    lengths, problems = read_prompts(written, [prompt.prompt for prompt in prompts], problem_of)
    for prompt, length, problem in zip(prompts, lengths, problems, strict=True):
        if problem is None and length > template.max_prompt_tokens and params.data.too_long == "refuse":
            limit = f"template.max_prompt_tokens is {template.max_prompt_tokens}"
            problem = f"has {length} tokens, and {limit}; data.too_long: drop leaves such prompts out"
        if problem is not None:
            raise InputError(prompt.source, problem, field=params.data.prompt_field)


def _tokenizer(source: ModelRef | None) -> PreTrainedTokenizerBase:
    from apo_core.embedded.tiny_decoder import character_tokenizer
    from apo_core.model.template import load_tokenizer

    return character_tokenizer() if source is None else load_tokenizer(source)
