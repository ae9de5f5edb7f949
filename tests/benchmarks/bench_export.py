"""A detector as an ONNX file in onnxruntime, against ``predict``: from the image to its boxes."""

import tempfile
from pathlib import Path

import chainer
import numpy as np
from chainer.datasets import TransformDataset

from chainer_ssd import (
    EncodeTransform,
    MatchTransform,
    MultiboxTrainChain,
    ShapesBboxDataset,
    SSDMini,
)
from chainer_ssd._extras import require
from chainer_ssd.export import export_onnx
from chainer_ssd.images import resize_image, set_opencv_threads
from tests.benchmarks._timing import Case
from tests.export.pairing import count_unpaired

REFERENCE, EXPORTED, HEADS = 'predict', 'ONNX in onnxruntime', 'its raw heads, not decoded'
SCORE_THRESH, NMS_TOP_K, KEEP_TOP_K = 0.05, 400, 200  # those of the command export
#: Then an image has about 850 boxes over the threshold, of which 160 are kept. An SSDMini that was
#: trained for 250 iterations on BCCD has 1,120 in a test image, of which 140 are kept.
N_ITERATION, N_IMAGE = 20, 16
SIZE = 480, 640
MAX_UNPAIRED = 0.01  # a box at a threshold may differ


def cases():
    """Yield cases with one image and with several."""
    set_opencv_threads(0)  # everything on one core
    model = train(192, N_ITERATION)
    for n_image in 1, 8:
        yield compare(model, n_image)


def train(insize, n_iteration):
    """Return an SSDMini that has learned a little of the drawn shapes."""
    np.random.seed(0)
    shapes = ShapesBboxDataset(8 * n_iteration, size=insize)
    model = SSDMini(len(shapes.label_names), insize)
    default_bbox = model.coder.default_bbox
    data = TransformDataset(shapes, MatchTransform(default_bbox))
    data = TransformDataset(data, EncodeTransform(default_bbox))
    optimizer = chainer.optimizers.Adam(2e-3).setup(MultiboxTrainChain(model))
    iterator = chainer.iterators.SerialIterator(data, 8, shuffle=False)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    for _ in range(n_iteration):
        updater.update()
    model.score_thresh, model.nms_top_k, model.keep_top_k = SCORE_THRESH, NMS_TOP_K, KEEP_TOP_K
    return model


def compare(model, n_image):
    """Return the case of some images. Each function begins with images of another size."""
    imgs = choose_images(model, n_image)
    functions = {
        REFERENCE: lambda: list(zip(*model.predict(imgs))),
        EXPORTED: run_file(model, imgs),
        HEADS: run_file(model, imgs, raw_heads=True),
    }
    check(functions)
    n_kept = np.mean([len(bbox) for bbox, _, _ in functions[REFERENCE]()])
    return Case(
        title=f'SSDMini, {model.insize} px, B={n_image}, images of {SIZE[1]} x {SIZE[0]}: '
        f'{n_kept:.0f} detections an image from score {SCORE_THRESH} on',
        functions=functions,
        reference=REFERENCE,
        goal='ONNX at least 2.5 x faster',
        items_per_call=n_image,
    )


def choose_images(model, n_image):
    """Return images with a usual number of detections: those in the middle of a few."""
    shapes = ShapesBboxDataset(N_IMAGE, size=model.insize, seed=1)
    imgs = [resize_image(shapes[i][0], SIZE) for i in range(N_IMAGE)]
    # In memory pixel by pixel, as read_image returns them.
    imgs = [np.ascontiguousarray(img.transpose(1, 2, 0)).transpose(2, 0, 1) for img in imgs]
    imgs.sort(key=lambda img: len(model.predict([img])[0][0]))
    start = (N_IMAGE - n_image) // 2
    return imgs[start : start + n_image]


def run_file(model, imgs, raw_heads=False):
    """Return a function that resizes images and runs an ONNX file on one thread."""
    onnxruntime = require('onnxruntime', 'dev')
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.onnx'
        limits = {'max_per_class': NMS_TOP_K, 'max_per_image': KEEP_TOP_K}
        export_onnx(path, model, raw_heads=raw_heads, **limits)
        session = onnxruntime.InferenceSession(
            str(path), options, providers=['CPUExecutionProvider']
        )
    scale = np.array(SIZE * 2, np.float32) / np.float32(model.insize)

    def run():
        x = np.stack([resize_image(img, (model.insize, model.insize)) for img in imgs])
        outputs = session.run(None, {'images': x})
        if raw_heads:
            return outputs
        return [
            (boxes[labels >= 0] * scale, labels[labels >= 0], scores[labels >= 0])
            for boxes, labels, scores in zip(*outputs)
        ]

    return run


def check(functions):
    """Assert that ``predict`` and the file find the same objects."""
    for expected, found in zip(functions[REFERENCE](), functions[EXPORTED]()):
        assert len(expected[0])
        unpaired = max(count_unpaired(expected, found))
        assert unpaired <= MAX_UNPAIRED * len(expected[0]), unpaired
