"""What is for Prefect alone is not worth waiting for, the rest of a task is."""

from tasks.at_work import at_rest, at_work, is_at_work


def test_a_task_is_at_work_but_for_what_is_for_prefect_alone():
    assert not is_at_work()
    with at_rest():
        assert not is_at_work()
    assert not is_at_work()
    with at_work():
        assert is_at_work()
        with at_rest():
            assert not is_at_work()
        assert is_at_work()
    assert not is_at_work()
