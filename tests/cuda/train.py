"""Trains SSDMini on drawn shapes for 8 iterations, on the device of the command line.

Prints the log as JSON.
"""

import sys
import tempfile
from pathlib import Path

import chainer
import numpy as np
from chainer.training import extensions

from chainer_ssd import (
    EncodeTransform,
    MatchTransform,
    MultiboxTrainChain,
    ShapesBboxDataset,
    SSDMini,
)

np.random.seed(0)
shapes = ShapesBboxDataset(16, size=64)
model = SSDMini(len(shapes.label_names), 64)
coder = model.coder
matched = chainer.datasets.TransformDataset(shapes, MatchTransform(coder.default_bbox))
encoded = chainer.datasets.TransformDataset(
    matched, EncodeTransform(coder.default_bbox, coder.variance)
)
chain = MultiboxTrainChain(model)
chain.to_device(sys.argv[1])
optimizer = chainer.optimizers.MomentumSGD(1e-3).setup(chain)
iterator = chainer.iterators.SerialIterator(encoded, 4, shuffle=False)
updater = chainer.training.StandardUpdater(iterator, optimizer, device=sys.argv[1])
with tempfile.TemporaryDirectory() as out:
    trainer = chainer.training.Trainer(updater, (8, 'iteration'), out)
    trainer.extend(extensions.LogReport(trigger=(1, 'iteration')))
    trainer.run()
    print(Path(out, 'log').read_text())
