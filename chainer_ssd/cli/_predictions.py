"""What ``chainer-ssd predict`` writes: pictures, videos, detections.json, and further forms."""

from __future__ import annotations

import collections
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from chainer_ssd._array import Array
from chainer_ssd._files import write_json
from chainer_ssd.cli._input_files import printable_path
from chainer_ssd.cli._saved_results import (
    CROPS_FOLDER,
    LABELS_FOLDER,
    Found,
    Place,
    Saver,
    choose_name,
)
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
    savers : sequence of Saver
        Further forms of the detections.
    """

    def __init__(
        self,
        out: str,
        label_names: Sequence[str],
        score_thresh: float,
        savers: Sequence[Saver] = (),
    ) -> None:
        self.savers = savers
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
        self._stopped: set[tuple[str, Saver]] = set()
        self._stems = {saver.taken_stem for saver in savers if saver.taken_stem is not None}

    def refuse_files_in_out(self, files: Iterable[str]) -> None:
        """Raise ``ValueError`` if an input is in ``--out`` or in a folder of results there."""
        out = os.path.realpath(self.out)
        inner = tuple(os.path.join(out, name, '') for name in (LABELS_FOLDER, CROPS_FOLDER))
        for file in files:
            path = os.path.realpath(file)
            if os.path.dirname(path) == out or path.startswith(inner):
                raise ValueError(
                    f'--out {self.out}: the input {file} is in this folder and could be overwritten'
                )

    def fail(self, file: str, reason: str) -> None:
        """Print why a file failed, and keep the reason."""
        reason = printable_name(' '.join(reason.split()), MAX_REASON_LETTERS)
        self.failed[file] = '. '.join(filter(None, [self.failed.get(file), reason]))
        print(reason, file=sys.stderr)

    def make_folders(self) -> None:
        """Make the folder and those of the savers.

        A link of such a name is removed, so that nothing outside the folder is overwritten.
        """
        os.makedirs(self.out, exist_ok=True)
        for saver in self.savers:
            if saver.folder is not None:
                path = os.path.join(self.out, saver.folder)
                if os.path.islink(path):
                    os.remove(path)
                os.makedirs(path, exist_ok=True)

    def create_stem(self, file: str) -> str:
        """Return the beginning of the names of an input's results, which no other input has."""
        stem = os.path.splitext(os.path.basename(file))[0]
        stem = choose_name(stem, self._stems)
        self._stems.add(stem.casefold())
        return stem

    def create_path(self, stem: str, suffix: str) -> str:
        """Return the path of a picture or a video in the folder.

        A link of that name is removed, so that nothing outside the folder is overwritten.
        """
        path = os.path.join(self.out, stem + suffix)
        if os.path.islink(path):
            os.remove(path)
        return path

    def save_further(self, place: Place, img: Array, found: Found) -> None:
        """Save the detections of an image or a frame in the further forms.

        After a failure, that form has no further frame of the video.
        """
        for saver in self.savers:
            if (place.stem, saver) in self._stopped:
                continue
            try:
                saver.add(self.out, place, img, found)
            except (MemoryError, OSError, ValueError) as error:
                self._stopped.add((place.stem, saver))
                cause = 'not enough memory' if isinstance(error, MemoryError) else error
                where = '' if place.frame is None else f'from frame {place.frame} on: '
                self.fail(place.file, f'{place.file}: {where}{cause}')

    def add_image(
        self,
        file: str,
        img: Array,
        drawn: Array,
        found: Found,
        detections: list[Detection],
    ) -> None:
        """Write the picture of an image. If that fails, the detections are kept all the same."""
        suffix = '.jpg' if file.lower().endswith(('.jpg', '.jpeg')) else '.png'
        place = Place(file, self.create_stem(file), None, suffix)
        path = self.create_path(place.stem, suffix)
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
        self.save_further(place, img, found)
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
        """Write detections.json and what the savers keep, each file whole or not at all."""
        result = {
            **self.head,
            'images': self.images,
            'videos': self.videos,
            'failed': [{'file': file, 'error': error} for file, error in self.failed.items()],
        }
        write_json(self.path, result)
        for saver in self.savers:
            saver.finish(self.out)
