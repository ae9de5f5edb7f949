"""Cases in which no process fails, with ChainerMN alone and with this package."""

import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

JOB = Path(__file__).with_name('comparison.py')
HANG_SECONDS = 30  # after which a job counts as hanging. The watchdog's timeout is 5 seconds.


@pytest.fixture(scope='module')
def table(pytestconfig):
    """Return the rows of the table that is printed at the end."""
    rows = ['\n| case (2 ranks) | ChainerMN | ours | seconds |', '|---|---|---|---|']
    yield rows
    with pytestconfig.pluginmanager.getplugin('capturemanager').global_and_fixture_disabled():
        print(*rows, sep='\n')


@pytest.fixture
def run(start_mpiexec):
    """Return ``run(way, out, *options)`` -> exit status (None: it hangs), printed text."""

    def run(way, out, *options):
        process = start_mpiexec(2, JOB, way, out, *options)
        try:
            printed = process.communicate(timeout=HANG_SECONDS)[0]
        except subprocess.TimeoutExpired:
            process.terminate()
            return None, process.communicate(timeout=10)[0]
        return process.returncode, printed

    return run


def weights(out):
    with np.load(out / 'weights.npz') as npz:
        return [npz[name] for name in sorted(npz.files) if '/t' not in name]


def unequal_data_sets(run, out):
    status, printed = run('chainermn', out, '--unequal')
    assert status is None and 'done' not in printed, printed
    yield 'hangs'
    status, printed = run('ours', out)
    assert status == 0 and 'done: 0 to 15' in printed, printed
    began = time.monotonic()
    status, printed = run('ours', out, '--unequal')  # not recommended
    assert status and printed.count('no progress for 5 s: rank 1 after the training') == 2, printed
    yield 'every rank gets the same number; unequal all the same: ends, named', began


def a_sum_after_each_epoch(run, out):
    status, printed = run('chainermn', out, '--unequal', '--sum')
    wrong = [float(found) for found in re.findall(r'sum of 1\.0: ([\d.]+)', printed)]
    assert wrong and wrong[0] != 2, printed
    yield f'1.0 + 1.0 = {wrong[0]}, ' + ('then hangs' if status is None else 'then ends')
    status, printed = run('ours', out, '--sum')
    assert status == 0 and set(re.findall(r'sum of 1\.0: (\d\.\d)', printed)) == {'2.0'}, printed
    began = time.monotonic()
    status, printed = run('ours', out, '--unequal', '--sum')
    assert status and 'sum of' not in printed, printed
    assert re.search('all ranks block each other; .*in allreduce_obj', printed), printed
    yield '2.0; unequal all the same: ends, named, no wrong number', began


def a_batch_without_images(run, out):
    status, printed = run('chainermn', out, '--empty')
    assert status != 0 and 'ValueError: cannot reshape' in printed, printed
    yield 'ValueError' + (', hangs' if status is None else '')
    began = time.monotonic()
    status, printed = run('ours', out, '--empty')
    assert status == 0 and 'done: 0 to 15' in printed, printed
    yield 'trains on, exact', began


def kill_and_resume(run, out, damage=lambda folder: None):
    found = {}
    for way in ('chainermn', 'ours'):
        whole, broken = out / f'{way}_whole', out / f'{way}_broken'
        whole.mkdir(), broken.mkdir()
        status, printed = run(way, whole)
        assert status == 0, printed
        assert run(way, broken, '--kill', 7)[0]
        damage(broken)
        began = time.monotonic()
        status, printed = run(way, broken, '--resume')
        if status == 0:
            found[way] = max(np.abs(a - b).max() for a, b in zip(weights(whole), weights(broken)))
            assert re.search(r'done: [46] to 15', printed), printed
        else:
            found[way] = re.findall(r'^[\w.]+(?=: )', printed, re.MULTILINE)[-1]
        yield found[way], began


def resumed_after_a_kill(run, out):
    chainermn, ours = kill_and_resume(run, out)
    assert chainermn[0] > 1e-4 and ours[0] == 0
    yield f'other weights (by up to {chainermn[0]:.1g})'
    yield 'the same weights, bit for bit', ours[1]


def resumed_from_a_damaged_snapshot(run, out):
    def damage(folder):
        newest = [*folder.glob('chainermn.1.6'), *folder.glob('snapshot_00000006_rank1.npz')]
        newest[0].write_bytes(newest[0].read_bytes()[:900])

    chainermn, ours = kill_and_resume(run, out, damage)
    assert chainermn[0] == 'zipfile.BadZipFile' and ours[0] == 0
    yield 'ends: BadZipFile on one rank'
    yield 'an older snapshot: the same weights, bit for bit', ours[1]


def evaluated_by_shards(run, out):
    (_, chainermn), began = run('chainermn', out, '--evaluate'), time.monotonic()
    _, ours = run('ours', out, '--evaluate')
    chainermn, ours = (
        float(re.search(r'mAP ([\d.]+)', printed)[1]) for printed in (chainermn, ours)
    )
    assert chainermn != pytest.approx(ours, abs=1e-3)
    yield f'mean of shard mAPs: {chainermn:.3f}'
    yield f'that of one process: {ours:.3f}', began


CASES = {
    'unequal data sets, trained for epochs': unequal_data_sets,
    'the same, an extension sums 1.0 over the ranks after each epoch': a_sum_after_each_epoch,
    'a rank whose batch has no image': a_batch_without_images,
    'killed and resumed': resumed_after_a_kill,
    'the same, newest snapshot damaged on one rank': resumed_from_a_damaged_snapshot,
    'average precision over ranks': evaluated_by_shards,
}


@pytest.mark.mpi
@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_chainermn_and_ours(run, tmp_path, table, case):
    chainermn, (ours, began) = CASES[case](run, tmp_path)
    table.append(f'| {case} | {chainermn} | {ours} | {time.monotonic() - began:.1f} |')


@pytest.mark.mpi
@pytest.mark.slow
def test_one_process_finds_the_same_average_precision(mpiexec, tmp_path):
    found = {n: mpiexec(n, JOB, 'ours', tmp_path, '--evaluate') for n in (1, 2, 3)}
    assert 'mAP 0.' in found[1] and len(set(found.values())) == 1
