"""What decides which responses are sampled and how they are scored, hashed.

A value table is valid under one fingerprint only, and shards made under other conditions are never mixed.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pandas as pd

from apo_core import config
from apo_core.sampling.vllm_sampler import vllm_version
from apo_core.values.fingerprint import Fingerprint, digest, fingerprint
from tasks.responses.scoring import verifier_identity
from tasks.workspace import Workspace


def value_conditions(
    workspace: Workspace,
    template: config.Template,
    generation: config.Generation,
    verifier: config.Verifiers,
    prompts: pd.DataFrame,
) -> Fingerprint:
    """The fingerprint of a value table made from this workspace as it is now."""
    name, rules_version = verifier_identity(verifier, workspace.raw_verifiers)
    return fingerprint(
        reference=workspace.reference,
        template=template.model_dump(mode="json"),
        generation=generation.fingerprinted(),
        verifier=name,
        verifier_version=rules_version,
        prompts=list(zip(prompts["prompt_id"], prompts["answer"], prompts["row"], strict=True)),
    )


def prompt_order(prompts: pd.DataFrame) -> str:
    """A hash of the prompts' order: it decides shards and batches, and is not in the fingerprint."""
    return digest(prompts["prompt_id"].tolist())


def engine_conditions(sampler: config.Sampler) -> dict[str, Any]:
    """What of the engine decides which responses a seed gives.

    The value table's fingerprint leaves the engine out: V* is an estimate for a distribution, every engine
    samples from the same one, and training may use another engine than stage 1.

    Raises:
        ApoError: the engine is not installed.
    """
    if sampler.engine == "transformers":
        return {"engine": sampler.engine, "version": version("transformers")}
    return {"engine": sampler.engine, "version": vllm_version(), **sampler.vllm.model_dump(mode="json")}


def verifier_limits(verifier: config.Verifiers) -> dict[str, Any]:
    """The limits of the verifier that decide which rows are errors."""
    limits = [rule.model_dump(include={"time_limit_seconds", "memory_limit_mib"}) for rule in verifier]
    return limits[0] if len(limits) == 1 else {"verifiers": limits}


def evaluation_conditions(
    seed: int, verifier: config.Verifiers, sampler: config.Sampler, evaluation: config.Evaluation
) -> dict[str, Any]:
    """What decides the responses of an evaluation beside the policy, the prompts and their fingerprint."""
    return {
        "engine": engine_conditions(sampler),
        "limits": verifier_limits(verifier),
        "evaluation": evaluation.model_dump(mode="json"),
        "seed": seed,
    }
