"""Lists the kernels that Chainer launches while our models train, on a stand-in for CuPy.

``python -m tests.cuda.record_kernels`` rewrites ``chainer_kernels.json``. The folder of the
stand-in must come first on ``PYTHONPATH``, and its ``cupy`` must have ``ElementwiseKernel`` and
``ReductionKernel`` as Python classes. The list changes only with Chainer and with our models.
"""

import inspect
import json
from pathlib import Path

import cupy
import numpy as np

LIST = Path(__file__).with_name('chainer_kernels.json')
DEVICE = '@cupy:0'


class Recorder:
    """Replaces a class of kernels. It keeps each definition with the types of its arguments."""

    def __init__(self, kernels, kind, kernel_class):
        self.kernels, self.kind, self.kernel_class = kernels, kind, kernel_class
        self.signature = inspect.signature(kernel_class.__init__)

    def __call__(self, *args, **kwargs):
        definition = dict(self.signature.bind(None, *args, **kwargs).arguments)
        del definition['self']
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                definition.update(definition.pop(name, {}))
        kernel = self.kernel_class(*args, **kwargs)

        def call(*arrays, **options):
            outputs = kernel(*arrays, **options)
            given = [*arrays, *([options['out']] if options.get('out') is not None else [])]
            if len(given) == len(kernel.in_params):
                given += outputs if isinstance(outputs, tuple) else [outputs]
            record = {'kind': self.kind, **definition, 'arguments': list(map(_describe, given))}
            self.kernels[json.dumps(record, sort_keys=True)] = record
            return outputs

        return call


KERNELS = {}
for kind, name in ('elementwise', 'ElementwiseKernel'), ('reduction', 'ReductionKernel'):
    setattr(cupy, name, Recorder(KERNELS, kind, getattr(cupy, name)))

# Chainer makes some of its kernels when it is imported.
import chainer_ssd  # isort: skip  # noqa: E402
import chainer  # isort: skip  # noqa: E402


def _describe(argument):
    """Return dtype, number of dimensions and contiguity of an array, or None for a number."""
    if not isinstance(argument, cupy.ndarray):
        return None
    return [argument.dtype.char, argument.ndim, bool(argument.flags.c_contiguous)]


def train(model, optimizer, insize, loss_scale=None):
    """Make two steps with images of noise, and predict."""
    rng = np.random.default_rng(0)
    chain = chainer_ssd.MultiboxTrainChain(model)
    chain.to_device(DEVICE)
    optimizer.setup(chain)
    if loss_scale:
        optimizer.set_loss_scale(loss_scale)
    optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(10))
    optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(5e-4))
    n_box = len(model.coder.default_bbox)
    images = rng.uniform(0, 255, (2, 3, insize, insize)).astype('f')
    labels = np.where(rng.random((2, n_box)) < 0.05, 1, 0).astype('i')
    locs = rng.normal(size=(2, n_box, 4)).astype('f')
    batch = [chainer.get_device(DEVICE).send(array) for array in (images, locs, labels)]
    for _ in range(2):
        optimizer.update(chain, *batch)
    model.predict([images[0]])


def main():
    """Train each model, with each convolution and each objective."""
    SSDMini, SSD300 = chainer_ssd.SSDMini, chainer_ssd.SSD300
    adam, momentum_sgd = chainer.optimizers.AdamW, chainer.optimizers.MomentumSGD
    for convolution, objective in ('auto', 'auto'), ('never', 'never'):
        with chainer.using_config('use_blocked_convolution', convolution):
            with chainer.using_config('use_fused_multibox', objective):
                train(SSDMini(2, insize=96), adam(), 96)
                train(SSD300(2), momentum_sgd(), 300)
                with chainer.using_config('dtype', chainer.mixed16):
                    train(SSDMini(2, insize=96), momentum_sgd(), 96, loss_scale=128)
    records = sorted(KERNELS.values(), key=lambda record: json.dumps(record, sort_keys=True))
    print(len(records), 'kernels:', *sorted({record['name'] for record in records}))
    LIST.write_text('[\n' + ',\n'.join(map(json.dumps, records)) + '\n]\n', 'utf-8')


if __name__ == '__main__':
    main()
