"""Find objects in images and videos with a detector that chainer-ssd train wrote.

    chainer-ssd predict result path/to/image.jpg
    chainer-ssd predict result path/to/folder path/to/video.mp4 --out predictions

The folder --out then holds:

  - one picture with boxes per image
  - one .mp4 video with boxes and without sound per video
  - detections.json: all detections of each image and each frame, by falling score.
    A box is [y_min, x_min, y_max, x_max] in pixels from the upper left corner.

Images are read as in the training. Their EXIF orientation is applied, and the sizes and boxes
refer to the rotated image. Grey images become RGB. An alpha channel is removed. An animation gives
its first picture. Images with more than 8 bits per channel are refused. Subfolders are not
searched. The exit status is 1 if a file failed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence

import chainer
import numpy as np

from chainer_ssd._array import Array
from chainer_ssd._options import check_fraction
from chainer_ssd.cli._arguments import (
    add_gpu_argument,
    exit_in_one_line,
    integer,
    number,
    use_device,
)
from chainer_ssd.cli._input_files import find_files, join_some, read_images, split_into_batches
from chainer_ssd.cli._predictions import Detection, Predictions
from chainer_ssd.images import VideoReader, VideoWriter
from chainer_ssd.links import load_detector
from chainer_ssd.visualizations import draw_bbox

FAILED_STATUS = 1
# A video is reported as incomplete below this fraction of its announced number of frames, which
# is an estimate in some formats.
MIN_FRAME_FRACTION = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd predict``."""
    add = parser.add_argument
    add('result', help='folder that chainer-ssd train wrote (its --out)')
    add('paths', nargs='+', metavar='path', help='image, video, or folder of them')
    add(
        '--out',
        default='predictions',
        metavar='FOLDER',
        help='folder for the output (default: %(default)s)',
    )
    add(
        '--score',
        type=number(check_fraction),
        default=0.5,
        metavar='X',
        help='smallest score of a detection. Lower it to find more objects, with more errors. '
        'chainer-ssd evaluate proposes a value. (default: %(default)s)',
    )
    add_gpu_argument(add)
    add(
        '--batchsize',
        type=integer(1),
        default=8,
        metavar='N',
        help='images per forward pass. Lower it if the memory is not enough. '
        '(default: %(default)s)',
    )


def run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Detect objects in all files, and exit with status 1 if one failed."""
    with exit_in_one_line(parser):
        model = load_detector(args.result)
        model.to_device(use_device(args.gpu))
        model.score_thresh = args.score
        predictions = Predictions(args.out, model.label_names, args.score)
        images, videos = find_files(args.paths, predictions.fail)
        predictions.refuse_files_in_out(images + videos)
        os.makedirs(args.out, exist_ok=True)
        detector = TimedDetector(model, model.label_names)
        detector.warm_up()
        start = time.perf_counter()
        try:
            predict_images(images, detector, args.batchsize, predictions)
            for file in videos:
                predict_video(file, detector, args.batchsize, predictions)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f'interrupted. The results so far are in {predictions.path}'
            ) from None
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
                f'no detection has a score of {args.score} or more. Try a lower --score: '
                'chainer-ssd evaluate proposes one'
            )
    if predictions.failed:
        failed = list(predictions.failed)
        parser.exit(FAILED_STATUS, f'{parser.prog}: {len(failed)} failed: {join_some(failed)}\n')


class TimedDetector:
    """Detects and draws objects, and measures the time in the model.

    Parameters
    ----------
    model : chainer.Link
        Detector with ``predict(imgs)`` and ``insize``.
    label_names : sequence of str
        Its class names.

    Attributes
    ----------
    n_image : int
        Number of images so far.
    seconds : float
        Time that the model took for them.
    """

    def __init__(self, model: chainer.Link, label_names: Sequence[str]) -> None:
        self.model, self.label_names = model, label_names
        self.n_image, self.seconds = 0, 0.0

    def warm_up(self) -> None:
        """Process an empty image: loads modules, fonts and GPU kernels before the clock starts."""
        img = np.zeros((3, self.model.insize, self.model.insize + 1), np.float32)
        self.model.predict([img])
        draw_bbox(img, [[0, 0, *img.shape[1:]]], [0], [1], self.label_names)

    def __call__(self, imgs: Sequence[Array]) -> Iterator[tuple[Array, list[Detection]]]:
        """Yield for each image the image with boxes and its detections, by falling score."""
        start = time.perf_counter()
        predicted = self.model.predict(imgs)
        self.seconds += time.perf_counter() - start
        self.n_image += len(imgs)
        for img, bbox, label, score in zip(imgs, *predicted):
            order = (-score).argsort(kind='stable')
            bbox, label, score = bbox[order], label[order], score[order]
            yield (
                draw_bbox(img, bbox, label, score, self.label_names),
                [
                    {
                        'label': each_label,
                        'name': self.label_names[each_label],
                        'score': round(each_score, 4),
                        'bbox': [round(side, 2) for side in box],
                    }
                    for box, each_label, each_score in zip(
                        bbox.tolist(), label.tolist(), score.tolist()
                    )
                ],
            )


def predict_images(
    files: Sequence[str], detector: TimedDetector, batchsize: int, predictions: Predictions
) -> None:
    """Detect objects in image files."""
    for batch in split_into_batches(read_images(files, predictions.fail), batchsize):
        for (file, _), (drawn, detections) in zip(batch, detector([img for _, img in batch])):
            predictions.add_image(file, drawn, detections)


def predict_video(
    file: str, detector: TimedDetector, batchsize: int, predictions: Predictions
) -> None:
    """Detect objects in the frames of a video."""
    try:
        video = VideoReader(file)
    except ValueError as error:
        predictions.fail(file, str(error))
        return
    frames: list[list[Detection]] = []
    with VideoWriter(predictions.create_path(file, '.mp4'), video.fps) as writer:
        for imgs in split_into_batches(video, batchsize):
            for drawn, detections in detector(imgs):
                if not frames:
                    predictions.add_video(file, writer.path, drawn, video.fps, frames)
                frames.append(detections)
                writer.write(drawn)
    if not frames:
        predictions.fail(file, f'{file}: no frame in it can be read')
        return
    if len(frames) < MIN_FRAME_FRACTION * video.n_frame:
        predictions.fail(file, f'{file}: broke off after {len(frames)} of {video.n_frame} frames')
    if writer.error:
        predictions.fail(file, f'{file}: {writer.error}')
        predictions.videos[-1]['video'] = None
    predictions.report(
        f'{file}, {len(frames)} frames',
        predictions.videos[-1]['video'],
        itertools.chain.from_iterable(frames),
    )
