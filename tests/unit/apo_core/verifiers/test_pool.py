import errno
import multiprocessing
import multiprocessing.synchronize
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.errors import ApoError
from apo_core.verifiers import Attempt, InProcess, Verdict, make_verifier, open_scorer, worker

# What a user might write, well or badly.
SOURCE = r"""
import os, random, signal, sys, threading, time
from pathlib import Path

class Fragile(Exception):
    def __init__(self, one, two):
        self.lock = threading.Lock()  # cannot be pickled, nor made again from its text
    def __str__(self):
        raise ValueError

def score(completion, answer, row):
    if completion == "sleep":
        time.sleep(1000)
    if completion == "spin":
        "a" * 10 ** 9 in "a" * (2 * 10 ** 9) if False else [None for _ in iter(int, 1)]
    if completion == "deaf":
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)
    if completion == "raise":
        raise ValueError("no\nidea")
    if completion == "fragile":
        raise Fragile(1, 2)
    if completion == "exit":
        sys.exit(3)
    if completion == "die":
        os._exit(3)
    if completion == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if completion == "memory":
        return len(bytearray(10 ** 10)) / 10 ** 10
    if completion == "noise":
        print("error: noise", file=sys.stderr)
        os.write(1, b"noise" * 100_000)
    if completion == "border":  # as long as it may take, or a little longer
        time.sleep(0.97 + 0.06 * random.random())
    if completion == "row":
        return row["level"] / 10, f"level {row['level']}"
    if completion == "torch":
        return "torch" in sys.modules
    if completion == "pid":
        return 1.0, str(os.getpid())
    if completion.startswith("return "):
        return eval(completion.removeprefix("return "))
    return completion == answer
"""
HANGS = "error: took longer than 1 s"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("verifiers")
    (directory / "mine.py").write_text(SOURCE)
    (directory / "late.py").write_text("import time\ntime.sleep(1.5)\ndef score(*_):\n    return 1\n")
    (directory / "broken.py").write_text("import nothing_of_this_name\n")
    (directory / "deadly.py").write_text("import os\nos._exit(1)\n")
    return directory


def scorer(directory, name="mine:score", *, workers=2, **limits):
    verifier = make_verifier(name, ("whole",), directory)
    return open_scorer(verifier, workers=workers, time_limit_seconds=1.0, memory_limit_mib=1024, **limits)


def attempts(*completions):
    return [Attempt(completion, "a", '{"level": 7}') for completion in completions]


@pytest.fixture(scope="module")
def pooled(directory):
    with scorer(directory) as score_pool:
        yield score_pool


def reasons(verdicts):
    return [(verdict.reward, verdict.reason) for verdict in verdicts]


def test_rewards_come_back_in_order_with_a_reason(pooled):
    verdicts = pooled.score(attempts("a", "b", "row", "a"))
    assert reasons(verdicts) == [
        (1.0, "mine:score: 1"),
        (0.0, "mine:score: 0"),
        (0.7, "level 7"),
        (1.0, "mine:score: 1"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("sleep", HANGS),
        ("spin", HANGS),
        ("deaf", HANGS),
        ("raise", "error: ValueError: no idea (mine.py:21)"),
        ("fragile", "error: mine.Fragile: <exception str() failed> (mine.py:23)"),
        ("exit", "error: SystemExit: 3 (mine.py:25)"),
        ("die", "error: its process died (exit status 3)"),
        ("kill", "error: its process died (SIGKILL)"),
        ("memory", "error: MemoryError (mine.py:31)"),
        ("return 1.5", "error: returned 1.5, no reward from 0 to 1"),
        ("return -0.1", "error: returned -0.1, no reward from 0 to 1"),
        ("return float('nan')", "error: returned nan, no reward from 0 to 1"),
        ("return None", "error: returned None, no reward from 0 to 1"),
        ("return '1'", "error: returned '1', no reward from 0 to 1"),
        ("return 1, 2, 3, 4", "error: returned (1, 2, 3, 4), no reward from 0 to 1"),
        ("return ()", "error: returned (), no reward from 0 to 1"),
        ("return open", "error: returned <built-in function open>, no reward from 0 to 1"),
    ],
)
def test_a_failure_is_an_error_row_and_its_neighbours_are_scored(pooled, completion, reason):
    verdicts = pooled.score(attempts("a", completion, "b", "a"))
    assert verdicts[1] == Verdict(None, None, reason)
    assert [verdict.reward for verdict in verdicts] == [1.0, None, 0.0, 1.0]


