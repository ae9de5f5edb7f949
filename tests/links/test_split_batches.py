"""The page ``docs/how-to/split-batches.md``: parts of a batch give the gradients of the whole."""

import re
from pathlib import Path

import chainer
import numpy as np

from chainer_ssd import MultiboxTrainChain

PAGE = Path(__file__).parents[2] / 'docs/how-to/split-batches.md'


def run_page():
    """Return the names that the page's Python blocks define."""
    names = {}
    for block in re.findall('```python\n(.*?)```', PAGE.read_text(), re.DOTALL):
        exec(block, names)
    return names


def gradients(chain):
    return {name: param.grad.copy() for name, param in chain.namedparams()}


def assert_equal(found, expected):
    for name, grad in expected.items():
        scale = np.abs(grad).max()
        np.testing.assert_allclose(found[name], grad, rtol=0, atol=1e-5 * scale, err_msg=name)


def test_gradients_of_parts_equal_those_of_the_whole_batch():
    page = run_page()
    batch = page['imgs'], page['mb_locs'], page['mb_labels']
    model = page['model']
    whole, parts = MultiboxTrainChain(model), MultiboxTrainChain(model.copy('copy'))
    for chain in (whole, parts):
        chain.cleargrads()
    whole(*batch).backward()
    for part in (slice(0, 1), slice(1, 4), slice(4, 8)):
        parts(*(array[part] for array in batch), page['n_positive']).backward()
    assert_equal(gradients(parts), gradients(whole))
    # Without the normalizer they differ by more than rounding.
    parts.cleargrads()
    for part in (slice(0, 1), slice(1, 4), slice(4, 8)):
        (parts(*(array[part] for array in batch)) / 3).backward()
    largest = [
        np.abs(grad - gradients(parts)[name]).max() / np.abs(grad).max()
        for name, grad in gradients(whole).items()
    ]
    assert max(largest) > 0.05


def test_parallel_updater_computes_the_gradients_of_the_whole_batch():
    page = run_page()
    data, devices = page['data'], page['devices']
    chain = MultiboxTrainChain(page['model'].copy('copy'))
    whole = MultiboxTrainChain(page['model'].copy('copy'))
    whole.cleargrads()
    whole(*chainer.dataset.concat_examples(data[:8])).backward()
    iterator = chainer.iterators.SerialIterator(data, 8, shuffle=False)
    optimizer = chainer.optimizers.SGD(0).setup(chain)
    updater = chainer.training.ParallelUpdater(
        iterator, optimizer, converter=page['WholeBatchConverter'](2), devices=devices
    )
    updater.update()
    assert_equal(gradients(chain), gradients(whole))


def test_the_chain_of_the_page_is_that_of_the_package():
    page = run_page()
    batch = page['imgs'], page['mb_locs'], page['mb_labels']
    found = page['MyChain'](page['model'])(*batch)
    assert found.array == MultiboxTrainChain(page['model'])(*batch).array
