"""Snapshots that a run resumes from bit for bit."""

from chainer_ssd.runtime.snapshot.snapshot import Snapshot

__all__ = ['Snapshot']
