import re
from typing import get_args

import pytest
from builders import ROOT

from apo_core.algorithms import ALGORITHMS, make_algorithm
from apo_core.algorithms.base import updates_per_step
from apo_core.config import DEFAULTS, Params
from apo_core.config.file import changed_keys, load_params, set_params
from apo_core.config.section import Section
from apo_core.errors import InputError
from apo_core.values.fingerprint import digest
from flows.workspaces import load_preset, preset_text, presets

PRESETS = list(presets())
PAPER = [name for name in PRESETS if name.startswith("qwen")]


@pytest.fixture
def text():
    return (ROOT / "presets/embedded.yaml").read_text(encoding="utf-8")


@pytest.fixture
def file(tmp_path, text):
    copy = tmp_path / "params.yaml"
    copy.write_text(text, encoding="utf-8")
    return copy


BETA1 = "prompts' rewards\n  beta1: 0.5"  # of section `values`


def line_of(text, part):
    """Number of the first line that holds `part`, counted from 1."""
    return next(row for row, line in enumerate(text.splitlines(), start=1) if part in line)


def refusal(file, text):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        load_params(file)
    return str(refused.value)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_valid_whole_and_keeps_its_layout_when_a_value_changes(tmp_path, name):
    text = preset_text(name)
    whole = tmp_path / "params.yaml"
    whole.write_text(text, encoding="utf-8")
    assert load_params(whole) == load_preset(name)
    set_params(whole, ["seed=5"])
    assert whole.read_text(encoding="utf-8") == text.replace("seed: 0", "seed: 5", 1)


def test_the_checkouts_configuration_is_valid():
    load_params(ROOT / "params.yaml")


def test_the_checkout_has_the_keys_and_comments_of_its_preset():
    """The values may differ: `--set` writes the user's into the checkout's file."""
    lines = (
        [re.sub(r":.*?(#|$)", r": \1", line) for line in file.read_text(encoding="utf-8").splitlines()]
        for file in (ROOT / "params.yaml", ROOT / "presets/embedded.yaml")
    )
    for user_line, preset_line in zip(*lines, strict=True):
        assert user_line == preset_line


