"""chainer-ssd predict."""

import json
import os
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
from PIL import Image

from chainer_ssd import draw_bbox, load_detector, read_image
from chainer_ssd.cli import predict
from chainer_ssd.cli._input_files import batch_images
from chainer_ssd.links.ssd import SSD
from tests.cli.command import COMMAND, ENVIRONMENT, LABEL_NAMES, interrupt, run_command
from tests.cli.pictures import SCORE, picture, write_video

cv2 = pytest.importorskip('cv2')


@pytest.fixture(scope='module')
def result(random_detector):
    return random_detector


@pytest.fixture
def run(run_predict):
    return run_predict


def expected_detections(result, img, score):
    """Returns what the public functions find, by falling score."""
    model = load_detector(result)
    model.score_thresh = score
    predicted = model.predict([img], nms_top_k=400, keep_top_k=200)
    bbox, label, score = (column[0] for column in predicted)
    order = np.argsort(-score, kind='stable')
    return bbox[order], label[order], score[order]


def assert_detections(entries, bbox, label, score):
    assert len(entries) == len(bbox)
    boxes = np.reshape([each['bbox'] for each in entries], (-1, 4))
    np.testing.assert_allclose(boxes, bbox, atol=0.02)
    np.testing.assert_allclose([each['score'] for each in entries], score, atol=1e-3)
    assert [each['label'] for each in entries] == label.tolist()
    assert [each['name'] for each in entries] == [LABEL_NAMES[i] for i in label]


def test_a_folder_with_many_kinds_of_files(run, result, tmp_path):
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

    # A batch of another size would round sums differently.
    status, printed, errors, detections = run(result, folder, '--score', SCORE, '--batchsize', 1)
    assert status == 1
    done = {os.path.basename(each['file']): each for each in detections['images']}
    assert set(done) == {'a.png', 'grey.png', 'large.JPG', 'alpha.png', 'one pixel.bmp'}
    failed = {os.path.basename(each['file']): each['error'] for each in detections['failed']}
    assert set(failed) == {'deep.png', 'broken.jpg'}
    assert 'truncated' in failed['broken.jpg'] and '8 bits' in failed['deep.png']
    assert 'left out: notes.txt' in printed
    assert '5 images in ' in printed and 'images/s from file to file' in printed
    assert 'chainer-ssd predict: 2 failed: ' in errors
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
        assert f'{each["file"]}: ' in printed


def test_the_picture_shows_the_boxes(run, result, tmp_path):
    picture().save(tmp_path / 'a.png')
    _, _, _, detections = run(result, tmp_path / 'a.png', '--score', SCORE)
    img = read_image(tmp_path / 'a.png')
    found = expected_detections(result, img, SCORE)
    drawn = read_image(detections['images'][0]['picture'])
    assert (drawn != img).any()
    np.testing.assert_array_equal(drawn, draw_bbox(img, *found, LABEL_NAMES))


@pytest.mark.parametrize('batchsize', [1, 2, 5, 9])
def test_batches_keep_the_order_and_every_image(run, result, tmp_path, batchsize):
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
    status, printed, errors, detections = run(result, tmp_path / 'a.png', '--score', 1)
    assert status == 0 and errors == ''
    assert 'a.png: nothing; see' in printed and '1 image in ' in printed
    assert 'no detection has a score of 1.0 or more. Try a lower --score' in printed
    assert detections['images'][0]['detections'] == [] and detections['failed'] == []
    np.testing.assert_array_equal(
        read_image(tmp_path / 'out' / 'a.png'), read_image(tmp_path / 'a.png')
    )


