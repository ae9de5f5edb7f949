"""Runs the examples as a reader does."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.command import ENVIRONMENT
from tests.cli.drawn_voc import write_drawn_voc

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'


@pytest.fixture(scope='session')
def voc_root(tmp_path_factory):
    """A small data set in Pascal VOC's layout."""
    return write_drawn_voc(tmp_path_factory.mktemp('voc'))


@pytest.fixture
def run_example(tmp_path):
    """``run_example(name, *args)``: what an example prints. It runs in ``tmp_path``."""

    def run(name, *args):
        done = subprocess.run(
            [sys.executable, EXAMPLES / name, *map(str, args)],
            cwd=tmp_path,
            env=ENVIRONMENT,
            timeout=240,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    return run