@pytest.mark.slow
def test_a_batch_of_hangs_and_crashes_ends(pooled):
    started = time.perf_counter()
    verdicts = pooled.score(attempts("sleep", "kill", "raise", "a", "sleep", "die", "a"))
    assert [verdict.reward for verdict in verdicts] == [None, None, None, 1.0, None, None, 1.0]
    assert time.perf_counter() - started < 15


@pytest.mark.slow
def test_a_row_at_the_limit_costs_no_other(pooled):
    rows = ["border", "a"] * 20
    verdicts = pooled.score(attempts(*rows))
    assert [verdict.reward for verdict in verdicts[1::2]] == [1.0] * 20
    assert {verdict.reason for verdict in verdicts[::2]} <= {HANGS, "mine:score: 0"}


@pytest.mark.slow
def test_after_too_many_errors_the_rest_costs_no_time(directory):
    with scorer(directory, max_errors=2) as score_pool:
        rows = ["a", "sleep", "a", *["sleep"] * 50]
        started = time.perf_counter()
        verdicts = score_pool.score(attempts(*rows))
        assert time.perf_counter() - started < 15
        assert reasons(verdicts[:5]) == [(1.0, "mine:score: 1"), (None, HANGS)] * 2 + [(None, HANGS)]
        assert {verdict.reason for verdict in verdicts[5:]} == {"error: given up after 3 others"}
        assert len(verdicts) == len(rows)
        assert score_pool.score(attempts("a"))[0].reward == 1.0


def test_verdicts_do_not_depend_on_the_workers_or_the_batch(directory, pooled):
    batch = attempts("a", "raise", "b", "row", "return 0.25, 'quarter'", "die", "a")
    whole = pooled.score(batch)
    assert [pooled.score([attempt])[0] for attempt in batch] == whole
    with scorer(directory, workers=1) as single:
        assert single.score(batch) == whole


@pytest.mark.parametrize(
    ("returned", "expected"),
    [
        ("True", (1.0, "mine:score: 1")),
        ("0", (0.0, "mine:score: 0")),
        ("__import__('numpy').float32(0.5)", (0.5, "mine:score: 0.5")),
        (r"(0.5, 'a\nb\ud800c')", (0.5, "a b?c")),  # what a table can hold
        ("(1, 'x' * 10**7)", (1.0, "x" * 197 + "...")),
    ],
)
def test_what_a_function_may_return(pooled, returned, expected):
    assert reasons(pooled.score(attempts(f"return {returned}"))) == [expected]


@pytest.mark.parametrize(
    ("returned", "read"),
    [
        ("1", "return 1"),  # responses vote by their whole text
        ("1, 'why'", "return 1, 'why'"),
        ("1, 'why', 7", "7"),
        ("1, None, None", None),
        (r"1, 'why', 'a\ud800'", "a?"),
        ("1, 'why', 'x' * 10**7", "x" * 1000),
    ],
)
def test_what_a_function_read_as_the_answer_is_kept(pooled, returned, read):
    (verdict,) = pooled.score(attempts(f"return {returned}"))
    assert (verdict.reward, verdict.extracted) == (1.0, read)


def test_what_a_verifier_prints_is_not_in_the_stages_output(pooled, capfd):
    assert pooled.score(attempts("noise"))[0].reward == 0.0
    assert capfd.readouterr() == ("", "")


def test_a_process_that_scores_has_no_torch(pooled):
    assert pooled.score(attempts("torch"))[0].reward == 0.0


def test_importing_a_verifier_leaves_nothing_beside_it(pooled, directory):
    assert pooled.score(attempts("a"))[0].reward == 1.0
    assert {file.name for file in directory.iterdir()} == {"mine.py", "late.py", "broken.py", "deadly.py"}


@pytest.mark.slow
def test_loading_takes_its_time_without_a_row_paying_for_it(directory):
    with scorer(directory, "late:score") as late:
        assert [verdict.reward for verdict in late.score(attempts("a", "b"))] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mine:nothing", "verifier.name: mine:nothing: module mine has no function nothing"),
        ("mine:SOURCE_NAME", "module mine has no function SOURCE_NAME"),
        ("broken:score", "broken:score: cannot be loaded: ModuleNotFoundError: No module named 'nothing_of"),
        ("deadly:score", "deadly:score: its process died while loading it, or it took longer than 120 s"),
    ],
)
def test_a_verifier_that_cannot_be_loaded_is_one_clear_error(directory, name, problem):
    with scorer(directory, name) as score_pool, pytest.raises(ApoError) as refused:
        score_pool.check()
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def mathematics():
    verifier = make_verifier("math", ("boxed", "last"), Path())
    with open_scorer(verifier, workers=1, time_limit_seconds=0.5, memory_limit_mib=1024) as score_pool:
        yield score_pool


