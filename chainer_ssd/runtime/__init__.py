"""Supervision of training jobs of any kind. This room knows Chainer and ranks, but no boxes."""

from chainer_ssd.runtime.best_weights import BestWeights, StopTrigger
from chainer_ssd.runtime.cosine_shift import CosineShift
from chainer_ssd.runtime.folder_lock import lock_folder
from chainer_ssd.runtime.interruption import TrainingInterrupted, interruptible
from chainer_ssd.runtime.job_check import AgreedError, check_job
from chainer_ssd.runtime.log_stream import CSVReport, LogStream, TensorBoardReport
from chainer_ssd.runtime.loss_scaling import LossScaling
from chainer_ssd.runtime.mean_over_ranks import MeanOverRanks
from chainer_ssd.runtime.nan_policy import NaNPolicy
from chainer_ssd.runtime.plot_report import PlotReport
from chainer_ssd.runtime.restarts import JobResult, JobStart, run_with_restarts
from chainer_ssd.runtime.snapshot import (
    Snapshot,
    newest_snapshot,
    remove_snapshots,
    snapshot_files,
)
from chainer_ssd.runtime.step_shift import StepShift
from chainer_ssd.runtime.straggler_report import StragglerReport
from chainer_ssd.runtime.time_report import TimeReport
from chainer_ssd.runtime.watchdog import Watchdog
from chainer_ssd.runtime.weight_average import WeightAverage

__all__ = [
    'AgreedError',
    'BestWeights',
    'CSVReport',
    'CosineShift',
    'JobResult',
    'JobStart',
    'LogStream',
    'LossScaling',
    'MeanOverRanks',
    'NaNPolicy',
    'PlotReport',
    'Snapshot',
    'StepShift',
    'StopTrigger',
    'StragglerReport',
    'TensorBoardReport',
    'TimeReport',
    'TrainingInterrupted',
    'Watchdog',
    'WeightAverage',
    'check_job',
    'interruptible',
    'lock_folder',
    'newest_snapshot',
    'remove_snapshots',
    'run_with_restarts',
    'snapshot_files',
]
