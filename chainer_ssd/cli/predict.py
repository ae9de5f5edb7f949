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
its first picture. Images with more than 8 bits per channel are refused, and so are pipes and
devices. Subfolders are not searched. One large image is in memory at a time. The exit status is 1
if a file failed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Sequence

from chainer_ssd._options import check_fraction
from chainer_ssd.cli._arguments import (
    add_gpu_argument,
    add_limit_arguments,
    exit_in_one_line,
    integer,
    limit_detections,
    number,
    use_device,
)
from chainer_ssd.cli._input_files import (
    batch_images,
    find_files,
    join_some,
    name_file,
    read_images,
)
from chainer_ssd.cli._predictions import Detection, Predictions
from chainer_ssd.cli._timed_detector import TimedDetector
from chainer_ssd.images import VideoReader, VideoWriter
from chainer_ssd.links import load_detector

FAILED_STATUS = 1
# A video is reported as incomplete below this fraction of its announced number of frames, which
# is an estimate in some formats.
MIN_FRAME_FRACTION = 0.9
#: Images of one forward pass, together. A larger image is detected in alone.
MAX_BATCH_PIXELS = 8_000_000


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
    add_limit_arguments(add)
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
        limit_detections(model, args)
        predictions = Predictions(args.out, model.label_names, args.score)
        images, videos = find_files(args.paths, predictions.fail)
        predictions.refuse_files_in_out(images + videos)
        if os.path.exists(args.out) and not os.path.isdir(args.out):
            raise ValueError(f'--out {args.out}: not a folder')
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


def predict_images(
    files: Sequence[str], detector: TimedDetector, batchsize: int, predictions: Predictions
) -> None:
    """Detect objects in image files."""
    images = read_images(files, predictions.fail)
    for batch in batch_images(images, batchsize, MAX_BATCH_PIXELS):
        try:
            results = detector([img for _, img in batch])
        except (MemoryError, ValueError):
            results = None  # find out which image it is
        for i, (file, img) in enumerate(batch):
            try:
                found = detector([img])[0] if results is None else results[i]
                predictions.add_image(file, detector.draw(img, found), detector.describe(found))
            except MemoryError:
                height, width = img.shape[1:]
                predictions.fail(file, f'{file}: not enough memory for {width} x {height} pixels')
            except ValueError as error:
                predictions.fail(file, name_file(file, error))


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
    failure: Exception | None = None
    with VideoWriter(predictions.create_path(file, '.mp4'), video.fps) as writer:
        images = ((file, img) for img in video)
        try:
            for batch in batch_images(images, batchsize, MAX_BATCH_PIXELS):
                imgs = [img for _, img in batch]
                for img, found in zip(imgs, detector(imgs)):
                    drawn = detector.draw(img, found)
                    if not frames:
                        predictions.add_video(file, writer.path, drawn, video.fps, frames)
                    frames.append(detector.describe(found))
                    writer.write(drawn)
        except (MemoryError, ValueError) as error:
            failure = error
    if failure is not None:
        cause = 'not enough memory' if isinstance(failure, MemoryError) else failure
        predictions.fail(file, f'{file}: frame {len(frames)}: {cause}')
    if not frames:
        if failure is None:
            predictions.fail(file, f'{file}: no frame in it can be read')
        return
    if failure is None and len(frames) < MIN_FRAME_FRACTION * video.n_frame:
        predictions.fail(file, f'{file}: broke off after {len(frames)} of {video.n_frame} frames')
    if writer.error:
        predictions.fail(file, f'{file}: {writer.error}')
        predictions.videos[-1]['video'] = None
    predictions.report(
        f'{file}, {len(frames)} frames',
        predictions.videos[-1]['video'],
        itertools.chain.from_iterable(frames),
    )
