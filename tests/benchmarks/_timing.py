"""Time and peak memory of functions that compute the same, called in turn."""

import statistics
import time
import tracemalloc
from typing import Any, Callable, NamedTuple, Optional

from chainer_ssd.functions._convolution.blocks import clear_scratch
from chainer_ssd.functions._fused import memory

#: Processor time of all threads of this process. The wall time for several threads.
clock = time.process_time


class Case(NamedTuple):
    """One comparison."""

    title: str
    #: Functions without arguments, by name.
    functions: dict[str, Callable[[], Any]]
    #: Name of the function to which the others are compared.
    reference: str
    #: Printed below the title, if not empty.
    goal: str = ''
    #: Name of a function that does the least possible work, or None.
    floor: Optional[str] = None
    #: Peak memory is reported relative to this. None: not measured.
    input_bytes: Optional[int] = None
    #: Items that one call processes, for items per second. None: not reported.
    items_per_call: Optional[int] = None


class Timing(NamedTuple):
    """Times in seconds, and bytes beyond those before the call."""

    median: float
    minimum: float
    maximum: float
    #: Median over rounds of the reference's time, divided by this function's time in that round.
    speedup: float
    #: Median over rounds of this function's time, divided by the floor's. None without a floor.
    floor_ratio: Optional[float]
    peak_bytes: Optional[int]


def compare(case, seconds=5):
    """Call all functions in turn and return their timings.

    Parameters
    ----------
    case : Case
        What to compare.
    seconds : float
        Approximate duration. There are at least seven rounds.

    Returns
    -------
    dict of str to Timing
        In the order of ``case.functions``.
    """
    for function in case.functions.values():  # warm up: caches, buffers, lazy imports
        function()
    names, rounds, end = list(case.functions), [], time.perf_counter() + seconds
    while len(rounds) < 7 or time.perf_counter() < end:
        names.append(names.pop(0))  # each function follows each other one, because of the caches
        rounds.append({name: _measure_seconds(case.functions[name]) for name in names})
    return {name: _summarize(case, name, rounds) for name in case.functions}


def measure_peak_bytes(function):
    """Return the peak number of bytes that one call holds beyond those before the call.

    Parameters
    ----------
    function : callable
        Called once. Its result counts, and so does the memory that it keeps for the next call.
        NumPy reports its arrays to ``tracemalloc``, torch does not.

    Returns
    -------
    int
        Bytes.
    """
    memory.clear()
    clear_scratch()
    tracemalloc.start()
    try:
        result = function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        del result


def _measure_seconds(function):
    start = clock()
    result = function()
    seconds = clock() - start
    del result  # after the measurement, so that no function pays for it
    return seconds


def _summarize(case, name, rounds):
    own = [seconds[name] for seconds in rounds]
    return Timing(
        statistics.median(own),
        min(own),
        max(own),
        statistics.median(seconds[case.reference] / seconds[name] for seconds in rounds),
        case.floor and statistics.median(seconds[name] / seconds[case.floor] for seconds in rounds),
        measure_peak_bytes(case.functions[name]) if case.input_bytes else None,
    )
