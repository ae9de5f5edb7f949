"""The same layers and the same SSDMini in torch, if torch is installed."""

import os

try:
    import torch
    import torch.nn.functional as T
    from torch import nn
except ImportError:
    torch = None
else:
    torch.set_num_threads(int(os.environ.get('OMP_NUM_THREADS', 1)))

NAME = 'torch'


def layer_runs(layers):
    """Return a generator function for the layers of ``bench_convolution``, by name."""
    if torch is None:
        return {}

    def run():
        for x, W, options, gy, is_first in layers:
            x, W = torch.from_numpy(x), torch.from_numpy(W).requires_grad_()
            x.requires_grad_(not is_first)
            y = T.conv2d(
                x,
                W,
                stride=options['stride'],
                padding=options['pad'],
                dilation=options['dilate'],
            )
            y.backward(torch.from_numpy(gy))
            grads = [W.grad] if is_first else [W.grad, x.grad]
            yield [y.detach().numpy(), *(grad.numpy() for grad in grads)]

    return {NAME: run}


def step_functions(model, imgs):
    """Return a function for a step of the same network as an SSDMini, by name."""
    if torch is None:
        return {}
    twin = _make_twin(model.n_fg_class + 1).train()
    optimizer = torch.optim.SGD(twin.parameters(), 1e-6, momentum=0.9)
    imgs = torch.from_numpy(imgs)

    def step():
        y = twin(imgs)
        optimizer.zero_grad()
        y.backward(torch.full_like(y, 1e-3))
        optimizer.step()

    return {NAME: step}


def _make_twin(n_class):
    """Return SSDMini's layers as a torch module. Its output is (B, K, 4 + n_class)."""

    def convolution(n_in, n_out, ksize, stride=1, activate=True):
        layers = [
            nn.Conv2d(n_in, n_out, ksize, stride, (ksize - stride + 1) // 2, bias=False),
            nn.BatchNorm2d(n_out),
        ]
        return nn.Sequential(*layers, *([nn.ReLU()] if activate else []))

    class Block(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.body = nn.Sequential(
                convolution(n, 2 * n, 3), convolution(2 * n, n, 1, activate=False)
            )

        def forward(self, x):
            return T.relu(x + self.body(x))

    def stage(n_in, n_out):
        return nn.Sequential(convolution(n_in, n_out, 2, 2), Block(n_out))

    def upsample(x):
        return T.interpolate(x, scale_factor=2)

    class Twin(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = convolution(3, 32, 6, 4)
            self.stage8, self.stage16 = stage(32, 64), stage(64, 128)
            self.stage32 = stage(128, 128)
            self.lateral16 = convolution(128, 128, 1, activate=False)
            self.lateral8 = convolution(128, 64, 1, activate=False)
            self.smooth16, self.smooth8 = convolution(128, 128, 3), convolution(64, 128, 3)
            self.n_part = 2, 1, 1, 1
            self.heads = nn.ModuleList(
                nn.Conv2d(128, n**2 * 4 * (4 + n_class), 1) for n in self.n_part
            )

        def forward(self, imgs):
            c8 = self.stage8(self.stem((imgs - 127.5) * (1 / 64)))
            c16 = self.stage16(c8)
            c32 = self.stage32(c16)
            p16 = self.smooth16(T.relu(c16 + upsample(self.lateral16(c32))))
            p8 = self.smooth8(T.relu(c8 + upsample(self.lateral8(p16))))
            outputs = []
            for head, n, h in zip(self.heads, self.n_part, (p8, p8, p16, c32)):
                y = T.pixel_shuffle(head(h), n)
                outputs.append(y.permute(0, 2, 3, 1).reshape(len(imgs), -1, 4 + n_class))
            return torch.cat(outputs, 1)

    return Twin()
