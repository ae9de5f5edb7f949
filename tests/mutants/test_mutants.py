"""The table of mutants fits the code, and a survivor is noticed."""

import ast
from pathlib import Path

import pytest

import chainer_ssd
from tests.mutants import kernel_table
from tests.mutants.__main__ import apply, copy_repository, survives
from tests.mutants.table import MUTANTS, Mutant

PACKAGE = Path(chainer_ssd.__file__).parent
TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize('mutant', MUTANTS, ids=lambda mutant: f'{mutant.file}: {mutant.new}')
def test_the_old_text_stands_once_and_the_new_text_is_valid(mutant, tmp_path):
    text = (PACKAGE / mutant.file).read_text('utf-8')
    copy = tmp_path / mutant.file
    copy.parent.mkdir(parents=True)
    copy.write_text(text, 'utf-8')
    assert apply(mutant, tmp_path) == text
    changed = copy.read_text('utf-8')
    if mutant.file.endswith('.py'):
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    else:
        assert changed.split() != text.split()
    for test in mutant.tests:
        assert (TESTS / test).is_file()


@pytest.mark.parametrize(
    'change', kernel_table.EQUIVALENT + kernel_table.MEMORY_ORDER, ids=lambda change: change[1]
)
def test_changes_that_are_not_noticed_fit_the_code_and_have_a_reason(change):
    old, new, reason = change
    text = (PACKAGE / kernel_table.SOURCE).read_text('utf-8')
    assert text.count(old) == 1 and old != new and reason
    assert (old, new) not in kernel_table.SOURCE_CHANGES


def test_there_are_enough_mutants_and_none_twice():
    assert len({(mutant.file, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS) >= 60


def test_a_text_that_stands_nowhere_is_an_error():
    with pytest.raises(ValueError, match='stands 0 times'):
        apply(Mutant('ops/nms.py', 'no such text', '', ()), PACKAGE)


def test_a_mutant_that_breaks_is_killed_and_one_that_does_not_survives(tmp_path):
    copy = copy_repository(tmp_path)
    tests = ('ops/test_default_boxes.py',)
    breaks, breaks_not = (
        Mutant('ops/default_boxes.py', '(np.arange(grid) + 0.5) * step', new, tests)
        for new in ('np.arange(grid) * step', 'step * (0.5 + np.arange(grid))')
    )
    text = (copy / 'chainer_ssd' / breaks.file).read_text('utf-8')
    assert not survives(breaks, copy)
    assert survives(breaks_not, copy)
    assert (copy / 'chainer_ssd' / breaks.file).read_text('utf-8') == text
