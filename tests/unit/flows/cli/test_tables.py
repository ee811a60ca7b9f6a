"""The tables that `apo run` prints."""

import pytest

from flows.cli.tables import print_findings, print_summary
from flows.doctor.inputs import Finding
from tasks.reporting.summary import ApprovalBlock, ModelBlock, Summary
from tasks.workspace import STAGES


def scores(mean, **more):
    """One policy's scores of four samples per prompt."""
    shares = {"greedy": None, "truncated": 0.25, "unparsed": 0.0, "errors": 0.0}
    return {"pass@1": mean, "ci95": [mean - 0.1, mean + 0.1], "pass@4": 0.9, "maj@4": 0.5, **shares, **more}


def block(prompts, gain, **more):
    whole = {"prompts": prompts, "samples": 4, "reference": scores(0.4), "policy": scores(0.6)}
    return {**whole, "gain": gain, "gain_ci95": [gain - 0.05, gain + 0.05], **more}


def summary_of(**more):
    """A summary whose evaluation has other fields."""
    parts = {"kl": 1.5, "sets": {}, "groups": {}, "difficulty": {}}
    return Summary.model_validate(
        {
            "eval": {**block(70, 0.2), **parts, **more},
            "values": {
                "kept": 3,
                "prompts": 4,
                "dropped": {"unsolved": 1},
                "dropped_but_solvable": 1,
                "n": 4,
                "responses": 16,
                "beta1": 0.5,
            },
            "train": {"algorithm": "apo", "steps": 2, "prompts_per_step": 4, "peak_rss_mib": 100.0},
            "seconds": dict.fromkeys(STAGES, 1.0),
            "decision": {"outcome": "hold", "reason": "worse on [x]"},
            "model": {"name": "m", "version": None, "aliases": []},
            "approval": None,
            "run_id": "1234",
            "lineage": {"dvc_lock_sha256": "ab" * 32, "fingerprint": "cd" * 32, "git_commit": None},
        }
    )


@pytest.fixture
def printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")

    def lines(summary):
        print_summary(summary)
        rows = [line.strip("│\n ").split("│") for line in capsys.readouterr().out.splitlines() if "│" in line]
        return {name.strip(): text.strip() for name, text in rows}

    return lines


def test_what_the_doctor_says_to_install_is_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    print_findings([Finding("ray", False, "is not installed: pip install -e '.[ray]'")])
    assert "pip install -e '.[ray]'" in capsys.readouterr().out


def test_one_set_is_a_few_lines(printed):
    rows = printed(summary_of())
    assert list(rows)[:7] == [
        "reference pass@1",
        "policy pass@1",
        "gain",
        "pass@4",
        "maj@4",
        "truncated",
        "KL to the reference",
    ]
    assert rows["gain"] == "+0.200  (95% 0.150 to 0.250, paired) on 70 held-out prompts"
    assert rows["pass@4"] == "reference 0.900, policy 0.900"
    assert rows["truncated"] == "reference 25.0%, policy 25.0% of the responses"


def test_every_set_has_a_line(printed):
    rows = printed(summary_of(sets={"aime24": block(30, -0.1), "[gsm8k]": block(40, 0.3)}))
    assert rows["aime24"] == "-0.100  (95% -0.150 to -0.050, paired) on 30"
    assert rows["[gsm8k]"] == "+0.300  (95% 0.250 to 0.350, paired) on 40"  # a name is no markup
    assert rows["decision"] == "hold: worse on [x]"


def test_dropped_prompts_that_are_probably_solvable_are_named(printed):
    row = printed(summary_of())["values"]
    assert row.startswith("3 of 4 prompts kept, 1 unsolved (about 1 solvable), N = ")


def test_what_is_not_known_and_what_did_not_happen(printed):
    rows = printed(summary_of(policy=scores(0.6, errors=0.5, **{"pass@4": None})))
    assert rows["pass@4"] == "reference 0.900, policy -"
    assert rows["errors"] == "reference 0.0%, policy 50.0% of the responses"
    assert "unparsed" not in rows


def test_bounds_of_the_gain_are_shown_where_the_verifier_failed(printed):
    assert "with errors" not in printed(summary_of())
    rows = printed(summary_of(gain_bounds=[0.1, 0.3], gain_bounds_ci95=[-0.01, 0.4]))
    assert rows["with errors"] == "0.100 to 0.300  (95% -0.010 to 0.400, worst to best case)"


def test_one_sample_has_no_lines_of_several(printed):
    rows = printed(summary_of(samples=1))
    assert not {name for name in rows if "@" in name} - {"reference pass@1", "policy pass@1"}


def test_a_candidate_that_waits_comes_with_the_command(capsys):
    approval = ApprovalBlock(event="candidate", by="Ada", reason="better", time="noon", waits=True)
    model = ModelBlock(name="m", version="3", aliases=[])
    waiting = summary_of().model_copy(update={"model": model, "approval": approval})
    print_summary(waiting)
    assert "wanted: apo approve m 3 --by NAME" in capsys.readouterr().out
    approved = approval.model_copy(update={"event": "approved", "by": "Bob", "waits": False})
    print_summary(waiting.model_copy(update={"approval": approved}))
    assert "approved by Bob" in capsys.readouterr().out


def graded(mean):
    figures = scores(mean) | {"reward": mean, "best@4": 0.95}
    return {name: value for name, value in figures.items() if not name.startswith("pass")}


def test_graded_rewards_are_not_called_pass(printed):
    rows = printed(summary_of(reference=graded(0.4), policy=graded(0.6)))
    assert rows["policy reward"] == "0.600  (95% 0.500 to 0.700)"
    assert rows["best@4"] == "reference 0.950, policy 0.950"
    assert not {name for name in rows if "pass" in name}
