"""The programs on the pages find what ``predict`` finds."""

import ast
from pathlib import Path

import numpy as np
import pytest

from chainer_ssd import load_detector, read_image
from tests.export.pairing import count_unpaired
from tests.page_files import write_detector_and_images
from tests.test_documents import DETECTOR, DOCS, find_python, run_blocks

ROUNDING = 0.5e-3  # the programs print scores with three digits


def run_page(name, packages, folder, image):
    """Returns what the program of a page prints for an image: bbox, label, score, other lines."""
    for package in packages:
        pytest.importorskip(package, reason=f'{package} is not installed')
    text = (DOCS / 'how-to' / name).read_text(encoding='utf-8')
    code = '\n'.join(find_python(text, {DETECTOR, *packages}))
    assert code.count("'image.jpg'") + code.count("'a.jpg'") == 1
    code = code.replace("'image.jpg'", repr(image)).replace("'a.jpg'", repr(image))
    label_names = load_detector(folder / 'result').label_names
    rows, others = [], []
    for line in run_blocks([code], folder).splitlines():
        name, *numbers = line.split(' ', 2)
        if name not in label_names:
            others.append(line)
            continue
        rows.append((*ast.literal_eval(numbers[1]), label_names.index(name), float(numbers[0])))
    rows = np.array(rows).reshape(-1, 6)
    return rows[:, :4], rows[:, 4], rows[:, 5], others


def predict(folder, image, score_thresh):
    model = load_detector(folder / 'result')
    model.score_thresh = score_thresh
    return [each[0] for each in model.predict([read_image(Path(folder) / image)])]


@pytest.mark.parametrize('image', ['image.jpg', 'b.jpg'])
def test_onnxruntime_and_opencv(tmp_path, image):
    write_detector_and_images(tmp_path)
    packages = 'cv2', 'onnx', 'onnxruntime'
    *found, others = run_page('export-a-detector.md', packages, tmp_path, image)
    expected = predict(tmp_path, image, 0.05)
    assert len(expected[0]) > 50
    assert others == [f'{len(expected[0])} detections']  # of OpenCV's DNN
    assert count_unpaired(expected, found, 0.01, 1e-4 + ROUNDING) == (0, 0)


@pytest.mark.parametrize('image', ['image.jpg', 'b.jpg'])
def test_pytorch_and_torchvision(tmp_path, image):
    write_detector_and_images(tmp_path)
    packages = 'torch', 'torchvision'
    bbox, label, score, _ = run_page('use-the-weights-in-pytorch.md', packages, tmp_path, image)
    expected = predict(tmp_path, image, 0.05)
    assert len(expected[0]) > 50
    found = bbox[:, [1, 0, 3, 2]], label, score  # x before y
    unpaired = count_unpaired(expected, found, 0.01, 1e-4 + ROUNDING)
    assert max(unpaired) <= 0.001 * len(expected[0])  # at a threshold
