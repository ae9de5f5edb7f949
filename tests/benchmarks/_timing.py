"""Ways of doing the same thing, called in turn and compared; their peaks of memory."""

import statistics
import time
import tracemalloc
from typing import Any, Callable, NamedTuple, Optional

from chainer_ssd.functions._fused import memory as _warm_memory


class Case(NamedTuple):
    """One comparison; what the fields are is said in ``tests.benchmarks``."""

    title: str
    ways: dict[str, Callable[[], Any]]
    reference: str
    asked: str = ''
    floor: Optional[str] = None
    logits: Optional[int] = None
    per_call: Optional[int] = None


class Timing(NamedTuple):
    """Seconds, and bytes beyond what was there before the call."""

    median: float
    minimum: float
    maximum: float
    #: Median over rounds of the reference's time in the round by this way's: what else the machine
    #: does in a round falls on both.
    times_faster: float
    #: Median over rounds of this way's time by the floor's; None without a floor.
    times_floor: Optional[float]
    peak: Optional[int]


def compare(case, seconds=5):
    """Calls all ways in turn, round after round, for about ``seconds``, at least seven rounds.

    Parameters
    ----------
    case : Case
        What to compare.
    seconds : float
        How long.

    Returns
    -------
    dict of str to Timing
        In the order of ``case.ways``.
    """
    for way in case.ways.values():  # warm: caches, buffers, lazy imports
        way()
    names, rounds, end = list(case.ways), [], time.perf_counter() + seconds
    while len(rounds) < 7 or time.perf_counter() < end:
        names.append(names.pop(0))  # everybody comes after everybody: caches are shared
        rounds.append({name: _seconds(case.ways[name]) for name in names})
    return {name: _timing(case, name, rounds) for name in case.ways}


def peak_memory(way):
    """The most bytes that one call holds beyond what was there before it.

    Parameters
    ----------
    way : callable
        Called once; what it returns counts, since it is alive at the end, and what it keeps for
        the next call. NumPy reports its arrays to ``tracemalloc``; torch does not.

    Returns
    -------
    int
        Bytes.
    """
    _warm_memory._dead.clear()
    tracemalloc.start()
    try:
        result = way()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        del result


def _seconds(way):
    start = time.process_time()  # of all our threads, but not of other processes
    result = way()
    taken = time.process_time() - start
    del result  # freeing is not the way's affair, nor the next one's
    return taken


def _timing(case, name, rounds):
    own = [taken[name] for taken in rounds]
    return Timing(
        statistics.median(own),
        min(own),
        max(own),
        statistics.median(taken[case.reference] / taken[name] for taken in rounds),
        case.floor and statistics.median(taken[name] / taken[case.floor] for taken in rounds),
        peak_memory(case.ways[name]) if case.logits else None,
    )
