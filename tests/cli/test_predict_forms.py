"""chainer-ssd predict: labels of YOLO, results of COCO, crops, and the names of all files."""

import json
import os
import shutil

import numpy as np
import pytest

from chainer_ssd import load_detector, read_image
from chainer_ssd.cli._saved_results import name_folders
from chainer_ssd.datasets import YOLOBboxDataset, find_dataset
from tests.cli.command import LABEL_NAMES
from tests.cli.pictures import SCORE, picture, write_video

cv2 = pytest.importorskip('cv2', reason='OpenCV is not installed')
FORMS = '--save-txt', '--save-json', '--save-crops'


@pytest.fixture
def images(tmp_path):
    """A folder with images of several sizes and one without any object."""
    folder = tmp_path / 'in'
    folder.mkdir()
    for seed, size in enumerate([(60, 80), (300, 200), (33, 47)]):
        picture(size, seed).save(folder / f'{seed}.png')
    return folder


def detect(detector, file):
    """Returns bbox, label and score of an image, by falling score."""
    model = load_detector(detector)
    model.score_thresh = SCORE
    found = model.predict([read_image(file)], nms_top_k=400, keep_top_k=200)
    order = np.argsort(-found[2][0], kind='stable')
    return [column[0][order] for column in found]


def read_json(path):
    return json.loads(path.read_text())


def test_yolo_labels_are_the_boxes_of_predict(run_predict, random_detector, images, tmp_path):
    options = '--save-txt', '--score', SCORE, '--batchsize', 1
    status, _, errors, found = run_predict(random_detector, images, *options)
    assert status == 0, errors
    out = tmp_path / 'out'
    assert (out / 'labels/classes.txt').read_text() == 'blue\nred\n'
    files = sorted(images.iterdir())
    labels = [out / 'labels' / f'{file.stem}.txt' for file in files]
    dataset = YOLOBboxDataset(files, labels, LABEL_NAMES, images)
    assert not dataset.problems
    for i, file in enumerate(files):
        bbox, label, _ = detect(random_detector, file)
        assert len(bbox) > 3
        np.testing.assert_allclose(dataset[i][1], bbox, atol=0.01)
        np.testing.assert_array_equal(dataset[i][2], label)


def test_the_labels_and_their_images_are_a_data_set(run_predict, random_detector, images, tmp_path):
    run_predict(random_detector, images, '--save-txt', '--score', SCORE)
    shutil.copytree(images, tmp_path / 'data/images')
    shutil.copytree(tmp_path / 'out/labels', tmp_path / 'data/labels')
    found = find_dataset(tmp_path / 'data')
    assert found.format == 'yolo' and found.label_names == LABEL_NAMES
    assert len(found.open('all')) == 3


def test_scores_are_a_sixth_number(run_predict, random_detector, images, tmp_path):
    options = '--save-txt', '--save-conf', '--score', SCORE, '--batchsize', 1
    run_predict(random_detector, images, *options)
    rows = np.loadtxt(tmp_path / 'out/labels/0.txt', ndmin=2)
    _, label, score = detect(random_detector, images / '0.png')
    np.testing.assert_array_equal(rows[:, 0], label)
    np.testing.assert_allclose(rows[:, 5], score, atol=1e-6)


def test_an_image_without_detections_has_an_empty_label_file(
    run_predict, random_detector, images, tmp_path
):
    run_predict(random_detector, images, *FORMS, '--score', 1)
    out = tmp_path / 'out'
    assert (out / 'labels/0.txt').read_text() == ''
    assert read_json(out / 'coco_detections.json') == []
    assert len(read_json(out / 'coco_images.json')['images']) == 3
    assert list((out / 'crops').iterdir()) == []


def test_pycocotools_reads_the_coco_files(run_predict, random_detector, images, tmp_path, capsys):
    coco = pytest.importorskip('pycocotools.coco', reason='pycocotools is not installed')
    run_predict(random_detector, images, '--save-json', '--score', SCORE, '--batchsize', 1)
    ground_truth = coco.COCO(str(tmp_path / 'out/coco_images.json'))
    results = ground_truth.loadRes(str(tmp_path / 'out/coco_detections.json'))
    assert len(results.imgs) == 3
    for number, image in results.imgs.items():
        bbox, label, score = detect(random_detector, image['file_name'])
        found = results.loadAnns(results.getAnnIds(number))
        x_min, y_min, width, height = np.array([each['bbox'] for each in found]).T
        boxes = np.stack([y_min, x_min, y_min + height, x_min + width], 1)
        np.testing.assert_allclose(boxes, bbox, atol=0.01)
        np.testing.assert_allclose([each['score'] for each in found], score, atol=1e-6)
        names = [results.cats[each['category_id']]['name'] for each in found]
        assert names == [LABEL_NAMES[each] for each in label]