def test_there_are_presets():
    assert len(PAPER) == 6
    assert len(PRESETS) > len(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_presets_hold_its_settings(name):
    params = load_preset(name)
    train = params.train
    assert (params.sampling.n, params.values.beta1, params.algorithm.beta2) == (8, 0.5, 1e-3)
    assert (train.learning_rate, train.adam_betas, train.weight_decay) == (1e-6, (0.9, 0.999), 0.01)
    assert (train.max_grad_norm, train.batch_size) == (1.0, 256)
    assert (train.epochs, train.steps) == (25.0, None)
    assert params.generation.temperature == 1.0
    assert (params.template.max_prompt_tokens, params.generation.max_new_tokens) == (256, 1024)
    assert params.template.style == "raw"
    assert name.startswith(params.reference.name.removeprefix("Qwen/").lower())
    assert params.verifier[0].name == ("math" if "math" in name else "gsm8k")


@pytest.mark.parametrize(
    ("old", "new", "key", "problem"),
    [
        (
            BETA1,
            BETA1 + "\n  beta3: 1",
            "values.beta3",
            "unknown parameter; did you mean values.beta1?",
        ),
        (BETA1, BETA1.replace("0.5", "0.0"), "values.beta1", "greater than 0, found 0.0"),
        (BETA1, BETA1.replace("0.5", ".inf"), "values.beta1", "finite number, found inf"),
        (BETA1, BETA1.replace("0.5", ".nan"), "values.beta1", "finite number, found nan"),
        (BETA1, BETA1.replace("0.5", "'0.5'"), "values.beta1", "must be a number, found '0.5'"),
        ("seed: 0", "seed: -1", "seed", "greater than or equal to 0, found -1"),
        ("seed: 0", "seed: true", "seed", "a whole number, found True"),
        ("steps: 64", "steps: 64.0", "train.steps", "a whole number, found 64.0"),
        ("drop_unsolved: true", "drop_unsolved: 1", "values.drop_unsolved", "true or false, found 1"),
        ("name: numeric", "name: alpha", "verifier.name", "package.module:function, found 'alpha'"),
        ("extract: [last]", "extract: [first]", "verifier.extract", "'whole', found 'first'"),
        ("extract: [last]", "extract: []", "verifier.extract", "at least 1 item"),
        ("max_error_share: 0.01", "max_error_share: 1.0", "verifier.max_error_share", "less than 1"),
        ("[0.9, 0.999]", "[0.9, 1.0]", "train.adam_betas", "less than 1, found 1.0"),
        ("seed: 0", "seed: 4294967296", "seed", "less than 4294967296"),
        ("weight_decay: 0.01", "weight_decay: .inf", "train.weight_decay", "finite number, found inf"),
        ("model: apo-arithmetic", "model: org/model", "tracking.model", "should match pattern"),
        ("model: apo-arithmetic", "model: model@math", "tracking.model", "should match pattern"),
        ("name: null", "name: a/b/c", "reference.name", "should match pattern"),
        ("[0.9, 0.999]", "[0.9]", "train.adam_betas", "missing parameter"),
        ("engine: transformers", "engine: sglang", "sampler.engine", "'vllm', found 'sglang'"),
        ("max_num_seqs: 256", "max_num_seqs: 0", "sampler.vllm.max_num_seqs", "greater than 0, found 0"),
        (
            "max_num_seqs: 256",
            "max_num_seqs: 256\n    dtype: auto",
            "sampler.vllm.dtype",
            "unknown parameter; did you mean sampling.dtype?",
        ),
        ("utilization: 0.6", "utilization: 1.1", "sampler.vllm.gpu_memory_utilization", "less than or equal"),
        ("utilization: 0.6", "utilization: 0.0", "sampler.vllm.gpu_memory_utilization", "greater than 0"),
        ("kv_cache_gib: 1.0", "kv_cache_gib: 0.0", "sampler.vllm.kv_cache_gib", "greater than 0"),
        ("enforce_eager: true", "enforce_eager: 1", "sampler.vllm.enforce_eager", "true or false"),
        ("guess_error: 0.7", "guess_error: 2", "reference.scratch.guess_error", "less than or equal to 1"),
    ],
)
def test_a_bad_key_is_named_with_its_line(file, text, old, new, key, problem):
    changed = text.replace(old, new, 1)
    message = refusal(file, changed)
    changed_line = text[: text.index(old)].count("\n") + 1 + new.count("\n")
    assert message.startswith(f"{file}:{changed_line}: {key}: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("old", "new", "section", "problem"),
    [
        ("extract: [last]", "extract: [whole]", "verifier", "extract: whole is unknown to verifier numeric"),
        ("extract: [last]", "extract: [code]", "verifier", "extract: code is unknown to verifier numeric"),
        (
            "name: numeric",
            "name: code",
            "verifier",
            "last is unknown to verifier code, which has code, whole",
        ),
        ("epochs: null", "epochs: 1.0", "train", "exactly one of steps and epochs"),
        ("steps: 64", "steps: null", "train", "exactly one of steps and epochs"),
        ("  ranks: 1", "  ranks: 3", "train", "256 is not a multiple of ranks 3"),
        ("[0.0, 1.0]", "[0.8, 0.2]", "values", "keep_mean_reward: 0.8 is above 0.2"),
        (
            "first: 2",
            "first: 9",
            "sampling",
            "adaptive.first: 9 is above n 8",
        ),
        ("hostfile: null", "hostfile: hosts", "train", "hostfile is for more than one of ranks"),
        ("offload: none", "offload: optimizer", "train", "needs a higher zero_stage than 0"),
        (
            "attention: null",
            "attention: flash_attention_2",
            "train",
            "flash_attention_2 needs dtype and reference_dtype bfloat16",
        ),
        ("offload: none", "offload: all", "train", "needs a higher zero_stage than 0"),
        ("min_terms: 4", "min_terms: 8", "arithmetic", "min_terms 8 is above max_terms 7"),
        ("heads: 3", "heads: 5", "reference.scratch", "hidden_size 96 is not a multiple of heads 5"),
        ("heads: 3", "heads: 32", "reference.scratch", "must be even: positions rotate pairs"),
        ("source: scratch ", "source: hub ", "reference", "name is needed with source: hub"),
        ("name: null", "name: some/model", "reference", "name is needed with source: hub, and only there"),
        ('text: "{prompt}"', 'text: "prompt"', "template", "text must contain {prompt}"),
        ("system: null", "system: Be brief.", "template", "system needs style: chat"),
        ("four_eyes: false", "four_eyes: true", "promotion", "four_eyes needs approval: manual"),
        ("revision: null", "revision: main", "reference", "revision needs source: hub"),
        ("train_files: []", "train_files: [a.jsonl]", "data", "train_files: a.jsonl needs source: files"),
        ("group_field: null", "group_field: kind", "data", "group_field: kind needs source: files"),
        ("train_prompts: 1024", "train_prompts: null", "data", "train_prompts and eval_prompts are needed"),
        ("source: arithmetic", "source: files", "data", "train_files and eval_files are needed"),
        ("split: files", "split: seed", "data", "split: seed needs source: files"),
        ("split_field: null", "split_field: part", "data", "train_rows and eval_rows are needed"),
    ],
)
def test_a_bad_combination_is_named_with_its_section(file, text, old, new, section, problem):
    changed = text.replace(old, new, 1)
    message = refusal(file, changed)
    row = line_of(changed, f"{section.rsplit('.', 1)[-1]}:") if section != "reference.scratch" else None
    assert message.startswith(f"{file}:{row or line_of(changed, '  scratch:')}: {section}: ")
    assert problem in message


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            [("source: arithmetic", "source: files"), ("[]", "[a]"), ("[]", "[b]")],
            "scratch only learns data.source: arithmetic",
        ),
        (
            [("estimate: pooled", "estimate: published")],
            "sampling.adaptive: needs values.estimate: pooled, found published; set sampling.adaptive",
        ),
        ([("style: raw", "style: chat")], "chat needs a model with a chat template"),
        (
            [("overlong: null", "overlong: {buffer_tokens: 48, penalty: 1.0}")],
            "verifier.overlong.buffer_tokens: 48 is not less than generation.max_new_tokens, 48",
        ),
        (
            [("engine: transformers", "engine: vllm"), ("temperature: 1.0", "temperature: 0.009")],
            "sampler.engine: vllm needs generation.temperature of at least 0.01",
        ),
        (
            [("    engine: transformers", "    engine: vllm"), ("temperature: 1.0", "temperature: 0.009")],
            "sampler.engine: vllm needs generation.temperature of at least 0.01",
        ),
    ],
)
def test_sections_that_do_not_fit_together_are_refused(file, text, changes, problem):
    for old, new in changes:
        text = text.replace(old, new, 1)
    message = refusal(file, text)
    assert message.startswith(f"{file}: ")
    assert problem in message


