"""Stage `reference`: make or load the frozen reference policy, and save it in the workspace."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from apo_core.config import Arithmetic, Reference, Scratch
from apo_core.embedded.arithmetic import chains
from apo_core.embedded.tiny_decoder import character_tokenizer, pretrain, tiny_decoder
from apo_core.errors import ApoError, InputError
from apo_core.model.chat_template import keep_date
from apo_core.model.directory import ModelRef
from apo_core.model.loading import head_mismatch, load_policy, save_policy
from apo_core.model.prompt_checks import check_special_tokens
from apo_core.model.template import load_tokenizer
from apo_core.system.files import remove
from apo_core.training.rehearsal import probe_logits, rehearse
from tasks.stages.process import Facts
from tasks.workspace import Workspace

_REFUSED_STATUS = (401, 403, 404)  # of HTTP: no such model or revision, or not for this account

_MAX_HEAD_MISMATCH = 1e-2  # of logits
_MAX_SAVED_DIFFERENCE = 1e-3  # of logits of the same weights, by the same code


def run(
    workspace: Workspace, seed: int, arithmetic: Arithmetic, reference: Reference, trust_remote_code: bool
) -> Facts:
    """Write `data/reference`, a plain Hugging Face directory with safetensors."""
    if reference.source == "scratch":
        return _from_scratch(workspace, seed, arithmetic, reference.scratch)
    hub = reference.source == "hub"
    directory = _from_hub(reference, trust_remote_code) if hub else workspace.raw_model
    source = ModelRef(path=directory, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(source)
    keep_date(tokenizer, date.today())
    # Loaded and saved, not copied: that proves that the directory holds a model.
    model = load_policy(source)
    _check_head(model, directory)
    _check_special_tokens(model, tokenizer, directory)
    logits, parameters = probe_logits(model, tokenizer), model.num_parameters()
    save_policy(model, tokenizer, workspace.reference)
    del model  # a second one is about to be loaded
    _check_saved(workspace, directory, logits, trust_remote_code)
    # The hub's cache names a snapshot's directory after its commit: what `revision: null` meant today.
    return {"parameters": parameters, "revision": directory.name if hub else None}


def _from_scratch(workspace: Workspace, seed: int, arithmetic: Arithmetic, scratch: Scratch) -> Facts:
    tokenizer = character_tokenizer()
    model = tiny_decoder(
        tokenizer,
        hidden_size=scratch.hidden_size,
        layers=scratch.layers,
        heads=scratch.heads,
        seed=seed,
    )
    losses = pretrain(
        model,
        tokenizer,
        chains("pretrain", seed, **arithmetic.model_dump()),
        steps=scratch.steps,
        batch_size=scratch.batch_size,
        learning_rate=scratch.learning_rate,
        guess_share=scratch.guess_share,
        guess_error=scratch.guess_error,
        seed=seed,
    )
    save_policy(model, tokenizer, workspace.reference)
    return {"parameters": model.num_parameters(), "loss": losses[-1]}


def _check_head(model: PreTrainedModel, source: Path) -> None:
    mismatch = head_mismatch(model)
    if mismatch > _MAX_HEAD_MISMATCH:
        raise InputError(
            source,
            f"its logits are not hidden states times output embedding: off by {mismatch:.3g}, expected "
            f"at most {_MAX_HEAD_MISMATCH:g}; its log-probs would be wrong",
        )


def _check_special_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, source: Path) -> None:
    try:
        check_special_tokens(tokenizer, embeddings=len(model.get_input_embeddings().weight))
    except ApoError as error:
        raise InputError(source, str(error)) from None


def _check_saved(workspace: Workspace, source: Path, logits: Tensor, trust_remote_code: bool) -> None:
    """Load what was saved, compare it with what was read, and do with it what later stages will do.

    Raises:
        InputError: it is another model, or cannot be used; nothing is left of it.
    """
    saved = ModelRef(path=workspace.reference, trust_remote_code=trust_remote_code)
    try:
        model, tokenizer = load_policy(saved), load_tokenizer(saved)
        difference = float((probe_logits(model, tokenizer) - logits).abs().max())
        if not difference <= _MAX_SAVED_DIFFERENCE:
            raise InputError(
                source, f"is another model once saved and loaded again: its logits differ by {difference:.3g}"
            )
        rehearse(model, tokenizer)
    except InputError:
        remove(workspace.reference)
        raise
    except ApoError as error:
        remove(workspace.reference)
        raise InputError(source, str(error)) from None


def _from_hub(reference: Reference, trust_remote_code: bool) -> Path:
    from huggingface_hub import is_offline_mode, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    if trust_remote_code:
        patterns.append("*.py")
    assert reference.name is not None, "refused by the configuration"
    try:
        return Path(snapshot_download(reference.name, revision=reference.revision, allow_patterns=patterns))
    except HfHubHTTPError as error:
        if error.response.status_code not in _REFUSED_STATUS:
            raise  # the hub is away: a crash, so that the stage is tried again
        raise ApoError(f"hub: {reference.name}: {str(error).splitlines()[0]}") from None
    except LocalEntryNotFoundError as error:
        if not is_offline_mode():
            raise
        raise ApoError(
            f"hub: {reference.name}: is not in the cache, and HF_HUB_OFFLINE is set: {error}"
        ) from None
