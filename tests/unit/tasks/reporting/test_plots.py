"""The plot of an evaluation: its content, and that every kind of evaluation can be plotted."""

import pytest

from tasks.reporting.plots import evaluation_figure, plot_evaluation


def model(mean, samples=4):
    figures = {"pass@1": mean, "ci95": [max(0, mean - 0.1), min(1, mean + 0.1)], f"maj@{samples}": mean}
    return figures | ({"pass@2": None, f"pass@{samples}": 0.95} if samples > 1 else {})


def evaluation(samples=4, sets=()):
    block = {"prompts": 30, "gain": 0.2, "gain_ci95": [0.1, 0.3], "samples": samples}
    block |= {"reference": model(0.4, samples), "policy": model(1.0, samples)}
    return block | {"sets": dict.fromkeys(sets, block)}


def labels(axis):
    return [text.get_text() for text in axis.get_yticklabels()]


def test_every_set_has_a_line_with_its_prompts():
    figure = evaluation_figure(evaluation(sets=["aime24", "a" * 30, "$x"]))
    accuracies, at_k = figure.axes
    assert labels(accuracies) == ["all prompts (30)", "aime24 (30)", "a" * 22 + "... (30)", r"\$x (30)"]
    reference, *_ = at_k.lines
    assert list(reference.get_xdata()) == [1, 4]  # pass@2 is not known
    assert list(reference.get_ydata()) == [0.4, 0.95]


def test_one_sample_has_no_curve():
    figure = evaluation_figure(evaluation(samples=1))
    (accuracies,) = figure.axes
    assert labels(accuracies) == ["all prompts (30)"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reference", "policy"]


@pytest.mark.parametrize("sets", [[], ["one", "two"], [f"set {index}" for index in range(12)]])
def test_nothing_is_cut_or_overlaps(sets):
    figure = evaluation_figure(evaluation(sets=sets))
    figure.draw_without_rendering()
    whole = figure.bbox
    (legend,) = figure.legends
    for axis in figure.axes:
        assert not legend.get_window_extent().overlaps(axis.get_tightbbox())
        box = axis.get_tightbbox()
        assert whole.x0 <= box.x0 < box.x1 <= whole.x1
        assert whole.y0 <= box.y0 < box.y1 <= whole.y1
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts]
        assert all(not box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[index + 1 :])


def test_the_same_evaluation_gives_the_same_bytes(tmp_path):
    for name in ("one.png", "two.png"):
        plot_evaluation(evaluation(sets=["one", "two"]), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_graded_rewards_are_plotted_by_their_name():
    graded = evaluation()
    for name in ("reference", "policy"):
        figures = graded[name]
        figures |= {"reward": figures.pop("pass@1"), "best@4": figures.pop("pass@4")}
        del figures["pass@2"]
    accuracies, at_k = evaluation_figure(graded).axes
    assert accuracies.get_xlabel() == "reward, with 95% interval"
    reference, *_ = at_k.lines
    assert (list(reference.get_xdata()), list(reference.get_ydata())) == ([1, 4], [0.4, 0.95])
    assert at_k.get_ylabel() == "best reward of k samples"