def test_what_vllm_cannot_do_in_training_is_refused(file):
    changes = ["train.sampler.engine=vllm", "train.dtype=bfloat16"]
    assert set_params(file, [*changes, "train.lora={rank: 512, alpha: 8.0}"]).train.lora.rank == 512
    with pytest.raises(InputError, match=r"lora: vLLM's adapters have a rank of at most 512"):
        set_params(file, [*changes, "train.lora={rank: 513, alpha: 8.0}"])


def test_responses_are_weighed_only_where_the_sampler_has_log_probs(file):
    with pytest.raises(InputError, match=r"importance_limit: only with sampler.engine vllm"):
        set_params(file, ["train.importance_limit=2.0"])
    weighed = set_params(file, ["train.importance_limit=2.0", "train.sampler.engine=vllm"])
    assert weighed.train.importance_limit == 2.0


def test_training_starts_vllm_as_stage_1_does_except_for_what_it_overrides(file):
    def in_training(*assignments):
        params = set_params(file, assignments)
        return params.sampler.vllm_in_training(params.train.sampler.vllm_override).model_dump()

    same = load_params(file).sampler.vllm.model_dump()
    assert in_training() == same
    # Every rank has an engine on a GPU of its own.
    assert in_training("sampler.vllm.tensor_parallel_size=2") == same
    override = "train.sampler.vllm_override={gpu_memory_utilization: 0.3, kv_cache_gib: null}"
    assert in_training(override) == same | {"gpu_memory_utilization": 0.3, "kv_cache_gib": None}
    changed = same | {"gpu_memory_utilization": 0.3, "kv_cache_gib": None, "max_num_seqs": 4}
    assert in_training("train.sampler.vllm_override.max_num_seqs=4") == changed
    with pytest.raises(InputError, match=r"vllm_override\.tensor_parallel_size: unknown parameter"):
        in_training("train.sampler.vllm_override.tensor_parallel_size=2")
    with pytest.raises(InputError, match=r"vllm_override\.max_num_seqs: .* a whole number, found None"):
        in_training("train.sampler.vllm_override.max_num_seqs=null")


