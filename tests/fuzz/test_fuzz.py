"""Short runs of the fuzzers, and proof that they find faults."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.__main__ import PARSERS, PROPERTIES, fuzz, read_outcome
from tests.fuzz.properties import load_property, run_property

N_CASE = 40
N_FILE = 1500

pytestmark = pytest.mark.filterwarnings('ignore')  # random input may warn


@pytest.mark.parametrize('name', PROPERTIES)
def test_no_property_fails(name):
    n_case, failure = run_property(load_property(name), 60, seed=0, max_cases=N_CASE)
    assert not failure, failure
    assert n_case == N_CASE


@given(st.integers(0, 2**20))
def is_small(number):
    assert number < 2**19


def test_a_property_that_fails_is_reported():
    n_case, failure = run_property(is_small, 60, seed=0, max_cases=1000)
    assert n_case < 100
    assert 'assert number < 2**19' in failure


def run_parsers(*args):
    pytest.importorskip('atheris', reason='Atheris has wheels for Linux only')
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [
                sys.executable,
                '-m',
                'tests.fuzz.parsers',
                *map(str, args),
                '-print_final_stats=1',
                f'-artifact_prefix={folder}/',
            ],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors='replace',
            check=False,
        )


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """Status and output of a short run of each parser."""
    folder = tmp_path_factory.mktemp('parsers')
    process = run_parsers('--each', folder, f'-runs={N_FILE}', '-seed=1')
    assert process.returncode == 0, process.stdout
    printed = {file.name: file.read_text(errors='replace') for file in folder.iterdir()}
    return {name: text.rpartition('\n') for name, text in printed.items()}


@pytest.mark.parametrize('name', PARSERS)
def test_no_file_breaks_a_parser(outcomes, name):
    printed, _, status = outcomes[name]
    outcome = read_outcome(name, int(status), printed, 1)
    assert outcome.failure is None, outcome.failure
    assert outcome.n_case >= N_FILE


def test_the_lists_of_parsers_are_equal():
    parsers = pytest.importorskip('tests.fuzz.parsers', reason='Atheris has wheels for Linux only')
    assert tuple(parsers.PARSERS) == PARSERS


def test_a_parser_that_breaks_is_reported(tmp_path):
    parsers = pytest.importorskip('tests.fuzz.parsers', reason='Atheris has wheels for Linux only')

    class Broken(parsers.Parser):
        def read(self, data):
            raise ValueError(f'{self.folder}: wrong' if data else 'no file is named')

    parsers.check_parser(Broken(tmp_path), b'x')
    with pytest.raises(AssertionError, match='no file is named'):
        parsers.check_parser(Broken(tmp_path), b'')


def test_the_outcome_of_a_crash_is_a_failure():
    outcome = read_outcome('COCO', 77, 'KeyError\nstat::number_of_executed_units: 12\n', 2)
    assert outcome.n_case == 12
    assert 'KeyError' in outcome.failure
    printed = json.dumps({'cases': 3, 'seconds': 2.0, 'failure': None})
    assert read_outcome('matching', 0, printed, 2).failure is None
    assert read_outcome('matching', 1, 'Traceback', 2).failure == 'Traceback'


def test_a_fuzzer_runs_in_a_process_of_its_own():
    outcome = fuzz('mining', 0.5, seed=3)
    assert outcome.failure is None
    assert outcome.n_case > 0
