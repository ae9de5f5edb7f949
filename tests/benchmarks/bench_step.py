"""What share of a whole training step the loss takes: 1 / (times faster than the step)."""
import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

from chainer_ssd import MultiboxTrainChain, SSDMini
from tests.benchmarks._timing import Case
from tests.benchmarks.bench_loss import chainercv_multibox_loss, gradients, make, with_config


def cases():
    """A small network, and one with SSD300's convolutions and default boxes."""
    for name, network, batch, size in [
            ('SSDMini', lambda: SSDMini(n_fg_class=20, insize=160), 16, 160),
            ('SSD300-sized', SSD300Sized, 1, 300)]:
        chain = MultiboxTrainChain(network())
        imgs = np.random.default_rng(0).uniform(0, 255, (batch, 3, size, size)).astype('f')
        with chainer.no_backprop_mode():
            n_box, n_class = chain.model(imgs)[1].shape[1:]
        arrays = make(batch, n_box, n_class)
        optimizer = chainer.optimizers.MomentumSGD(1e-6).setup(chain)

        def step(chain=chain, imgs=imgs, targets=arrays[2:], optimizer=optimizer):
            optimizer.update(chain, imgs, *targets)

        yield Case(
            title=f'training step, {name}: B={batch}, K={n_box:,}, C={n_class}',
            ways={
                'whole step, our node': step,
                "its loss, ChainerCV's way": lambda a=arrays: gradients(
                    chainercv_multibox_loss, *a),
                'its loss, our definition': lambda a=arrays: with_config('never', *a),
                'its loss, our node': lambda a=arrays: with_config('auto', *a),
            },
            reference='whole step, our node', per_call=batch)


class SSD300Sized(chainer.Chain):
    """Layers about as large as SSD300's (Liu et al. (2016), figure 2), and its default boxes."""

    #: channels of 3 x 3 convolutions; 'P': halve; 'H': predict from here; (channels, stride, pad)
    LAYERS = [64, 64, 'P', 128, 128, 'P', 256, 256, 256, 'P', 512, 512, 512, 'H', 'P', 512, 512,
              512, 1024, 'H', 256, (512, 2, 1), 'H', 128, (256, 2, 1), 'H', 128, (256, 1, 0), 'H',
              128, (256, 1, 0), 'H']
    N_BOX = [4, 6, 6, 6, 4, 4]  # for each cell of the six

    def __init__(self, n_class=21):
        super().__init__()
        self.n_class = n_class
        with self.init_scope():
            self.convs = chainer.ChainList(*[
                L.Convolution2D(None, layer, 3, 1, 1) if isinstance(layer, int)
                else L.Convolution2D(None, layer[0], 3, *layer[1:])
                for layer in self.LAYERS if layer not in ('P', 'H')])
            self.locs = chainer.ChainList(*[
                L.Convolution2D(None, 4 * n, 3, 1, 1) for n in self.N_BOX])
            self.confs = chainer.ChainList(*[
                L.Convolution2D(None, n_class * n, 3, 1, 1) for n in self.N_BOX])

    def forward(self, x):
        convs, heads = iter(self.convs), zip(self.locs, self.confs)
        predictions = []
        for layer in self.LAYERS:
            if layer == 'P':
                x = F.max_pooling_2d(x, 2)  # rounds up: 300, 150, 75, 38, 19
            elif layer == 'H':
                predictions.append([
                    F.reshape(F.transpose(head(x), (0, 2, 3, 1)), (len(x), -1, size))
                    for head, size in zip(next(heads), (4, self.n_class))])
            else:
                x = F.relu(next(convs)(x))
        return tuple(F.concat(parts) for parts in zip(*predictions))
