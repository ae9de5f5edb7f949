"""Training examples from a JPEG file to the network's input and targets, on one core."""

import random as python_random
import tempfile
from pathlib import Path

import cv2
import numpy as np
from chainer.datasets import TransformDataset
from PIL import Image

from chainer_ssd import EncodeTransform, MatchTransform, VOCBboxDataset
from chainer_ssd.transforms import RandomTransformDataset, SSDAugmentation
from tests.benchmarks._timing import Case
from tests.benchmarks.bench_match import DEFAULT_BBOX, chainercv_bbox_iou, chainercv_encode

N_IMAGE, HEIGHT, WIDTH, N_TRUTH, SIZE = 16, 375, 500, 5, 300
MEAN = np.array((123, 117, 104), 'f')[:, None, None]


def cases():
    """Yield one case with JPEG files and one with decoded images."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_voc(Path(folder))
        files = VOCBboxDataset(folder, 'trainval', dtype=np.uint8)
        memory = [files[i] for i in range(len(files))]
        for title, goal, dataset, get in (
            ('JPEG file', 'at least 4 x images/s (aim 5 x)', files, read(Path(folder), memory)),
            ('decoded image', '', memory, memory.__getitem__),
        ):
            transformed = RandomTransformDataset(dataset, SSDAugmentation(SIZE))
            for transform in MatchTransform(DEFAULT_BBOX), EncodeTransform(DEFAULT_BBOX):
                transformed = TransformDataset(transformed, transform)
            functions = {
                "ChainerCV's computation": lambda get=get: chainercv_pipeline(get),
                'chainer_ssd': lambda data=transformed: [data[N_IMAGE + i] for i in range(N_IMAGE)],
            }
            check(functions)
            yield Case(
                title=f'pipeline: {title} of {WIDTH} x {HEIGHT}, R={N_TRUTH}, to the input of '
                f'{SIZE} x {SIZE} and the targets of K={len(DEFAULT_BBOX):,}',
                functions=functions,
                reference="ChainerCV's computation",
                goal=goal,
                items_per_call=N_IMAGE,
            )


def write_voc(root):
    """Write images with as much detail as photographs, about 100 kB each, and boxes, as VOC."""
    for name in 'Annotations', 'ImageSets/Main', 'JPEGImages':
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(N_IMAGE):
        img = rng.integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
        img = cv2.resize(img, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(img).save(root / f'JPEGImages/{i}.jpg', quality=92)
        objects = []
        for _ in range(N_TRUTH):
            size = np.exp(rng.uniform(np.log(30), np.log(300), 2)).astype(int)
            y, x = (rng.uniform(1, (HEIGHT, WIDTH) - size)).astype(int)
            objects.append(
                f'<object><name>thing</name><difficult>0</difficult><bndbox><xmin>{x}</xmin>'
                f'<ymin>{y}</ymin><xmax>{x + size[1]}</xmax><ymax>{y + size[0]}</ymax></bndbox>'
                '</object>'
            )
        (root / f'Annotations/{i}.xml').write_text(
            f'<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>'
            f'{"".join(objects)}</annotation>'
        )
    (root / 'ImageSets/Main/trainval.txt').write_text('\n'.join(map(str, range(N_IMAGE))))
    (root / 'ImageSets/Main/names.txt').write_text('')


def read(root, annotations):
    """Return a function that reads an image as ChainerCV does, without reading its annotation."""

    def get(i):
        with Image.open(root / f'JPEGImages/{i}.jpg') as image:
            img = np.asarray(image.convert('RGB'), dtype=np.float32)
        return (img.transpose(2, 0, 1), *annotations[i][1:])

    return get


def check(functions):
    """Assert that all results are valid and similar on average. Random choices differ."""
    means = []
    for function in functions.values():
        examples = function()
        for img, mb_loc, mb_label in examples:
            assert img.shape == (3, SIZE, SIZE) and img.dtype == np.float32
            assert mb_loc.shape == DEFAULT_BBOX.shape and mb_label.shape == DEFAULT_BBOX.shape[:1]
            assert np.isfinite(img).all() and np.isfinite(mb_loc).all()
        assert sum((mb_label > 0).any() for _, _, mb_label in examples) > 0.8 * N_IMAGE
        means.append(np.mean([img.mean() for img, _, _ in examples]))
    assert abs(means[0] + MEAN.mean() - means[1]) < 30


def chainercv_pipeline(get, n_image=N_IMAGE, size=SIZE, default_bbox=DEFAULT_BBOX):
    """ChainerCV's computation: every step on the whole image, in floats."""
    random, examples = python_random.Random(0), []
    for i in range(n_image):
        img, bbox, label = get(i)
        img = distort(img, random)
        if random.randrange(2):
            img, bbox = expand(img, bbox, random)
        img, bbox, label = crop(img, bbox, label, random)
        scale = size / np.array(img.shape[1:], 'f')
        interpolation = random.choice(
            (
                cv2.INTER_LINEAR,
                cv2.INTER_AREA,
                cv2.INTER_NEAREST,
                cv2.INTER_CUBIC,
                cv2.INTER_LANCZOS4,
            )
        )
        img = cv2.resize(img.transpose(1, 2, 0), (size, size), interpolation=interpolation)
        img, bbox = img.transpose(2, 0, 1), bbox * np.tile(scale, 2)
        if random.randrange(2):
            img, bbox = img[:, :, ::-1], bbox.copy()
            bbox[:, 1::2] = size - bbox[:, 3::-2]
        img = img - MEAN
        if len(bbox):
            mb_loc, mb_label = chainercv_encode(bbox, label, default_bbox)
        else:
            mb_loc, mb_label = np.zeros(default_bbox.shape, 'f'), np.zeros(len(default_bbox), 'i')
        examples.append((img, mb_loc, mb_label))
    return examples


