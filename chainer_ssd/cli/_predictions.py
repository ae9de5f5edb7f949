"""What ``chainer-ssd predict`` writes: pictures, videos, and detections.json."""

from __future__ import annotations

import collections
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._files import write_json
from chainer_ssd.cli._input_files import printable_path
from chainer_ssd.images import printable_name, write_image

DETECTIONS_FILE = 'detections.json'
MAX_REASON_LETTERS = 2000

#: A detection as detections.json holds it: label, name, score and bbox.
Detection = dict


class Predictions:
    """The folder ``--out`` and the content of its detections.json.

    Parameters
    ----------
    out : str
        The folder.
    label_names : sequence of str
        Class names of the detector.
    score_thresh : float
        Smallest score of a detection.
    """

    def __init__(self, out: str, label_names: Sequence[str], score_thresh: float) -> None:
        self.out, self.path = out, os.path.join(out, DETECTIONS_FILE)
        self.head = {
            'label_names': label_names,
            'score_thresh': score_thresh,
            'bbox': '[y_min, x_min, y_max, x_max] in pixels',
        }
        self.images: list[dict[str, Any]] = []
        self.videos: list[dict[str, Any]] = []
        self.failed: dict[str, str] = {}
        self.n_detection = 0
        self._names: set[str] = set()

    def refuse_files_in_out(self, files: Iterable[str]) -> None:
        """Raise ``ValueError`` if one of the input files is in the folder ``--out``."""
        for file in files:
            if os.path.dirname(os.path.realpath(file)) == os.path.realpath(self.out):
                raise ValueError(
                    f'--out {self.out}: the input {file} is in this folder and could be overwritten'
                )

    def fail(self, file: str, reason: str) -> None:
        """Print why a file failed, and keep the reason."""
        reason = printable_name(' '.join(reason.split()), MAX_REASON_LETTERS)
        self.failed[file] = '. '.join(filter(None, [self.failed.get(file), reason]))
        print(reason, file=sys.stderr)

    def create_path(self, file: str, suffix: str) -> str:
        """Return a path in the folder that was not returned before, named after ``file``.

        A link of that name is removed, so that nothing outside the folder is overwritten.
        """
        stem = os.path.splitext(os.path.basename(file))[0]
        stems = itertools.chain([stem], (f'{stem}_{i}' for i in itertools.count(2)))
        name = next(each + suffix for each in stems if each + suffix not in self._names)
        self._names.add(name)
        path = os.path.join(self.out, name)
        if os.path.islink(path):
            os.remove(path)
        return path

    def add_image(self, file: str, drawn: Array, detections: list[Detection]) -> None:
        """Write the picture of an image. If that fails, the detections are kept all the same."""
        suffix = '.jpg' if file.lower().endswith(('.jpg', '.jpeg')) else '.png'
        path = self.create_path(file, suffix)
        picture: str | None = path
        try:
            write_image(drawn, path)
        except (MemoryError, OSError) as error:
            cause = 'not enough memory' if isinstance(error, MemoryError) else error
            self.fail(file, f'{file}: {path} cannot be written: {cause}')
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

    def add_video(
        self, file: str, video: str, drawn: Array, fps: float, frames: list[list[Detection]]
    ) -> None:
        """Add a video whose ``frames``, one list of detections each, may still grow."""
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

    def report(self, name: str, written: str | None, detections: Iterable[Detection]) -> None:
        """Print how many objects of each class were found."""
        counts = collections.Counter(each['name'] for each in detections)
        self.n_detection += sum(counts.values())
        found = ', '.join(
            f'{count} {printable_name(name)}' for name, count in sorted(counts.items())
        )
        line = f'{printable_path(name)}: {found or "nothing"}'
        print(line + (f'; see {printable_path(written)}' if written else ''))

    def save(self) -> None:
        """Write detections.json, whole or not at all."""
        result = {
            **self.head,
            'images': self.images,
            'videos': self.videos,
            'failed': [{'file': file, 'error': error} for file, error in self.failed.items()],
        }
        write_json(self.path, result)
