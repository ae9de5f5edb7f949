"""Train a detector on your own images in Pascal VOC's layout, with a Chainer Trainer.

    python examples/train_voc.py path/to/BCCD --iteration 1600 --out result

The folder path/to/BCCD holds Annotations/, ImageSets/Main/ and JPEGImages/. The script shows each
step from the files to a saved detector. `chainer-ssd train` does the same and also writes
snapshots, curves and pictures.
"""

import argparse

import chainer
from chainer.training import extensions

from chainer_ssd import (
    CosineShift,
    DetectionEvaluator,
    EncodeTransform,
    MatchTransform,
    MildAugmentation,
    MultiboxTrainChain,
    RandomTransformDataset,
    ResizeTransform,
    SSDMini,
    VOCBboxDataset,
    load_detector,
    save_detector,
)


def create_training_data(dataset, model):
    """Return examples (img, mb_loc, mb_label), shuffled and augmented in each epoch."""
    data = RandomTransformDataset(dataset, MildAugmentation(model.insize), seed=0)
    default_bbox = model.coder.default_bbox
    for transform in (
        ResizeTransform(model.insize),  # (img, bbox, label) of the network's size
        MatchTransform(default_bbox),  # index: the ground truth of each default box
        EncodeTransform(default_bbox),  # the targets of the loss
    ):
        data = chainer.datasets.TransformDataset(data, transform)
    return data


def create_trainer(args, model, train, test, label_names):
    """Return a trainer that logs the losses and evaluates at the end."""
    iterator = chainer.iterators.SerialIterator(
        train, args.batchsize, order_sampler=RandomTransformDataset.next_epoch
    )
    chain = MultiboxTrainChain(model)
    optimizer = chainer.optimizers.Adam(alpha=0.016, weight_decay_rate=2e-3).setup(chain)
    updater = chainer.training.StandardUpdater(iterator, optimizer)
    trainer = chainer.training.Trainer(updater, (args.iteration, 'iteration'), args.out)

    trainer.extend(CosineShift('eta', 1, args.iteration, warmup=args.iteration // 10))
    at_end = chainer.training.triggers.ManualScheduleTrigger(args.iteration, 'iteration')
    test_iterator = chainer.iterators.SerialIterator(test, 1, repeat=False, shuffle=False)
    trainer.extend(
        DetectionEvaluator(test_iterator, model, label_names=label_names), trigger=at_end
    )
    interval = max(1, args.iteration // 10), 'iteration'
    trainer.extend(extensions.LogReport(trigger=interval))
    columns = ['iteration', 'main/loss/loc', 'main/loss/conf', 'validation/main/map']
    trainer.extend(extensions.PrintReport([*columns, 'elapsed_time']), trigger=interval)
    return trainer


def main():
    """Train, save the detector, load it, and use it."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0])
    parser.add_argument('root', help="folder of a data set in Pascal VOC's layout")
    parser.add_argument('--out', default='result', help='folder of the detector')
    parser.add_argument('--iteration', type=int, default=1600)
    parser.add_argument('--batchsize', type=int, default=8)
    parser.add_argument('--insize', type=int, default=192, help='a multiple of 32')
    args = parser.parse_args()

    train = VOCBboxDataset(args.root, 'trainval')
    label_names = train.label_names  # the class names that occur in the split
    test = VOCBboxDataset(args.root, 'test', label_names=label_names, return_difficult=True)

    model = SSDMini(len(label_names), args.insize)
    model.use_preset('evaluate')  # keep detections with low scores: the AP needs them
    train = create_training_data(train, model)
    create_trainer(args, model, train, test, label_names).run()
    save_detector(args.out, model, label_names)

    model = load_detector(args.out)
    bboxes, labels, scores = model.predict([test[0][0]])
    for label, score, bbox in zip(labels[0], scores[0], bboxes[0].round()):
        print(f'{model.label_names[label]} {score:.2f} (y_min, x_min, y_max, x_max) = {bbox}')


if __name__ == '__main__':
    main()
