import itertools
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apo_core.embedded.arithmetic import ALPHABET, Chain, chains, distinct_chains, draw_chain, pool_of

TASK = {"min_terms": 2, "max_terms": 4, "max_operand": 9}


@pytest.mark.parametrize(
    ("operands", "prompt", "answer", "worked"),
    [
        ((7, 5, -3), "7+5-3=", 9, "7+5=12-3=9#9"),
        ((1, -6), "1-6=", -5, "1-6=-5#-5"),
        ((2, -3, 10), "2-3+10=", 9, "2-3=-1+10=9#9"),
        ((4, -4), "4-4=", 0, "4-4=0#0"),
    ],
)
def test_a_chain_by_hand(operands, prompt, answer, worked):
    chain = Chain(operands)
    assert (chain.prompt, chain.answer, chain.worked) == (prompt, answer, worked)
    assert chain.guess(0) == f"#{answer}"
    assert chain.guess(2) == f"#{answer + 2}"


operands = st.tuples(st.integers(1, 99), st.lists(st.integers(-99, 99).filter(bool), min_size=1, max_size=8))


@given(operands)
def test_a_chain_says_what_it_means(drawn):
    chain = Chain((drawn[0], *drawn[1]))
    assert eval(chain.prompt.removesuffix("=")) == chain.answer
    assert set(chain.prompt + chain.worked + chain.guess(-3)) <= set(ALPHABET)
    body, final = chain.worked.split("#")
    assert int(final) == chain.answer
    # "7+5=12-3=9" begins with the first operand; each step is an operand and the total it leads to.
    steps = re.findall(r"([+-]\d+)=(-?\d+)", body)
    assert body == str(drawn[0]) + "".join("=".join(step) for step in steps)
    totals = list(itertools.accumulate(chain.operands))
    assert [tuple(map(int, step)) for step in steps] == list(zip(chain.operands[1:], totals[1:], strict=True))


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(0, 4), st.integers(1, 999))
def test_a_drawn_chain_keeps_its_limits(seed, min_terms, more, max_operand):
    chain = draw_chain(random.Random(seed), min_terms, min_terms + more, max_operand)
    assert min_terms <= len(chain.operands) <= min_terms + more
    assert chain.operands[0] > 0
    assert all(1 <= abs(operand) <= max_operand for operand in chain.operands)


def test_every_length_sign_and_operand_is_drawn():
    rng = random.Random(0)
    drawn = {draw_chain(rng, 2, 3, 2).operands for _ in range(1000)}
    pairs = {(a, b) for a in (1, 2) for b in (-2, -1, 1, 2)}
    triples = {(*pair, c) for pair in pairs for c in (-2, -1, 1, 2)}
    assert drawn == pairs | triples


def test_pools_are_disjoint_whatever_the_seed():
    pools = {
        pool: set(distinct_chains(pool, 200, seed, **TASK))
        for seed, pool in enumerate(("pretrain", "train", "eval"))
    }
    for first, second in itertools.combinations(pools.values(), 2):
        assert not first & second
    assert all(pool_of(chain) == pool for pool, members in pools.items() for chain in members)


def test_pools_share_seven_to_two_to_one():
    rng = random.Random(0)
    pools = [pool_of(draw_chain(rng, 4, 7, 99)) for _ in range(5000)]
    shares = [pools.count(pool) / 5000 for pool in ("pretrain", "train", "eval")]
    # Four standard deviations of a share of 0.7 among 5000 are 0.026.
    assert shares == pytest.approx([0.7, 0.2, 0.1], abs=0.026)


def test_a_chains_pool_never_changes():
    # sha256("7+5-3=") starts with the byte 128 and sha256("1+1=") with 71: tenths 8 and 1.
    assert (pool_of(Chain((7, 5, -3))), pool_of(Chain((1, 1)))) == ("train", "pretrain")


def test_chains_are_a_function_of_pool_and_seed():
    def first(pool, seed):
        return list(itertools.islice(chains(pool, seed, **TASK), 20))

    assert first("train", 3) == first("train", 3)
    assert first("train", 3) != first("train", 4)


def test_distinct_chains_differ_and_grow_with_their_count():
    many = distinct_chains("train", 100, 0, **TASK)
    assert len(set(many)) == 100
    assert distinct_chains("train", 10, 0, **TASK) == many[:10]


def test_more_chains_than_a_pool_holds_are_refused():
    # Two terms up to 3 make 3 * 6 = 18 chains in all pools together.
    with pytest.raises(ValueError, match=r"only \d+ different train chains exist, 19 are asked for"):
        distinct_chains("train", 19, 0, min_terms=2, max_terms=2, max_operand=3)


@pytest.mark.timeout(1, method="signal")
def test_an_empty_pool_is_refused():
    # 1+1= and 1-1= are all there is, and neither is in the pool.
    with pytest.raises(ValueError, match="only 0 different eval chains exist"):
        distinct_chains("eval", 1, 0, min_terms=2, max_terms=2, max_operand=1)
