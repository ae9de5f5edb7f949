"""examples/ablation.py, with one training of one iteration."""
import json
import re

import pytest

from tests.examples.detector_folder import run
from tests.examples.test_train import root  # noqa: F401  (a fixture)

OPTIONS = '--', '--insize', '32', '--batchsize', '6', '--workers', '0'


@pytest.fixture
def out(tmp_path):
    """Results of all rows but one."""
    import ablation
    for i, name in enumerate(ablation.ROWS):
        for seed in range(2):
            folder = ablation.folder(tmp_path, name, seed)
            folder.mkdir(parents=True)
            result = {'map': 0.9 - 0.01 * i + 0.02 * seed,
                      'match': {'n_positive': 60, 'recall': 0.8}}
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
        monkeypatch, capsys, ablation, *args[:4], '--seeds', '1', '--jobs', '2', *OPTIONS, *length)
    assert status == 0 and not errors
    assert re.search(r'^\| no augmentation \| [01]\.\d{3} ± 0\.000 \| .* \| 1 \|$', printed,
                     re.MULTILINE)
    result = json.loads((ablation.folder(out, 'no augmentation', 0) / 'result.json').read_text())
    assert '--augmentation none' in result['command'] and result['iteration'] == 1


def test_a_run_that_fails_is_named(out, monkeypatch, capsys):
    import ablation
    status, printed, errors = run(monkeypatch, capsys, ablation, '--root', out / 'nowhere',
                                  '--out', out, '--seeds', '1')
    said = ablation.folder(out, 'no augmentation', 0) / 'said'
    assert errors == f'failed: see {said}\n' and 'nowhere' in said.read_text()
    assert '| default |' in printed
