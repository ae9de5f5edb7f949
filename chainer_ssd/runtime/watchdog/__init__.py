"""Ends the job on every rank when one rank fails, freezes or stalls."""

from chainer_ssd.runtime.watchdog.main_thread import PARTS
from chainer_ssd.runtime.watchdog.watchdog import Watchdog

__all__ = ['PARTS', 'Watchdog']