PIECES = [
    r"\boxed{",
    r"\frac{",
    r"\sqrt{",
    "^{",
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "$",
    "9",
    "1e9",
    "!",
    "=",
    " ",
    "\udcff",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=40))
def test_whatever_a_model_writes_is_scored_or_an_error_row(mathematics, text):
    (verdict,) = mathematics.score([Attempt(text, "9", "{}")])
    assert (verdict.reward in (0.0, 1.0)) != verdict.reason.startswith("error: ")
    assert verdict.reason.encode()  # a table can hold the reason


def test_answers_are_looked_at_in_the_pool_too():
    with open_scorer(
        make_verifier("math", ("boxed",), Path()), workers=1, time_limit_seconds=1.0, memory_limit_mib=1024
    ) as score_pool:
        answers = [Attempt("", answer, "{}") for answer in ("1/2", "", "9^{9^{9^{9}}}")]
        assert score_pool.answer_problems(answers)[:2] == [None, "has no expression to compare with"]


def test_a_pool_that_breaks_is_replaced(pooled):
    before = pooled.score(attempts("pid"))[0].reason
    children = psutil.Process().children(recursive=True)
    alive = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
    scoring = [child for child in alive if "spawn_main" in " ".join(child.cmdline())]
    assert int(before) in [child.pid for child in scoring]
    for child in scoring:
        child.kill()  # between two rows, as the kernel does when memory is short
    time.sleep(0.5)  # the pool must see the deaths: nothing else may reap the children
    verdicts = pooled.score(attempts("a", "b", "pid"))
    assert [verdict.reward for verdict in verdicts] == [1.0, 0.0, 1.0]
    assert verdicts[2].reason != before


def test_a_machine_without_semaphores_is_one_clear_error(directory, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing.synchronize.SemLock, "__init__", refuse)
    problem = r"cannot start: Read-only file system; they need .* /dev/shm"
    for use in (lambda pool: pool.check(), lambda pool: pool.score(attempts("a"))):
        with scorer(directory) as score_pool, pytest.raises(ApoError, match=problem):
            use(score_pool)


HELD = []


def hold_open(directory, busy, ready):
    """Open a pool and never close it; runs in a process that multiprocessing starts."""
    HELD.append(scorer(directory, workers=1))
    score_pool = HELD[0].__enter__()
    pid = int(score_pool.score(attempts("pid"))[0].reason)
    if busy:  # with a row that keeps the scoring process busy
        score_pool._started().schedule(worker.score, args=(attempts("sleep")[0],))
        time.sleep(0.5)
    ready.send(pid)
    ready.recv()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_no_process_outlives_the_one_it_scores_for(directory, killed):
    context = multiprocessing.get_context("spawn")
    parent_end, child_end = context.Pipe()
    owner = context.Process(target=hold_open, args=(directory, killed, child_end))
    owner.start()
    child_end.close()
    pid = parent_end.recv()
    if killed:
        os.kill(owner.pid, signal.SIGKILL)
    else:
        parent_end.send(None)
    owner.join(timeout=20)
    assert not owner.is_alive()
    for _ in range(50):
        if not psutil.pid_exists(pid):
            return
        time.sleep(0.1)
    raise AssertionError("the scoring process still runs")


def test_many_large_rows_that_nobody_waits_for_do_not_hold_up_the_end(directory):
    with pytest.raises(KeyboardInterrupt), scorer(directory) as score_pool:
        pool = score_pool._started()
        for attempt in attempts(*["x" * 100_000] * 500):
            pool.schedule(len, args=(attempt,))
        raise KeyboardInterrupt


def test_bounded_verifiers_need_no_process(directory):
    with open_scorer(
        make_verifier("numeric", ("last",), directory), workers=1, time_limit_seconds=1.0, memory_limit_mib=64
    ) as in_process:
        assert isinstance(in_process, InProcess)
        assert in_process.score([Attempt("so 4", "4", "{}")]) == [Verdict(1.0, "4", "4 equals 4")]
        assert in_process.answer_problems([Attempt("", "x", "{}")]) == ["has no number to compare with"]
