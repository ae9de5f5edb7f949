import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import chainer
import numpy as np
import pytest

from tests.cli.detector_folder import run

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / 'examples' / 'train.py'
ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(ROOT), 'OPENBLAS_NUM_THREADS': '1'}
LABEL_NAMES = ['blue', 'red']
TINY = ['--insize', '32', '--batchsize', '4', '--iteration', '8', '--snapshot-interval', '3']


def train(*args, env=ENVIRONMENT):
    command = [sys.executable, TRAIN, *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=240)


def weights(out):
    with np.load(out / 'model.npz') as file:
        return dict(file)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Six images for training and three for testing, in Pascal VOC's layout."""
    cv2 = pytest.importorskip('cv2')
    root = tmp_path_factory.mktemp('voc')
    for folder in ('Annotations', 'ImageSets/Main', 'JPEGImages'):
        (root / folder).mkdir(parents=True)
    random = np.random.RandomState(0)
    for i in range(9):
        img, objects = np.full((48, 64, 3), 200, np.uint8), ''
        for _ in range(random.randint(1, 4)):
            label = random.randint(2)
            y, x = random.randint(0, 28), random.randint(0, 44)
            img[y : y + 20, x : x + 20] = (255, 0, 0) if label == 0 else (0, 0, 255)
            objects += (
                f'<object><name>{LABEL_NAMES[label]}</name><difficult>0</difficult><bndbox>'
                f'<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{x + 20}</xmax>'
                f'<ymax>{y + 20}</ymax></bndbox></object>'
            )
        (root / 'Annotations' / f'{i}.xml').write_text(
            f'<annotation><size><width>64</width><height>48</height><depth>3</depth></size>'
            f'{objects}</annotation>'
        )
        cv2.imwrite(str(root / 'JPEGImages' / f'{i}.jpg'), img)
    (root / 'ImageSets/Main/trainval.txt').write_text('0\n1\n2\n3\n4\n5\n')
    (root / 'ImageSets/Main/test.txt').write_text('6\n7\n8\n')
    return root


