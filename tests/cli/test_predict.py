import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from chainer_ssd.datasets import read_image
from chainer_ssd.visualizations import draw_bbox
from tests.conftest import ROOT
from tests.cli import detector_folder
from tests.cli.detector_folder import EXAMPLES, LABEL_NAMES
from tests.cli.interrupt import interrupted

import predict  # isort: skip (an example: detector_folder has made it importable)
from detector import load_detector  # isort: skip

cv2 = pytest.importorskip('cv2')
SCORE = 0.012  # a random model gives some of this


@pytest.fixture(scope='module')
def result(tmp_path_factory):
    return detector_folder.write(tmp_path_factory.mktemp('result'))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """``run(*args)``: exit status, output, errors and detections.json."""

    def run(*args):
        status, said, errors = detector_folder.run(
            monkeypatch, capsys, predict, *args, '--out', tmp_path / 'out'
        )
        file = tmp_path / 'out' / 'detections.json'
        return status, said, errors, file.exists() and json.loads(file.read_text(encoding='utf-8'))

    return run


def picture(size=(60, 80), seed=0):
    coarse = np.random.RandomState(seed).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size[::-1])


def expected_detections(result, img, score):
    """Of the functions that a reader of the README would call, by falling score."""
    model, label_names = load_detector(result)
    model.score_thresh = score
    bbox, label, score = (column[0] for column in model.predict([img]))
    order = np.argsort(-score, kind='stable')
    return bbox[order], label[order], score[order]


def assert_detections(entries, bbox, label, score):
    assert len(entries) == len(bbox)
    boxes = np.reshape([each['bbox'] for each in entries], (-1, 4))
    np.testing.assert_allclose(boxes, bbox, atol=0.02)
    np.testing.assert_allclose([each['score'] for each in entries], score, atol=1e-3)
    assert [each['label'] for each in entries] == label.tolist()
    assert [each['name'] for each in entries] == [LABEL_NAMES[i] for i in label]


