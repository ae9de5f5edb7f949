"""Encoding as a step of the data pipeline."""

from chainer_ssd.ops import encode


class EncodeTransform:
    """Turns matched ground truths into the targets of the loss; follows :class:`MatchTransform`.

    Parameters
    ----------
    default_bbox : float32 array of shape (K, 4)
        (cy, cx, h, w) in pixels of the image, the same as :class:`MatchTransform` has.
    variance : sequence of 2 or 4 floats, or array of shape (K, 4)
        Scales of the offsets, see :func:`chainer_ssd.encode`.
    """

    def __init__(self, default_bbox, variance=(0.1, 0.2)):
        self.default_bbox, self.variance = default_bbox, variance
        encode(default_bbox, [], [], [-1] * len(default_bbox), variance)  # fails here if ever

    def __call__(self, example):
        """Encodes one example.

        Parameters
        ----------
        example : tuple
            ``(img, bbox, label, index)``, as :class:`MatchTransform` returns it.

        Returns
        -------
        tuple
            ``(img, mb_loc, mb_label)``: mb_loc float32 (K, 4) = (dy, dx, dh, dw), 0 where nothing
            is assigned; mb_label int32 (K,): 0 background, -1 ignored, else label + 1.

        Raises
        ------
        ValueError
            If a ground truth, a label or an index is not valid; the message names its row.
        """
        img, bbox, label, index = example
        mb_loc, mb_label = encode(self.default_bbox, bbox, label, index, self.variance)
        return img, mb_loc.astype('f', copy=False), mb_label
