"""chainer-ssd check."""

import json
import shutil

import pytest


def test_a_good_data_set_ends_with_status_0(voc_root, run_in_process):
    status, printed, errors = run_in_process('check', voc_root)
    assert status == 0 and not errors
    assert printed.startswith(f'{voc_root}: 6 training images, 3 test images\n')
    assert printed.endswith('fit to train on\n')


@pytest.fixture
def spoilt(voc_root, tmp_path):
    """A copy of the data set with one truncated image."""
    root = shutil.copytree(voc_root, tmp_path / 'voc')
    path = root / 'JPEGImages/2.jpg'
    path.write_bytes(path.read_bytes()[:-100])
    return root


def test_a_bad_data_set_ends_with_status_1_and_writes_its_reports(spoilt, tmp_path, run_in_process):
    page, facts = tmp_path / 'r.html', tmp_path / 'r.json'
    status, printed, errors = run_in_process('check', spoilt, '--html', page, '--json', facts)
    assert status == 1 and not errors
    assert 'error: unreadable image, 1: ' in printed and '2.jpg' in printed
    assert 'NOT fit to train on' in printed
    assert page.read_text().startswith('<!doctype html>')
    assert [each['kind'] for each in json.loads(facts.read_text())['findings']] == [
        'unreadable image'
    ]


@pytest.mark.parametrize(
    'args',
    [
        ('nowhere',),
        ('{root}', '--train-split', 'nothing'),
        ('{root}', '--label-names', 'nothing.txt'),
        ('{root}', '--insize', '100'),
        ('{root}', '--box-scale', 'nan'),
        ('{root}', '--iou-thresh', '2'),
        ('{root}', '--html', '{root}'),
    ],
)
def test_a_wrong_option_ends_with_status_2_in_one_line(voc_root, run_in_process, args):
    status, _, errors = run_in_process('check', *(arg.format(root=voc_root) for arg in args))
    assert status == 2
    assert errors.splitlines()[-1].startswith('chainer-ssd check: error: ')


def test_a_data_set_without_a_test_list(voc_root, run_in_process):
    status, printed, _ = run_in_process('check', voc_root, '--test-split', 'none')
    assert status == 0 and '6 training images, 0 test images' in printed
