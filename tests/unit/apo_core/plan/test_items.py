"""The peak of what is held at once."""

from apo_core.plan.items import Item, peak_mib


def test_what_the_canary_takes_is_given_back_before_the_rollout():
    items = [Item("a", 5), Item("b", 8, "rollout"), Item("c", 9, "canary")]
    assert peak_mib(items) == 5 + 9


def test_rollout_update_and_step_are_not_in_memory_at_once():
    items = [Item("a", 5), Item("b", 8, "rollout"), Item("c", 4, "learning"), Item("d", 3, "update")]
    assert peak_mib([*items, Item("e", 2, "step")]) == 5 + 8
    assert peak_mib([*items, Item("e", 6, "step")]) == 5 + 4 + 6


def test_every_memory_has_a_peak_of_its_own():
    items = [Item("a", 5), Item("b", 99, memory="disk"), Item("c", 7, "step", "host")]
    assert [peak_mib(items, memory) for memory in ("device", "host", "disk")] == [5, 7, 99]
