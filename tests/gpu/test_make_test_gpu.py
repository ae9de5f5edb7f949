"""``make test-gpu`` on a machine without a GPU. Not marked ``gpu`` for that reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.__main__ import name_extra

ROOT = Path(__file__).resolve().parents[2]


def test_without_a_gpu_it_fails_with_the_reason():
    env = {**os.environ, 'CUDA_VISIBLE_DEVICES': '-1'}
    done = subprocess.run(
        ['make', 'test-gpu', f'PY={sys.executable}'],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode != 0
    assert 'make test-gpu: no usable GPU here: ' in done.stderr
    assert 'pytest' not in done.stdout


@pytest.mark.parametrize(('cuda', 'extra'), [(12, 'cuda12x'), (13, 'cuda13x'), (14, 'cuda13x')])
def test_the_driver_chooses_the_extra(cuda, extra):
    assert name_extra(cuda) == extra


def test_an_old_driver_is_refused():
    with pytest.raises(AssertionError, match='the driver supports CUDA 11, expected 12 or later'):
        name_extra(11)
