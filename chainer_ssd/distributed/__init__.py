"""Collective calls over the ranks of a communicator, which the caller passes in."""

from chainer_ssd.distributed.agreement import from_rank_0, gather_values, raise_together
from chainer_ssd.distributed.communicator import Communicator
from chainer_ssd.distributed.launcher import LaunchedProcesses, find_launcher
from chainer_ssd.distributed.positive_count import (
    CountRequest,
    PositiveCount,
    RanksOutOfStepError,
)
from chainer_ssd.distributed.rank_sum import RankSum
from chainer_ssd.distributed.shards import gather_shards, shard_of

__all__ = [
    'Communicator',
    'CountRequest',
    'LaunchedProcesses',
    'PositiveCount',
    'RankSum',
    'RanksOutOfStepError',
    'find_launcher',
    'from_rank_0',
    'gather_shards',
    'gather_values',
    'raise_together',
    'shard_of',
]
