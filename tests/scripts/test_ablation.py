"""examples/ablation.py, with one training of one iteration."""

import json
import re

import pytest

from tests.cli.detector_folder import EXAMPLES, run
from tests.cli.interrupt import interrupted
from tests.cli.test_train import ENVIRONMENT, root  # noqa: F401  (a fixture)

OPTIONS = '--', '--insize', '32', '--batchsize', '6', '--workers', '0'


@pytest.fixture
def out(tmp_path):
    """Results of all rows but one."""
    import ablation

    for i, name in enumerate(ablation.ROWS):
        for seed in range(2):
            folder = ablation.folder(tmp_path, name, seed)
            folder.mkdir(parents=True)
            result = {
                'map': 0.9 - 0.01 * i + 0.02 * seed,
                'match': {'n_positive': 60, 'recall': 0.8},
            }
            (folder / 'result.json').write_text(json.dumps(result))
    (ablation.folder(tmp_path, 'no augmentation', 0) / 'result.json').unlink()
    (ablation.folder(tmp_path, 'no augmentation', 1) / 'result.json').unlink()
    return tmp_path


@pytest.mark.parametrize('length', [('--epoch', '1'), ('--iteration', '1')])
def test_only_what_is_missing_is_trained(out, root, monkeypatch, capsys, length):  # noqa: F811
    import ablation

    args = '--root', root, '--out', out, '--seeds', '2', '--jobs', '0'
    status, printed, _ = run(monkeypatch, capsys, ablation, *args)
    assert status == 0 and 'no augmentation' not in printed  # and nothing was trained
    lines = printed.splitlines()
    assert lines[2] == '| default | 0.910 ± 0.014 |  | 60.0 | 0.800 | 2 |'
    assert lines[3] == '| flips only | 0.890 ± 0.014 | -0.020 | 60.0 | 0.800 | 2 |'
    assert len(lines) == 2 + len(ablation.ROWS) - 1

    status, printed, errors = run(
        monkeypatch, capsys, ablation, *args[:4], '--seeds', '1', '--jobs', '2', *OPTIONS, *length
    )
    assert status == 0 and not errors
    # 9 rows of one seed, of which one is missing; the setting, its seed, mAP and seconds
    assert printed.splitlines()[0] == '8 of 9 were there'
    assert re.fullmatch(
        r'9 of 9: no augmentation, seed 0: mAP [01]\.\d{4} after \d+ s', printed.splitlines()[1]
    )
    assert re.search(
        r'^\| no augmentation \| [01]\.\d{3} ± 0\.000 \| .* \| 1 \|$', printed, re.MULTILINE
    )
    result = json.loads((ablation.folder(out, 'no augmentation', 0) / 'result.json').read_text())
    assert '--augmentation none' in result['command'] and result['iteration'] == 1


def test_a_run_that_fails_is_named(out, monkeypatch, capsys):
    import ablation

    status, printed, errors = run(
        monkeypatch, capsys, ablation, '--root', out / 'nowhere', '--out', out, '--seeds', '1'
    )
    said = ablation.folder(out, 'no augmentation', 0) / 'said'
    assert status == 1 and 'nowhere' in said.read_text()
    assert errors == (
        f'9 of 9: no augmentation, seed 0: failed, see {said}\nablation.py: 1 failed\n'
    )
    assert '| default |' in printed


def test_ctrl_c_begins_no_further_run(root, tmp_path):  # noqa: F811
    command = [
        EXAMPLES / 'ablation.py',
        '--root',
        root,
        '--out',
        tmp_path,
        '--',
        '--insize',
        '32',
        '--iteration',
        '100000',
    ]
    status, printed, errors, _ = interrupted(command, tmp_path / 'default' / '0' / 'model.json')
    assert status == 130 and not printed
    assert errors == 'ablation.py: interrupted; started again it goes on\n'
    assert [path.name for path in tmp_path.iterdir()] == ['default']
