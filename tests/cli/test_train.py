"""chainer-ssd train."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import chainer
import numpy as np
import pytest

from chainer_ssd import VOCBboxDataset, eval_detection_voc, load_detector
from chainer_ssd.cli._reports import divide
from tests.cli.command import COMMAND, ENVIRONMENT, LABEL_NAMES, TINY, run_command, wait_for


def train(*args, env=ENVIRONMENT):
    return run_command('train', *args, env=env)


def weights(out):
    with np.load(out / 'model.npz') as file:
        return dict(file)


def test_out_holds_the_model_and_the_result(finished_run, voc_root):
    out, printed = finished_run
    result = json.loads((out / 'result.json').read_text())
    assert json.loads((out / 'model.json').read_text()) == {
        'model': 'ssd_mini',
        'insize': 32,
        'box_scale': 1,
        'label_names': list(LABEL_NAMES),
    }
    assert set(result['ap']) == set(LABEL_NAMES)
    assert result['map'] == pytest.approx(np.mean(list(result['ap'].values())))
    assert result['iteration'] == 8 and result['insize'] == 32 and result['seconds'] > 0
    assert result['command'].startswith(f'chainer-ssd train --dataset voc --root {voc_root} ')
    assert result['versions'] == {
        'python': sys.version.split()[0],
        'numpy': np.__version__,
        'chainer': chainer.__version__,
        'chainer_ssd': result['versions']['chainer_ssd'],
    }
    for name in LABEL_NAMES:
        assert f'{result["ap"][name]:.4f}  {name}' in printed
    assert '\033' not in printed  # the output is no terminal
    log = json.loads((out / 'log').read_text())
    assert [entry['iteration'] for entry in log] == list(range(1, 9))
    assert {'main/loss', 'main/loss/loc', 'main/loss/conf'} <= set(log[0])
    assert [i for i in range(8) if 'validation/main/map' in log[i]] == [1, 3, 5, 7]


def test_the_last_iteration_is_logged_whatever_the_length(voc_root, tmp_path, run_in_process):
    # 23 is no multiple of a 20th of it.
    options = '--dataset', 'voc', '--root', voc_root, *TINY[:4], '--iteration', 23, '--workers', 0
    status, _, errors = run_in_process('train', *options, '--out', tmp_path)
    assert status == 0, errors
    log = json.loads((tmp_path / 'log').read_text())
    assert [entry['iteration'] for entry in log] == sorted(divide(23, 20)) and len(log) == 20
    logged = [entry['iteration'] for entry in log if 'validation/main/map' in entry]
    assert logged == sorted(divide(23, 4)) == [5, 11, 17, 23]
    result = json.loads((tmp_path / 'result.json').read_text())
    assert log[-1]['validation/main/map'] == result['map']


def test_the_report_shows_the_final_figures(finished_run):
    out, _ = finished_run
    page = (out / 'report.html').read_text()
    result = json.loads((out / 'result.json').read_text())
    assert f'mAP {result["map"]:.4f}' in page and 'main/loss' in page
    assert 'training' in page and len(page) < 3_000_000
    labels = json.loads((out / 'suspicious_labels.json').read_text())
    assert isinstance(labels, list)


def test_the_diagnostics_are_logged_printed_and_in_the_result(finished_run):
    out, printed = finished_run
    log = json.loads((out / 'log').read_text())
    result = json.loads((out / 'result.json').read_text())
    parts = {'data', 'forward', 'loss', 'backward', 'update', 'extensions'}
    for entry in log:
        assert {name[10:] for name in entry if name.startswith('main/time/')} == parts
    assert set(result['seconds_per_iteration']) == parts
    assert result['seconds_per_iteration']['forward'] == pytest.approx(
        np.mean([entry['main/time/forward'] for entry in log[1:]])
    )
    assert [i for i in range(8) if 'match/recall' in log[i]] == [0, 7]
    assert result['match']['n_positive'] >= result['match']['n_truth'] > 0
    assert result['match']['recall'] == log[7]['match/recall']
    assert re.search(r'seconds an iteration: data \d+\.\d{3}, forward', printed, re.MULTILINE)
    assert re.search(
        r'^all +\d+\.\d\d +\d+\.\d\d +[01]\.\d{3} +[01]\.\d{3}$', printed, re.MULTILINE
    )


def test_the_pictures_are_pictures(finished_run):
    cv2 = pytest.importorskip('cv2')
    out, _ = finished_run
    names = [
        'loss.png',
        'map.png',
        'match_0.png',
        'match_1.png',
        *(f'detection_{i}.jpg' for i in range(3)),
    ]
    assert {path.name for path in out.iterdir() if path.suffix in ('.png', '.jpg')} == set(names)
    for name in names:
        img = cv2.imread(str(out / name))
        assert min(img.shape[:2]) > 150 and img.std() > 5, name


def test_the_weights_load_and_are_what_was_evaluated(finished_run, voc_root):
    out, _ = finished_run
    model = load_detector(out)
    assert model.label_names == LABEL_NAMES
    model.use_preset('evaluate')
    imgs, bboxes, labels = zip(*VOCBboxDataset(voc_root, 'test', LABEL_NAMES))
    result = eval_detection_voc(*model.predict(imgs), bboxes, labels)
    expected = json.loads((out / 'result.json').read_text())['map']
    assert result['map'] == pytest.approx(expected, abs=0.02)


def test_a_killed_and_resumed_run_reaches_the_same_weights_bit_for_bit(
    finished_run, voc_root, tmp_path
):
    # The resumed run has two worker processes, the uninterrupted one has none.
    command = ['--dataset', 'voc', '--root', voc_root, *TINY, '--workers', '2', '--out', tmp_path]
    running = subprocess.Popen(
        [sys.executable, *COMMAND, 'train', *map(str, command)],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    snapshot = tmp_path / 'snapshot_00000003_rank0.json'
    wait_for(snapshot, running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert snapshot.exists()
    (tmp_path / 'model.npz').unlink(missing_ok=True)  # a fast machine may have finished

    done = train(*command, '--resume', 'auto')
    assert done.returncode == 0, done.stderr
    expected, resumed = weights(finished_run[0]), weights(tmp_path)
    assert set(resumed) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(resumed[name], expected[name], err_msg=name)
    with np.load(snapshot.with_suffix('.npz')) as file:  # the snapshot differs from the end
        stopped = dict(file)
    name = 'stem/conv/W'
    assert (stopped[f'trainer/updater/model:main/model/{name}'] != expected[name]).any()
    iterations = [entry['iteration'] for entry in json.loads((tmp_path / 'log').read_text())]
    assert iterations == list(range(1, 9))


def test_a_finished_run_that_is_resumed_has_the_same_result(voc_root, tmp_path):
    command = [
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY,
        '--snapshot-interval',
        '8',
        '--workers',
        '0',
        '--out',
        tmp_path,
    ]
    results = []
    for options in ((), ('--resume', 'auto')):
        done = train(*command, *options)
        assert done.returncode == 0, done.stderr
        results.append(json.loads((tmp_path / 'result.json').read_text()))
    first, second = results
    assert second['ap'] == first['ap'] and second['iteration'] == 8
    assert {'n_truth', 'n_positive', 'recall', 'unmatched'} <= second['match'].keys()


def test_the_other_objective_and_no_augmentation(voc_root, tmp_path):
    done = train(
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY[:-4],
        '--iteration',
        '2',
        '--workers',
        '1',
        '--loss',
        'ssd_loss',
        '--augmentation',
        'none',
        '--vertical-flip',
        '--k',
        '1',
        '--box-scale',
        '2',
        '--out',
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert 'Shared memory size is too small' not in done.stderr
    assert 'main/loss/loc' not in done.stdout  # no empty column: ssd_loss has one value
    log = json.loads((tmp_path / 'log').read_text())
    assert np.isfinite([entry['main/loss'] for entry in log]).all() and len(log) == 2
    assert 'match/recall' in log[0]


def test_missing_matplotlib_gives_one_line(voc_root, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys\nclass Hide:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name.split(".")[0] == "matplotlib":\n'
        '            raise ModuleNotFoundError(name)\n'
        'sys.meta_path.insert(0, Hide())\n'
    )
    env = {**ENVIRONMENT, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ENVIRONMENT["PYTHONPATH"]}'}
    done = train(
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY[:-4],
        '--iteration',
        '1',
        '--out',
        tmp_path / 'out',
        env=env,
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if 'matplotlib is' in line] == [
        'nothing is drawn, matplotlib is missing: pip install "chainer_ssd[plot]"'
    ]
    assert 'matplotlib' not in done.stderr
    assert not list((tmp_path / 'out').glob('*.png'))
    assert 'mAP' in (tmp_path / 'out/report.html').read_text()  # it needs no matplotlib


def test_missing_pycocotools_is_said_at_the_start(voc_root, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text('import sys\nsys.modules["pycocotools"] = None\n')
    env = {**ENVIRONMENT, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ENVIRONMENT["PYTHONPATH"]}'}
    out = tmp_path / 'out'
    short = (*TINY[:-4], '--iteration', '1')
    done = train('--dataset', 'voc', '--root', voc_root, *short, '--out', out, env=env)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if 'pycocotools is missing' in line]
    assert lines == [
        "report.html will be without COCO's figures, pycocotools is missing: "
        'pip install "chainer_ssd[eval]"'
    ]
    assert done.stdout.index(lines[0]) < done.stdout.index('training on')
    assert 'COCO:' not in (out / 'report.html').read_text()


def test_a_picture_that_cannot_be_written_is_a_warning_and_a_log_is_an_error(voc_root, tmp_path):
    command = [
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY[:4],
        '--iteration',
        '2',
        '--workers',
        '0',
        '--out',
        tmp_path,
    ]
    for name in ('loss.png', 'map.png', 'detection_1.jpg', 'match_0.png'):
        (tmp_path / name).mkdir()
    done = train(*command)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / 'result.json').read_text())['iteration'] == 2
    assert done.stderr.count('UserWarning: ') == 4, done.stderr  # one per kind of picture
    for text in (
        'loss.png is not written: ',
        'map.png is not written: ',
        f'cannot write {tmp_path}/detection_1.jpg: ',
        f'cannot write {tmp_path}/match_0.png: ',
    ):
        assert text in done.stderr
    assert (tmp_path / 'detection_0.jpg').is_file() and (tmp_path / 'match_1.png').is_file()
    (tmp_path / 'log').unlink()
    (tmp_path / 'log').mkdir()
    done = train(*command, '--overwrite')
    assert done.returncode == 2 and f'{tmp_path}/log' in done.stderr
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('out', ['file', 'file/below'])
def test_a_folder_that_cannot_be_created_gives_one_line(out, voc_root, tmp_path, run_in_process):
    (tmp_path / 'file').write_text('')
    status, _, errors = run_in_process(
        'train',
        '--dataset',
        'voc',
        '--root',
        voc_root,
        *TINY,
        '--workers',
        '0',
        '--out',
        tmp_path / out,
    )
    assert (
        status == 2 and errors.startswith('chainer-ssd train: error: ') and errors.count('\n') == 1
    )
    assert str(tmp_path / out) in errors


@pytest.mark.mpi
def test_two_ranks_take_the_step_of_one_process(mpiexec, voc_root, tmp_path):
    common = ['--dataset', 'voc', '--root', voc_root, '--insize', '32', '--iteration', '1']
    options = '--batchsize', '3', '--communicator', 'naive', '--out', tmp_path / 'two'
    mpiexec(2, *COMMAND, 'train', *common, *options)
    done = train(*common, '--batchsize', '6', '--out', tmp_path / 'one')
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / 'one'), weights(tmp_path / 'two')
    assert set(one) == set(two)
    for name in one:
        if name.endswith('/W'):
            # Adam's first step is the sign of the gradient times alpha = 0.016. Where the gradient
            # is nearly 0, rounding decides its sign. Elsewhere the weights agree.
            apart = np.abs(one[name] - two[name])
            assert apart.max() <= 0.033 and (apart > 1e-4).mean() < 0.02, name
        if name.endswith('/avg_mean'):
            np.testing.assert_allclose(one[name], two[name], rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / 'two' / 'result.json').read_text())['iteration'] == 1


@pytest.mark.parametrize(
    'args, message',
    [
        (['--dataset', 'voc'], '--dataset voc needs --root'),
        (['--dataset', 'voc', '--root', 'nowhere'], 'nowhere'),
        (['--dataset', 'voc', '--root', '{root}', '--train-split', 'train'], 'train.txt'),
        (['--dataset', 'voc', '--root', '{root}', '--train-split', 'empty'], 'empty.txt: lists no'),
        (['--root', '{root}'], 'goes with --dataset voc'),
        (
            ['--dataset', 'voc', '--root', '{root}', '--train-split', 'bare'],
            'no object in the images of bare.txt',
        ),
        (
            ['--dataset', 'voc', '--root', '{root}', '--resume', 'nothing'],
            'nothing: no snapshot of a training in this folder',
        ),
        (['--insize', '100'], 'insize = 100: expected a multiple of 32'),
        (['--model', 'ssd300', '--insize', '128'], 'insize = 128: ssd300 takes 300 only'),
        (['--pretrained', 'nothing.npz'], "No such file or directory: 'nothing.npz'"),
        (['--k', 'nan'], 'value = nan: expected a finite number >= 0'),
        (['--iou-thresh', '2'], 'value = 2.0: expected a number in [0, 1]'),
        (['--loss', 'ssd_loss', '--match-type', 'argmax'], 'ssd_loss has no such matching'),
        (['--box-scale', '0'], 'value = 0.0: expected a finite number > 0'),
        (['--workers', '-1'], 'value = -1: expected an integer >= 0'),
        (['--batchsize', '0'], 'value = 0: expected an integer >= 1'),
        (['--iteration', '5', '--epoch', '5'], 'not allowed with'),
        (['--seed', '-1'], 'value = -1: expected an integer from 0 to 4294967295'),
        (['--resume', __file__], 'a file, expected the folder of a training'),
    ],
)
def test_bad_arguments_give_one_line(args, message, voc_root, tmp_path, run_in_process):
    root = shutil.copytree(voc_root, tmp_path / 'voc')
    (root / 'ImageSets/Main/empty.txt').write_text('\n')
    (root / 'ImageSets/Main/bare.txt').write_text('bare\n')
    (root / 'Annotations/bare.xml').write_text('<annotation></annotation>')
    shutil.copy(root / 'JPEGImages/0.jpg', root / 'JPEGImages/bare.jpg')
    out = tmp_path / 'out'
    args = ['--workers', '0', *(arg.format(root=root) for arg in args), '--out', out]
    status, printed, errors = run_in_process('train', *args)
    assert status == 2 and not printed
    assert message in errors.splitlines()[-1]
    assert not out.exists()