def test_a_folder_of_all_sorts(run, result, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    picture().save(folder / 'a.png')
    picture((30, 20), 1).convert('L').save(folder / 'grey.png')
    picture((200, 150), 2).save(folder / 'large.JPG')
    rgba = picture(seed=3)
    rgba.putalpha(9)
    rgba.save(folder / 'alpha.png')
    picture().resize((1, 1)).save(folder / 'one pixel.bmp')
    Image.fromarray(np.full((9, 9), 300, np.uint16)).save(folder / 'deep.png')
    (folder / 'broken.jpg').write_bytes((folder / 'large.JPG').read_bytes()[:900])
    (folder / 'notes.txt').write_text('hello')
    (folder / 'subfolder.png').mkdir()

    # One at a time: in a batch of another size sums are rounded otherwise.
    status, said, errors, detections = run(result, folder, '--score', SCORE, '--batchsize', 1)
    assert status == 1
    done = {os.path.basename(each['file']): each for each in detections['images']}
    assert set(done) == {'a.png', 'grey.png', 'large.JPG', 'alpha.png', 'one pixel.bmp'}
    failed = {os.path.basename(each['file']): each['error'] for each in detections['failed']}
    assert set(failed) == {'deep.png', 'broken.jpg'}
    assert 'truncated' in failed['broken.jpg'] and '8 bits' in failed['deep.png']
    assert 'left out: notes.txt' in said
    assert '5 images in ' in said and 'images/s from file to file' in said
    assert 'predict.py: 2 failed: ' in errors
    assert detections['label_names'] == list(LABEL_NAMES) and detections['videos'] == []
    assert sum(len(each['detections']) for each in done.values()) > 5
    for name, each in done.items():
        img = read_image(folder / name)
        assert (each['height'], each['width']) == img.shape[1:]
        assert_detections(each['detections'], *expected_detections(result, img, SCORE))
        drawn = read_image(each['picture'])
        suffix = '.jpg' if name == 'large.JPG' else '.png'
        assert each['picture'] == str(tmp_path / 'out' / (os.path.splitext(name)[0] + suffix))
        assert drawn.shape == img.shape
        assert f'{each["file"]}: ' in said


def test_the_picture_shows_the_boxes(run, result, tmp_path):
    picture().save(tmp_path / 'a.png')
    _, _, _, detections = run(result, tmp_path / 'a.png', '--score', SCORE)
    img = read_image(tmp_path / 'a.png')
    found = expected_detections(result, img, SCORE)
    drawn = read_image(detections['images'][0]['picture'])
    assert (drawn != img).any()
    np.testing.assert_array_equal(drawn, draw_bbox(img, *found, LABEL_NAMES))


@pytest.mark.parametrize('batchsize', [1, 2, 5, 9])
def test_batches_keep_order_and_leave_none_out(run, result, tmp_path, batchsize):
    names = ['b.png', 'a.png', 'd.png', 'broken.png', 'c.png', 'e.png']
    for seed, name in enumerate(names):
        picture((20 + 10 * seed, 30), seed).save(tmp_path / name)
    (tmp_path / 'broken.png').write_text('no image')
    _, _, _, detections = run(
        result, *(tmp_path / name for name in names), '--score', 1, '--batchsize', batchsize
    )
    assert [os.path.basename(each['file']) for each in detections['images']] == [
        name for name in names if name != 'broken.png'
    ]
    for each in detections['images']:
        np.testing.assert_array_equal(read_image(each['picture']), read_image(each['file']))


def test_nothing_found_is_no_failure(run, result, tmp_path):
    picture().save(tmp_path / 'a.png')
    status, said, errors, detections = run(result, tmp_path / 'a.png', '--score', 1)
    assert status == 0 and errors == ''
    assert 'a.png: nothing; see' in said and '1 image in ' in said
    assert 'nothing has a score of 1.0 or more: a lower --score' in said
    assert detections['images'][0]['detections'] == [] and detections['failed'] == []
    np.testing.assert_array_equal(
        read_image(tmp_path / 'out' / 'a.png'), read_image(tmp_path / 'a.png')
    )


def test_a_turned_photograph_comes_out_upright(run, result, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    picture((60, 80)).save(tmp_path / 'turned.jpg', exif=exif)
    _, _, _, detections = run(result, tmp_path / 'turned.jpg', '--score', SCORE)
    each = detections['images'][0]
    assert (each['height'], each['width']) == (80, 60)
    with Image.open(each['picture']) as drawn:
        assert drawn.size == (60, 80) and drawn.getexif().get(0x0112, 1) == 1
    img = read_image(tmp_path / 'turned.jpg')
    assert_detections(each['detections'], *expected_detections(result, img, SCORE))


def write_video(path, n_frame=5, fps=8, codec='MJPG', size=(240, 320)):
    """Blue at first, with a red square that moves."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, size[::-1])
    assert writer.isOpened()
    for i in range(n_frame):
        frame = np.zeros((*size, 3), np.uint8)
        frame[:, :, 0] = 200
        frame[50:150, 20 * i : 20 * i + 100] = 0, 0, 250
        writer.write(frame)
    writer.release()


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = capture.read()
        if not there:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))


def test_a_video_stays_a_video(run, result, tmp_path):
    write_video(tmp_path / 'a.avi')
    status, said, errors, detections = run(
        result, tmp_path / 'a.avi', '--score', SCORE, '--batchsize', 1
    )
    assert status == 0 and errors == ''
    (each,) = detections['videos']
    assert (each['height'], each['width'], each['fps'], len(each['frames'])) == (240, 320, 8, 5)
    assert '5 images in ' in said and 'a.avi, 5 frames: ' in said
    frames, _ = frames_of(tmp_path / 'a.avi')
    written, fps = frames_of(each['video'])
    assert each['video'].endswith('a.mp4') and len(written) == 5 and fps == 8
    assert sum(map(len, each['frames'])) > 0
    for frame, drawn, entries in zip(frames, written, each['frames']):
        found = expected_detections(result, frame, SCORE)
        assert_detections(entries, *found)
        # lossy, yet what the still picture would show, red where red was and blue where blue
        still = draw_bbox(frame, *found, LABEL_NAMES).astype(np.float32)
        assert 2 * np.abs(drawn - still).mean() < np.abs(drawn - still[::-1]).mean()


def test_videos_that_are_none_or_break_off_are_named(run, result, tmp_path):
    write_video(tmp_path / 'whole.avi', 40)
    content = (tmp_path / 'whole.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(content[: len(content) // 2])
    (tmp_path / 'text.mp4').write_text('no video')
    picture().save(tmp_path / 'a.png')
    names = ['cut.avi', 'text.mp4', 'nowhere.mp4', 'a.png']
    status, said, errors, detections = run(
        result, *(tmp_path / name for name in names), '--score', 1
    )
    assert status == 1
    assert {os.path.basename(each['file']) for each in detections['failed']} == set(names[:3])
    assert 'text.mp4: cannot be read as a video' in errors
    assert 'nowhere.mp4: no such file' in errors
    assert 'of 40 frames' in errors
    assert len(detections['images']) == 1
    (each,) = detections['videos']  # what there is of it
    assert 0 < len(each['frames']) < 36
    assert len(frames_of(each['video'])[0]) == len(each['frames'])
    assert not (tmp_path / 'out' / 'text.mp4').exists()


def test_paths_that_are_not_there_and_empty_folders_are_named(run, result, tmp_path):
    (tmp_path / 'empty').mkdir()
    status, _, errors, detections = run(result, tmp_path / 'empty', tmp_path / 'nowhere.png')
    assert status == 1
    assert 'empty: no image and no video in this folder' in errors
    assert 'nowhere.png: no such file' in errors
    assert len(detections['failed']) == 2 and detections['images'] == []


def test_files_of_one_name_do_not_write_over_each_other(run, result, tmp_path):
    for seed, folder in enumerate(('a', 'b')):
        (tmp_path / folder).mkdir()
        picture(seed=seed).save(tmp_path / folder / 'cell.png')
    picture(seed=2).save(tmp_path / 'cell.bmp')
    _, _, _, detections = run(
        result, tmp_path / 'a', tmp_path / 'b', tmp_path / 'cell.bmp', '--score', 1
    )
    assert [os.path.basename(each['picture']) for each in detections['images']] == [
        'cell.png',
        'cell_2.png',
        'cell_3.png',
    ]
    for each in detections['images']:
        np.testing.assert_array_equal(read_image(each['picture']), read_image(each['file']))


def test_the_images_are_not_written_over(run, result, tmp_path):
    (tmp_path / 'out').mkdir()
    picture().save(tmp_path / 'out' / 'a.png')
    content = (tmp_path / 'out' / 'a.png').read_bytes()
    status, _, errors, detections = run(result, tmp_path / 'out', '--score', SCORE)
    assert status == 2 and 'could be written over' in errors and not detections
    assert (tmp_path / 'out' / 'a.png').read_bytes() == content


def test_what_was_found_is_kept_where_a_picture_cannot_be_written(run, result, tmp_path):
    for seed, name in enumerate(('a.png', 'b.png')):
        picture(seed=seed).save(tmp_path / name)
    write_video(tmp_path / 'c.avi')
    write_video(tmp_path / 'd.avi')
    for name in ('a.png', 'c.mp4'):
        (tmp_path / 'out' / name).mkdir(parents=True)  # a file of that name cannot be
    status, said, errors, detections = run(
        result,
        *(tmp_path / name for name in ('a.png', 'b.png', 'c.avi', 'd.avi')),
        '--score',
        SCORE,
        '--batchsize',
        1,
    )
    assert status == 1
    assert [each['picture'] for each in detections['images']] == [
        None,
        str(tmp_path / 'out' / 'b.png'),
    ]
    assert [each['video'] for each in detections['videos']] == [
        None,
        str(tmp_path / 'out' / 'd.mp4'),
    ]
    for name, each in zip(('a.png', 'b.png'), detections['images']):
        img = read_image(tmp_path / name)
        assert_detections(each['detections'], *expected_detections(result, img, SCORE))
    (first, second) = detections['videos']
    assert len(first['frames']) == 5 and first['frames'] == second['frames']
    assert sum(map(len, first['frames'])) > 0 and len(frames_of(second['video'])[0]) == 5
    failed = {os.path.basename(each['file']): each['error'] for each in detections['failed']}
    assert set(failed) == {'a.png', 'c.avi'}
    assert f'{tmp_path / "out" / "a.png"} cannot be written' in failed['a.png']
    assert 'OpenCV cannot write an .mp4' in failed['c.avi']
    assert 'predict.py: 2 failed: ' in errors and f'{tmp_path / "a.png"}: ' in said


def test_what_was_found_is_kept_on_a_full_disk(result, tmp_path):
    pytest.importorskip('resource')
    limit = (
        'import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))'
        '; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
    )  # bytes of a file
    rng = np.random.RandomState(0)
    Image.fromarray(rng.randint(0, 256, (300, 300, 3)).astype(np.uint8)).save(tmp_path / 'a.png')
    writer = cv2.VideoWriter(
        str(tmp_path / 'b.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 8, (320, 240)
    )
    for _ in range(40):
        writer.write(rng.randint(0, 256, (240, 320, 3)).astype(np.uint8))
    writer.release()
    done = subprocess.run(
        [sys.executable, '-c', limit, EXAMPLES / 'predict.py', result, 'a.png', 'b.avi'],
        cwd=tmp_path,
        timeout=240,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    detections = json.loads((tmp_path / 'predictions' / 'detections.json').read_text())
    assert detections['images'][0]['picture'] is None
    assert detections['videos'][0]['video'] is None
    assert len(detections['videos'][0]['frames']) == 40
    assert {each['file'] for each in detections['failed']} == {'a.png', 'b.avi'}
    assert os.listdir(tmp_path / 'predictions') == ['detections.json']  # and nothing broken


def test_ctrl_c_keeps_what_was_found(result, tmp_path):
    (tmp_path / 'in').mkdir()
    for i in range(2000):
        picture(seed=i % 5).save(tmp_path / 'in' / f'{i:04}.bmp')
    command = [EXAMPLES / 'predict.py', result, 'in', '--out', 'out']
    status, _, errors, _ = interrupted(command, tmp_path / 'out/0020.png', cwd=tmp_path)
    assert status == 130
    assert errors == 'predict.py: interrupted; what was done: out/detections.json\n'
    detections = json.loads((tmp_path / 'out' / 'detections.json').read_text())
    written = {name for name in os.listdir(tmp_path / 'out') if name.endswith('.png')}
    kept = {os.path.basename(each['picture']) for each in detections['images']}
    assert len(kept) >= 20 and kept <= written and len(written - kept) <= 1


@pytest.mark.parametrize(
    'args, message',
    [
        (['--score', '1.5'], '1.5: expected a number from 0 to 1'),
        (['--batchsize', '0'], '0: expected 1 or more'),
        ([], 'the following arguments are required: path'),
    ],
)
def test_bad_arguments(run, result, tmp_path, args, message):
    paths = [tmp_path / 'a.png'] if args else []
    status, _, errors, detections = run(result, *paths, *args)
    assert status == 2 and message in errors.splitlines()[-1] and not detections


def test_a_user_runs_it(result, tmp_path):
    picture().save(tmp_path / 'a.png')
    done = subprocess.run(
        [sys.executable, EXAMPLES / 'predict.py', result, 'a.png'],
        cwd=tmp_path,
        timeout=240,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'predictions' / 'a.png').exists()
    done = subprocess.run(
        [sys.executable, EXAMPLES / 'predict.py', 'nowhere', 'a.png'],
        cwd=tmp_path,
        timeout=240,
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        'predict.py: error: nowhere/model.json: no such file'
    )
    assert 'Traceback' not in done.stderr
