"""The images to train on, to choose a model by, and to test on, from one or several data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from chainer_ssd._files import read_json, write_json
from chainer_ssd._options import check_integer, check_label_names, check_part
from chainer_ssd.datasets._messages import join_first, quote, shorten
from chainer_ssd.datasets.bbox_subset import BboxSubset
from chainer_ssd.datasets.class_names import choose_label_names, warn_about_label_names
from chainer_ssd.datasets.find_dataset import find_dataset
from chainer_ssd.datasets.formats.file_tree import ALL
from chainer_ssd.datasets.found_dataset import FoundDataset
from chainer_ssd.datasets.joined_bbox_dataset import JoinedBboxDataset
from chainer_ssd.datasets.split_by_content import split_by_content

#: Fraction of the images to test on, of data without a test split.
TEST_FRACTION = 0.2
PARTS = ('train', 'val', 'test')
_VERSION = 1
_MAX_CLASSES = 20


class ChosenSplit(NamedTuple):
    """The images of one part that come from one data set.

    Attributes
    ----------
    split : str
        The split of the data set.
    images : tuple of str or None
        The images, relative to the data set's path. None: all images of the split.
    """

    split: str
    images: tuple[str, ...] | None


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


def open_datasets(
    paths: Sequence[str | os.PathLike[str]],
    format: str = 'auto',
    label_names: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    test_split: str | None = None,
    val: float | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    dtype: Any = 'uint8',
    exif: str = 'auto',
) -> DataSplits:
    """Return the images to train on, to choose a model by, and to test on.

    The test images are those of a split test. Without one, they are those of a split val. Without
    either, some images are held out by :func:`split_by_content`. The training images are those of
    trainval or train. The images of val choose the model if they are in neither of the others.

    Parameters
    ----------
    paths : sequence of str or path
        Data sets for :func:`find_dataset`. Their images are taken together.
    format : {'auto', 'voc', 'coco', 'yolo'}
        The format of all of them.
    label_names : sequence of str, optional
        The classes of the data, in the order of their labels. An object of another class is an
        error. Default: those of all images that are used.
    classes : sequence of str, optional
        The classes to use, in the order of their labels. Objects of the others are left out on
        purpose. Default: all.
    train_split, val_split, test_split : str, optional
        Names of splits to use instead, for example of VOC's lists.
    val : float, optional
        Fraction of the training images to hold out. If there are other images to test on, the
        images held out choose the model. If not, they are the test images.
    test_fraction : float, optional
        Fraction of the images to test on, where the data has no split for it. Then ``val`` holds
        out further ones. Default: ``val`` or 0.2.
    seed : int
        Another seed holds out other images. Default: 0.
    dtype : dtype
        Of the images: uint8 (default) or float32.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says.

    Returns
    -------
    DataSplits
        The images and the classes. Items are ``(img, bbox, label, difficult)``.

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        As :func:`find_dataset` and the constructors of the data sets. ``ValueError`` if no path
        has a split of the given name, or there is no training image.

    Examples
    --------
    >>> data = open_datasets(['VOC2007', 'VOC2012'])    # doctest: +SKIP
    >>> print(data.describe())                          # doctest: +SKIP
    """
    check_integer('seed', seed)
    for name, fraction in (('val', val), ('test_fraction', test_fraction)):
        if fraction is not None:
            check_part(name, fraction)
    if not paths or isinstance(paths, (str, os.PathLike)):
        raise ValueError(f'paths = {quote(paths)}: expected a sequence of at least one path')
    found = tuple(find_dataset(path, format) for path in paths)
    choices = choose_splits(found, train_split, val_split, test_split)
    has_test = any('test' in choice for choice in choices)
    if has_test and test_fraction is not None:
        raise ValueError(
            f'test_fraction = {test_fraction}: the data has images to test on, the split '
            + ', '.join(dict.fromkeys(each['test'].split for each in choices if 'test' in each))
        )
    opened = _Opener(found, label_names, classes, dtype, exif)
    opened.read_names(choices)
    held_out = []
    if not has_test:
        held_out.append(('test', test_fraction or val or TEST_FRACTION))
    if val is not None and (has_test or test_fraction is not None):
        if any('val' in choice for choice in choices):
            choices = [{part: each for part, each in c.items() if part != 'val'} for c in choices]
        held_out.append(('val', val))
    for part, fraction in held_out:
        choices = _hold_out(opened, choices, part, fraction, seed)
    options = {
        'val': val,
        'test_fraction': test_fraction,
        'seed': seed,
        'classes': None if classes is None else list(classes),
    }
    return opened.collect(choices, options)


def save_splits(data: DataSplits, file: str | os.PathLike[str]) -> None:
    """Write which images are in which part, for :func:`open_stored_splits`.

    Parameters
    ----------
    data : DataSplits
        What :func:`open_datasets` returns.
    file : str or path
        A JSON file. ``data`` holds an object for each data set with its ``path``, its ``format``,
        and ``train``, ``val`` and ``test``. Each of these is null or holds ``split`` and
        ``images``, which is null for all images of the split. ``label_names`` and the options
        follow.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    paths = [
        {
            'path': os.path.abspath(found.path),
            'format': found.format,
            **{part: choice[part]._asdict() if part in choice else None for part in PARTS},
        }
        for found, choice in zip(data.found, data.choices)
    ]
    names = list(data.all_names)
    write_json(file, {'version': _VERSION, 'data': paths, 'label_names': names, **data.options})


