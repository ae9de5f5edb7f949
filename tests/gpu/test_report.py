"""The report of ``make test-gpu``."""

import pytest

from tests.gpu import report

TESTS = """
import pytest

def test_passes(): pass
def test_fails(): assert 0
@pytest.mark.skip(reason='no such GPU')
def test_skipped(): pass
@pytest.fixture
def broken(): raise OSError
def test_broken(broken): pass
"""


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """The results of a file of four tests and of a file that cannot be imported."""
    folder = tmp_path_factory.mktemp('tests')
    (folder / 'test_four.py').write_text(TESTS)
    (folder / 'test_none.py').write_text('import no_such_module')
    outcomes = report.Outcomes()
    arguments = ['-q', '-p', 'no:cacheprovider', '--continue-on-collection-errors']
    arguments += ['--import-mode', 'importlib']
    pytest.main(
        [*arguments, '-c', '/dev/null', '--rootdir', str(folder), str(folder)],
        plugins=[outcomes],
    )
    return outcomes


def test_results_are_counted(outcomes):
    assert outcomes.n_passed == 1
    assert outcomes.failed == [
        'test_none.py (collection)',
        'test_four.py::test_fails (call)',
        'test_four.py::test_broken (setup)',
    ]
    assert outcomes.skipped == ['test_four.py::test_skipped: Skipped: no such GPU']


def test_the_report_fits_on_a_page(outcomes):
    rows = [('GPU', '0: Some GPU'), ('mpi4py', '4')]
    times = {
        'VOC300': {'definition': [3.0, 1.0, 2.0], 'copy': [0.25, 0.5, 0.75]},
        'VOC512': ValueError('too large'),
    }
    text = report.format_report(rows, outcomes, times)
    assert text.splitlines() == [
        'GPU          0: Some GPU',
        '',
        'tests        1 passed, 3 failed, 1 skipped',
        '  failed     test_none.py (collection)',
        '  failed     test_four.py::test_fails (call)',
        '  failed     test_four.py::test_broken (setup)',
        '  skipped    test_four.py::test_skipped: Skipped: no such GPU',
        '',
        'loss, forward and backward, ms: median (minimum to maximum) of 20, in turn',
        'VOC300       definition      2.000 (1.000 to 3.000)',
        'VOC300       copy            0.500 (0.250 to 0.750)',
        'VOC512       not measured: ValueError: too large',
    ]


@pytest.mark.gpu
def test_each_way_is_measured():
    times = report.measure(2, 40, 5)
    assert set(times) == {'definition', 'CUDA kernels', 'copy'}
    assert all(len(ms) == report.N_ROUND and min(ms) > 0 for ms in times.values())
