"""Checkpoints of a real DeepSpeed engine on the tiny decoder."""

import pickle
from pathlib import Path

import pytest
import torch
from builders import flip_a_byte

from apo_core.embedded.tiny_decoder import character_tokenizer, tiny_decoder
from apo_core.errors import DiskFull
from apo_core.model.log_probs import ResponseLogProbs
from apo_core.model.micro_batch import pad_responses
from apo_core.system.files import read_json
from apo_core.training.checkpoint import Checkpoints, _write_state
from apo_core.training.engine import start_engine

pytestmark = pytest.mark.needs_no_run


@pytest.fixture(scope="module")
def tokenizer():
    return character_tokenizer()


@pytest.fixture
def engine_of(tokenizer):
    def start(dtype="float32", zero_stage=0):
        model = tiny_decoder(tokenizer, hidden_size=16, layers=1, heads=2, seed=0)
        return start_engine(
            ResponseLogProbs(model.to(getattr(torch, dtype)), temperature=1.0),
            learning_rate=1e-2,
            adam_betas=(0.9, 0.999),
            weight_decay=0.01,
            max_grad_norm=1.0,
            dtype=dtype,
            zero_stage=zero_stage,
        )

    return start


def update(engine, step):
    generator = torch.Generator().manual_seed(step)
    rows = torch.randint(3, 12, (2, 6), generator=generator).tolist()
    batch = pad_responses([row[:2] for row in rows], [row[2:] for row in rows], 0)
    engine.backward(-engine(*batch.inputs).mean())
    engine.step()


def weights(engine):
    return [parameter.detach().clone() for parameter in engine.module.parameters()]


@pytest.mark.parametrize(
    ("dtype", "zero_stage"), [("float32", 0), ("bfloat16", 0), ("bfloat16", 2), ("bfloat16", 3)]
)
def test_a_restored_engine_goes_on_bit_for_bit(engine_of, tmp_path, dtype, zero_stage):
    checkpoints = Checkpoints(tmp_path, keep=2, min_free_mib=0)
    undisturbed = engine_of(dtype, zero_stage)
    for step in range(3):
        update(undisturbed, step)
    checkpoints.save(undisturbed, 3, reward=0.5)
    for step in range(3, 5):
        update(undisturbed, step)
    resumed = engine_of(dtype, zero_stage)
    assert checkpoints.restore_latest(resumed, at_most=10) == 3
    for step in range(3, 5):
        update(resumed, step)
    assert all(map(torch.equal, weights(resumed), weights(undisturbed)))


class Harmful:
    """The call that unpickling this object would make."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_checkpoint_that_carries_code_is_not_run(engine_of, tmp_path):
    engine = engine_of()
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2, min_free_mib=0)
    (states,) = checkpoints.save(engine, 1, reward=0.5).glob("engine/*.pt")
    torch.save(torch.load(states) | {"lr_scheduler": Harmful(tmp_path / "run")}, states)
    record = states.parent.parent / "state.json"  # whoever may write there can make it fit
    known = read_json(record)
    record.unlink()
    _write_state(record.parent, {name: known[name] for name in ("step", "reward", "ranks")})
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        checkpoints.restore_latest(engine, at_most=10)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("file", ["engine/*.pt", "metrics.jsonl", "state.json"])
def test_a_damaged_checkpoint_is_dropped_for_the_one_before_it(engine_of, tmp_path, file, capsys):
    checkpoints = Checkpoints(tmp_path, keep=3, min_free_mib=0)
    undisturbed = engine_of()
    for step in (1, 2):
        update(undisturbed, step)
        saved = checkpoints.save(undisturbed, step, reward=0.5, metrics=[{"step": step}])
        if step == 1:
            before = weights(undisturbed)
    (damaged,) = saved.glob(file)
    if file == "state.json":
        damaged.write_text(damaged.read_text().replace('"step": 2', '"step": 6'))
    else:
        flip_a_byte(damaged)
    resumed = engine_of()
    assert checkpoints.restore_latest(resumed, at_most=10) == 1
    assert all(map(torch.equal, weights(resumed), before))
    assert "step-000002" in (said := capsys.readouterr().out)
    assert "is damaged" in said
    assert [kept.step for kept in checkpoints.all()] == [1]


def test_the_last_ones_and_the_best_are_kept(engine_of, tmp_path):
    engine = engine_of()
    checkpoints = Checkpoints(tmp_path, keep=2, min_free_mib=0)
    for step, reward in enumerate([0.1, 0.9, 0.3, 0.2, 0.4], start=1):
        checkpoints.save(engine, step, reward)
    assert [saved.step for saved in checkpoints.all()] == [2, 4, 5]


def test_checkpoints_of_a_longer_training_are_dropped(engine_of, tmp_path):
    engine = engine_of()
    checkpoints = Checkpoints(tmp_path, keep=3, min_free_mib=0)
    for step in (1, 2, 3):
        checkpoints.save(engine, step, reward=0.5)
    assert checkpoints.restore_latest(engine, at_most=2) == 2
    assert [saved.step for saved in checkpoints.all()] == [1, 2]


def test_a_full_disk_leaves_older_checkpoints_as_they_are(engine_of, tmp_path):
    engine = engine_of()
    Checkpoints(tmp_path, keep=1, min_free_mib=0).save(engine, 1, reward=0.5)
    with pytest.raises(DiskFull, match="a checkpoint needs"):
        Checkpoints(tmp_path, keep=1, min_free_mib=1e12).save(engine, 2, reward=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
