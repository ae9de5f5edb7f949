"""Measure what each part of the training contributes: train without it, and print a table.

    python scripts/ablation.py --root path/to/BCCD --jobs 2
    python scripts/ablation.py --root path/to/BCCD -- --workers 0

Each run is `chainer-ssd train` with the options of one row. Options after -- apply to all rows.
If you interrupt the script, the next call continues: runs with a result.json are not repeated.
"""

import argparse
import concurrent.futures
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

OUTPUT_FILE = 'output.txt'  # what a run printed
EPOCH = 15  # a third of the default length
INTERRUPTED_STATUS = 130
ROWS = {
    'default': [],
    'no augmentation': ['--augmentation', 'none'],
    'flips only': ['--augmentation', 'flip'],
    'vertical flips, too': ['--vertical-flip'],
    "the paper's augmentation": ['--augmentation', 'ssd'],
    '1 hard negative per positive': ['--k', '1'],
    'all negatives, no mining': ['--k', '1e6'],
    'random negatives': ['--mining', 'random'],
    'GIoU': ['--localization', 'giou'],
    'focal loss of all boxes': ['--confidence', 'focal'],
    'background weighs half': ['--class-weight', '0.5,1'],
    'label smoothing 0.1': ['--label-smoothing', '0.1'],
    'bipartite matching only': ['--match-type', 'bipartite'],
    'default boxes twice as large': ['--box-scale', '2'],
}


def main(argv=None):
    """Train what is missing, print the table, and exit with status 1 if a run failed."""
    description, _, epilog = __doc__.partition('\n\n')
    parser = argparse.ArgumentParser(
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add('--root', required=True, help="folder of a data set in Pascal VOC's layout")
    add('--out', type=Path, default='ablation', help='folder for the runs (default: %(default)s)')
    add(
        '--jobs',
        type=int,
        default=1,
        help='runs at the same time, one core each. 0 prints the table only. '
        '(default: %(default)s)',
    )
    add('--seeds', type=int, default=3, help='runs of each row (default: %(default)s)')
    add('options', nargs='*', help='after --: options of chainer-ssd train for all rows')
    args = parser.parse_args(argv)
    if args.jobs < 0 or args.seeds < 1:
        parser.error('expected --jobs >= 0 and --seeds >= 1')
    try:
        n_failed = train_all(args) if args.jobs else 0
    except KeyboardInterrupt:
        message = 'interrupted. The same command continues'
        parser.exit(INTERRUPTED_STATUS, f'{parser.prog}: {message}\n')
    print('\n'.join(format_table(args.out, range(args.seeds))))
    if n_failed:
        parser.exit(1, f'{parser.prog}: {n_failed} failed\n')


def train_all(args):
    """Train the runs without a result, print a line for each, and return how many failed."""
    # The seed is the outer loop: if the script is stopped early, the table has all rows.
    runs = [(name, seed) for seed in range(args.seeds) for name in ROWS]
    missing = [run for run in runs if read_result(args.out, *run) is None]
    n_done = len(runs) - len(missing)
    if n_done:
        print(f'{n_done} of {len(runs)} were finished before')
    n_failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        started = {pool.submit(train, args, *run): run for run in missing}
        try:
            for n, ended in enumerate(concurrent.futures.as_completed(started), n_done + 1):
                run = started[ended]
                which = '{} of {}: {}, seed {}'.format(n, len(runs), *run)
                result = read_result(args.out, *run)
                if ended.result() or result is None:
                    n_failed += 1
                    output = get_folder(args.out, *run) / OUTPUT_FILE
                    print(f'{which}: failed, see {output}', file=sys.stderr)
                else:
                    figures = f'mAP {result["map"] or 0:.4f} after {result["seconds"]:.0f} s'
                    print(f'{which}: {figures}', flush=True)
        except KeyboardInterrupt:  # the terminal sends it to the running trainings, too
            pool.shutdown(cancel_futures=True)
            raise
    return n_failed


def get_folder(out, name, seed):
    """Return the folder of a run."""
    return out / name.replace(' ', '_').replace(',', '').replace("'", '') / str(seed)


def read_result(out, name, seed):
    """Return the content of a run's result.json, or None if the run is not finished."""
    path = get_folder(out, name, seed) / 'result.json'
    try:
        result = json.loads(path.read_text('utf-8'))
    except (OSError, ValueError):  # missing, or incomplete
        return None
    try:
        figures = result['match']['n_positive'], result['match']['recall'], result['map'] or 0
        if all(isinstance(figure, (int, float)) for figure in figures):
            return result
    except (KeyError, TypeError):
        pass
    raise SystemExit(f'{path}: not a result of chainer-ssd train. Delete it to repeat the run')


def train(args, name, seed):
    """Run chainer-ssd train, and return its exit status."""
    out = get_folder(args.out, name, seed)
    out.mkdir(parents=True, exist_ok=True)
    has_length = any(option.startswith('--iteration') for option in args.options)
    length = [] if has_length else ['--epoch', str(EPOCH)]
    command = [sys.executable, '-m', 'chainer_ssd', 'train', '--dataset', 'voc']
    command += ['--root', args.root, *length, *ROWS[name], '--seed', str(seed)]
    command += ['--out', out, '--resume', 'auto', *args.options]
    environment = {'OPENBLAS_NUM_THREADS': '1', **os.environ}
    with open(out / OUTPUT_FILE, 'w', encoding='utf-8') as output:
        return subprocess.run(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT
        ).returncode


def format_table(out, seeds):
    """Yield the lines of a Markdown table. Rows without a result are left out."""
    yield '| | mAP | difference | positives per image | recall of the matching | runs |'
    yield '|---|---|---|---|---|---|'
    default = None
    for name in ROWS:
        results = list(filter(None, (read_result(out, name, seed) for seed in seeds)))
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
