"""The conditions that determine responses: shards sampled under other conditions are dropped."""

from pathlib import Path

import pandas as pd
import pytest

from apo_core import config
from apo_core.config.file import load_params
from tasks.responses import conditions
from tasks.responses.conditions import engine_conditions, prompt_order, verifier_limits
from tasks.responses.scoring import verifier_identity
from tasks.responses.shards import open_work


@pytest.fixture
def chosen(root, monkeypatch):
    monkeypatch.setattr(conditions, "vllm_version", lambda: "vllm==1.2")
    options = load_params(root / "presets/embedded.yaml").sampler.vllm
    return lambda engine, **changes: config.Sampler(engine=engine, vllm=options.model_copy(update=changes))


def test_an_engine_is_its_name_its_version_and_its_own_options(chosen):
    transformers = engine_conditions(chosen("transformers"))
    assert transformers == engine_conditions(chosen("transformers", max_num_seqs=3))
    assert set(transformers) == {"engine", "version"}
    vllm = engine_conditions(chosen("vllm", max_num_seqs=3))
    assert (vllm["engine"], vllm["version"], vllm["max_num_seqs"]) == ("vllm", "vllm==1.2", 3)
    assert vllm != engine_conditions(chosen("vllm", max_num_seqs=4))


def test_shards_of_one_engine_are_never_finished_by_another(chosen, tmp_path, monkeypatch, capsys):
    def left(sampler):
        """Return the shards that an earlier run has left, and add one."""
        work = open_work(tmp_path / "work", {"engine": engine_conditions(sampler), "seed": 0})
        kept = sorted(file.name for file in work.glob("*.parquet"))
        (work / f"{len(kept)}.parquet").touch()
        return kept

    assert left(chosen("transformers")) == []
    assert left(chosen("transformers")) == ["0.parquet"]
    assert left(chosen("vllm")) == []
    assert "these have changed: engine" in capsys.readouterr().out
    assert left(chosen("vllm")) == ["0.parquet"]
    monkeypatch.setattr(conditions, "vllm_version", lambda: "vllm==1.3")
    assert left(chosen("vllm")) == []


def test_the_order_of_prompts_is_a_condition():
    prompts = pd.DataFrame({"prompt_id": ["a", "b", "c"]})
    assert prompt_order(prompts) == prompt_order(prompts.copy())
    assert prompt_order(prompts) != prompt_order(prompts.iloc[[1, 0, 2]])


def test_the_verifiers_limits_are_conditions_and_its_workers_are_not(root):
    (verifier,) = load_params(root / "presets/embedded.yaml").verifier
    changed = verifier.model_copy(update={"workers": 9, "max_error_share": 0.5})
    assert verifier_limits((changed,)) == verifier_limits((verifier,))
    longer = verifier.model_copy(update={"time_limit_seconds": 9.0})
    assert verifier_limits((longer,)) != verifier_limits((verifier,))
    assert verifier_limits((verifier, longer)) != verifier_limits((verifier, verifier))
    # None of them decides what a completion is worth.
    identities = {verifier_identity((changes,), Path()) for changes in (changed, longer, verifier)}
    assert len(identities) == 1


def test_limits_decide_rewards_where_a_verifier_keeps_them_itself(root):
    (verifier,) = load_params(root / "presets/embedded.yaml").verifier
    code = verifier.model_copy(update={"name": "code", "extract": ("code",)})
    slower = code.model_copy(update={"time_limit_seconds": 9.0})
    larger = code.model_copy(update={"memory_limit_mib": 64})
    assert len({verifier_identity((changes,), Path()) for changes in (code, slower, larger)}) == 3


def test_a_weight_a_condition_and_a_shape_decide_rewards(root):
    (verifier,) = load_params(root / "presets/embedded.yaml").verifier
    heavier = verifier.model_copy(update={"weight": 2.0})
    assert verifier_identity((heavier,), Path()) == verifier_identity((verifier,), Path())  # of one, none
    changes = [
        (verifier, verifier),
        (verifier, heavier),
        (verifier.model_copy(update={"when": config.When(set=("a",))}), verifier),
        (verifier.model_copy(update={"overlong": config.Overlong(buffer_tokens=3, penalty=0.5)}),),
        (verifier,),
    ]
    assert len({verifier_identity(verifiers, Path()) for verifiers in changes}) == len(changes)
