from apo_core.verifiers.base import Attempt, Verdict
from apo_core.verifiers.scorer import InProcess


class Raises:
    name = "numeric"

    def score(self, completion, answer, row):
        return Verdict(1.0, str(int(completion)), "right")


def test_a_response_on_which_the_verifier_raises_is_an_error_row():
    verdicts = InProcess(Raises()).score([Attempt("7", "7", "{}"), Attempt("x", "7", "{}")])
    assert verdicts[0].reward == 1.0
    assert verdicts[1].reward is None
    assert verdicts[1].reason.startswith("error: ValueError: invalid literal")
