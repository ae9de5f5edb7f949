"""chainer-ssd train --resume with the options of the objective."""

import json
import shutil

import numpy as np
import pytest

from chainer_ssd.cli._objective_arguments import OBJECTIVE_OPTIONS
from tests.cli.command import TINY, run_command


@pytest.mark.parametrize(
    ('options', 'text'),
    [
        (['--localization', 'giou'], 'localization giou (before: smooth_l1)'),
        (['--k', '1'], 'k 1.0 (before: 3.0)'),
        (['--loss', 'ssd_loss'], 'loss ssd_loss (before: multibox_loss)'),
    ],
)
@pytest.mark.parametrize('is_old', [False, True])
def test_another_objective_is_not_resumed(
    finished_run, options, text, is_old, voc_root, tmp_path, run_in_process
):
    out = shutil.copytree(finished_run[0], tmp_path / 'before')
    stored = json.loads((out / 'options.json').read_text())
    assert stored['localization'] == 'smooth_l1' and stored['focal_gamma'] is None
    if is_old:  # as a version without the options has written it
        for name in OBJECTIVE_OPTIONS:
            if name not in ('loss', 'k'):
                del stored[name]
        (out / 'options.json').write_text(json.dumps(stored))
    status, _, errors = run_in_process(
        *('train', '--dataset', 'voc', '--root', voc_root, *TINY, '--workers', '0'),
        *options,
        *('--resume', out, '--out', tmp_path / 'other'),
    )
    assert status == 2 and errors.count('\n') == 1
    assert 'belong to another objective: ' in errors and text in errors


@pytest.mark.slow
def test_random_negatives_are_the_same_after_a_resume(voc_root, tmp_path):
    command = ['train', '--dataset', 'voc', '--root', voc_root, *TINY, '--workers', '0']
    command += ['--localization', 'giou', '--mining', 'random', '--k', '2', '--alpha', '0.5']
    first, second = tmp_path / 'first', tmp_path / 'second'
    done = run_command(*command, '--out', first)
    assert done.returncode == 0, done.stderr
    done = run_command(*command, '--resume', first, '--out', second)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == f'{first}: goes on after iteration 6'
    with np.load(first / 'last.npz') as a, np.load(second / 'last.npz') as b:
        assert all(a[name].tobytes() == b[name].tobytes() for name in a)
