"""Finds objects in images and videos with a detector that train.py has trained.

    python examples/predict.py result path/to/image.jpg
    python examples/predict.py result path/to/folder path/to/video.mp4 --out predictions

The folder --out then holds a picture with boxes of each image, a video with boxes of each video
(.mp4, without sound), and detections.json: of each image and of each frame all detections by
falling score, a box being [y_min, x_min, y_max, x_max] in pixels from the upper left corner.

Images are read as those of the training are: turned as their EXIF orientation says, and so are
pictures, sizes and boxes; grey ones as RGB, without an alpha channel, of animations the first. More
than 8 bits a channel are refused. Of a folder all images and videos are taken, without its
subfolders. The exit status is 1 if a file failed.
"""
import argparse
import collections
import itertools
import json
import os
import sys
import time

import chainer
import numpy as np
from detector import load_detector
from video import Video, video_writer

from chainer_ssd import draw_bbox, read_image, write_image

IMAGES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')
VIDEOS = ('.avi', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.webm', '.wmv')


def main():
    parser = create_parser()
    args = parser.parse_args()
    try:
        model, label_names = load_detector(args.result)
        device = chainer.get_device(args.gpu)
        device.use()
        model.to_device(device)
        model.score_thresh = args.score
        files, failed = find_files(args.paths)
        refuse_own_output(files, args.out)
        os.makedirs(args.out, exist_ok=True)
        detector = TimedDetector(model, label_names)
        detector.warm_up()
        start = time.perf_counter()
        done = predict_all(files, detector, args, failed)
        seconds = time.perf_counter() - start
        result = {
            'label_names': label_names, 'score_thresh': args.score,
            'bbox': '[y_min, x_min, y_max, x_max] in pixels', **done,
            'failed': [{'file': file, 'error': error} for file, error in failed.items()]}
        with open(os.path.join(args.out, 'detections.json'), 'w', encoding='utf-8') as file:
            json.dump(result, file, indent=1, ensure_ascii=False)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        parser.exit(2, f'{parser.prog}: error: {" ".join(str(error).split())}\n')
    if detector.n_image:
        print(f'{detector.n_image} image{"s"[:detector.n_image > 1]} in {seconds:.1f} s: '
              f'{detector.n_image / seconds:.1f} images/s from file to file, '
              f'{detector.n_image / detector.seconds:.1f} images/s in the model; see {args.out}')
    if failed:
        parser.exit(1, f'{parser.prog}: {len(failed)} failed: {some(list(failed))}\n')


def create_parser():
    description, _, epilog = __doc__.partition('\n\n')
    parser = argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add('result', help='the folder that train.py wrote (--out)')
    add('paths', nargs='+', metavar='path', help='image, video, or folder of them')
    add('--out', default='predictions', help='folder for whatever is written')
    add('--score', type=share, default=0.5, help='least score of a detection')
    add('--gpu', type=int, default=-1, help='CUDA device; -1: CPU')
    add('--batchsize', type=positive, default=8, help='images at a time')
    return parser


def share(text):
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text}: expected a number from 0 to 1')
    return value


def positive(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'{text}: expected 1 or more')
    return value


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
            yield draw_bbox(img, bbox, label, score, self.label_names), [
                {'label': i, 'name': self.label_names[i], 'score': round(s, 4),
                 'bbox': [round(side, 2) for side in box]}
                for box, i, s in zip(bbox.tolist(), label.tolist(), score.tolist())]


def find_files(paths):
    """The files, and the paths that failed with the reason."""
    files, failed = [], {}
    for path in paths:
        if not os.path.isdir(path):
            files.append(path)
            continue
        there = sorted(name for name in os.listdir(path)
                       if os.path.isfile(os.path.join(path, name)))
        taken = [name for name in there if name.lower().endswith(IMAGES + VIDEOS)]
        left = [name for name in there if name not in taken]
        if left:
            print(f'{path}: neither images nor videos by their names, left out: {some(left)}')
        if not taken:
            fail(failed, path, f'{path}: no image and no video in this folder')
        files += [os.path.join(path, name) for name in taken]
    return files, failed


def some(names):
    return ', '.join(names[:3]) + (f' and {len(names) - 3} more' if len(names) > 3 else '')


def fail(failed, file, reason):
    failed[file] = reason
    print(reason, file=sys.stderr)


def refuse_own_output(files, out):
    for file in files:
        if os.path.dirname(os.path.realpath(file)) == os.path.realpath(out):
            raise ValueError(f'--out {out}: {file} lies there and could be written over')


def predict_all(files, detector, args, failed):
    """Writes pictures and videos; returns what detections.json says of them."""
    done = {'images': [], 'videos': []}
    names = set()
    videos = [file for file in files if file.lower().endswith(VIDEOS)]
    images = (file for file in files if file not in videos)
    for batch in batches(readable(images, failed), args.batchsize):
        for (file, img), (drawn, detections) in zip(batch, detector([img for _, img in batch])):
            suffix = '.jpg' if file.lower().endswith(('.jpg', '.jpeg')) else '.png'
            picture = os.path.join(args.out, new_name(file, suffix, names))
            write_image(drawn, picture)
            report(file, picture, detections)
            done['images'].append({
                'file': file, 'picture': picture, 'height': img.shape[1], 'width': img.shape[2],
                'detections': detections})
    for file in videos:
        written = os.path.join(args.out, new_name(file, '.mp4', names))
        try:
            done['videos'].append(predict_video(file, written, detector, args, failed))
        except ValueError as error:
            fail(failed, file, str(error))
    return done


def readable(files, failed):
    for file in files:
        try:
            yield file, read_image(file)
        except FileNotFoundError:
            fail(failed, file, f'{file}: no such file')
        except ValueError as error:
            fail(failed, file, str(error))


def predict_video(file, written, detector, args, failed):
    """Writes the video; returns what detections.json says of it."""
    video = Video(file)
    frames = []
    with video_writer(written, video.fps) as write:
        for imgs in batches(video, args.batchsize):
            for drawn, detections in detector(imgs):
                write(drawn)
                frames.append(detections)
    if not frames:
        raise ValueError(f'{file}: no frame in it can be read')
    if len(frames) < 0.9 * video.n_frame:  # which some formats only estimate
        fail(failed, file, f'{file}: broke off after {len(frames)} of {video.n_frame} frames')
    report(f'{file}, {len(frames)} frames', written, itertools.chain.from_iterable(frames))
    return {'file': file, 'video': written, 'height': imgs[0].shape[1], 'width': imgs[0].shape[2],
            'fps': video.fps, 'frames': frames}


def batches(items, size):
    items = iter(items)
    return iter(lambda: list(itertools.islice(items, size)), [])


def new_name(file, suffix, names):
    """A name in the folder --out that no file before has."""
    stem = os.path.splitext(os.path.basename(file))[0]
    tries = itertools.chain([stem], (f'{stem}_{i}' for i in itertools.count(2)))
    name = next(name for name in (f'{each}{suffix}' for each in tries) if name not in names)
    names.add(name)
    return name


def report(file, written, detections):
    counts = collections.Counter(each['name'] for each in detections)
    found = ', '.join(f'{count} {name}' for name, count in sorted(counts.items()))
    print(f'{file}: {found or "nothing"}; see {written}')


if __name__ == '__main__':
    main()
