"""The images to train on, to choose a model by, and to test on, with their description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from chainer_ssd.datasets._messages import join_first, shorten
from chainer_ssd.datasets.choose_splits import PARTS, ChosenSplit
from chainer_ssd.datasets.formats.file_tree import ALL
from chainer_ssd.datasets.found_dataset import FoundDataset
from chainer_ssd.datasets.joined_bbox_dataset import JoinedBboxDataset

_MAX_CLASSES = 20


class DataSplits(NamedTuple):
    """The images of a training, from one or several data sets.

    Attributes
    ----------
    train : data set
        To train on.
    val : data set or None
        To choose a model by. None if there are none.
    test : data set
        To evaluate on.
    label_names : tuple of str
        The classes.
    all_names : tuple of str
        The classes of the data, of which ``classes`` may choose some.
    found : tuple of FoundDataset
        The data sets.
    choices : tuple of dict
        For each data set, the :class:`ChosenSplit` of ``'train'``, ``'val'`` and ``'test'``.
    options : dict
        ``val``, ``test_fraction``, ``seed`` and ``classes``, as given.
    """

    train: Any
    val: Any
    test: Any
    label_names: tuple[str, ...]
    all_names: tuple[str, ...]
    found: tuple[FoundDataset, ...]
    choices: tuple[Mapping[str, ChosenSplit], ...]
    options: Mapping[str, Any]

    def without_val(self) -> DataSplits:
        """Return the same images without those that choose the model.

        Returns
        -------
        DataSplits
            Its ``val`` is None, and no choice names the part ``'val'``.
        """
        choices = tuple(
            {part: chosen for part, chosen in choice.items() if part != 'val'}
            for choice in self.choices
        )
        return self._replace(val=None, choices=choices)

    def describe(self) -> str:
        """Return what was found, in several lines.

        Returns
        -------
        str
            Format, classes, splits, images and objects.
        """
        return '\n'.join(self._lines())

    def _lines(self) -> Iterator[str]:
        for found in self.found:
            yield f'{shorten(found.path, 300)}: {found.format}, {found.layout}'
        names = join_first(map(shorten, self.label_names), max_items=_MAX_CLASSES)
        yield f'  classes: {names}'
        for part in PARTS:
            dataset = getattr(self, part)
            if dataset is None:
                continue
            n_object = sum(len(dataset.get_annotation(i)[0]) for i in range(len(dataset)))
            splits = dict.fromkeys(choice[part].split for choice in self.choices if part in choice)
            is_held_out = any(
                choice[part].images is not None for choice in self.choices if part in choice
            )
            source = f'split {", ".join(splits)}' if set(splits) != {ALL} else 'no split of its own'
            if is_held_out and part != 'train':
                of = '' if set(splits) == {ALL} else f'of {source} '
                source = f'held out {of}by content, seed {self.options["seed"]}'
            yield f'  {part}: {len(dataset)} images, {n_object} objects ({source})'
        for part in PARTS:
            left_out = _count_left_out(getattr(self, part))
            if left_out:
                numbers = join_first(f'{n} {shorten(name)}' for name, n in left_out.items())
                yield f'  {part}: objects of other classes, left out on purpose: {numbers}'


def _count_left_out(dataset: JoinedBboxDataset | None) -> dict[str, int]:
    return {} if dataset is None else dataset.n_left_out
