"""Opening of the chosen splits of several data sets, with one list of classes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from chainer_ssd._options import check_label_names
from chainer_ssd.datasets._messages import join_first, quote, shorten
from chainer_ssd.datasets.bbox_subset import BboxSubset
from chainer_ssd.datasets.choose_splits import PARTS, ChosenSplit
from chainer_ssd.datasets.class_names import choose_label_names, warn_about_label_names
from chainer_ssd.datasets.data_splits import DataSplits
from chainer_ssd.datasets.found_dataset import FoundDataset
from chainer_ssd.datasets.joined_bbox_dataset import JoinedBboxDataset


def names_for(found: FoundDataset, label_names: Sequence[str] | None) -> Sequence[str] | None:
    """Return the names for YOLO's label files alone, which state none."""
    return label_names if found.format == 'yolo' and found.label_names is None else None


class SplitOpener:
    """Opens each split of each data set once, with one list of classes."""

    def __init__(
        self,
        found: Sequence[FoundDataset],
        label_names: Sequence[str] | None,
        classes: Sequence[str] | None,
        dtype: Any,
        exif: str,
    ) -> None:
        self._found = tuple(found)
        self._options = {'dtype': dtype, 'exif': exif, 'return_difficult': True}
        self._opened: dict[tuple[int, str], Any] = {}
        self._given = None if label_names is None else check_label_names(label_names)
        self._classes = None if classes is None else check_label_names(classes, name='classes')
        self._all_names: tuple[str, ...] = ()

    def read_names(self, choices: Sequence[Mapping[str, ChosenSplit]]) -> None:
        """Open all splits, and store the classes of the data."""
        for number, choice in enumerate(choices):
            for each in choice.values():
                self.open(number, each.split)
        all_names = [each.label_names for each in self._opened.values()]
        if self._given is not None:
            self._all_names = self._given
        else:
            joined = choose_label_names(None, {name for names in all_names for name in names})
            is_one = len(set(all_names)) == 1
            self._all_names = all_names[0] if is_one else joined
            if not is_one:
                warn_about_label_names(self._all_names, self._found[0].path, stacklevel=4)
        unknown = set(self._classes or ()).difference(self._all_names)
        if unknown:
            raise ValueError(
                f'classes: {join_first(map(quote, sorted(unknown)))}, expected some of '
                + join_first(map(quote, self._all_names))
            )

    def open(self, number: int, split: str) -> Any:
        """Return one split of one data set."""
        key = number, split
        if key not in self._opened:
            found = self._found[number]
            names = names_for(found, self._given or self._classes)
            self._opened[key] = found.open(split, names, **self._options)
        return self._opened[key]

    def names_of(self, number: int, dataset: Any) -> list[str]:
        """Return the names of the images, relative to the path of their data set."""
        path = self._found[number].path
        root = path if os.path.isdir(path) else os.path.dirname(path) or '.'
        return [os.path.relpath(file, root).replace(os.sep, '/') for file in dataset.image_files]

    def join(self, choices: Sequence[Mapping[str, ChosenSplit]], part: str) -> JoinedBboxDataset:
        """Return the images of one part of all data sets."""
        parts = []
        for number, choice in enumerate(choices):
            if part in choice:
                dataset = self.open(number, choice[part].split)
                images = choice[part].images
                if images is not None:
                    dataset = self._select(number, dataset, images)
                parts.append(dataset)
        if self._classes is None:
            return JoinedBboxDataset(parts, self._all_names)
        if self._given is not None:  # an object of a class that is not given is an error
            parts = [JoinedBboxDataset(parts, self._given)]
        return JoinedBboxDataset(parts, self._classes, leaves_out_others=True)

    def _select(self, number: int, dataset: Any, images: Sequence[str]) -> BboxSubset:
        index_of = {name: i for i, name in enumerate(self.names_of(number, dataset))}
        missing = [name for name in images if name not in index_of]
        if missing:
            raise ValueError(
                f'{shorten(self._found[number].path, 300)}: images that were chosen before are '
                f'missing: {len(missing)}, {join_first(missing, max_items=5)}'
            )
        return BboxSubset(dataset, [index_of[name] for name in images])

    def collect(
        self, choices: Sequence[Mapping[str, ChosenSplit]], options: Mapping[str, Any]
    ) -> DataSplits:
        """Return all parts."""
        parts = {
            part: self.join(choices, part) if any(part in each for each in choices) else None
            for part in PARTS
        }
        return DataSplits(
            **parts,
            label_names=self._classes or self._all_names,
            all_names=self._all_names,
            found=self._found,
            choices=tuple(choices),
            options=dict(options),
        )
