"""Train your own network with the SSD loss, save it, and load it.

    python examples/custom_model.py --iteration 600 --out result

A network needs feature maps, and a MultiboxCoder with the default boxes of their cells. Two
convolutions per feature map predict offsets and class logits.
"""

import argparse

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

from chainer_ssd import (
    MultiboxCoder,
    ShapesBboxDataset,
    eval_detection_voc,
    load_detector,
    multibox_loss,
    save_detector,
)

N_BOX = 4  # per cell: two squares, and aspect ratio 2 in both directions


class TinySSD(chainer.Chain):
    """A network with two feature maps, of 8 x 8 and 4 x 4 cells."""

    insize = 64

    def __init__(self, n_fg_class):
        super().__init__()
        self.coder = MultiboxCoder(
            grids=(8, 4), steps=(8, 16), sizes=(10, 20, 40), aspect_ratios=((2,), (2,))
        )
        self.n_fg_class = n_fg_class
        with self.init_scope():
            self.stem = L.Convolution2D(3, 32, 4, stride=4)
            self.stages = chainer.ChainList(*(L.Convolution2D(n, 64, 2, 2) for n in (32, 64)))
            self.blocks = chainer.ChainList(*(L.Convolution2D(64, 64, 3, pad=1) for _ in range(2)))
            self.locs, self.confs = (
                chainer.ChainList(*(L.Convolution2D(64, N_BOX * n, 3, pad=1) for _ in range(2)))
                for n in (4, n_fg_class + 1)
            )

    def forward(self, imgs):
        """Return mb_locs (B, K, 4) and the logits mb_confs (B, K, n_fg_class + 1)."""
        h = F.relu(self.stem((imgs - 127.5) / 64))
        mb_locs, mb_confs = [], []
        for stage, block, loc, conf in zip(self.stages, self.blocks, self.locs, self.confs):
            h = F.relu(stage(h))
            h = F.relu(h + block(h))
            # The default boxes of a cell follow each other: (B, C, H, W) to (B, H, W, C).
            mb_locs.append(loc(h).transpose(0, 2, 3, 1).reshape(len(imgs), -1, 4))
            n_class = self.n_fg_class + 1
            mb_confs.append(conf(h).transpose(0, 2, 3, 1).reshape(len(imgs), -1, n_class))
        return F.concat(mb_locs, axis=1), F.concat(mb_confs, axis=1)

    def predict(self, imgs, score_thresh=0.01):
        """Return the boxes, labels and scores of images of the network's size."""
        with chainer.using_config('train', False), chainer.no_backprop_mode():
            outputs = [y.array for y in self(np.stack(imgs))]
        decoded = [self.coder.decode(*each, 0.45, score_thresh) for each in zip(*outputs)]
        return tuple(map(list, zip(*decoded)))


def compute_loss(model, imgs, gt_mb_locs, gt_mb_labels):
    """Return the sum of the two losses. Each positive default box gets three hard negatives."""
    loc_loss, conf_loss = multibox_loss(*model(imgs), gt_mb_locs, gt_mb_labels, k=3)
    return loc_loss + conf_loss


def main():
    """Train, save the detector, load it, and evaluate it."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0])
    parser.add_argument('--out', default='result', help='folder of the detector')
    parser.add_argument('--iteration', type=int, default=600)
    args = parser.parse_args()

    train = ShapesBboxDataset(1000, size=TinySSD.insize)
    model = TinySSD(len(train.label_names))
    optimizer = chainer.optimizers.Adam(2e-3).setup(model)
    for _, batch in zip(range(args.iteration), chainer.iterators.SerialIterator(train, 8)):
        examples = [(img, *model.coder.encode(bbox, label)) for img, bbox, label in batch]
        arrays = chainer.dataset.concat_examples(examples)
        optimizer.update(compute_loss, model, *arrays)
    save_detector(args.out, model, train.label_names)

    model = load_detector(args.out, TinySSD(len(train.label_names)))
    imgs, bboxes, labels = zip(*ShapesBboxDataset(100, size=TinySSD.insize, seed=1))
    result = eval_detection_voc(*model.predict(imgs), bboxes, labels)
    print(f'{", ".join(model.label_names)}: mAP {result["map"]:.3f}')


if __name__ == '__main__':
    main()
