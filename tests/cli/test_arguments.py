"""examples/arguments.py"""

import argparse

import pytest

from tests.cli import detector_folder  # noqa: F401  (examples can be imported)

import arguments  # isort: skip


@pytest.fixture
def parser():
    return argparse.ArgumentParser(prog='some.py')


@pytest.mark.parametrize(
    ('error', 'status', 'line'),
    [
        (ValueError('bad:\n  value'), 2, 'some.py: error: bad: value\n'),
        (FileNotFoundError('no such list'), 2, 'some.py: error: no such list\n'),
        (KeyboardInterrupt(), 130, 'some.py: interrupted\n'),
        (
            KeyboardInterrupt('interrupted after iteration 3'),
            130,
            'some.py: interrupted after iteration 3\n',
        ),
    ],
)
def test_a_script_ends_with_one_line(parser, capsys, error, status, line):
    with pytest.raises(SystemExit) as end, arguments.told_in_one_line(parser):
        raise error
    assert end.value.code == status and capsys.readouterr().err == line


def test_what_is_a_mistake_of_the_program_is_not_hidden(parser):
    with pytest.raises(IndexError), arguments.told_in_one_line(parser):
        raise IndexError
    with pytest.raises(ValueError), arguments.told_in_one_line(parser, ()):
        raise ValueError


def test_without_cupy_the_option_and_the_command_are_named(monkeypatch):
    monkeypatch.setattr(arguments.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'--gpu 0: CuPy .* "chainer_ssd\[cuda12x\]"'):
        arguments.use_device(0)
    assert arguments.use_device(-1).xp.__name__ == 'numpy'


def test_a_device_that_is_not_there_is_named(monkeypatch):
    def get_device(gpu):
        raise RuntimeError('cudaErrorInvalidDevice: invalid device ordinal')

    monkeypatch.setattr(arguments.importlib.util, 'find_spec', lambda name: True)
    monkeypatch.setattr(arguments.chainer, 'get_device', get_device)
    with pytest.raises(RuntimeError, match='--gpu 7: cudaErrorInvalidDevice'):
        arguments.use_device(7)


@pytest.mark.parametrize(
    ('kind', 'good', 'bad'),
    [
        ('natural', ['0', '3'], ['-1']),
        ('positive', ['1'], ['0', '-1']),
        ('ratio', ['0', '2.5'], ['-1', 'nan', 'inf']),
        ('scale', ['0.5'], ['0', '-1', 'nan']),
        ('share', ['0', '1', '0.5'], ['1.01', '-0.1', 'nan']),
    ],
)
def test_numbers(kind, good, bad):
    convert = getattr(arguments, kind)
    assert [convert(text) for text in good] == [float(text) for text in good]
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f'{text}: expected'):
            convert(text)


def test_the_help_shows_the_whole_text(capsys):
    parser = arguments.parser_of('Does it.\n\n    some.py --root path\n\nIn two\nlines.')
    with pytest.raises(SystemExit):
        parser.parse_args(['--help'])
    shown = capsys.readouterr().out
    assert shown.index('Does it.') < shown.index('--help') < shown.index('    some.py --root path')
    assert shown.endswith('In two\nlines.\n')
