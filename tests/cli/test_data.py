"""chainer-ssd train, evaluate and check with --data."""

import json
import shutil

import pytest
from PIL import Image

from tests.cli.command import LABEL_NAMES, TINY
from tests.datasets.data_forms import load_script
from tests.datasets.voc_folder import picture


@pytest.fixture(scope='module')
def forms(voc_root, tmp_path_factory):
    """The forms of the drawn data set. Do not change them."""
    folder = tmp_path_factory.mktemp('data')
    root = shutil.copytree(voc_root, folder / 'voc')
    for split, numbers in (('train', range(4)), ('val', range(4, 6))):
        text = ''.join(f'{number}\n' for number in numbers)
        (root / f'ImageSets/Main/{split}.txt').write_text(text)
    load_script().write_forms(str(root), str(folder / 'forms'))
    return folder / 'forms'


def train(data, out, *args, iteration=4):
    paths = data if isinstance(data, list) else [data]
    options = [each for path in paths for each in ('--data', path)]
    return (
        'train',
        *options,
        *TINY[:4],
        '--iteration',
        iteration,
        '--workers',
        0,
        '--out',
        out,
    ) + (args)


def read(file):
    return json.loads(file.read_text())


def names_of(stored, part):
    return [name for each in stored['data'] for name in (each[part] or {}).get('images') or ()]


SLOW_FORMS = [pytest.param(form, marks=pytest.mark.slow) for form in ('cvat_voc', 'yolo_flat')]


@pytest.mark.parametrize('form', ['flat', 'coco', *SLOW_FORMS])
def test_one_command_trains_on_data_without_a_split(forms, tmp_path, run_in_process, form):
    out = tmp_path / 'out'
    status, printed, errors = run_in_process(*train(forms / form, out))
    assert status == 0, errors
    first, classes, *parts = printed.splitlines()
    assert first.startswith(f'{forms / form}: ') and classes == '  classes: blue, red'
    assert parts[0].startswith('  train: 7 images') and parts[1].startswith('  test: 2 images')
    stored = read(out / 'data.json')
    assert len(names_of(stored, 'train')) == 7 and len(names_of(stored, 'test')) == 2
    mean_ap = read(out / 'result.json')['map']
    for options in ((), ('--data', forms / form)):
        status, printed, errors = run_in_process('evaluate', out, *options)
        assert status == 0, errors
        assert read(out / 'evaluation.json')['map'] == mean_ap
        assert 'test: 2 images' in printed and 'of 2 images' in printed
    status, printed, errors = run_in_process('evaluate', out, '--split', 'train')
    assert status == 0 and 'of 7 images' in printed
    status, _, errors = run_in_process('evaluate', out, '--split', 'val')
    assert status == 2 and 'data.json has train, test' in errors


@pytest.mark.parametrize('form', ['roboflow_coco', 'yolo'])
def test_splits_of_the_data_are_used(forms, tmp_path, run_in_process, form):
    out = tmp_path / 'out'
    status, printed, errors = run_in_process(*train(forms / form, out))
    assert status == 0, errors
    assert '  test: 3 images' in printed and 'training on 4 images' in printed
    assert names_of(read(out / 'data.json'), 'train') == []
    status, printed, _ = run_in_process('evaluate', out, '--data', forms / form, '--split', 'val')
    assert status == 0 and 'of 2 images' in printed


def test_a_split_val_of_test_images_is_not_recorded(voc_root, tmp_path, run_in_process):
    root = shutil.copytree(voc_root, tmp_path / 'voc')
    lists = root / 'ImageSets/Main'
    lists.joinpath('trainval.txt').rename(lists / 'train.txt')
    shutil.copy(lists / 'test.txt', lists / 'val.txt')
    out = tmp_path / 'out'
    status, printed, errors = run_in_process(*train(root, out))
    assert status == 0, errors
    assert '3 of the 3 images of the split val are test images too' in printed
    assert '  test: 3 images' in printed and '  val: ' not in printed
    (stored,) = read(out / 'data.json')['data']
    assert stored['val'] is None and stored['train']['split'] == 'train'
    status, _, errors = run_in_process('evaluate', out, '--split', 'val')
    assert status == 2 and 'data.json has train, test' in errors


def test_data_in_vocs_layout_gives_the_weights_of_dataset_voc(voc_root, tmp_path, run_in_process):
    losses = []
    for name, options in (('voc', ('--dataset', 'voc', '--root', voc_root)), ('data', None)):
        args = train(voc_root, tmp_path / name)
        args = args if options is None else ('train', *options, *args[3:])
        status, _, errors = run_in_process(*args)
        assert status == 0, errors
        losses.append([each['main/loss'] for each in read(tmp_path / name / 'log')])
    assert losses[0] == losses[1]


