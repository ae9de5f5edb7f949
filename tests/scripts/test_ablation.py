"""scripts/ablation.py, with trainings of one iteration."""

import json
import re

import pytest

from tests.cli.command import interrupt

OPTIONS = '--', '--insize', '32', '--batchsize', '6', '--workers', '0'


@pytest.fixture(scope='module')
def ablation(load_script):
    return load_script('ablation')


@pytest.fixture
def run(ablation, monkeypatch, capsys):
    """``run(*args)``: exit status, output and errors of the script."""

    def run(*args):
        status = 0
        monkeypatch.setattr('sys.argv', ['ablation.py'])
        try:
            ablation.main([str(arg) for arg in args])
        except SystemExit as end:
            status = end.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def out(ablation, tmp_path):
    """Results of all rows but one."""
    for i, name in enumerate(ablation.ROWS):
        for seed in range(2):
            folder = ablation.get_folder(tmp_path, name, seed)
            folder.mkdir(parents=True)
            result = {
                'map': 0.9 - 0.01 * i + 0.02 * seed,
                'match': {'n_positive': 60, 'recall': 0.8},
            }
            (folder / 'result.json').write_text(json.dumps(result))
    (ablation.get_folder(tmp_path, 'no augmentation', 0) / 'result.json').unlink()
    # an incomplete file does not count
    (ablation.get_folder(tmp_path, 'no augmentation', 1) / 'result.json').write_text('{"map": 0.')
    return tmp_path


@pytest.mark.parametrize('length', [('--epoch', '1'), ('--iteration', '1')])
def test_only_what_is_missing_is_trained(out, voc_root, ablation, run, length):
    args = '--root', voc_root, '--out', out
    status, printed, _ = run(*args, '--seeds', '2', '--jobs', '0')
    assert status == 0 and 'no augmentation' not in printed  # nothing was trained
    lines = printed.splitlines()
    assert lines[2] == '| default | 0.910 ± 0.014 |  | 60.0 | 0.800 | 2 |'
    assert lines[3] == '| flips only | 0.890 ± 0.014 | -0.020 | 60.0 | 0.800 | 2 |'
    assert len(lines) == 2 + len(ablation.ROWS) - 1

    n = len(ablation.ROWS)
    status, printed, errors = run(*args, '--seeds', '1', '--jobs', '2', *OPTIONS, *length)
    assert status == 0 and not errors
    assert printed.splitlines()[0] == f'{n - 1} of {n} were finished before'
    assert re.fullmatch(
        rf'{n} of {n}: no augmentation, seed 0: mAP [01]\.\d{{4}} after \d+ s',
        printed.splitlines()[1],
    )
    assert re.search(
        r'^\| no augmentation \| [01]\.\d{3} ± 0\.000 \| .* \| 1 \|$', printed, re.MULTILINE
    )
    folder = ablation.get_folder(out, 'no augmentation', 0)
    result = json.loads((folder / 'result.json').read_text())
    assert '--augmentation none' in result['command'] and result['iteration'] == 1


def test_a_run_that_fails_is_named(out, ablation, run):
    status, printed, errors = run('--root', out / 'nowhere', '--out', out, '--seeds', '1')
    output = ablation.get_folder(out, 'no augmentation', 0) / 'output.txt'
    n = len(ablation.ROWS)
    assert status == 1 and 'nowhere' in output.read_text()
    assert errors == (
        f'{n} of {n}: no augmentation, seed 0: failed, see {output}\nablation.py: 1 failed\n'
    )
    assert '| default |' in printed


@pytest.mark.parametrize('args', [('--jobs', '-1'), ('--seeds', '0'), ('--jobs', 'x')])
def test_bad_arguments(run, args):
    status, _, errors = run('--root', 'x', *args)
    assert status == 2 and 'ablation.py: error: ' in errors


def test_ctrl_c_starts_no_further_run(ablation, voc_root, tmp_path):
    command = [
        ablation.__file__,
        '--root',
        voc_root,
        '--out',
        tmp_path,
        '--',
        '--insize',
        '32',
        '--iteration',
        '100000',
    ]
    # options.json is written when the training is about to start
    status, printed, errors, _ = interrupt(command, tmp_path / 'default' / '0' / 'options.json')
    assert status == 130 and not printed
    assert errors == 'ablation.py: interrupted. The same command continues\n'
    assert [path.name for path in tmp_path.iterdir()] == ['default']


@pytest.mark.parametrize('content', ['{}', '[]', '{"map": 1}', '{"map": "x", "match": {}}', '3'])
def test_a_wrong_result_is_named(out, voc_root, ablation, run, content):
    path = ablation.get_folder(out, 'no augmentation', 1) / 'result.json'
    path.write_text(content)
    status, _, _ = run('--root', voc_root, '--out', out, '--seeds', '2', '--jobs', '0')
    assert status == f'{path}: not a result of chainer-ssd train. Delete it to repeat the run'