def test_value_tables_of_earlier_versions_stay_valid():
    """Files that an earlier version made hold the digest of a distribution with top_p and top_k."""
    distribution = load_preset("ci").generation.fingerprinted()
    assert digest(distribution) == "c3e0de1dd1ab5d5b025d1320ab3357a0390639a4714bf18b987f0fa17e429381"


def test_a_precision_of_a_reference_that_adapters_do_without_is_refused(file, text):
    configuration = text.replace("reference_dtype: null", "reference_dtype: bfloat16")
    file.write_text(configuration)
    assert load_params(file).train.reference_dtype == "bfloat16"
    problem = refusal(file, configuration.replace("lora: null", "lora: {rank: 4, alpha: 8.0}"))
    assert "reference_dtype: with lora the reference is the policy without its adapters" in problem


def test_a_missing_key_is_named_with_its_sections_line(file, text):
    changed = text.replace("  beta1: 0.5\n", "")
    row = line_of(changed, "values:")
    assert refusal(file, changed) == f"{file}:{row}: values.beta1: missing parameter"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("  steps: 64", "  step: 64", "train.step: unknown parameter; did you mean train.steps?"),
        (
            "  beta2: 0.001",
            "  beta_2: 0.001",
            "algorithm.beta_2: unknown parameter; did you mean algorithm.beta2?",
        ),
        ("\nvalues:", "\nvalue:", "value: unknown parameter; did you mean values?"),
        ("    rank: 4", "    ranks: 4", "train.lora.ranks: unknown parameter; did you mean train.lora.rank?"),
        ("  n: 8", "  n: 8\n  zzzz: 1", "sampling.zzzz: unknown parameter"),
    ],
)
def test_a_misspelt_key_is_named_with_the_one_that_was_meant(file, text, old, new, problem):
    """The misspelt key is named, not the key that is missing because of it."""
    text = text.replace("lora: null ", "lora:\n    rank: 4\n    alpha: 8.0 ")
    changed = text.replace(old, new, 1)
    assert changed != text
    row = changed[: changed.index(new)].count("\n") + 1 + new.count("\n")
    assert refusal(file, changed) == f"{file}:{row}: {problem}"


def test_a_misspelt_assignment_is_named_with_the_one_that_was_meant(file):
    with pytest.raises(InputError) as refused:
        set_params(file, ["train.step=4"])
    assert str(refused.value) == f"{file}: train.step: unknown parameter; did you mean train.steps?"


def test_a_key_of_an_earlier_version_is_refused_with_what_to_do(file, text):
    top_p = text.replace("  temperature: 1.0", "  temperature: 1.0\n  top_p: 1.0")
    message = (
        f"{file}:{line_of(top_p, 'top_p: 1.0')}: generation.top_p: is of an earlier version: delete the line"
    )
    assert refusal(file, top_p) == message


def test_a_file_of_an_earlier_version_is_refused_in_one_line(file, text):
    """The line lists every change that the file needs."""
    old = text.replace("  temperature: 1.0", "  temperature: 1.0\n  top_p: 1.0\n  top_k: 0")
    old = old.replace("vllm_override: {}", "vllm:\n      max_num_seqs: 256")
    message = refusal(file, old)
    assert message.startswith(f"{file}: was written for an earlier version: generation.top_p (line ")
    for key, part in (("generation.top_p", "top_p: 1.0"), ("generation.top_k", "top_k: 0")):
        assert f"{key} (line {line_of(old, part)}): delete the line" in message
    assert "train.sampler.vllm (line " in message
    assert "write `vllm_override: {}` in its place" in message
    assert "\n" not in message


def test_every_key_is_explained():
    """The documentation page of the configuration is made from these descriptions."""

    def sections(model):
        yield model
        for field in model.model_fields.values():
            for kind in (field.annotation, *get_args(field.annotation)):
                if isinstance(kind, type) and issubclass(kind, Section):
                    yield from sections(kind)

    missing = [
        f"{section.__name__}.{name}"
        for section in sections(Params)
        for name, field in section.model_fields.items()
        if not field.description and section is not Params
    ]
    assert not missing
    assert all(section.__doc__ for section in sections(Params))


