"""The command ``chainer-ssd``: train, predict, evaluate, check, export, launch, env."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence

from chainer_ssd.cli import check, env, evaluate, export, launch, predict, train
from chainer_ssd.cli._arguments import split_doc

COMMANDS = {
    'train': train,
    'predict': predict,
    'evaluate': evaluate,
    'check': check,
    'export': export,
    'launch': launch,
    'env': env,
}


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command."""
    parser = argparse.ArgumentParser(
        prog='chainer-ssd', description='Train, use and evaluate SSD detectors with Chainer.'
    )
    subparsers = parser.add_subparsers(dest='command', metavar='command', required=True)
    for name, module in COMMANDS.items():
        description, epilog = split_doc(module.__doc__)
        subparser = subparsers.add_parser(
            name,
            help=description,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(parser=subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the command's name. Default: those of the process.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, 'reconfigure'):  # a name that the terminal cannot show is no error
            stream.reconfigure(errors='backslashreplace')
    argv = sys.argv[1:] if argv is None else argv
    top_parser = create_parser()
    args = top_parser.parse_args(argv)
    args.command_line = shlex.join([top_parser.prog, *argv])
    parser = args.parser
    del args.parser
    COMMANDS[args.command].run(args, parser)
