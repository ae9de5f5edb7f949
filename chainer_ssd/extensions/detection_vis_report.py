"""Detections beside ground truth while a Trainer runs."""

from chainer.backends import cuda

from chainer_ssd.extensions._vis_report import VisReport
from chainer_ssd.visualizations import draw_detection


class DetectionVisReport(VisReport):
    """Trainer extension that draws what a detector finds beside what there is to find.

    Writes a picture of each of the first images of a data set into the trainer's folder, see
    :func:`chainer_ssd.draw_detection`. It does not disturb training: test mode, no iterator is
    advanced, the random generators are put back.

    Parameters
    ----------
    iterator : chainer.dataset.Iterator or sequence
        A data set, or an iterator over it, of examples ``(img, bbox, label)`` or ``(img, bbox,
        label, difficult)``, see :class:`chainer_ssd.DetectionEvaluator`; what is difficult counts
        as any other.
    target : chainer.Link
        ``target.predict(imgs)`` returns three lists, the bboxes, labels and scores of every image.
    label_names : sequence of str, optional
        The classes, in the order of the labels.
    filename : str
        With ``{iteration}`` and ``{index}``, which become the trainer's iteration and the image's
        number; without the former each picture replaces the last. The suffix says the format.
    n_image : int
        How many images, 1 or more.
    score_thresh : float
        Least score of a detection that is drawn; those of a model that evaluates are many.
    comm : chainermn.CommunicatorBase, optional
        Rank 0 draws, the others do nothing; no rank waits for another.

    Raises
    ------
    ValueError
        If ``filename`` or ``n_image`` is not as said.
    ImportError
        If Pillow or matplotlib is missing (``pip install "chainer_ssd[data,plot]"``).
    RuntimeError
        On a call: if a picture cannot be drawn; it names the image and the cause.

    Warns
    -----
    UserWarning
        Once, if a picture cannot be written: it names the file and the cause.

    Notes
    -----
    ChainerCV's ``DetectionVisReport`` has the first four parameters.
    """

    def __init__(
        self,
        iterator,
        target,
        label_names=None,
        filename='detection_iter={iteration}_idx={index}.jpg',
        n_image=8,
        score_thresh=0.6,
        comm=None,
    ):
        super().__init__(iterator, filename, n_image, comm)
        self.target, self.label_names, self.score_thresh = target, label_names, score_thresh

    def draw(self, example):
        """One picture.

        Parameters
        ----------
        example : tuple
            Of the data set.

        Returns
        -------
        uint8 array of shape (3, H, W)
            See :func:`chainer_ssd.draw_detection`.
        """
        img, gt_bbox, gt_label = example[:3]
        bbox, label, score = (cuda.to_cpu(column[0]) for column in self.target.predict([img]))
        sure = score >= self.score_thresh
        return draw_detection(
            img, bbox[sure], label[sure], score[sure], gt_bbox, gt_label, self.label_names
        )
