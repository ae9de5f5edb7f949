"""Finds objects in images and videos with a detector that chainer-ssd train has trained.

    chainer-ssd predict result path/to/image.jpg
    chainer-ssd predict result path/to/folder path/to/video.mp4 --out predictions

The folder --out then holds a picture with boxes of each image, a video with boxes of each video
(.mp4, without sound), and detections.json: of each image and of each frame all detections by
falling score, a box being [y_min, x_min, y_max, x_max] in pixels from the upper left corner.

Images are read as those of the training are: turned as their EXIF orientation says, and so are
pictures, sizes and boxes; grey ones as RGB, without an alpha channel, of animations the first. More
than 8 bits a channel are refused. Of a folder all images and videos are taken, without its
subfolders. The exit status is 1 if a file failed.
"""

import itertools
import os
import time

import numpy as np

from chainer_ssd import draw_bbox
from chainer_ssd.cli._arguments import positive, share, told_in_one_line, use_device
from chainer_ssd.cli._inputs import batches, find_files, readable, some
from chainer_ssd.cli._predictions import Predictions
from chainer_ssd.images import Video, VideoWriter
from chainer_ssd.links import load_detector


def run(args, parser):
    with told_in_one_line(parser):
        model = load_detector(args.result)
        label_names = model.label_names
        model.to_device(use_device(args.gpu))
        model.score_thresh = args.score
        predictions = Predictions(args.out, label_names, args.score)
        images, videos = find_files(args.paths, predictions.fail)
        predictions.refuse_own(images + videos)
        os.makedirs(args.out, exist_ok=True)
        detector = TimedDetector(model, label_names)
        detector.warm_up()
        start = time.perf_counter()
        try:
            predict_images(images, detector, args.batchsize, predictions)
            for file in videos:
                predict_video(file, detector, args.batchsize, predictions)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f'interrupted; what was done: {predictions.path}') from None
        finally:
            predictions.save()
        seconds = time.perf_counter() - start
    if detector.n_image:
        print(
            f'{detector.n_image} image{"s"[: detector.n_image > 1]} in {seconds:.1f} s: '
            f'{detector.n_image / seconds:.1f} images/s from file to file, '
            f'{detector.n_image / detector.seconds:.1f} images/s in the model; see {args.out}'
        )
        if not predictions.n_detection:
            print(
                f'nothing has a score of {args.score} or more: a lower --score lets more through '
                '(chainer-ssd evaluate says which to choose)'
            )
    if predictions.failed:
        failed = predictions.failed
        parser.exit(1, f'{parser.prog}: {len(failed)} failed: {some(list(failed))}\n')


def add_arguments(parser):
    add = parser.add_argument
    add('result', help='the folder that chainer-ssd train wrote (--out)')
    add('paths', nargs='+', metavar='path', help='image, video, or folder of them')
    add('--out', default='predictions', help='folder for whatever is written (%(default)s)')
    add('--score', type=share, default=0.5, help='least score of a detection (%(default)s)')
    add('--gpu', type=int, default=-1, help='CUDA device; -1: CPU')
    add('--batchsize', type=positive, default=8, help='images at a time (%(default)s)')


class TimedDetector:
    """Detects objects, and counts the images and the seconds that the model took."""

    def __init__(self, model, label_names):
        self.model, self.label_names = model, label_names
        self.n_image, self.seconds = 0, 0

    def warm_up(self):
        """What only the first image would have to wait for: modules, fonts, a GPU's kernels."""
        img = np.zeros((3, self.model.insize, self.model.insize + 1), np.float32)
        self.model.predict([img])
        draw_bbox(img, [[0, 0, *img.shape[1:]]], [0], [1], self.label_names)

    def __call__(self, imgs):
        """Pairs of the image with boxes and its detections, by falling score."""
        start = time.perf_counter()
        found = self.model.predict(imgs)
        self.seconds += time.perf_counter() - start
        self.n_image += len(imgs)
        for img, bbox, label, score in zip(imgs, *found):
            order = (-score).argsort(kind='stable')
            bbox, label, score = bbox[order], label[order], score[order]
            yield (
                draw_bbox(img, bbox, label, score, self.label_names),
                [
                    {
                        'label': i,
                        'name': self.label_names[i],
                        'score': round(s, 4),
                        'bbox': [round(side, 2) for side in box],
                    }
                    for box, i, s in zip(bbox.tolist(), label.tolist(), score.tolist())
                ],
            )


def predict_images(files, detector, batchsize, predictions):
    for batch in batches(readable(files, predictions.fail), batchsize):
        for (file, _), found in zip(batch, detector([img for _, img in batch])):
            predictions.add_image(file, *found)


def predict_video(file, detector, batchsize, predictions):
    try:
        video = Video(file)
    except ValueError as error:
        predictions.fail(file, str(error))
        return
    frames = []
    with VideoWriter(predictions.new_path(file, '.mp4'), video.fps) as writer:
        for imgs in batches(video, batchsize):
            for drawn, detections in detector(imgs):
                if not frames:
                    predictions.add_video(file, writer.path, drawn, video.fps, frames)
                frames.append(detections)
                writer.write(drawn)
    if not frames:
        predictions.fail(file, f'{file}: no frame in it can be read')
        return
    if len(frames) < 0.9 * video.n_frame:  # which some formats only estimate
        predictions.fail(file, f'{file}: broke off after {len(frames)} of {video.n_frame} frames')
    if writer.error:
        predictions.fail(file, f'{file}: {writer.error}')
        predictions.videos[-1]['video'] = None
    predictions.report(
        f'{file}, {len(frames)} frames',
        predictions.videos[-1]['video'],
        itertools.chain.from_iterable(frames),
    )
