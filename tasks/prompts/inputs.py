"""What several stages load alike: prompts, sampler, and the fingerprint of everything V* depends on."""

from __future__ import annotations

import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from apo_core import config
from apo_core.model.loading import end_ids
from apo_core.sampling import TransformersSampler
from apo_core.sampling.scored import Question
from apo_core.tables import PROMPTS, read_table
from apo_core.values.fingerprint import Fingerprint, digest, fingerprint
from apo_core.verifiers import Verifier
from tasks.workspace import Workspace


def read_split(workspace: Workspace, split: str) -> pd.DataFrame:
    """The prompts of one split, in table order."""
    prompts = read_table(workspace.prompts, PROMPTS)
    return prompts[prompts["split"] == split].reset_index(drop=True)


def make_sampler(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    batch_size: int,
    stop: set[int],
) -> TransformersSampler:
    """A sampler of a loaded model; tokens in `stop` end its responses too."""
    return TransformersSampler(
        model,
        eos_ids=end_ids(model, tokenizer) | stop,
        pad_id=tokenizer.pad_token_id,
        batch_size=batch_size,
    )


def conditions_of_values(
    workspace: Workspace,
    template: config.Template,
    generation: config.Generation,
    verifier: Verifier,
    prompts: pd.DataFrame,
) -> Fingerprint:
    """The fingerprint of a value table made from this workspace as it is now."""
    return fingerprint(
        reference=workspace.reference,
        template=template.model_dump(mode="json"),
        generation=generation.fingerprinted(),
        verifier=verifier.name,
        verifier_version=verifier.version,
        prompts=list(zip(prompts["prompt_id"], prompts["answer"], prompts["row"], strict=True)),
    )


def order_of(prompts: pd.DataFrame) -> str:
    """A hash of the prompts' order, which shards and batches go by and the fingerprint leaves out."""
    return digest(prompts["prompt_id"].tolist())


def questions_of(prompts: pd.DataFrame) -> list[Question]:
    """The rows of a prompts table as questions."""
    return [Question(*row) for row in prompts[list(Question._fields)].itertuples(index=False, name=None)]
