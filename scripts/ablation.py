"""What each part of the training brings: trains without it, three times, and prints a table.

    python examples/ablation.py --root path/to/BCCD --jobs 2

Each run is train.py with the options of a row; what follows -- goes to all of them. Stopped and
started again it goes on: a run whose result.json is there is not repeated. --jobs 0 only prints.
"""

import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from chainer_ssd.cli._arguments import natural, parser_of, positive, told_in_one_line

SAID = 'said'  # what a run printed
EPOCH = 15  # a third of the default: nine rows, three seeds
ROWS = {
    'default': [],
    'no augmentation': ['--augmentation', 'none'],
    'flips only': ['--augmentation', 'flip'],
    'flips top to bottom, too': ['--vertical-flip'],
    "the paper's augmentation": ['--augmentation', 'ssd'],
    '1 hard negative a positive': ['--k', '1'],
    'all negatives, no mining': ['--k', '1e6'],
    'bipartite matching only': ['--match-type', 'bipartite'],
    'default boxes twice as large': ['--box-scale', '2'],
}


def main():
    parser = parser_of(__doc__)
    add = parser.add_argument
    add('--root', required=True, help="a folder in Pascal VOC's layout")
    add('--out', type=Path, default='ablation', help='folder for the runs (%(default)s)')
    add(
        '--jobs',
        type=natural,
        default=1,
        help='runs side by side, 0: only print the table (%(default)s)',
    )
    add('--seeds', type=positive, default=3, help='runs of a row (%(default)s)')
    add('options', nargs='*', help='after --: options of train.py for all rows')
    args = parser.parse_args()
    with told_in_one_line(parser):
        n_failed = train_all(args) if args.jobs else 0
        print('\n'.join(table(args.out, range(args.seeds))))
    if n_failed:
        parser.exit(1, f'{parser.prog}: {n_failed} failed\n')


def train_all(args):
    """Trains what has no result yet, with a line as each run ends; how many failed."""
    # Seed by seed: stopped early, the table is of all rows.
    runs = [(name, seed) for seed in range(args.seeds) for name in ROWS]
    missing = [run for run in runs if result_of(args.out, *run) is None]
    n_done = len(runs) - len(missing)
    if n_done:
        print(f'{n_done} of {len(runs)} were there')
    n_failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        started = {pool.submit(train, args, *run): run for run in missing}
        try:
            for n, ended in enumerate(concurrent.futures.as_completed(started), n_done + 1):
                which = '{} of {}: {}, seed {}: '.format(n, len(runs), *started[ended])
                if ended.result():
                    n_failed += 1
                    said = folder(args.out, *started[ended]) / SAID
                    print(f'{which}failed, see {said}', file=sys.stderr)
                else:
                    result = result_of(args.out, *started[ended])
                    print(
                        f'{which}mAP {result["map"] or 0:.4f} after {result["seconds"]:.0f} s',
                        flush=True,
                    )
        except KeyboardInterrupt:  # the runs under way have heard it, too
            pool.shutdown(cancel_futures=True)
            raise KeyboardInterrupt('interrupted; started again it goes on') from None
    return n_failed


def folder(out, name, seed):
    return out / name.replace(' ', '_').replace(',', '').replace("'", '') / str(seed)


def result_of(out, name, seed):
    """What result.json says; None if there is none yet."""
    path = folder(out, name, seed) / 'result.json'
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else None


def train(args, name, seed):
    """Runs train.py; its exit status."""
    out = folder(args.out, name, seed)
    out.mkdir(parents=True, exist_ok=True)
    is_told = any(option.startswith('--iteration') for option in args.options)
    length = [] if is_told else ['--epoch', str(EPOCH)]
    command = [
        sys.executable,
        Path(__file__).with_name('train.py'),
        '--dataset',
        'voc',
        '--root',
        args.root,
        *length,
        *ROWS[name],
        '--seed',
        str(seed),
        '--out',
        out,
        '--resume',
        'auto',
        *args.options,
    ]
    environment = {'OPENBLAS_NUM_THREADS': '1', **os.environ}  # one core a run
    with open(out / SAID, 'w', encoding='utf-8') as said:
        return subprocess.run(command, env=environment, stdout=said, stderr=said).returncode


def table(out, seeds):
    """Lines of Markdown; rows without a result are left out."""
    yield '| | mAP | difference | positives an image | recall of the matching | runs |'
    yield '|---|---|---|---|---|---|'
    default = None
    for name in ROWS:
        results = list(filter(None, (result_of(out, name, seed) for seed in seeds)))
        if not results:
            continue
        maps = [result['map'] or 0 for result in results]
        mean, spread = statistics.mean(maps), statistics.stdev(maps) if len(maps) > 1 else 0
        default = mean if name == 'default' else default
        difference = '' if default is None or name == 'default' else f'{mean - default:+.3f}'
        n_positive, recall = (
            statistics.mean(result['match'][figure] for result in results)
            for figure in ('n_positive', 'recall')
        )
        yield (
            f'| {name} | {mean:.3f} ± {spread:.3f} | {difference} | {n_positive:.1f} '
            f'| {recall:.3f} | {len(results)} |'
        )


if __name__ == '__main__':
    main()
