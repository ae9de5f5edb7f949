"""Ranks as threads of one process: a communicator for code that needs no MPI."""

import threading

DEADLINE_SECONDS = 90


class Communicator:
    """The members of ``chainer_ssd.distributed.Communicator``."""

    def __init__(self, rank, size, barrier, values):
        self.rank, self.size, self._barrier, self._values = rank, size, barrier, values

    def allreduce_obj(self, value):
        values = self._gather(value)
        total = values[0]
        for other in values[1:]:
            total = total + other
        return total

    def bcast_obj(self, value):
        return self._gather(value)[0]

    def gather_obj(self, value):
        values = self._gather(value)
        return None if self.rank else values

    def _gather(self, value):
        self._values[self.rank] = value
        self._barrier.wait(DEADLINE_SECONDS / 3)  # BrokenBarrierError: a rank did not arrive
        values = list(self._values)
        self._barrier.wait(DEADLINE_SECONDS / 3)
        return values


def run_ranks(size, program):
    """Run ``program(comm)`` on each rank. Return what it returned or raised, by rank."""
    barrier, values, results = threading.Barrier(size), [None] * size, [None] * size

    def run(rank):
        try:
            results[rank] = program(Communicator(rank, size, barrier, values))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    blocked = [rank for rank, thread in enumerate(threads) if thread.is_alive()]
    assert not blocked, f'ranks {blocked} are still blocked after {DEADLINE_SECONDS} s'
    return results
