"""Ranks as threads of one process: a communicator for what needs no MPI."""

import threading


class Communicator:
    """What ``chainer_ssd.distributed.agreement`` asks for."""

    def __init__(self, rank, size, meeting, table):
        self.rank, self.size, self._meeting, self._table = rank, size, meeting, table

    def allreduce_obj(self, value):
        values = self._swap(value)
        total = values[0]
        for other in values[1:]:
            total = total + other
        return total

    def bcast_obj(self, value):
        return self._swap(value)[0]

    def _swap(self, value):
        self._table[self.rank] = value
        self._meeting.wait(20)  # or BrokenBarrierError: a rank was left behind
        values = list(self._table)
        self._meeting.wait(20)
        return values


def run_ranks(size, program):
    """``program(comm)`` on each rank: what it returned or raised, by rank."""
    meeting, table, results = threading.Barrier(size), [None] * size, [None] * size

    def run(rank):
        try:
            results[rank] = program(Communicator(rank, size, meeting, table))
        except Exception as error:
            results[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
