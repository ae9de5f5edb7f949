"""Average precision while a Trainer runs."""

import chainer
from chainer.training.extensions import Evaluator

from chainer_ssd.distributed import from_rank_0, gather_shards, shard_of
from chainer_ssd.evaluation import eval_detection_voc


class DetectionEvaluator(Evaluator):
    """Trainer extension that reports the average precision of a detector, as Pascal VOC counts it.

    Reports ``map`` and, where the classes have names, ``ap/<name>`` of each, observed as
    ``validation/main/map`` and so on; a class of which the data set holds no object has NaN and
    does not enter the mean. :func:`chainer_ssd.eval_detection_voc` computes them.

    Called without a trainer it returns the same figures in a dict.

    Parameters
    ----------
    iterator : chainer.iterators.SerialIterator or any other with ``reset``
        One pass (``repeat=False, shuffle=False``) over examples ``(img, bbox, label)`` or
        ``(img, bbox, label, difficult)``: bbox (R, 4) = (y_min, x_min, y_max, x_max) in pixels,
        label int (R,), difficult bool (R,): objects that need not be found.
    target : chainer.Link
        ``target.predict(imgs)`` returns three lists, the bboxes, labels and scores of every image;
        set its threshold low (``use_preset('evaluate')``): a cut-off lowers the AP.
    label_names : sequence of str, optional
        The classes, in the order of the labels.
    use_07_metric : bool
        The 11-point mean of VOC 2007 instead of the area under the curve.
    comm : chainermn.CommunicatorBase, optional
        Every rank evaluates together, on the same data set: each detects the objects of its share,
        one image at a time; rank 0 puts all detections together and computes the figures once,
        which are those of one process, and every rank reports them.

    Raises
    ------
    ValueError
        On evaluation: if a label is not among ``label_names``, or as
        :func:`chainer_ssd.eval_detection_voc`.
    RuntimeError
        On evaluation, on every rank: if not every image comes from exactly one rank.

    Notes
    -----
    Observes what ChainerCV's ``DetectionVOCEvaluator`` does, under the same names.
    """

    def __init__(self, iterator, target, label_names=None, use_07_metric=False, comm=None):
        super().__init__(iterator, target)
        self.label_names, self.use_07_metric, self.comm = label_names, use_07_metric, comm

    def evaluate(self):
        """Detects the objects of all images and compares.

        Returns
        -------
        dict
            The observation.

        Raises
        ------
        ValueError
            See the class.
        """
        target = self.get_target('main')
        images = self._detect_all() if self.comm is None else self._detect_over_ranks()
        report = from_rank_0(self.comm, None if images is None else self._compare(images))
        observation = {}
        with chainer.reporter.report_scope(observation):
            chainer.report(report, target)
        return observation

    def _detect_all(self):
        """Of each image the detected bbox, label and score, and then its truth."""
        iterator, predict = self.get_iterator('main'), self.get_target('main').predict
        iterator.reset()
        images = []
        for batch in iterator:
            imgs, *truths = zip(*batch)
            images += [[*found] for found in zip(*predict(imgs), *truths)]
        return images

    def _detect_over_ranks(self):
        dataset, predict = self.get_iterator('main').dataset, self.get_target('main').predict
        found = {}
        for i in shard_of(self.comm, len(dataset)):
            img, *truth = dataset[i]
            found[i] = [*(column[0] for column in predict([img])), *truth]
        return gather_shards(self.comm, found, len(dataset))

    def _compare(self, images):
        columns = list(zip(*images)) or [()] * 5
        result = eval_detection_voc(*columns, use_07_metric=self.use_07_metric)
        report = {'map': result['map']}
        if self.label_names is not None:
            ap = dict(enumerate(result['ap']))
            if len(ap) > len(self.label_names):
                raise ValueError(
                    f'label {len(ap) - 1} was met: expected one of the '
                    f'{len(self.label_names)} label_names'
                )
            for label, name in enumerate(self.label_names):
                report[f'ap/{name}'] = ap.get(label, float('nan'))
        return report
