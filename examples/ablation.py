"""What each part of the training brings: trains without it, three times, and prints a table.

    python examples/ablation.py --root path/to/BCCD --jobs 2

Each run is train.py with the options of a row; what follows -- goes to all of them. Stopped and
started again it goes on: a run whose result.json is there is not repeated. --jobs 0 only prints.
"""
import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

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
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    add = parser.add_argument
    add('--root', required=True, help="a folder in Pascal VOC's layout")
    add('--out', type=Path, default='ablation', help='folder for the runs')
    add('--jobs', type=int, default=1, help='runs side by side; 0: only print the table')
    add('--seeds', type=int, default=3)
    add('options', nargs='*', help='after --: options of train.py for all rows')
    args = parser.parse_args()
    seeds = range(args.seeds)
    if args.jobs:
        # Seed by seed: stopped early, the table is of all rows.
        runs = [(name, seed) for seed in seeds for name in ROWS]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            statuses = pool.map(lambda run: train(args, *run), runs)
            for run, status in zip(runs, statuses):  # as they end, not after the last
                if status:
                    print(f'failed: see {folder(args.out, *run) / "said"}', file=sys.stderr)
    print('\n'.join(table(args.out, seeds)))


def folder(out, name, seed):
    return out / name.replace(' ', '_').replace(',', '').replace("'", '') / str(seed)


def train(args, name, seed):
    """Runs train.py unless that was done; its exit status."""
    out = folder(args.out, name, seed)
    if (out / 'result.json').exists():
        return 0
    out.mkdir(parents=True, exist_ok=True)
    is_told = any(option.startswith('--iteration') for option in args.options)
    length = [] if is_told else ['--epoch', str(EPOCH)]
    command = [sys.executable, Path(__file__).with_name('train.py'), '--dataset', 'voc',
               '--root', args.root, *length, *ROWS[name], '--seed', str(seed),
               '--out', out, '--resume', 'auto', *args.options]
    environment = {'OPENBLAS_NUM_THREADS': '1', **os.environ}  # one core a run
    with open(out / 'said', 'w', encoding='utf-8') as said:
        return subprocess.run(command, env=environment, stdout=said, stderr=said).returncode


def table(out, seeds):
    """Lines of Markdown; rows without a result are left out."""
    yield '| | mAP | difference | positives an image | recall of the matching | runs |'
    yield '|---|---|---|---|---|---|'
    default = None
    for name in ROWS:
        paths = [folder(out, name, seed) / 'result.json' for seed in seeds]
        results = [json.loads(path.read_text(encoding='utf-8')) for path in paths if path.exists()]
        if not results:
            continue
        maps = [result['map'] or 0 for result in results]
        mean, spread = statistics.mean(maps), statistics.stdev(maps) if len(maps) > 1 else 0
        default = mean if name == 'default' else default
        difference = '' if default is None or name == 'default' else f'{mean - default:+.3f}'
        n_positive, recall = (statistics.mean(result['match'][figure] for result in results)
                              for figure in ('n_positive', 'recall'))
        yield (f'| {name} | {mean:.3f} ± {spread:.3f} | {difference} | {n_positive:.1f} '
               f'| {recall:.3f} | {len(results)} |')


if __name__ == '__main__':
    main()
