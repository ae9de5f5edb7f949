"""Find objects in images, videos and streams with a detector that chainer-ssd train wrote.

    chainer-ssd predict result path/to/image.jpg
    chainer-ssd predict result path/to/folder path/to/video.mp4 --out predictions
    chainer-ssd predict result 'path/**/*.jpg' --save-txt --save-json --save-crops
    chainer-ssd predict result 0
    chainer-ssd predict result rtsp://camera.local/live

A path is a file, a folder, a pattern in quotation marks, the number of a camera, or the address of
a stream. A camera or a stream comes last, and Ctrl-C or SIGTERM ends it.

The folder --out then holds:

  - one picture with boxes per image
  - one .mp4 video with boxes and without sound per video, camera or stream
  - detections.json: all detections of each image and each frame, by falling score.
    A box is [y_min, x_min, y_max, x_max] in pixels from the upper left corner.
  - with --save-txt, labels/: one label file of YOLO per image, and classes.txt
  - with --save-json, coco_detections.json: the detections for pycocotools
  - with --save-crops, crops/: the part of the image inside each box, in a folder per class

No two results have one name: if two inputs are named a, the results of the second are named a_2.
The results of frame 7 of a video are in a_frames/, with names that begin with 000007.

Images are read as in the training. Their EXIF orientation is applied, and the sizes and boxes
refer to the rotated image. Grey images become RGB. An alpha channel is removed. An animation gives
its first picture. Images with more than 8 bits per channel are refused, and so are pipes and
devices. Subfolders are not searched. One large image is in memory at a time. The exit status is 1
if a file failed.
"""

from __future__ import annotations

import argparse
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
    MAX_BATCH_PIXELS,
    Inputs,
    batch_images,
    find_inputs,
    join_some,
    name_file,
    read_images,
)
from chainer_ssd.cli._predictions import Predictions
from chainer_ssd.cli._saved_results import COCOResults, Crops, Saver, YOLOLabels
from chainer_ssd.cli._timed_detector import TimedDetector
from chainer_ssd.cli._video_detection import noting_signals, predict_video
from chainer_ssd.datasets import read_coco_ids
from chainer_ssd.links import load_detector

FAILED_STATUS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``chainer-ssd predict``."""
    add = parser.add_argument
    add('result', help='folder that chainer-ssd train wrote (its --out)')
    add(
        'paths',
        nargs='+',
        metavar='path',
        help='image, video, folder of them, pattern, number of a camera, or address of a stream',
    )
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
    add(
        '--save-txt',
        action='store_true',
        help='also write label files of YOLO, for example to correct them by hand. '
        '(default: not written)',
    )
    add(
        '--save-conf',
        action='store_true',
        help='for --save-txt: end each line with the score. Labels for a training have none. '
        '(default: no scores)',
    )
    add(
        '--save-json',
        action='store_true',
        help="also write COCO's list of detections, for pycocotools. (default: not written)",
    )
    add(
        '--coco-ids',
        metavar='FILE',
        help="for --save-json: COCO's annotation file whose numbers of images and categories the "
        'list has. Needed for a comparison with it. (default: counted from 1)',
    )
    add(
        '--save-crops',
        action='store_true',
        help='also write the part of the image inside each box. (default: not written)',
    )
    add(
        '--max-frames',
        type=integer(1),
        metavar='N',
        help='for a camera or a stream: end after so many frames. (default: Ctrl-C ends it)',
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
        predictions = Predictions(
            args.out, model.label_names, args.score, create_savers(args, model.label_names)
        )
        inputs = find_inputs(args.paths, predictions.fail)
        check_inputs(args, inputs)
        predictions.refuse_files_in_out(inputs.images + inputs.videos)
        if os.path.exists(args.out) and not os.path.isdir(args.out):
            raise ValueError(f'--out {args.out}: not a folder')
        predictions.make_folders()
        detector = TimedDetector(model, model.label_names)
        detector.warm_up()
        start = time.perf_counter()
        try:
            predict_images(inputs.images, detector, args.batchsize, predictions)
            for file in inputs.videos:
                predict_video(file, detector, args.batchsize, predictions)
            if inputs.stream is not None:
                with noting_signals() as is_ended:
                    limit = args.max_frames
                    predict_video(inputs.stream, detector, 1, predictions, limit, is_ended)
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


def create_savers(args: argparse.Namespace, label_names: Sequence[str]) -> list[Saver]:
    """Return what saves the further forms that the options name.

    Raises
    ------
    OSError, ValueError
        If options do not fit together, or the file of ``--coco-ids`` cannot be used.
    """
    if args.save_conf and not args.save_txt:
        raise ValueError('--save-conf goes with --save-txt')
    if args.coco_ids is not None and not args.save_json:
        raise ValueError(f'--coco-ids {args.coco_ids} goes with --save-json')
    savers: list[Saver] = []
    if args.save_txt:
        savers.append(YOLOLabels(label_names, args.save_conf))
    if args.save_json:
        ids = None if args.coco_ids is None else read_coco_ids(args.coco_ids, label_names)
        savers.append(COCOResults(label_names, ids))
    if args.save_crops:
        savers.append(Crops(label_names))
    return savers


def check_inputs(args: argparse.Namespace, inputs: Inputs) -> None:
    """Raise ``ValueError`` if options do not fit the inputs."""
    if args.max_frames is not None and inputs.stream is None:
        raise ValueError(f'--max-frames {args.max_frames} goes with a camera or a stream')
    if args.coco_ids is not None and (inputs.videos or inputs.stream is not None):
        raise ValueError(f'--coco-ids {args.coco_ids} goes with images: frames have no numbers')


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
                drawn = detector.draw(img, found)
                predictions.add_image(file, img, drawn, found, detector.describe(found))
            except MemoryError:
                height, width = img.shape[1:]
                predictions.fail(file, f'{file}: not enough memory for {width} x {height} pixels')
            except ValueError as error:
                predictions.fail(file, name_file(file, error))
