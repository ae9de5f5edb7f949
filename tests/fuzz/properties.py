"""Run one property test on random examples for some time, and print the number of cases.

python -m tests.fuzz.properties matching --seconds 60 --seed 1
"""

import argparse
import importlib
import json
import time
import traceback
import warnings

import numpy as np

#: Property tests by the name of the fuzzer: each compares an implementation with its oracle.
PROPERTIES = {
    'loss, fused and definition': 'tests.functions.fused.test_node:test_equals_the_definition',
    'loss, special values': 'tests.functions.fused.test_node_special:test_equals_the_definition',
    'loss, float64 oracle': 'tests.functions.test_multibox_loss:test_equals_the_reference',
    'ssd_loss': 'tests.functions.test_ssd_loss:test_equals_the_reference',
    'MultiBoxLoss': 'tests.functions.test_ssd_pytorch:test_equals_the_reference',
    'matching, exact': 'tests.ops.test_matching_exact:test_match_equals_exact_arithmetic',
    'matching': 'tests.ops.test_matching:test_match_equals_the_loop',
    'encoding': 'tests.ops.test_coding:test_encode_equals_the_loop',
    'mining': 'tests.ops.test_mining:test_hard_negatives_equal_the_reference',
    'suppression': 'tests.ops.test_nms:test_the_kept_boxes_equal_the_loop',
    'VOC evaluation': 'tests.evaluation.test_eval_detection_voc:test_equals_the_definition',
    'COCO evaluation': 'tests.evaluation.test_eval_detection_coco:test_equals_the_definition',
}
#: Hypothesis reads an example from so many bytes. It rejects input that is too short.
EXAMPLE_BYTES = 4096


def load_property(name):
    """Return the Hypothesis test of a fuzzer."""
    module, function = PROPERTIES[name].split(':')
    return getattr(importlib.import_module(module), function)


def run_property(test, seconds, seed, max_cases=float('inf')):
    """Run a property test on random examples.

    Parameters
    ----------
    test : function
        A test that ``hypothesis.given`` decorates.
    seconds : float
        Stop after this time.
    seed : int
        Seed of the random bytes.
    max_cases : float
        Stop after so many examples.

    Returns
    -------
    int, str or None
        Number of examples, and the traceback of the failure.
    """
    random = np.random.default_rng(seed)
    n_case = 0
    stop = time.monotonic() + seconds
    fuzz_one_input = test.hypothesis.fuzz_one_input
    while time.monotonic() < stop and n_case < max_cases:
        try:
            # None means that the bytes describe no example.
            n_case += fuzz_one_input(random.bytes(EXAMPLE_BYTES)) is not None
        except Exception:
            return n_case + 1, traceback.format_exc()
    return n_case, None


def main():
    """Run the property that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('property', choices=PROPERTIES)
    parser.add_argument('--seconds', type=float, default=60)
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter('ignore')
    start = time.monotonic()
    n_case, failure = run_property(load_property(args.property), args.seconds, args.seed)
    print(
        json.dumps({'cases': n_case, 'seconds': time.monotonic() - start, 'failure': failure}),
        flush=True,
    )


if __name__ == '__main__':
    main()