def test_the_numbers_of_a_coco_file_are_used(run_predict, random_detector, images, tmp_path):
    file = tmp_path / 'truth.json'
    content = {
        'images': [{'id': 70 + i, 'file_name': f'in/{i}.png'} for i in range(2)],
        'annotations': [],
        'categories': [{'id': 9, 'name': 'red'}, {'id': 4, 'name': 'blue'}],
    }
    file.write_text(json.dumps(content))
    options = '--save-json', '--coco-ids', file, '--score', SCORE
    status, _, errors, found = run_predict(random_detector, images, *options)
    assert status == 1 and f'{images}/2.png: the file of --coco-ids has no such image' in errors
    results = read_json(tmp_path / 'out/coco_detections.json')
    assert {each['image_id'] for each in results} == {70, 71}
    labels = [each['label'] for i in range(2) for each in found['images'][i]['detections']]
    assert [each['category_id'] for each in results] == [(4, 9)[label] for label in labels]
    assert not (tmp_path / 'out/coco_images.json').exists()


def test_crops_are_the_parts_inside_the_boxes(run_predict, random_detector, images, tmp_path):
    options = '--save-crops', '--score', SCORE, '--batchsize', 1
    run_predict(random_detector, images, *options)
    img = read_image(images / '1.png')
    bbox, label, _ = detect(random_detector, images / '1.png')
    for i, (box, name) in enumerate(zip(bbox, label)):
        crop = read_image(tmp_path / f'out/crops/{LABEL_NAMES[name]}/1_{i}.png')
        (y_min, x_min), (y_max, x_max) = np.floor(box[:2]).astype(int), np.ceil(box[2:]).astype(int)
        np.testing.assert_array_equal(crop, img[:, y_min:y_max, x_min:x_max])
    files = [each for each in (tmp_path / 'out/crops').rglob('*') if each.is_file()]
    assert len([each for each in files if each.name.startswith('1_')]) == len(bbox)


def test_no_result_overwrites_another(run_predict, random_detector, tmp_path):
    """The names are chosen so that a simple rule for names would use one twice."""
    sources = [
        'a/x.png',
        'b/x.png',
        'b/x.bmp',
        'b/x_2.png',
        'a/X.png',
        'a/x_frames.png',
        'a/x_0.png',
        'a/classes.png',
        'a/labels.png',
        'a/crops.png',
    ]
    for seed, name in enumerate(sources):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture((60, 80 + seed), seed).save(tmp_path / name)
    videos = ['a/x.avi', 'b/x.avi', 'a/000000.avi', 'a/x_0.png.avi', 'a/x.txt.avi']
    for name in videos:
        write_video(tmp_path / name, 2)
    paths = [tmp_path / name for name in sources + videos]
    status, _, errors, found = run_predict(
        random_detector, *paths, *FORMS, '--score', SCORE, '--batchsize', 1
    )
    assert status == 0, errors
    out = tmp_path / 'out'
    pictures = [each['picture'] for each in found['images']]
    written = [each['video'] for each in found['videos']]
    assert len(set(map(str.casefold, pictures + written))) == len(sources) + len(videos)
    for each in found['images']:  # the picture is that of its input
        assert read_image(each['picture']).shape == read_image(each['file']).shape
    n_box = [len(each['detections']) for each in found['images']]
    n_box += [len(frame) for each in found['videos'] for frame in each['frames']]
    label_files = [each for each in (out / 'labels').rglob('*.txt') if each.name != 'classes.txt']
    assert len(label_files) == len(n_box) == len(sources) + 2 * len(videos)
    assert sum(len(each.read_text().splitlines()) for each in label_files) == sum(n_box)
    crops = [each for each in (out / 'crops').rglob('*') if each.is_file()]
    assert len(crops) == sum(n_box)
    assert (out / 'labels/classes.txt').read_text() == 'blue\nred\n'
    assert len(read_json(out / 'coco_images.json')['images']) == len(n_box)