def open_stored_splits(
    file: str | os.PathLike[str],
    paths: Sequence[str | os.PathLike[str]] | None = None,
    dtype: Any = 'uint8',
    exif: str = 'auto',
) -> DataSplits:
    """Return the images of a training that :func:`save_splits` has written down.

    Images that were added to the data since then are in none of the parts, if some images were held
    out.

    Parameters
    ----------
    file : str or path
        The JSON file.
    paths : sequence of str or path, optional
        Where the data sets are now. Default: where they were.
    dtype : dtype
        Of the images: uint8 (default) or float32.
    exif : {'auto', 'apply', 'ignore'}
        Whether images are turned as their EXIF orientation says.

    Returns
    -------
    DataSplits
        The same images and classes.

    Raises
    ------
    OSError
        If a file cannot be opened.
    ValueError
        If the file was not written by ``save_splits``. If the number of data sets differs, or
        an image is missing.
    """
    stored = _read_stored(os.fspath(file))
    data = stored['data']
    if paths is not None and len(paths) != len(data):
        raise ValueError(
            f'{os.fspath(file)}: describes {len(data)} data sets, and {len(paths)} are given'
        )
    places = [each['path'] for each in data] if paths is None else list(paths)
    found = tuple(find_dataset(path, each['format']) for path, each in zip(places, data))
    choices = [
        {
            part: ChosenSplit(
                each[part]['split'],
                None if each[part]['images'] is None else tuple(each[part]['images']),
            )
            for part in PARTS
            if each[part] is not None
        }
        for each in data
    ]
    options = {key: stored[key] for key in ('val', 'test_fraction', 'seed', 'classes')}
    opened = _Opener(found, stored['label_names'], stored['classes'], dtype, exif)
    opened.read_names(choices)
    return opened.collect(choices, options)


def open_split(
    paths: Sequence[str | os.PathLike[str]],
    format: str,
    split: str | None,
    label_names: Sequence[str],
    leaves_out_others: bool = False,
    dtype: Any = 'uint8',
) -> JoinedBboxDataset:
    """Return the images of one split of all data sets.

    Parameters
    ----------
    paths : sequence of str or path
        Data sets for :func:`find_dataset`.
    format : {'auto', 'voc', 'coco', 'yolo'}
        The format of all of them.
    split : str or None
        Name of the split. None: test, or else val, or else all images of data without splits.
    label_names : sequence of str
        The classes, in the order of their labels.
    leaves_out_others : bool
        True: objects of other classes are left out on purpose. False (default): a ``ValueError``.
    dtype : dtype
        Of the images: uint8 (default) or float32.

    Returns
    -------
    JoinedBboxDataset
        Items are ``(img, bbox, label, difficult)``.

    Raises
    ------
    ValueError
        If no data set has the split.
    """
    found = tuple(find_dataset(path, format) for path in paths)
    wanted = ('test', 'val', ALL) if split is None else (split,)
    name = next((each for each in wanted if any(_has(f, each) for f in found)), None)
    if name is None:
        raise _no_split(found, split or 'test, val or all')
    opened = [
        each.open(name, _names_for(each, label_names), return_difficult=True, dtype=dtype)
        for each in found
        if _has(each, name)
    ]
    return JoinedBboxDataset(opened, label_names, leaves_out_others)


