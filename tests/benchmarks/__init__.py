"""Speed and memory, side by side in one run: ``python -m tests.benchmarks [loss match ...]``.

A bench module ``bench_<name>.py`` holds one public function::

    def cases():
        '''Yields one Case after the other, so that each frees its arrays before the next.'''
        yield Case(
            title='loss forward + backward, VOC300: B=32, K=8,732, C=21',
            ways={'ChainerCV\'s way': f, 'ours': g, 'floor': h},  # zero-argument callables
            reference='ChainerCV\'s way',  # "times faster" is said of this one
            asked='11 x at least, aim 13 x',  # said under the title; '' if nothing was
            floor='floor',  # the way that nothing can beat, or None
            logits=nbytes,  # peak memory is said relative to it; None: not measured
            per_call=32,  # items that one call handles: gives items per second; None: left out
        )

``Case`` comes from ``tests.benchmarks._timing``, which calls all ways of a case in turn, round
after round, so that what else the machine does falls on all alike, and takes median, minimum and
maximum of the rounds. Time is processor time of this process, all threads together: what other
programs take from the clock is not counted. What a way needs is made before its case is yielded,
is warm when it is timed, and is checked there to give the answer of the others: a fast wrong
answer is no figure. ``__main__.py`` finds the modules by their names, pins every thread pool to
one thread before NumPy is imported, and writes one text table and, with ``--plot FILE``, a plot.
"""
