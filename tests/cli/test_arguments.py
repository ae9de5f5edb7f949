"""What the sub-commands share."""

import argparse
import re

import pytest

from chainer_ssd._options import check_fraction, check_positive_number, check_ratio
from chainer_ssd.cli import _arguments, create_parser, main


@pytest.fixture
def parser():
    return argparse.ArgumentParser(prog='some')


@pytest.mark.parametrize(
    ('error', 'status', 'line'),
    [
        (ValueError('bad:\n  value'), 2, 'some: error: bad: value\n'),
        (FileNotFoundError('no such list'), 2, 'some: error: no such list\n'),
        (KeyboardInterrupt(), 130, 'some: interrupted\n'),
        (
            KeyboardInterrupt('interrupted after iteration 3'),
            130,
            'some: interrupted after iteration 3\n',
        ),
    ],
)
def test_an_error_gives_one_line(parser, capsys, error, status, line):
    with pytest.raises(SystemExit) as end, _arguments.exit_in_one_line(parser):
        raise error
    assert end.value.code == status and capsys.readouterr().err == line


def test_a_fault_of_the_program_keeps_its_traceback(parser):
    with pytest.raises(IndexError), _arguments.exit_in_one_line(parser):
        raise IndexError
    with pytest.raises(ValueError), _arguments.exit_in_one_line(parser, ()):
        raise ValueError


def test_without_cupy_the_option_and_the_cure_are_named(monkeypatch):
    monkeypatch.setattr(_arguments.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'--gpu 0: CuPy .* "chainer_ssd\[cuda12x\]"'):
        _arguments.use_device(0)
    assert _arguments.use_device(-1).xp.__name__ == 'numpy'


def test_a_device_that_does_not_exist_is_named(monkeypatch):
    def get_device(gpu):
        raise RuntimeError('cudaErrorInvalidDevice: invalid device ordinal')

    monkeypatch.setattr(_arguments.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(_arguments.chainer, 'get_device', get_device)
    with pytest.raises(RuntimeError, match='--gpu 7: cudaErrorInvalidDevice'):
        _arguments.use_device(7)


@pytest.mark.parametrize(
    ('parse', 'good', 'bad'),
    [
        (_arguments.integer(0), ['0', '3'], ['-1', '1.5', 'x', '']),
        (_arguments.integer(1, 9), ['1', '9'], ['0', '10']),
        (_arguments.number(check_ratio), ['0', '2.5', '1e6'], ['-1', 'nan', 'inf', 'x']),
        (_arguments.number(check_positive_number), ['0.5'], ['0', '-1', 'nan']),
        (_arguments.number(check_fraction), ['0', '1', '0.5'], ['1.01', '-0.1', 'nan']),
    ],
)
def test_numbers(parse, good, bad):
    assert [parse(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=r'.*: expected (an?|a finite) '):
            parse(text)


def find_options():
    """Returns the options of all sub-commands, but --help."""
    (subparsers,) = (
        action
        for action in create_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    return [
        pytest.param(parser, action, id=f'{name} {action.option_strings[0]}')
        for name, parser in subparsers.choices.items()
        for action in parser._actions
        if action.option_strings and action.dest != 'help'
    ]


@pytest.mark.parametrize(('parser', 'option'), find_options())
def test_the_help_of_an_option_gives_its_default(parser, option):
    text = parser._get_formatter()._expand_help(option)
    found = re.search(r'\(default: ([^)]+)\)$', text)
    if option.dest == 'root' or option.required:  # root: required for --dataset voc
        assert found is None
    elif option.default not in (None, False):
        assert found[1] == f'{option.default:g}' if option.type else str(option.default)
    else:
        assert found


@pytest.mark.parametrize('name', ['train', 'launch', 'predict', 'evaluate', 'env'])
def test_the_help_shows_the_whole_description(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, '--help'])
    printed = capsys.readouterr().out
    assert end.value.code == 0 and f'    chainer-ssd {name}' in printed
    assert printed.index('--help') < printed.index(f'    chainer-ssd {name}')


def test_a_command_is_required(capsys):
    with pytest.raises(SystemExit) as end:
        main([])
    assert end.value.code == 2 and 'required: command' in capsys.readouterr().err


@pytest.mark.parametrize('text', ['99999999999999999999', '2147483648', '9' * 5000])
def test_a_number_beyond_all_data_is_refused(text, capsys):
    with pytest.raises(SystemExit) as end:
        main(['train', '--batchsize', text])
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert 'argument --batchsize: ' in errors and 'expected' in errors
    assert len(errors.splitlines()[-1]) < 300
