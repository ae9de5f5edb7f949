"""Speed and memory of implementations, compared in one process.

Usage: ``python -m tests.benchmarks [loss match ...]``.

Each module ``bench_<name>.py`` has one public generator. It yields one case at a time, so that the
arrays of a case are freed before the next::

    def cases():
        yield Case(
            title='loss forward + backward, VOC300: B=32, K=8,732, C=21',
            functions={"ChainerCV's computation": f, 'fused node': g, 'floor': h},
            reference="ChainerCV's computation",
            goal='at least 11 x, aim 13 x',
            floor='floor',
            input_bytes=nbytes,
            items_per_call=32,
        )

``tests.benchmarks._timing`` calls all functions of a case in turn, round after round. Other load on
the machine then affects all of them equally. It reports median, minimum and maximum over rounds.
Times are processor times of this process, summed over threads, so other processes do not count.

A benchmark module prepares the inputs before it yields a case. It also checks that all functions
return the same result. ``__main__.py`` limits all thread pools to one thread before it imports
NumPy. It writes a table and, with ``--plot FILE``, a plot.
"""
