"""The fractions of a training step that the loss and the data pipeline take.

One case has both as in ChainerCV, the other as in this package. A fraction is 1 / (x faster).
"""

import tempfile
from pathlib import Path

import chainer
import cv2
from chainer.datasets import TransformDataset

from chainer_ssd import (
    EncodeTransform,
    MatchTransform,
    RandomTransformDataset,
    SSDAugmentation,
    SSDMini,
    VOCBboxDataset,
    multibox_loss,
)
from chainer_ssd.links import SSD300
from tests.benchmarks._timing import Case
from tests.benchmarks.bench_loss import K, chainercv_multibox_loss, gradients, make
from tests.benchmarks.bench_pipeline import HEIGHT, WIDTH, chainercv_pipeline, read, write_voc

N_FG_CLASS = 20


def cases():
    """Yield cases with a small and a large network."""
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_voc(Path(folder))
        for Model, batch in (SSDMini, 8), (SSD300, 2):
            for name, loss, pipeline in (
                ("ChainerCV's computation", chainercv_multibox_loss, make_chainercv_pipeline),
                ('chainer_ssd', multibox_loss, make_pipeline),
            ):
                model = Model(N_FG_CLASS)
                examples = pipeline(Path(folder), model, batch)
                n_box = len(model.coder.default_bbox)
                arrays = make(batch, n_box, N_FG_CLASS + 1)
                yield Case(
                    title=f'training step, {Model.__name__}, {name}: B={batch}, K={n_box:,}, '
                    f'C={N_FG_CLASS + 1}, from JPEG files of {WIDTH} x {HEIGHT}',
                    functions={
                        'whole step': make_step(model, loss, examples),
                        'its data pipeline': examples,
                        'its loss': lambda loss=loss, arrays=arrays: gradients(loss, *arrays),
                    },
                    reference='whole step',
                    items_per_call=batch,
                )


def make_step(model, loss, examples):
    """Return a function for one iteration: examples, forward, loss, backward, update."""
    chain = Chain(model, loss)
    optimizer = chainer.optimizers.MomentumSGD(1e-6).setup(chain)
    return lambda: optimizer.update(chain, *chainer.dataset.concat_examples(examples()))


class Chain(chainer.Chain):
    """A model and a loss."""

    def __init__(self, model, loss):
        super().__init__()
        self.loss = loss
        with self.init_scope():
            self.model = model

    def forward(self, imgs, gt_mb_locs, gt_mb_labels):
        loc_loss, conf_loss = self.loss(*self.model(imgs), gt_mb_locs, gt_mb_labels, K)
        return loc_loss + conf_loss


def make_chainercv_pipeline(folder, model, batch):
    """Return a function that loads a batch with ChainerCV's computation."""
    files = VOCBboxDataset(folder, 'trainval')
    get = read(folder, [files[i] for i in range(batch)])
    return lambda: chainercv_pipeline(get, batch, model.insize, model.coder.default_bbox)


def make_pipeline(folder, model, batch):
    """Return a function that loads a batch with this package."""
    dataset = RandomTransformDataset(
        VOCBboxDataset(folder, 'trainval'), SSDAugmentation(model.insize)
    )
    for Transform in MatchTransform, EncodeTransform:
        dataset = TransformDataset(dataset, Transform(model.coder.default_bbox))
    return lambda: [dataset[len(dataset) + i] for i in range(batch)]
