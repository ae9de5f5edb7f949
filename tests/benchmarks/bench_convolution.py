"""Convolutions and whole steps: Chainer, this package, and torch (oneDNN)."""

import collections

import chainer
import chainer.functions as F
import numpy as np
from chainer.functions.connection.convolution_2d import Convolution2DFunction

from chainer_ssd import SSDMini
from chainer_ssd.functions import convolution_2d
from chainer_ssd.links import SSD300
from tests.benchmarks import _torch
from tests.benchmarks._timing import Case

N_FG_CLASS, BATCH = 3, 8
GOAL = 'at least 1.8 x faster, at least 0.85 x torch'
REFERENCE, OWN = "Chainer's convolution", 'chainer_ssd'


def cases():
    """Yield the layers of SSDMini, then the slowest of them, then whole steps."""
    for size in 192, 128:
        layers = find_layers(SSDMini(N_FG_CLASS, size), (BATCH, 3, size, size))
        yield compare_layers(f"SSDMini's {len(layers)} convolutions, {size} px, B={BATCH}", layers)
    layers = find_layers(SSDMini(N_FG_CLASS), (BATCH, 3, 192, 192))
    for layer in layers[0], layers[1], layers[2]:
        x, W = layer[:2]
        yield compare_layers(f'one convolution, x {x.shape}, W {W.shape}', [layer])
    for size in 128, 192:
        yield compare_steps(lambda size=size: SSDMini(N_FG_CLASS, size), size, BATCH)
    yield compare_steps(lambda: SSD300(20), 300, 1)


def compare_layers(title, layers):
    """Return the case of the given layers, forward and backward."""
    runs = {
        REFERENCE: lambda: (run_layer(F.convolution_2d, *layer) for layer in layers),
        OWN: lambda: (run_layer(convolution_2d, *layer) for layer in layers),
        **_torch.layer_runs(layers),
    }
    check(runs)
    # Results are dropped layer by layer, as in a training.
    functions = {name: lambda run=run: collections.deque(run(), 0) for name, run in runs.items()}
    return Case(
        title=f'{title}: forward + backward', functions=functions, reference=REFERENCE, goal=GOAL
    )


def find_layers(model, shape):
    """Return input, kernels, options, output gradient of the convolutions of a model.

    The first layer's input needs no gradient. In its place stands True.
    """
    found = []

    class Hook(chainer.FunctionHook):
        def forward_preprocess(self, function, in_data):
            if isinstance(function, Convolution2DFunction):
                found.append((function, *(array.shape for array in in_data[:2])))

    with Hook(), chainer.using_config('train', False), chainer.no_backprop_mode():
        model(np.zeros(shape, 'f'))
    rng = np.random.default_rng(0)
    layers = []
    for function, x_shape, W_shape in found:
        x, W = rng.standard_normal(x_shape, 'f'), rng.standard_normal(W_shape, 'f')
        options = {
            'stride': (function.sy, function.sx),
            'pad': (function.ph, function.pw),
            'dilate': (function.dy, function.dx),
        }
        gy = rng.standard_normal(convolution_2d(x, W, **options).shape, 'f')
        layers.append((x, W, options, gy, x_shape[1] == 3))
    return layers


def run_layer(function, x, W, options, gy, is_first):
    """Return the output and the needed gradients."""
    x, W = chainer.Variable(x, requires_grad=not is_first), chainer.Variable(W)
    y = function(x, W, **options)
    y.grad = gy
    y.backward()
    return [y.array, W.grad] + ([] if is_first else [x.grad])


def check(runs):
    """Assert that all runs yield the same arrays up to rounding."""
    for name, run in runs.items():
        for found, expected in zip(run(), runs[REFERENCE]()):
            for a, b in zip(found, expected):
                np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * abs(b).max(), err_msg=name)


def compare_steps(make, size, batch):
    """Return the case of forward, backward from fixed gradients, and update, without a loss."""
    rng = np.random.default_rng(0)
    imgs = rng.uniform(0, 255, (batch, 3, size, size)).astype('f')
    models = make(), make()
    functions = {
        name: make_step(model, imgs, use)
        for name, model, use in zip((REFERENCE, OWN), models, ('never', 'auto'))
    }
    if isinstance(models[0], SSDMini):
        functions.update(_torch.step_functions(models[0], imgs))
    return Case(
        title=f'step without loss, {type(models[0]).__name__}, {size} px, B={batch}',
        functions=functions,
        reference=REFERENCE,
        input_bytes=imgs.nbytes,
        items_per_call=batch,
    )


def make_step(model, imgs, use):
    """Return a function for one step."""
    optimizer = chainer.optimizers.MomentumSGD(1e-6).setup(model)

    def step():
        with chainer.using_config('use_blocked_convolution', use):
            outputs = model(imgs)
            for y in outputs:
                y.grad = np.full(y.shape, 1e-3, 'f')
            model.cleargrads()
            chainer.backward(outputs)
            optimizer.update()

    return step
