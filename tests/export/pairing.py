"""Pairs detections of two programs one to one."""

import numpy as np

from chainer_ssd.images import resize_image


def run_graph(session, img, insize, interpolation=None):
    """Return the detections of a graph in one image, in pixels of the image."""
    x = resize_image(img.astype(np.float32), (insize, insize), interpolation)[None]
    boxes, labels, scores = (output[0] for output in session.run(None, {'images': x}))
    size = np.array(img.shape[1:] * 2, np.float32)
    found = labels >= 0
    return boxes[found] * (size / np.float32(insize)), labels[found], scores[found]


def count_unpaired(one, other, max_pixel=0.01, max_score=1e-4):
    """Return how many detections of two lists have no partner, each partner taken once.

    Parameters
    ----------
    one, other : tuple of (bbox, label, score)
        Detections of one image.

    Returns
    -------
    n_one, n_other : int
        Detections without a partner.
    """
    free = np.ones(len(other[0]), bool)
    unpaired = 0
    for bbox, label, score in zip(*one):
        fits = (
            free
            & (other[1] == label)
            & (np.abs(other[0] - bbox).max(axis=1, initial=0) <= max_pixel)
            & (np.abs(other[2] - score) <= max_score)
        )
        if fits.any():
            free[np.flatnonzero(fits)[0]] = False
        else:
            unpaired += 1
    return unpaired, int(free.sum())
