"""Use the SSD loss in a plain training loop, without a Trainer.

    python examples/plain_loop.py --iteration 300

The loop shows every step: draw a batch, match and encode the ground truths, predict, compute the
loss, and update the weights.
"""

import argparse

import chainer
import numpy as np

from chainer_ssd import (
    ShapesBboxDataset,
    SSDMini,
    encode,
    eval_detection_voc,
    match,
    multibox_loss,
)


def create_batch(dataset, indices, default_bbox):
    """Return images and targets: offsets and labels of each default box."""
    imgs, gt_mb_locs, gt_mb_labels = [], [], []
    for i in indices:
        img, bbox, label = dataset[i]  # label counts from 0, without background
        # Number of the ground truth of each default box, -1 for background.
        index = match(default_bbox, bbox, iou_thresh=0.5)
        mb_loc, mb_label = encode(default_bbox, bbox, label, index)  # mb_label 0 is background
        imgs.append(img)
        gt_mb_locs.append(mb_loc)
        gt_mb_labels.append(mb_label)
    return np.stack(imgs), np.stack(gt_mb_locs), np.stack(gt_mb_labels)


def train(model, dataset, n_iteration, batchsize, seed=0):
    """Train the model, and print the losses."""
    rng = np.random.default_rng(seed)
    optimizer = chainer.optimizers.Adam(alpha=2e-3).setup(model)
    for iteration in range(1, n_iteration + 1):
        indices = rng.choice(len(dataset), batchsize, replace=False)
        imgs, gt_mb_locs, gt_mb_labels = create_batch(dataset, indices, model.coder.default_bbox)

        mb_locs, mb_confs = model(imgs)
        loc_loss, conf_loss = multibox_loss(mb_locs, mb_confs, gt_mb_locs, gt_mb_labels, k=3)
        model.cleargrads()
        (loc_loss + conf_loss).backward()
        optimizer.update()

        if iteration % 20 == 0 or iteration == n_iteration:
            print(
                f'iteration {iteration}: loc {loc_loss.array:.3f}, conf {conf_loss.array:.3f}, '
                f'{(gt_mb_labels > 0).sum()} positives'
            )


def evaluate(model, dataset, label_names):
    """Print the average precision of each class at an IoU of 0.5."""
    model.use_preset('evaluate')  # keep detections with low scores: the AP needs them
    imgs, bboxes, labels = zip(*dataset)
    result = eval_detection_voc(*model.predict(imgs), bboxes, labels)
    for name, ap in zip(label_names, result['ap']):
        print(f'AP {ap:.3f} {name}')
    print(f'mAP {result["map"]:.3f}')


def main():
    """Train on drawn shapes, and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0])
    parser.add_argument('--iteration', type=int, default=300)
    parser.add_argument('--batchsize', type=int, default=8)
    parser.add_argument('--insize', type=int, default=128, help='a multiple of 32')
    args = parser.parse_args()

    np.random.seed(0)  # for the initial weights
    shapes = ShapesBboxDataset(1000, size=args.insize, seed=0)
    model = SSDMini(len(shapes.label_names), args.insize)
    train(model, shapes, args.iteration, args.batchsize)
    evaluate(model, ShapesBboxDataset(50, size=args.insize, seed=1), shapes.label_names)


if __name__ == '__main__':
    main()
