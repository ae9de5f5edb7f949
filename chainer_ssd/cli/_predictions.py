"""What predict.py writes: pictures, videos, and detections.json."""

import collections
import itertools
import os
import sys

from chainer_ssd import write_image
from chainer_ssd._files import write_json


class Predictions:
    """The folder ``--out``: its files, and all that detections.json will say."""

    def __init__(self, out, label_names, score_thresh):
        self.out, self.path = out, os.path.join(out, 'detections.json')
        self.head = {
            'label_names': label_names,
            'score_thresh': score_thresh,
            'bbox': '[y_min, x_min, y_max, x_max] in pixels',
        }
        self.images, self.videos, self.failed = [], [], {}
        self.n_detection = 0
        self._names = set()

    def refuse_own(self, files):
        """ValueError if one of the files could be written over."""
        for file in files:
            if os.path.dirname(os.path.realpath(file)) == os.path.realpath(self.out):
                raise ValueError(f'--out {self.out}: {file} lies there and could be written over')

    def fail(self, file, reason):
        self.failed[file] = '; '.join(filter(None, [self.failed.get(file), reason]))
        print(reason, file=sys.stderr)

    def new_path(self, file, suffix):
        """In the folder ``--out``, with a name that no file before has."""
        stem = os.path.splitext(os.path.basename(file))[0]
        tries = itertools.chain([stem], (f'{stem}_{i}' for i in itertools.count(2)))
        names = (f'{each}{suffix}' for each in tries)
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return os.path.join(self.out, name)

    def add_image(self, file, drawn, detections):
        """Writes the picture; where that fails the detections are kept all the same."""
        suffix = '.jpg' if file.lower().endswith(('.jpg', '.jpeg')) else '.png'
        picture = self.new_path(file, suffix)
        try:
            write_image(drawn, picture)
        except OSError as error:
            self.fail(file, f'{file}: {picture} cannot be written: {error}')
            picture = None
        self.images.append(
            {
                'file': file,
                'picture': picture,
                'height': drawn.shape[1],
                'width': drawn.shape[2],
                'detections': detections,
            }
        )
        self.report(file, picture, detections)

    def add_video(self, file, video, drawn, fps, frames):
        """``frames``, the detections of each, may still grow."""
        self.videos.append(
            {
                'file': file,
                'video': video,
                'height': drawn.shape[1],
                'width': drawn.shape[2],
                'fps': fps,
                'frames': frames,
            }
        )

    def report(self, name, written, detections):
        """Prints a line: how many of each class."""
        counts = collections.Counter(each['name'] for each in detections)
        self.n_detection += sum(counts.values())
        found = ', '.join(f'{count} {name}' for name, count in sorted(counts.items()))
        print(f'{name}: {found or "nothing"}' + (f'; see {written}' if written else ''))

    def save(self):
        result = {
            **self.head,
            'images': self.images,
            'videos': self.videos,
            'failed': [{'file': file, 'error': error} for file, error in self.failed.items()],
        }
        write_json(self.path, result)
