"""What the pages need whose code uses a trained detector."""

import numpy as np

from chainer_ssd import SSDMini, save_detector
from chainer_ssd.images import write_image

IMAGES = {'image.jpg': (120, 160), 'a.jpg': (96, 128), 'b.jpg': (50, 70)}


def write_detector_and_images(folder):
    """Write ``result``, a detector with random weights and many detections, and images.

    One image is smaller than the network's input, two are larger.
    """
    np.random.seed(0)
    model = SSDMini(3, 64)
    for head in model.heads:  # about equal scores of all classes
        head.conv.b.array[:] = 0
        head.conv.W.array *= 0.1
    save_detector(folder / 'result', model, ['circle', 'square', 'triangle'])
    for seed, (name, size) in enumerate(IMAGES.items()):
        coarse = np.random.default_rng(seed).integers(0, 256, (3, 6, 8)).astype(np.uint8)
        rows, columns = (np.arange(n) * m // n for n, m in zip(size, (6, 8)))
        write_image(coarse[:, rows[:, None], columns], folder / name)
