"""The benchmarks measure what they report. ``make bench`` prints their figures."""

import time

import pytest

from chainer_ssd import SSDMini
from chainer_ssd.functions import convolution_2d
from tests.benchmarks import _report, _timing, bench_convolution, bench_export, bench_loss


def test_compare_distinguishes_slow_from_fast():
    def spin(seconds):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    case = _timing.Case(
        'a title',
        {'slow': lambda: spin(0.008), 'fast': lambda: spin(0.001)},
        'slow',
        goal='a goal',
        floor='fast',
        items_per_call=4,
    )
    timings = _timing.compare(case, seconds=0)
    fast = timings['fast']
    assert fast.minimum <= fast.median <= fast.maximum
    assert 3 < fast.speedup < 9 and timings['slow'].speedup == 1
    assert fast.floor_ratio == 1 and 3 < timings['slow'].floor_ratio < 9
    table = _report.table(case, timings)
    assert 'a title' in table and 'a goal' in table and 'slow' in table


def test_peak_memory_includes_results_and_freed_memory():
    assert 3e6 <= _timing.measure_peak_bytes(lambda: (bytes(10**6), bytes(2 * 10**6))) < 3.1e6
    assert 2e6 <= _timing.measure_peak_bytes(lambda: len(bytes(2 * 10**6))) < 2.1e6


def test_the_losses_agree(monkeypatch):
    monkeypatch.setattr(bench_loss, 'SHAPES', [('small', 2, 300, 5, '')])
    (case,) = bench_loss.cases()  # checks its functions
    wrong = dict(case.functions, wrong=lambda: [2 * x for x in case.functions['fused node']()])
    with pytest.raises(AssertionError, match='wrong'):
        bench_loss.check(wrong)


def test_the_plot_is_drawn(tmp_path):
    pytest.importorskip('matplotlib', reason='the plot extra is not installed')
    case = _timing.Case('a title', {'slow': lambda: sum(range(9999)), 'fast': int}, 'slow')
    _report.plot([(case, _timing.compare(case, 0))], tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 1000


def test_the_convolutions_agree():
    model = SSDMini(3, 32)
    layers = bench_convolution.find_layers(model, (2, 3, 32, 32))
    assert len(layers) == 18
    case = bench_convolution.compare_layers('a title', layers)  # checks its functions
    for function in case.functions.values():
        function()

    def run(scale=1):
        for layer in layers:
            results = bench_convolution.run_layer(convolution_2d, *layer)
            yield [scale * array for array in results]

    with pytest.raises(AssertionError, match='wrong'):
        bench_convolution.check({bench_convolution.REFERENCE: run, 'wrong': lambda: run(2)})


def test_a_step_without_a_loss_updates_the_model():
    models = []

    def make():
        models.append(SSDMini(3, 32))
        return models[-1]

    case = bench_convolution.compare_steps(make, 32, 2)
    before = [model.heads[0].conv.b.array.copy() for model in models]
    for function in case.functions.values():
        function()
    for model, b in zip(models, before):
        assert (model.heads[0].conv.b.array != b).any()


def test_the_exported_file_finds_the_same():
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    model = bench_export.train(64, 8)
    case = bench_export.compare(model, 2)  # checks its functions
    assert len(case.functions[bench_export.HEADS]()) == 2
    found = case.functions[bench_export.EXPORTED]()
    assert sum(len(bbox) for bbox, _, _ in found) > 20
    moved = [(bbox + 1, label, score) for bbox, label, score in found]
    with pytest.raises(AssertionError):
        bench_export.check({**case.functions, bench_export.EXPORTED: lambda: moved})
