"""Unreadable examples are replaced, and known in the main process."""

import chainer
import pytest

from chainer_ssd.datasets import SkipUnreadable


class Dataset(chainer.dataset.DatasetMixin):
    """Numbers. Some of them cannot be read."""

    def __init__(self, length, bad, error=ValueError):
        self.length, self.bad, self.error = length, bad, error

    def __len__(self):
        return self.length

    def get_example(self, i):
        if i in self.bad:
            raise self.error(f'file {i}')
        return i


@pytest.mark.parametrize('error', [ValueError, OSError, MemoryError])
def test_the_next_readable_example_takes_the_place(error):
    data = SkipUnreadable(Dataset(6, {1, 2, 5}, error))
    for _ in range(2):
        assert [data[i] for i in range(6)] == [0, 3, 3, 3, 4, 0]
        assert data.unreadable == [1, 2, 5]
    assert data[-1] == 0


def test_without_a_readable_example_the_error_is_raised():
    data = SkipUnreadable(Dataset(3, {0, 1, 2}))
    for _ in range(2):
        with pytest.raises(ValueError, match='file'):
            data[1]
    assert data.unreadable == [0, 1, 2]


def test_other_errors_are_raised():
    with pytest.raises(KeyError):
        SkipUnreadable(Dataset(3, {1}, KeyError))[1]


@pytest.mark.filterwarnings('ignore::DeprecationWarning')  # Chainer forks
def test_the_main_process_knows_what_the_workers_found():
    data = SkipUnreadable(Dataset(20, {3, 7, 19}))
    iterator = chainer.iterators.MultiprocessIterator(
        data, 5, repeat=False, shuffle=False, n_processes=2
    )
    seen = [item for batch in iterator for item in batch]
    iterator.finalize()
    assert data.unreadable == [3, 7, 19]
    assert len(seen) == 20 and not {3, 7, 19} & set(seen)
