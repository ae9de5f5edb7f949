"""Snapshots from which a run resumes bit for bit."""

from chainer_ssd.runtime.snapshot.files import newest_snapshot, remove_snapshots, snapshot_files
from chainer_ssd.runtime.snapshot.snapshot import Snapshot

__all__ = ['Snapshot', 'newest_snapshot', 'remove_snapshots', 'snapshot_files']