def distort(img, random):
    """Apply each change separately, in float64, with a conversion to HSV and back for two."""
    pixels = img.transpose(1, 2, 0).astype(np.uint8)

    def linear(pixels, factor=1, shift=0):
        return (pixels.astype(float) * factor + shift).clip(0, 255).astype(np.uint8)

    def contrast(pixels):
        return linear(pixels, random.uniform(0.5, 1.5)) if random.randrange(2) else pixels

    def in_hsv(pixels, channel, change):
        if not random.randrange(2):
            return pixels
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        hsv[:, :, channel] = change(hsv[:, :, channel])
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)

    if random.randrange(2):
        pixels = linear(pixels, shift=random.uniform(-32, 32))
    contrast_first = random.randrange(2)
    if contrast_first:
        pixels = contrast(pixels)
    pixels = in_hsv(pixels, 1, lambda part: linear(part, random.uniform(0.5, 1.5)))
    pixels = in_hsv(pixels, 0, lambda part: (part.astype(int) + random.randint(-18, 18)) % 180)
    if not contrast_first:
        pixels = contrast(pixels)
    return pixels.astype(np.float32).transpose(2, 0, 1)


def expand(img, bbox, random):
    """Create a larger image of the mean color and copy the image into it."""
    height, width = img.shape[1:]
    ratio = random.uniform(1, 4)
    canvas = np.empty((3, int(height * ratio), int(width * ratio)), np.float32)
    canvas[:] = MEAN
    y = random.randint(0, canvas.shape[1] - height)
    x = random.randint(0, canvas.shape[2] - width)
    canvas[:, y : y + height, x : x + width] = img
    return canvas, bbox + np.array((y, x, y, x), 'f')


def crop(img, bbox, label, random):
    """Crop to one of up to seven regions: the image, and one per IoU constraint of all boxes."""
    height, width = img.shape[1:]
    regions = [(0, 0, height, width)]
    for min_iou in 0.1, 0.3, 0.5, 0.7, 0.9, 0:
        for _ in range(50):
            scale = random.uniform(0.3, 1)
            ratio = random.uniform(max(1 / 2, scale**2), min(2, 1 / scale**2))
            h, w = int(height * scale / np.sqrt(ratio)), int(width * scale * np.sqrt(ratio))
            y, x = random.randrange(height - h), random.randrange(width - w)
            region = y, x, y + h, x + w
            if chainercv_bbox_iou(bbox, np.array(region)[None]).min() >= min_iou:
                regions.append(region)
                break
    start, stop = np.array(random.choice(regions)).reshape(2, 2)
    center = (bbox[:, :2] + bbox[:, 2:]) / 2
    inside = ((start < center) & (center < stop)).all(axis=1)
    bbox = np.concatenate(
        (np.maximum(bbox[:, :2], start) - start, np.minimum(bbox[:, 2:], stop) - start), axis=1
    ).astype('f')
    return img[:, start[0] : stop[0], start[1] : stop[1]], bbox[inside], label[inside]
