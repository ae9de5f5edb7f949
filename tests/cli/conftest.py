"""Fixtures of the command's tests: data, a trained detector, and a run in this process."""

import json

import numpy as np
import pytest

from chainer_ssd import save_detector
from chainer_ssd.cli import main
from chainer_ssd.links import create_detector
from tests.cli.command import LABEL_NAMES, TINY, run_command
from tests.cli.drawn_voc import write_drawn_voc


@pytest.fixture(scope='session')
def voc_root(tmp_path_factory):
    """Six images for training and three for testing, in Pascal VOC's layout. Do not change it."""
    return write_drawn_voc(tmp_path_factory.mktemp('voc'))


@pytest.fixture(scope='session')
def finished_run(voc_root, tmp_path_factory):
    """The folder of an uninterrupted training of 8 iterations, and what the command printed."""
    out = tmp_path_factory.mktemp('finished')
    done = run_command(
        'train', '--dataset', 'voc', '--root', voc_root, *TINY, '--workers', '0', '--out', out
    )
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope='session')
def write_detector():
    """``write_detector(folder)``: saves a detector with many random detections."""

    def write(folder):
        np.random.seed(0)
        save_detector(folder, create_detector('ssd_mini', len(LABEL_NAMES), 32), LABEL_NAMES)
        return folder

    return write


@pytest.fixture
def run_in_process(capsys):
    """``run_in_process(*args)``: exit status, output and errors of the command."""

    def run(*args):
        status = 0
        try:
            main([str(arg) for arg in args])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope='session')
def random_detector(tmp_path_factory, write_detector):
    """The folder of a detector with many random detections. Do not change it."""
    return write_detector(tmp_path_factory.mktemp('detector'))


@pytest.fixture
def run_predict(run_in_process, tmp_path):
    """``run_predict(*args)``: exit status, output, errors and detections.json."""

    def run(*args):
        status, printed, errors = run_in_process('predict', *args, '--out', tmp_path / 'out')
        file = tmp_path / 'out' / 'detections.json'
        content = file.exists() and json.loads(file.read_text(encoding='utf-8'))
        return status, printed, errors, content

    return run