@pytest.fixture(scope='module')
def whole(root, tmp_path_factory):
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp('whole')
    done = train('--dataset', 'voc', '--root', root, *TINY, '--workers', '0', '--out', out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_out_holds_the_model_and_the_result(whole, root):
    out, said = whole
    result = json.loads((out / 'result.json').read_text())
    assert json.loads((out / 'model.json').read_text()) == {
        'model': 'ssd_mini',
        'insize': 32,
        'box_scale': 1,
        'label_names': LABEL_NAMES,
    }
    assert set(result['ap']) == set(LABEL_NAMES)
    assert result['map'] == pytest.approx(np.mean(list(result['ap'].values())))
    assert result['iteration'] == 8 and result['insize'] == 32 and result['seconds'] > 0
    assert '--root' in result['command'] and str(root) in result['command']
    assert result['versions'] == {
        'python': sys.version.split()[0],
        'numpy': np.__version__,
        'chainer': chainer.__version__,
        'chainer_ssd': result['versions']['chainer_ssd'],
    }
    for name in LABEL_NAMES:
        assert f'{result["ap"][name]:.4f}  {name}' in said
    assert '\033' not in said  # where it is no terminal
    log = json.loads((out / 'log').read_text())
    assert [entry['iteration'] for entry in log] == list(range(1, 9))
    assert {'main/loss', 'main/loss/loc', 'main/loss/conf'} <= set(log[0])
    assert [i for i in range(8) if 'validation/main/map' in log[i]] == [1, 3, 5, 7]


def test_the_diagnostics_are_logged_printed_and_in_the_result(whole):
    out, said = whole
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
    assert re.search(r'seconds an iteration: data \d+\.\d{3}, forward', said, re.MULTILINE)
    assert re.search(r'^all +\d+\.\d\d +\d+\.\d\d +[01]\.\d{3} +[01]\.\d{3}$', said, re.MULTILINE)


def test_the_pictures_are_pictures(whole):
    cv2 = pytest.importorskip('cv2')
    out, _ = whole
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


def test_the_weights_load_and_are_what_was_evaluated(whole, root):
    from detector import load_detector

    from chainer_ssd import VOCBboxDataset, eval_detection_voc

    out, _ = whole
    model, label_names = load_detector(out)
    assert label_names == tuple(LABEL_NAMES)
    model.use_preset('evaluate')
    imgs, bboxes, labels = zip(*VOCBboxDataset(root, 'test', LABEL_NAMES))
    result = eval_detection_voc(*model.predict(imgs), bboxes, labels)
    expected = json.loads((out / 'result.json').read_text())['map']
    assert result['map'] == pytest.approx(expected, abs=0.02)


def test_a_run_that_was_killed_and_resumed_reaches_the_same_weights_bit_for_bit(
    whole, root, tmp_path
):
    # And with two worker processes those of a run without.
    command = ['--dataset', 'voc', '--root', root, *TINY, '--workers', '2', '--out', tmp_path]
    running = subprocess.Popen(
        [sys.executable, TRAIN, *command],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    snapshot = tmp_path / 'snapshot_00000003_rank0.json'
    deadline = time.monotonic() + 120
    while not snapshot.exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert snapshot.exists()
    (tmp_path / 'model.npz').unlink(missing_ok=True)  # a fast machine may have come to the end

    done = train(*command, '--resume', 'auto')
    assert done.returncode == 0, done.stderr
    expected, resumed = weights(whole[0]), weights(tmp_path)
    assert set(resumed) == set(expected)
    for name in expected:
        np.testing.assert_array_equal(resumed[name], expected[name], err_msg=name)
    with np.load(snapshot.with_suffix('.npz')) as file:  # and the snapshot had not been the end
        stopped = dict(file)
    name = 'stem/conv/W'
    assert (stopped[f'trainer/updater/model:main/model/{name}'] != expected[name]).any()
    iterations = [entry['iteration'] for entry in json.loads((tmp_path / 'log').read_text())]
    assert iterations == list(range(1, 9))


def test_a_finished_run_that_is_resumed_says_the_same_once_more(root, tmp_path):
    command = [
        '--dataset',
        'voc',
        '--root',
        root,
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


def test_the_other_loss_and_the_other_augmentations(root, tmp_path):
    done = train(
        '--dataset',
        'voc',
        '--root',
        root,
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
    assert 'main/loss/loc' not in done.stdout  # of which ssd_loss has none: no empty column
    log = json.loads((tmp_path / 'log').read_text())
    assert np.isfinite([entry['main/loss'] for entry in log]).all() and len(log) == 2
    assert 'match/recall' in log[0]


def test_without_matplotlib_one_line_says_so(root, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import sys\nclass Hide:\n'
        '    def find_spec(self, name, path=None, target=None):\n'
        '        if name.split(".")[0] == "matplotlib":\n'
        '            raise ModuleNotFoundError(name)\n'
        'sys.meta_path.insert(0, Hide())\n'
    )
    env = {**ENVIRONMENT, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{ROOT}'}
    done = train(
        '--dataset',
        'voc',
        '--root',
        root,
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


def test_pictures_that_cannot_be_written_do_not_end_it_but_the_log_does(root, tmp_path):
    command = [
        '--dataset',
        'voc',
        '--root',
        root,
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
    assert done.stderr.count('UserWarning: ') == 4, done.stderr  # each once
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
    done = train(*command)
    assert done.returncode == 1 and f'{tmp_path}/log' in done.stderr


@pytest.mark.parametrize('out', ['file', 'file/below'])
def test_a_folder_that_cannot_be_is_told_in_one_line(out, root, tmp_path, monkeypatch, capsys):
    import train as module

    (tmp_path / 'file').write_text('')
    status, _, errors = run(
        monkeypatch,
        capsys,
        module,
        '--dataset',
        'voc',
        '--root',
        root,
        *TINY,
        '--workers',
        '0',
        '--out',
        tmp_path / out,
    )
    assert status == 2 and errors.startswith('train.py: error: ') and errors.count('\n') == 1
    assert str(tmp_path / out) in errors


@pytest.mark.mpi
def test_ranks_together_take_the_step_of_one_process(mpiexec, root, tmp_path):
    common = ['--dataset', 'voc', '--root', root, '--insize', '32', '--iteration', '1']
    mpiexec(
        2, TRAIN, *common, '--batchsize', '3', '--communicator', 'naive', '--out', tmp_path / 'two'
    )
    done = train(*common, '--batchsize', '6', '--out', tmp_path / 'one')
    assert done.returncode == 0, done.stderr
    one, two = weights(tmp_path / 'one'), weights(tmp_path / 'two')
    assert set(one) == set(two)
    for name in one:
        if name.endswith('/W'):
            # Adam's first step is the sign of the gradient times alpha = 0.016: where the gradient
            # is nearly 0 its sign is anyone's, elsewhere the weights agree.
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
            'no object in any image of bare.txt',
        ),
        (['--dataset', 'voc', '--root', '{root}', '--resume', 'nothing'], 'nothing: no snapshot'),
        (['--insize', '100'], 'insize = 100: expected a multiple of 32'),
        (['--model', 'ssd300', '--insize', '128'], 'insize = 128: ssd300 takes 300 only'),
        (['--pretrained', 'vgg16.npz'], "pretrained_model = 'vgg16.npz': ssd_mini takes none"),
        (['--k', 'nan'], 'nan: expected a finite number >= 0'),
        (['--iou-thresh', '2'], 'iou_thresh = 2.0: expected a number in [0, 1]'),
        (['--loss', 'ssd_loss', '--match-type', 'argmax'], 'ssd_loss has no such matching'),
        (['--box-scale', '0'], '0: expected a number > 0'),
        (['--workers', '-1'], '-1: expected 0 or more'),
        (['--batchsize', '0'], '0: expected 1 or more'),
        (['--iteration', '5', '--epoch', '5'], 'not allowed with'),
        (['--seed', '-1'], 'between 0 and'),
        (['--resume', str(TRAIN)], 'no snapshot of such a training'),
    ],
)
def test_bad_arguments_are_told_in_one_line(args, message, root, tmp_path, monkeypatch, capsys):
    import train as module

    (root / 'ImageSets/Main/empty.txt').write_text('\n')
    (root / 'ImageSets/Main/bare.txt').write_text('bare\n')
    (root / 'Annotations/bare.xml').write_text('<annotation></annotation>')
    shutil.copy(root / 'JPEGImages/0.jpg', root / 'JPEGImages/bare.jpg')
    args = ['--workers', '0', *(arg.format(root=root) for arg in args), '--out', tmp_path]
    status, printed, errors = run(monkeypatch, capsys, module, *args)
    assert status == 2 and not printed
    assert message in errors.splitlines()[-1]
    assert not list(tmp_path.iterdir())