def _names_for(found: FoundDataset, label_names: Sequence[str] | None) -> Sequence[str] | None:
    """Return the names for YOLO's label files alone, which state none."""
    return label_names if found.format == 'yolo' and found.label_names is None else None


class _Opener:
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
            names = _names_for(found, self._given or self._classes)
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


def choose_splits(
    found: Sequence[FoundDataset],
    train_split: str | None = None,
    val_split: str | None = None,
    test_split: str | None = None,
) -> list[dict[str, ChosenSplit]]:
    """Return which split of each data set is which part, by the rule of :func:`open_datasets`.

    Parameters
    ----------
    found : sequence of FoundDataset
        The data sets.
    train_split, val_split, test_split : str, optional
        Names of splits to use instead.

    Returns
    -------
    list of dict
        For each data set, the :class:`ChosenSplit` of ``'train'``, ``'val'`` and ``'test'``, as far
        as it has them. Nothing is held out yet.

    Raises
    ------
    ValueError
        If no data set has a split of a given name, or none has training images.
    """
    for name in (train_split, val_split, test_split):
        if name is not None and not any(_has(each, name) for each in found):
            raise _no_split(found, name)
    candidates = ('test', 'val') if val_split is None else ('test',)
    test = test_split or next((n for n in candidates if any(_has(f, n) for f in found)), None)
    choices = []
    for each in found:
        # trainval holds the images of val.
        wanted = ['train', ALL]
        if test != 'val' and val_split is None:
            wanted.insert(0, 'trainval')
        if train_split is not None:
            wanted = [train_split]
        train = next((name for name in wanted if _has(each, name)), None)
        names = {'train': train, 'test': test}
        if val_split is not None:
            names['val'] = val_split
        elif test != 'val' and train == 'train' and 'val' in each.splits:
            names['val'] = 'val'
        choices.append(
            {
                part: ChosenSplit(name, None)
                for part, name in names.items()
                if name is not None and _has(each, name)
            }
        )
    if not any('train' in choice for choice in choices):
        raise _no_split(found, 'train')
    return choices


def _has(found: FoundDataset, split: str) -> bool:
    return split in found.splits or found.find_list(split) is not None


def _no_split(found: Sequence[FoundDataset], name: str) -> ValueError:
    splits = list(dict.fromkeys(split for each in found for split in each.splits))
    paths = join_first(each.path for each in found)
    return ValueError(f'{paths}: no split {name}, there are {join_first(splits)}')


def _hold_out(
    opened: _Opener,
    choices: Sequence[Mapping[str, ChosenSplit]],
    part: str,
    fraction: float,
    seed: int,
) -> list[dict[str, ChosenSplit]]:
    """Return the choices with some of the training images in another part."""
    kept, held_out = split_by_content(opened.join(choices, 'train'), fraction, seed)
    is_held_out = set(held_out.tolist())
    result = []
    offset = 0
    for number, choice in enumerate(choices):
        choice = dict(choice)
        if 'train' in choice:
            split, images = choice['train']
            names = images or opened.names_of(number, opened.open(number, split))
            rows = range(offset, offset + len(names))
            offset += len(names)
            for each, chosen in (
                ('train', [name for i, name in zip(rows, names) if i not in is_held_out]),
                (part, [name for i, name in zip(rows, names) if i in is_held_out]),
            ):
                choice.pop(each, None)
                if chosen:
                    choice[each] = ChosenSplit(split, tuple(chosen))
        result.append(choice)
    return result


def _count_left_out(dataset: JoinedBboxDataset | None) -> dict[str, int]:
    return {} if dataset is None else dataset.n_left_out


def _read_stored(file: str) -> dict[str, Any]:
    stored = read_json(file)
    try:
        for each in stored['data']:
            each['path'] + each['format']
            for part in PARTS:
                if each[part] is not None:
                    each[part]['split'] + ''.join(each[part]['images'] or ())
        check_label_names(stored['label_names'])
        check_integer('seed', stored['seed'])
        stored['val'], stored['test_fraction'], stored['classes']
        if stored['version'] != _VERSION:
            raise ValueError(f'version {quote(stored["version"])}')
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{shorten(file, 300)}: not a list of splits that chainer-ssd train wrote: {error}'
        ) from error
    return stored
