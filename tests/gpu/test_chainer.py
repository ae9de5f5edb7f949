"""Chainer on a GPU, without cuDNN, with current CuPy and NumPy, computes what it does on a CPU."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
import pytest
from chainer.backends import cuda

from tests.helpers import assert_close, to_numpy

pytestmark = pytest.mark.gpu
GPU = '@cupy:0'


def values_and_gradients(function, arrays, device):
    """Return the outputs of ``function``, then the gradients of its floating point inputs."""
    device = chainer.get_device(device)
    device.use()
    inputs = [
        chainer.Variable(device.send(array)) if array.dtype.kind == 'f' else device.send(array)
        for array in arrays
    ]
    outputs = function(*inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    for i, y in enumerate(outputs):
        y.grad = device.send(np.random.default_rng(i).normal(size=y.shape).astype(y.dtype))
    chainer.backward(outputs) if len(outputs) > 1 else outputs[0].backward()
    floating = [x for x in inputs if isinstance(x, chainer.Variable)]
    return [y.array for y in outputs] + [x.grad for x in floating]


def assert_gpu_equals_cpu(function, *arrays, rtol=1e-4):
    """Assert that outputs, gradients and dtypes on the GPU equal those on the CPU."""
    on_cpu = values_and_gradients(function, arrays, '@numpy')
    on_gpu = values_and_gradients(function, arrays, GPU)
    assert len(on_cpu) == len(on_gpu)
    for expected, actual in zip(on_cpu, on_gpu):
        if expected is None:
            assert actual is None
            continue
        assert isinstance(actual, cuda.ndarray)
        assert actual.dtype == expected.dtype
        assert_close(actual, expected, rtol)


def normal(*shape, seed=0, dtype='f'):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


# --- convolution, dilated convolution, pooling, batch normalization

IMAGES, WEIGHT, BIAS = normal(2, 3, 11, 9), normal(4, 3, 3, 3, seed=1), normal(4, seed=2)


@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'pad': 1},
        {'stride': 2, 'pad': 1},
        {'pad': 2, 'dilate': 2},
        {'pad': 6, 'dilate': 6},
    ],
    ids=str,
)
def test_convolution(kwargs):
    assert_gpu_equals_cpu(lambda x, W, b: F.convolution_2d(x, W, b, **kwargs), IMAGES, WEIGHT, BIAS)


def test_grouped_convolution():
    assert_gpu_equals_cpu(
        lambda x, W: F.convolution_2d(x, W, pad=1, groups=3), IMAGES, normal(6, 1, 3, 3, seed=1)
    )


def test_deconvolution():
    assert_gpu_equals_cpu(
        lambda x, W, b: F.deconvolution_2d(x, W, b, stride=2, pad=1),
        normal(2, 4, 5, 4),
        WEIGHT,
        normal(3, seed=2),
    )


def test_half_precision_convolution():
    arrays = (array.astype(np.float16) for array in (IMAGES, WEIGHT, BIAS))
    assert_gpu_equals_cpu(lambda x, W, b: F.convolution_2d(x, W, b, pad=1), *arrays, rtol=1e-2)


@pytest.mark.parametrize(
    'pool',
    [
        lambda x: F.max_pooling_2d(x, 2),
        lambda x: F.max_pooling_2d(x, 3, 1, 1),
        lambda x: F.max_pooling_2d(x, 2, cover_all=False),
        lambda x: F.average_pooling_2d(x, 3, 2, 1),
        lambda x: F.spatial_pyramid_pooling_2d(x, 2, 'max'),
        lambda x: F.unpooling_2d(x, 2),
        lambda x: F.resize_images(x, (7, 13)),
        lambda x: F.resize_images(x, (7, 13), mode='nearest', align_corners=False),
        lambda x: F.local_response_normalization(x),
        lambda x: F.normalize(x),
    ],
    ids=range(10),
)
def test_pooling_and_normalization(pool):
    assert_gpu_equals_cpu(pool, IMAGES)


@pytest.mark.parametrize('train', [True, False])
def test_batch_normalization(train):
    def function(x, gamma, beta):
        if train:
            return F.batch_normalization(x, gamma, beta)
        zero = chainer.backend.get_array_module(x).zeros_like(gamma.array)
        return F.fixed_batch_normalization(x, gamma, beta, zero + np.float32(0.1), zero + 2)

    assert_gpu_equals_cpu(function, IMAGES, normal(3, seed=1), normal(3, seed=2), rtol=1e-3)


def test_running_averages_of_batch_normalization():
    averages = []
    for device in '@numpy', GPU:
        link = L.BatchNormalization(3)
        link.to_device(device)
        link(link.device.send(IMAGES))
        averages.append((to_numpy(link.avg_mean), to_numpy(link.avg_var)))
    for on_cpu, on_gpu in zip(*averages):
        assert_close(on_gpu, on_cpu, 1e-5)


# --- losses, elementwise, reduction and fused kernels

LABELS = np.random.default_rng(3).integers(-1, 5, (6, 7)).astype('i')


@pytest.mark.parametrize('dtype, rtol', [('f', 1e-4), ('e', 1e-2), ('d', 1e-10)])
@pytest.mark.parametrize(
    'loss',
    [
        lambda x: F.softmax_cross_entropy(
            F.transpose(x, (0, 2, 1)),
            chainer.backend.get_array_module(x).asarray(LABELS),
            reduce='no',
        ),
        lambda x: F.softmax_cross_entropy(
            F.transpose(x, (0, 2, 1)), chainer.backend.get_array_module(x).asarray(LABELS)
        ),
        lambda x: F.huber_loss(x, x.array * 0, 1.0, reduce='no'),
        lambda x: F.log_softmax(x, axis=2),
        lambda x: F.logsumexp(x, axis=2),
        lambda x: F.softmax(x),
        lambda x: F.relu(x),
        lambda x: F.sigmoid(x),
        lambda x: F.leaky_relu(x),
        lambda x: F.elu(x),
        lambda x: F.exp(x) * 2 + 1 / (x**2 + 1),
        lambda x: F.sqrt(abs(x) + 0.1),
        lambda x: F.sum(x, axis=1),
        lambda x: F.mean(x),
        lambda x: F.max(x, axis=2),
        lambda x: F.maximum(x, -x),
        lambda x: F.clip(x, -0.5, 0.5),
        lambda x: F.concat([x, x * 2]),
        lambda x: F.stack([x, -x]),
        lambda x: F.broadcast_to(F.sum(x, axis=0, keepdims=True), x.shape),
    ],
    ids=range(20),
)
def test_elementwise_and_reductions(loss, dtype, rtol):
    assert_gpu_equals_cpu(loss, normal(6, 7, 5, dtype=dtype), rtol=rtol)


@pytest.mark.parametrize(
    'slices',
    [
        (slice(1, 4),),
        (slice(None), [0, 2, 2]),
        (np.array([0, 0, 3]), np.array([1, 1, 2])),
        (normal(6, 7) > 0,),
    ],
    ids=['slice', 'list', 'arrays', 'mask'],
)
def test_get_item(slices):
    """The gradient of an element that is selected twice is a sum."""

    def function(x):
        xp = chainer.backend.get_array_module(x)
        return x[tuple(xp.asarray(s) if isinstance(s, np.ndarray) else s for s in slices)]

    assert_gpu_equals_cpu(function, normal(6, 7, 5))


def test_as_strided():
    assert_gpu_equals_cpu(lambda x: F.as_strided(x, (2, 3), (4, 1), 1), normal(3, 4))


def test_scatter_add():
    assert_gpu_equals_cpu(
        lambda a, b: F.scatter_add(a, [0, 0, 2], b), normal(4, 5), normal(3, 5, seed=1)
    )


def test_dropout():
    x = cuda.to_gpu(np.ones((100, 100), 'f'))
    with chainer.using_config('train', True):
        y = F.dropout(x, 0.25).array
    assert y.dtype == np.float32
    assert set(to_numpy(y).ravel()) == {np.float32(0), np.float32(1 / 0.75)}
    assert 0.2 < float((y == 0).mean()) < 0.3


def test_custom_kernels():
    x = cuda.to_gpu(normal(1000))
    square = cuda.elementwise('T x', 'T y', 'y = x * x', 'test_square')
    total = cuda.reduce('T x', 'T y', 'x * x', 'a + b', 'y = a', '0', 'test_total')
    fused = cuda.fuse(lambda x: x * x + 1)
    triple = cuda.raw(
        'extern "C" __global__ void triple(float* x) '
        '{ x[blockIdx.x * blockDim.x + threadIdx.x] *= 3; }',
        'triple',
    )
    host = to_numpy(x)
    assert_close(square(x), host**2, 1e-6)
    assert_close(total(x), np.square(host).sum(), 1e-5)
    assert_close(fused(x), host**2 + 1, 1e-6)
    triple((10,), (100,), (x,))
    assert_close(x, host * 3, 1e-6)


@pytest.mark.parametrize('dtype', ['e', 'f', 'd'])
@pytest.mark.parametrize('scalar', [2, 2.0, np.float32(2), np.int64(2)], ids=lambda s: type(s))
def test_scalars_do_not_change_the_dtype(dtype, scalar):
    """Chainer casts a scalar to the dtype of the variable, unlike NumPy."""
    x = chainer.Variable(cuda.to_gpu(normal(5, dtype=dtype)))
    for y in x + scalar, x * scalar, scalar - x, x / scalar, x**scalar:
        assert y.dtype == dtype
    F.sum(x * scalar).backward()
    assert x.grad.dtype == dtype


# --- optimizers


class Regression(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            self.hidden = L.Linear(5, 7, initialW=normal(7, 5, seed=1))
            self.out = L.Linear(7, 1, initialW=normal(1, 7, seed=2))

    def forward(self, x):
        return F.mean(F.square(self.out(F.tanh(self.hidden(x)))))


@pytest.mark.parametrize('rate', [0.01, np.float64(0.01), np.float32(0.01)], ids=lambda r: type(r))
@pytest.mark.parametrize(
    'name, argument',
    [
        ('SGD', 'lr'),
        ('MomentumSGD', 'lr'),
        ('NesterovAG', 'lr'),
        ('CorrectedMomentumSGD', 'lr'),
        ('AdaGrad', 'lr'),
        ('RMSprop', 'lr'),
        ('Adam', 'alpha'),
        ('AMSGrad', 'alpha'),
    ],
)
def test_optimizers(name, argument, rate):
    weights = []
    for device in '@numpy', GPU:
        model = Regression()
        model.to_device(device)
        optimizer = getattr(chainer.optimizers, name)(**{argument: rate}).setup(model)
        optimizer.add_hook(chainer.optimizer_hooks.WeightDecay(0.01))
        optimizer.add_hook(chainer.optimizer_hooks.GradientClipping(5))
        x = model.device.send(normal(8, 5))
        for _ in range(5):
            optimizer.update(model, x)
        weights.append({path: to_numpy(param) for path, param in model.namedparams()})
    for path, expected in weights[0].items():
        assert weights[1][path].dtype == np.float32
        assert_close(weights[1][path], expected, 1e-4)


def test_loss_scaling_in_half_precision():
    with chainer.using_config('dtype', np.float16):
        model = Regression()
    for param in model.params():
        param.array = param.array.astype(np.float16)
    model.to_device(GPU)
    optimizer = chainer.optimizers.MomentumSGD(0.01)
    optimizer.use_fp32_update()
    optimizer.setup(model)
    optimizer.loss_scaling()
    before = to_numpy(model.out.W)
    for _ in range(5):
        optimizer.update(model, cuda.to_gpu(normal(8, 5, dtype='e')))
    assert np.isfinite(to_numpy(model.out.W)).all()
    assert (to_numpy(model.out.W) != before).any()


# --- batches to the GPU


def test_concat_examples():
    batch = [(normal(3, 4, 4, seed=i), np.int32(i), normal(i, 4)) for i in range(1, 4)]
    on_cpu = chainer.dataset.concat_examples(batch, -1, (None, None, 0))
    on_gpu = chainer.dataset.concat_examples(batch, 0, (None, None, 0))
    for expected, actual in zip(on_cpu, on_gpu):
        assert isinstance(actual, cuda.ndarray) and actual.dtype == expected.dtype
        np.testing.assert_array_equal(to_numpy(actual), expected)


def test_concat_async():
    examples = [(normal(3, 4, seed=i), np.int32(i)) for i in range(4)]
    converter = chainer.dataset.ConcatWithAsyncTransfer()
    images, labels = converter(examples, 0)
    np.testing.assert_array_equal(to_numpy(labels), range(4))
    np.testing.assert_array_equal(to_numpy(images), np.stack([x for x, _ in examples]))


def test_weights_of_a_gpu_load_on_a_cpu(tmp_path):
    model = Regression()
    model.to_device(GPU)
    chainer.serializers.save_npz(tmp_path / 'model.npz', model)
    loaded = Regression()
    loaded.hidden.W.array[...] = 0
    chainer.serializers.load_npz(tmp_path / 'model.npz', loaded)
    for a, b in zip(model.params(), loaded.params()):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