def test_a_video_has_results_for_each_frame(run_predict, random_detector, tmp_path):
    write_video(tmp_path / 'a.avi', 3)
    status, _, errors, found = run_predict(
        random_detector, tmp_path / 'a.avi', *FORMS, '--score', SCORE
    )
    assert status == 0, errors
    frames = found['videos'][0]['frames']
    assert all(frames)
    for number, frame in enumerate(frames):
        text = (tmp_path / f'out/labels/a_frames/{number:06d}.txt').read_text()
        assert [int(line.split()[0]) for line in text.splitlines()] == [x['label'] for x in frame]
        name = LABEL_NAMES[frame[0]['label']]
        assert (tmp_path / f'out/crops/{name}/a_frames/{number:06d}_0.jpg').is_file()
    images = read_json(tmp_path / 'out/coco_images.json')['images']
    assert [each['frame'] for each in images] == [0, 1, 2]


@pytest.mark.parametrize('folder', ['labels', 'crops/blue'])
def test_inputs_in_a_folder_of_results_are_refused(run_predict, random_detector, tmp_path, folder):
    (tmp_path / 'out' / folder).mkdir(parents=True)
    picture().save(tmp_path / 'out' / folder / 'a.png')
    status, _, errors, _ = run_predict(random_detector, tmp_path / 'out' / folder, *FORMS)
    assert status == 2 and 'could be overwritten' in errors


def test_a_link_leads_no_result_out_of_the_folder(run_predict, random_detector, images, tmp_path):
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/0.txt').write_text('precious')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/labels').symlink_to(tmp_path / 'mine')
    status, _, _, _ = run_predict(random_detector, images, '--save-txt')
    assert status == 0 and (tmp_path / 'mine/0.txt').read_text() == 'precious'
    assert (tmp_path / 'out/labels/0.txt').is_file()


def test_a_form_that_fails_is_named_once_and_the_others_go_on(
    run_predict, random_detector, tmp_path
):
    write_video(tmp_path / 'a.avi', 4)
    (tmp_path / 'out/labels').mkdir(parents=True)
    (tmp_path / 'out/labels/a_frames').write_text('no folder')
    status, _, errors, found = run_predict(
        random_detector, tmp_path / 'a.avi', *FORMS, '--score', SCORE
    )
    assert status == 1 and errors.count('from frame 0 on: ') == 1
    assert len(found['videos'][0]['frames']) == 4 and len(found['failed']) == 1
    assert len(read_json(tmp_path / 'out/coco_images.json')['images']) == 4


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (('--save-conf',), '--save-conf goes with --save-txt'),
        (('--coco-ids', 'a.json'), '--coco-ids a.json goes with --save-json'),
        (('--save-json', '--coco-ids', 'nowhere.json'), 'nowhere.json'),
    ],
)
def test_options_that_do_not_fit(run_predict, random_detector, images, args, message):
    status, _, errors, found = run_predict(random_detector, images, *args)
    assert status == 2 and message in errors.splitlines()[-1] and not found


def test_numbers_of_a_coco_file_are_not_those_of_frames(run_predict, random_detector, tmp_path):
    write_video(tmp_path / 'a.avi', 2)
    content = {'images': [], 'annotations': [], 'categories': []}
    content['categories'] = [{'id': i, 'name': name} for i, name in enumerate(LABEL_NAMES)]
    (tmp_path / 'a.json').write_text(json.dumps(content))
    options = '--save-json', '--coco-ids', tmp_path / 'a.json'
    status, _, errors, _ = run_predict(random_detector, tmp_path / 'a.avi', *options)
    assert status == 2 and 'goes with images: frames have no numbers' in errors


def test_names_of_folders():
    names = ['cat', 'Cat', 'a/b', '../x', '.', '', 'a b', 'a_b', 'x\0y', 'é' * 300, 'cat_2', 'a\n']
    folders = name_folders(names)
    assert len({each.casefold() for each in folders}) == len(names)
    assert folders[0] == 'cat' and folders[3] == '_._x'
    for folder in folders:
        assert folder not in ('', '.', '..') and os.path.basename(folder) == folder
        assert len(folder.encode()) < 250 and folder.isprintable()
