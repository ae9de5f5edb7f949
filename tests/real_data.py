"""Where real data sets are, for tests that need them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
#: The variable serves a clone that lies elsewhere.
DATA = Path(os.environ.get('CHAINER_SSD_TEST_DATA', ROOT.parent / 'shared' / 'data'))


def needs(name):
    """Return the mark of a test that is skipped where a data set is missing."""
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f'no data set {DATA / name}')