def test_several_data_sets_and_classes(forms, voc_root, tmp_path, run_in_process):
    out = tmp_path / 'out'
    args = train([voc_root, forms / 'coco'], out, '--classes', 'red')
    status, printed, errors = run_in_process(*args)
    assert status == 0, errors
    assert 'training on 15 images' in printed
    assert 'left out on purpose' in printed and ' blue' in printed
    assert read(out / 'model.json')['label_names'] == ['red']
    status, printed, errors = run_in_process('evaluate', out)
    assert status == 0 and 'of 3 images' in printed, errors
    # Objects of other classes are left out on other data too.
    status, printed, errors = run_in_process('evaluate', out, '--data', forms / 'yolo')
    assert status == 0 and 'left out on purpose' in printed, errors


@pytest.mark.parametrize('content', ['[]', '{}', '{"data": 3}', 'x'])
def test_a_broken_data_json_is_named(write_detector, tmp_path, run_in_process, content):
    write_detector(tmp_path)
    (tmp_path / 'data.json').write_text(content)
    status, _, errors = run_in_process('evaluate', tmp_path)
    assert status == 2 and errors.count('\n') == 1 and f'{tmp_path}/data.json: not a ' in errors


def test_a_resumed_training_keeps_its_images(forms, tmp_path, run_in_process):
    data, out = shutil.copytree(forms / 'flat', tmp_path / 'flat'), tmp_path / 'out'
    options = ('--snapshot-interval', 2, '--val', 0.3)
    status, _, errors = run_in_process(*train(data, out, *options))
    assert status == 0, errors
    before = read(out / 'data.json')
    Image.fromarray(picture((48, 64), 99)).save(data / 'new.png')
    (data / 'new.xml').write_text('<annotation/>')
    args = train(data, out, *options, '--resume', 'auto', iteration=6)
    status, printed, errors = run_in_process(*args)
    assert status == 0, errors
    assert 'goes on after iteration 4' in printed and 'data' not in printed.splitlines()[0][20:]
    assert read(out / 'data.json') == before
    args = train(data, out, '--val', 0.2, '--resume', 'auto', iteration=8)
    status, _, errors = run_in_process(*args)
    assert status == 2 and 'has val 0.3, and 0.2 is given' in errors


@pytest.mark.parametrize('form', ['flat', 'roboflow_coco', 'yolo'])
def test_check_takes_any_format(forms, tmp_path, run_in_process, form):
    status, printed, errors = run_in_process('check', forms / form, '--insize', 32)
    assert status == 0, errors
    has_splits = form != 'flat'
    numbers = (4, 3) if has_splits else (9, 0)
    assert '{}: {} training images, {} test images'.format(forms / form, *numbers) in printed
    assert all(f'  {name}: ' in printed for name in LABEL_NAMES)


def test_check_exits_with_1_for_an_error(forms, tmp_path, run_in_process):
    folder = shutil.copytree(forms / 'yolo_flat', tmp_path / 'yolo')
    (folder / '0.txt').write_text('7 0.5 0.5 0.2 0.2\n')
    options = ('--json', tmp_path / 'report.json', '--insize', 32)
    status, printed, _ = run_in_process('check', '--data', folder, *options)
    assert status == 1 and 'class 7, expected 0 to 1' in printed
    assert not read(tmp_path / 'report.json')['is_fit']


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('train', '--data', 'x', '--dataset', 'voc'), '--dataset voc does not go with --data'),
        (('train', '--data', 'x', '--root', 'y'), '--root y goes with --dataset voc'),
        (('train', '--data', 'x'), 'x: no such file or folder'),
        (('train', '--classes', 'a'), '--classes a goes with --data'),
        (('train', '--test-fraction', '0.2'), '--test-fraction 0.2 goes with --data'),
        (('train', '--format', 'coco'), '--format coco goes with --data'),
        (('train', '--data', 'x', '--classes', ','), 'expected names with a comma'),
        (('train', '--val', '1'), 'expected a number in (0, 1)'),
        (('check',), 'expected a path of a data set'),
    ],
)
def test_options_that_do_not_fit(tmp_path, monkeypatch, run_in_process, args, message):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run_in_process(*args)
    assert status == 2 and message in errors
    assert not (tmp_path / 'result').exists()
