import pytest

from apo_core import config
from apo_core.config.file import load_params
from tasks.responses import samplers
from tasks.responses.samplers import engine_of
from tasks.responses.shards import open_work


@pytest.fixture
def chosen(root, monkeypatch):
    monkeypatch.setattr(samplers, "vllm_version", lambda: "vllm==1.2")
    options = load_params(root / "presets/embedded.yaml").sampler.vllm
    return lambda engine, **changes: config.Sampler(engine=engine, vllm=options.model_copy(update=changes))


def test_an_engine_is_its_name_its_version_and_its_own_options(chosen):
    assert engine_of(chosen("transformers")) == engine_of(chosen("transformers", max_num_seqs=3))
    assert set(engine_of(chosen("transformers"))) == {"engine", "version"}
    found = engine_of(chosen("vllm", max_num_seqs=3))
    assert (found["engine"], found["version"], found["max_num_seqs"]) == ("vllm", "vllm==1.2", 3)
    assert found != engine_of(chosen("vllm", max_num_seqs=4))


def test_shards_of_one_engine_are_never_finished_by_another(chosen, tmp_path, monkeypatch, capsys):
    def left(sampler):
        """Which shards of the run before are still there; one is added."""
        work = open_work(tmp_path / "work", {"engine": engine_of(sampler), "seed": 0})
        found = sorted(file.name for file in work.glob("*.parquet"))
        (work / f"{len(found)}.parquet").touch()
        return found

    assert left(chosen("transformers")) == []
    assert left(chosen("transformers")) == ["0.parquet"]
    assert left(chosen("vllm")) == []
    assert "these have changed: engine" in capsys.readouterr().out
    assert left(chosen("vllm")) == ["0.parquet"]
    monkeypatch.setattr(samplers, "vllm_version", lambda: "vllm==1.3")
    assert left(chosen("vllm")) == []