def test_a_missing_section_is_named(file, text):
    section = text[text.index("verifier:") : text.index("generation:")]
    assert refusal(file, text.replace(section, "")) == f"{file}: verifier: missing parameter"


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("seed: 0\nvalues: [1, 2\ntrain: 3\n", 3),
        ("seed: 0\n\tvalues: 1\n", 2),
        ("seed: 0\nseed: 1\n", 2),
        ("seed: 0\n---\nseed: 1\n", 2),
    ],
)
def test_malformed_yaml_is_named_with_its_line(file, text, row):
    assert refusal(file, text).startswith(f"{file}:{row}: not YAML: ")


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n", "# nothing\n"])
def test_a_file_without_sections_is_refused(file, text):
    assert refusal(file, text) == f"{file}: must hold a mapping of sections"


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: no such file; `apo init DIR`"):
        load_params(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("content", ["name: 2024-01-01", "name: !tag x", "name: !!set {a, b}"])
def test_yaml_without_a_json_form_is_refused(file, text, content):
    assert "reference.name" in refusal(file, text.replace("name: null", content, 1))


@pytest.mark.parametrize("tail", [b"\x00", b"# \xff"])
def test_bytes_that_are_no_text_are_refused(file, tail):
    file.write_bytes(file.read_bytes() + tail)
    with pytest.raises(InputError, match=r"params\.yaml"):
        load_params(file)


@pytest.mark.parametrize("value", ["[1", "@x", "'x", "2024-01-01"])
def test_an_assigned_value_that_is_no_yaml_is_refused(file, value):
    with pytest.raises(InputError, match=r"tracking\.model"):
        set_params(file, [f"tracking.model={value}"])


def test_a_refused_assignment_does_not_blame_the_line_it_would_replace(file, text):
    with pytest.raises(InputError) as refused:
        set_params(file, ["values.beta1=abc"])
    assert str(refused.value).startswith(f"{file}: values.beta1: ")
    file.write_text(text.replace("seed: 0", "seed: -1"))
    with pytest.raises(InputError, match=r":\d+: seed: "):  # the seed is the file's own
        set_params(file, ["values.beta1=0.5"])


def test_assignments_change_their_lines_only(file, text):
    params = set_params(
        file,
        [
            "seed=7",
            "values.beta1=0.25",
            "reference.scratch.steps=9",
            "train.adam_betas=[0.9, 0.95]",
            "trust_remote_code=true",
            "train.learning_rate=1e-6",
            "tracking.model=a=b",
        ],
    )
    assert params == load_params(file)
    assert (params.seed, params.values.beta1, params.reference.scratch.steps) == (7, 0.25, 9)
    assert (params.train.adam_betas, params.tracking.model) == ((0.9, 0.95), "a=b")
    assert (params.train.learning_rate, params.trust_remote_code) == (1e-6, True)
    old, new = text.splitlines(), file.read_text(encoding="utf-8").splitlines()
    changed = [(before, after) for before, after in zip(old, new, strict=True) if before != after]
    assert len(changed) == 7
    # Comments survive, on the changed lines too.
    assert [line.partition("#")[2] for line in old] == [line.partition("#")[2] for line in new]


def test_what_assignments_change_is_listed_by_key(file, text):
    assert changed_keys(file, ["train.steps=9", "seed=0", "train.adam_betas=[0.9, 0.95]"]) == [
        "train.steps: 64 -> 9",
        "train.adam_betas: [0.9, 0.999] -> [0.9, 0.95]",
    ]
    changes = changed_keys(file, ["algorithm=rebel"])
    assert changes[:2] == ['algorithm.name: "apo" -> "rebel"', "algorithm.eta: (absent) -> 1.0"]
    assert "algorithm.beta2: 0.001 -> (absent)" in changes
    assert file.read_text(encoding="utf-8") == text


def test_beta2_may_be_zero(file):
    assert set_params(file, ["algorithm.beta2=0"]).algorithm.beta2 == 0


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_algorithm_is_chosen_with_its_settings(file, text, name):
    params = set_params(file, ["train.learning_rate=0.001", f"algorithm={name}", "algorithm.minibatches=2"])
    assert params.algorithm.model_dump() == DEFAULTS[name] | {"minibatches": 2}
    assert load_params(file) == params
    method = make_algorithm(**params.algorithm.model_dump())
    assert type(method).__name__.lower() == name
    assert updates_per_step(method) == 2 * DEFAULTS[name]["epochs"]
    # Back again, the file says what it said, except for comments inside the section.
    set_params(file, ["train.learning_rate=0.0001", "algorithm=apo"])
    head, _, rest = text.partition("algorithm:")
    _, _, tail = rest.partition("\n\n")
    changed_head, _, changed_rest = file.read_text(encoding="utf-8").partition("algorithm:")
    assert changed_head == head
    assert changed_rest.partition("\n\n")[2] == tail
    assert load_params(file).algorithm.model_dump() == DEFAULTS["apo"]


def test_a_lagging_copy_does_not_draw_with_vllm(file):
    set_params(file, ["algorithm=oapl"])
    with pytest.raises(InputError, match=r"train.sampler.engine: the lagging copy of oapl samples with"):
        set_params(file, ["train.sampler.engine=vllm"])
    set_params(file, ["sampler.engine=vllm"])


def test_a_lagging_copy_of_adapters_is_float32(file):
    set_params(file, ["algorithm=oapl", "train.lora={rank: 2, alpha: 4.0}"])
    with pytest.raises(InputError, match=r"train.lora: with algorithm oapl only in dtype float32"):
        set_params(file, ["train.dtype=bfloat16"])


def test_every_algorithm_has_settings_to_begin_with():
    assert list(DEFAULTS) == list(ALGORITHMS)


def test_what_is_written_does_not_change_the_defaults(file):
    set_params(file, ["algorithm=grpo", "algorithm.beta=0.5"])
    assert DEFAULTS["grpo"]["beta"] == 0.04


def test_no_assignment_leaves_the_file_as_it_is(file, text):
    set_params(file, [])
    assert file.read_text(encoding="utf-8") == text


def test_the_engine_is_chosen_by_one_assignment(file):
    params = set_params(file, ["sampler.engine=vllm", "sampler.vllm.kv_cache_gib=null"])
    assert (params.sampler.engine, params.sampler.vllm.kv_cache_gib) == ("vllm", None)


def test_the_engine_is_not_part_of_sampling(file):
    with pytest.raises(InputError, match=r"sampling\.engine: unknown parameter"):
        set_params(file, ["sampling.engine=vllm"])


def test_null_can_be_assigned(file, text):
    set_params(file, ["train.steps=null", "train.epochs=2.0"])
    changed = file.read_text(encoding="utf-8")
    assert changed == text.replace("steps: 64", "steps: null").replace("epochs: null", "epochs: 2.0")


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("values.beta1=0", "values.beta1: must be greater than 0"),
        ("algorithm.beta2=-0.1", "algorithm.beta2: must be greater than or equal to 0"),
        ("algorithm.beta2=.inf", "algorithm.beta2: must be a finite number"),
        ("train.beta2=0.1", "train.beta2: unknown parameter"),
        ("algorithm=dpo", "algorithm: must be one of apo, grpo, ppo, rebel, oapl, found 'dpo'"),
        ("algorithm.name=dpo", "algorithm.name: must be one of apo, grpo, ppo, rebel, oapl, found 'dpo'"),
        ("algorithm={beta2: 0.1}", "algorithm.name: must be one of apo, grpo, ppo, rebel, oapl"),
        (
            "algorithm.name=rebel",
            "algorithm.beta2: is no parameter of rebel; --set algorithm=rebel writes its",
        ),
        ("algorithm={name: grpo, responses: 1}", "algorithm.epochs: missing parameter"),
        ("algorithm.minibatches=3", "algorithm.minibatches: batch_size 256 is not a multiple"),
        ("values.beta3=1", "values.beta3: unknown parameter"),
        ("verifer.name=math", "verifer.name: unknown parameter; did you mean verifier.name?"),
        ("nowhere.beta1=1", "nowhere.beta1: unknown parameter; did you mean values.beta1?"),
        ("seed.deeper=1", "seed.deeper: unknown parameter"),
        ("values.beta1", "is not of the form key=value"),
        ("=1", "is not of the form key=value"),
        ("train.steps=null", "exactly one of steps and epochs"),
        ("seed=", "seed: must be a whole number, found None"),
    ],
)
def test_one_bad_assignment_leaves_the_whole_file_unchanged(file, text, assignment, problem):
    with pytest.raises(InputError) as refused:
        set_params(file, ["seed=7", assignment, "trust_remote_code=true"])
    assert problem in str(refused.value)
    assert file.read_text(encoding="utf-8") == text
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize("name", ["../train.jsonl", "/tmp/train.jsonl", "a/../../train.jsonl", "", "."])
def test_prompt_files_stay_where_dvc_watches(file, text, name):
    message = refusal(file, text.replace("eval_files: []", f"eval_files: ['{name}']"))
    assert message.endswith(f"data.eval_files: {name!r} is no file below data/raw/prompts, found [{name!r}]")


def test_parameters_are_frozen(file):
    with pytest.raises(ValueError, match="frozen"):
        load_params(file).seed = 1