def test_the_exif_orientation_is_applied(run, result, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to rotate by 90 degrees clockwise
    picture((60, 80)).save(tmp_path / 'rotated.jpg', exif=exif)
    _, _, _, detections = run(result, tmp_path / 'rotated.jpg', '--score', SCORE)
    each = detections['images'][0]
    assert (each['height'], each['width']) == (80, 60)
    with Image.open(each['picture']) as drawn:
        assert drawn.size == (60, 80) and drawn.getexif().get(0x0112, 1) == 1
    img = read_image(tmp_path / 'rotated.jpg')
    assert_detections(each['detections'], *expected_detections(result, img, SCORE))


def frames_of(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = capture.read()
        if not there:
            return frames, capture.get(cv2.CAP_PROP_FPS)
        frames.append(frame[:, :, ::-1].transpose(2, 0, 1).astype(np.float32))


def test_a_video_is_written_as_a_video(run, result, tmp_path):
    write_video(tmp_path / 'a.avi')
    status, printed, errors, detections = run(
        result, tmp_path / 'a.avi', '--score', SCORE, '--batchsize', 1
    )
    assert status == 0 and errors == ''
    (each,) = detections['videos']
    assert (each['height'], each['width'], each['fps'], len(each['frames'])) == (240, 320, 8, 5)
    assert '5 images in ' in printed and 'a.avi, 5 frames: ' in printed
    frames, _ = frames_of(tmp_path / 'a.avi')
    written, fps = frames_of(each['video'])
    assert each['video'].endswith('a.mp4') and len(written) == 5 and fps == 8
    assert sum(map(len, each['frames'])) > 0
    for frame, drawn, entries in zip(frames, written, each['frames']):
        found = expected_detections(result, frame, SCORE)
        assert_detections(entries, *found)
        # Lossy, yet close to the picture of the frame, with red and blue in place.
        still = draw_bbox(frame, *found, LABEL_NAMES).astype(np.float32)
        assert 2 * np.abs(drawn - still).mean() < np.abs(drawn - still[::-1]).mean()


def test_broken_and_missing_videos_are_named(run, result, tmp_path):
    write_video(tmp_path / 'whole.avi', 40)
    content = (tmp_path / 'whole.avi').read_bytes()
    (tmp_path / 'cut.avi').write_bytes(content[: len(content) // 2])
    (tmp_path / 'text.mp4').write_text('no video')
    picture().save(tmp_path / 'a.png')
    names = ['cut.avi', 'text.mp4', 'nowhere.mp4', 'a.png']
    status, printed, errors, detections = run(
        result, *(tmp_path / name for name in names), '--score', 1
    )
    assert status == 1
    assert {os.path.basename(each['file']) for each in detections['failed']} == set(names[:3])
    assert 'text.mp4: cannot be read as a video' in errors
    assert 'nowhere.mp4: no such file' in errors
    assert 'of 40 frames' in errors
    assert len(detections['images']) == 1
    (each,) = detections['videos']  # the part that can be read
    assert 0 < len(each['frames']) < 36
    assert len(frames_of(each['video'])[0]) == len(each['frames'])
    assert not (tmp_path / 'out' / 'text.mp4').exists()


def test_missing_paths_and_empty_folders_are_named(run, result, tmp_path):
    (tmp_path / 'empty').mkdir()
    status, _, errors, detections = run(result, tmp_path / 'empty', tmp_path / 'nowhere.png')
    assert status == 1
    assert 'empty: no image and no video in this folder' in errors
    assert 'nowhere.png: no such file' in errors
    assert len(detections['failed']) == 2 and detections['images'] == []


def test_files_of_one_name_get_different_pictures(run, result, tmp_path):
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


def test_input_images_are_not_overwritten(run, result, tmp_path):
    (tmp_path / 'out').mkdir()
    picture().save(tmp_path / 'out' / 'a.png')
    content = (tmp_path / 'out' / 'a.png').read_bytes()
    status, _, errors, detections = run(result, tmp_path / 'out', '--score', SCORE)
    assert status == 2 and 'could be overwritten' in errors and not detections
    assert (tmp_path / 'out' / 'a.png').read_bytes() == content


def test_detections_are_kept_if_a_picture_cannot_be_written(run, result, tmp_path):
    for seed, name in enumerate(('a.png', 'b.png')):
        picture(seed=seed).save(tmp_path / name)
    write_video(tmp_path / 'c.avi')
    write_video(tmp_path / 'd.avi')
    for name in ('a.png', 'c.mp4'):
        (tmp_path / 'out' / name).mkdir(parents=True)  # no file can have that name
    status, printed, errors, detections = run(
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
    assert 'chainer-ssd predict: 2 failed: ' in errors and f'{tmp_path / "a.png"}: ' in printed


def test_detections_are_kept_on_a_full_disk(result, tmp_path):
    pytest.importorskip('resource')
    limit = (
        'import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))'
        '; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])'
    )  # bytes per file
    rng = np.random.RandomState(0)
    Image.fromarray(rng.randint(0, 256, (300, 300, 3)).astype(np.uint8)).save(tmp_path / 'a.png')
    writer = cv2.VideoWriter(
        str(tmp_path / 'b.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 8, (320, 240)
    )
    for _ in range(40):
        writer.write(rng.randint(0, 256, (240, 320, 3)).astype(np.uint8))
    writer.release()
    done = subprocess.run(
        [sys.executable, '-c', limit, *COMMAND, 'predict', result, 'a.png', 'b.avi'],
        cwd=tmp_path,
        timeout=240,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
    )
    assert done.returncode == 1, done.stderr
    detections = json.loads((tmp_path / 'predictions' / 'detections.json').read_text())
    assert detections['images'][0]['picture'] is None
    assert detections['videos'][0]['video'] is None
    assert len(detections['videos'][0]['frames']) == 40
    assert {each['file'] for each in detections['failed']} == {'a.png', 'b.avi'}
    assert os.listdir(tmp_path / 'predictions') == ['detections.json']  # and no partial file


def test_ctrl_c_keeps_the_detections_so_far(result, tmp_path):
    (tmp_path / 'in').mkdir()
    for i in range(2000):
        picture(seed=i % 5).save(tmp_path / 'in' / f'{i:04}.bmp')
    command = [*COMMAND, 'predict', result, 'in', '--out', 'out']
    status, _, errors, _ = interrupt(command, tmp_path / 'out/0020.png', cwd=tmp_path)
    assert status == 130
    assert errors == (
        'chainer-ssd predict: interrupted. The results so far are in out/detections.json\n'
    )
    detections = json.loads((tmp_path / 'out' / 'detections.json').read_text())
    written = {name for name in os.listdir(tmp_path / 'out') if name.endswith('.png')}
    kept = {os.path.basename(each['picture']) for each in detections['images']}
    assert len(kept) >= 20 and kept <= written and len(written - kept) <= 1


@pytest.mark.parametrize(
    'args, message',
    [
        (['--score', '1.5'], 'value = 1.5: expected a number in [0, 1]'),
        (['--batchsize', '0'], 'value = 0: expected an integer >= 1'),
        ([], 'the following arguments are required: path'),
    ],
)
def test_bad_arguments(run, result, tmp_path, args, message):
    paths = [tmp_path / 'a.png'] if args else []
    status, _, errors, detections = run(result, *paths, *args)
    assert status == 2 and message in errors.splitlines()[-1] and not detections


def test_it_runs_as_a_command(result, tmp_path):
    picture().save(tmp_path / 'a.png')
    done = run_command('predict', result, 'a.png', cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'predictions' / 'a.png').exists()
    done = run_command('predict', 'nowhere', 'a.png', cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        'chainer-ssd predict: error: nowhere/model.json: no such file'
    )
    assert 'Traceback' not in done.stderr


def test_large_images_are_read_one_at_a_time(run, result, tmp_path, monkeypatch):
    folder = tmp_path / 'in'
    folder.mkdir()
    for i in range(6):
        picture((300, 400), i).save(folder / f'{i}.png')
    monkeypatch.setattr(predict, 'MAX_BATCH_PIXELS', 100_000)
    read_so_far, most = [], []

    class Counted(np.ndarray):
        pass

    def read(file, **options):
        img = read_image(file, **options).view(Counted)
        assert img.dtype == np.uint8
        read_so_far.append(weakref.ref(img))
        most.append(sum(each() is not None for each in read_so_far))
        return img

    monkeypatch.setattr('chainer_ssd.cli._input_files.read_image', read)
    status, _, _, detections = run(result, folder, '--score', SCORE)
    assert status == 0 and len(detections['images']) == 6
    assert max(most) <= 2  # the next one is read before the list of the last one is replaced


@pytest.mark.parametrize(
    ('sizes', 'expected'),
    [
        ([1, 1, 1, 1, 1], [3, 2]),
        ([4, 4, 4], [2, 1]),
        ([99, 1, 99], [1, 1, 1]),
        ([1, 99, 1, 1], [1, 1, 2]),
        ([10], [1]),
        ([], []),
    ],
)
def test_batches_are_bounded_by_number_and_by_pixels(sizes, expected):
    images = [(str(i), np.zeros((3, 1, size), np.uint8)) for i, size in enumerate(sizes)]
    batches = list(batch_images(iter(images), 3, 9))
    assert [len(batch) for batch in batches] == expected
    assert [file for batch in batches for file, _ in batch] == [file for file, _ in images]


@pytest.mark.parametrize('step', ['read', 'detect', 'draw', 'write'])
def test_an_image_without_enough_memory_is_named_and_the_others_go_on(
    run, result, tmp_path, monkeypatch, step
):
    for i, height in enumerate((20, 21, 22)):
        picture((height, 30), i).save(tmp_path / f'{i}.png')

    def fail(function, height_of):
        def call(*args, **options):
            value = function(*args, **options)
            if 21 in height_of(args, value):
                raise MemoryError
            return value

        return call

    target, height_of = {
        'read': ('chainer_ssd.cli._input_files.read_image', lambda args, img: [img.shape[1]]),
        'detect': (
            'chainer_ssd.links.SSD.predict',
            lambda args, found: [img.shape[1] for img in args[1]],
        ),
        'draw': ('chainer_ssd.cli._timed_detector.draw_bbox', lambda args, img: [img.shape[1]]),
        'write': ('chainer_ssd.cli._predictions.write_image', lambda args, _: [args[0].shape[1]]),
    }[step]
    module, name = target.rsplit('.', 1)
    owner = SSD if name == 'predict' else sys.modules[module]
    monkeypatch.setattr(owner, name, fail(getattr(owner, name), height_of))
    status, _, errors, detections = run(
        result, *(tmp_path / f'{i}.png' for i in range(3)), '--score', SCORE
    )
    assert status == 1
    assert f'{tmp_path / "1.png"}: ' in errors and 'not enough memory' in errors
    assert [each['file'] for each in detections['failed']] == [str(tmp_path / '1.png')]
    pictures = {os.path.basename(each['file']): each['picture'] for each in detections['images']}
    assert pictures['0.png'] and pictures['2.png'] and not pictures.get('1.png')


def test_an_image_with_nan_predictions_is_named_and_the_others_go_on(
    run, result, tmp_path, monkeypatch
):
    for i, height in enumerate((20, 21, 22)):
        picture((height, 30), i).save(tmp_path / f'{i}.png')
    whole = SSD.predict

    def predict_nan(self, imgs):
        if 21 in [img.shape[1] for img in imgs]:
            raise ValueError('imgs[0]: 5 logits are NaN')
        return whole(self, imgs)

    monkeypatch.setattr(SSD, 'predict', predict_nan)
    status, _, errors, detections = run(result, *(tmp_path / f'{i}.png' for i in range(3)))
    assert status == 1 and len(detections['images']) == 2
    assert f'{tmp_path / "1.png"}: imgs[0]: 5 logits are NaN' in errors


@pytest.mark.filterwarnings('ignore:invalid value:RuntimeWarning')
def test_weights_of_nan_are_an_error(run, result, tmp_path):
    shutil.copytree(result, tmp_path / 'nan')
    with np.load(tmp_path / 'nan/model.npz') as npz:
        arrays = dict(npz)
    for name in arrays:
        if name.endswith('/W'):
            arrays[name] = np.full_like(arrays[name], np.nan)
    np.savez(tmp_path / 'nan/model.npz', **arrays)
    picture().save(tmp_path / 'a.png')
    status, _, errors, _ = run(tmp_path / 'nan', tmp_path / 'a.png')
    assert status != 0 and 'nan' in errors.lower() and 'Traceback' not in errors


def test_pipes_and_devices_are_refused_and_the_others_go_on(run, result, tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    os.mkfifo(folder / 'pipe.jpg')
    os.symlink('/dev/zero', folder / 'device.png')
    picture().save(folder / 'a.png')
    os.mkfifo(tmp_path / 'video.mp4')
    status, _, errors, detections = run(
        result, folder, tmp_path / 'video.mp4', '/dev/zero', '--score', SCORE
    )
    assert status == 1
    assert [os.path.basename(each['file']) for each in detections['images']] == ['a.png']
    failed = {os.path.basename(each['file']): each['error'] for each in detections['failed']}
    assert set(failed) == {'pipe.jpg', 'device.png', 'video.mp4', 'zero'}
    assert all(
        'expected a regular file, not a pipe or a device' in each for each in failed.values()
    )


@pytest.mark.parametrize('name', ['a.png', 'a.png.tmp', 'detections.json', 'detections.json.tmp'])
def test_outputs_do_not_follow_links(run, result, tmp_path, name):
    picture().save(tmp_path / 'a.png')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'precious').write_text('precious')
    os.symlink(tmp_path / 'precious', tmp_path / 'out' / name)
    status, _, _, detections = run(result, tmp_path / 'a.png', '--score', SCORE)
    assert (tmp_path / 'precious').read_text() == 'precious'
    assert status == 0 and len(detections['images']) == 1


def test_a_video_does_not_follow_a_link(run, result, tmp_path):
    write_video(tmp_path / 'a.avi')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'precious').write_text('precious')
    os.symlink(tmp_path / 'precious', tmp_path / 'out' / 'a.mp4')
    status, _, _, detections = run(result, tmp_path / 'a.avi', '--score', 1)
    assert (tmp_path / 'precious').read_text() == 'precious'
    assert status == 0 and len(frames_of(detections['videos'][0]['video'])[0]) == 5


def test_an_out_that_is_a_file_is_an_error(run, result, tmp_path):
    (tmp_path / 'out').write_text('a file')
    picture().save(tmp_path / 'a.png')
    status, printed, errors = run_plain(result, tmp_path / 'a.png', '--out', tmp_path / 'out')
    assert status == 2 and 'not a folder' in errors and printed == ''


def run_plain(*args):
    done = run_command('predict', *args)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.filterwarnings('ignore:the font has no glyph')
def test_names_are_printed_without_escape_sequences_and_in_bounded_lines(
    run, write_detector, tmp_path
):
    result = write_detector(tmp_path / 'result')
    description = json.loads((result / 'model.json').read_text())
    description['label_names'] = ['\x1b[31mred', 'x' * 100_000]
    (result / 'model.json').write_text(json.dumps(description))
    file = tmp_path / 'a\x1b]0;title\x07.png'
    picture().save(tmp_path / 'a.png')
    os.rename(tmp_path / 'a.png', file)
    (tmp_path / 'b\x1b.png').write_text('no image')
    status, printed, errors, detections = run(
        result, file, tmp_path / 'b\x1b.png', '--score', SCORE
    )
    assert status == 1
    for line in [*printed.splitlines(), *errors.splitlines()]:
        assert line.isprintable() and len(line) < 2500
    assert '\\x1b[31mred' in printed and 'xxx...' in printed
    assert detections['images'][0]['file'] == str(file)
    assert detections['label_names'] == description['label_names']
    names = {each['name'] for each in detections['images'][0]['detections']}
    assert names == {'\x1b[31mred', 'x' * 197 + '...'}
