"""What the losses and extensions ask of a communicator. None is imported here: one is handed in."""
from chainer_ssd.distributed.agreement import gather_values, raise_together
from chainer_ssd.distributed.messenger import Messenger
from chainer_ssd.distributed.positive_count import PositiveCount, RanksOutOfStepError

__all__ = ['Messenger', 'PositiveCount', 'RanksOutOfStepError', 'gather_values', 'raise_together']
