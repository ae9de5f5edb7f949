"""Fuzzers: the property tests with random input for a set time, and the parsers with any bytes.

    python -m tests.fuzz --seconds 1800
    python -m tests.fuzz --seconds 60 --target matching --target coco

Two kinds of targets exist.

A *property* is a Hypothesis test of the test suite that compares an implementation with an oracle.
Hypothesis runs it on examples that it makes from random bytes.

A *parser* reads a file that a stranger may have written. Atheris changes the bytes so that new
lines of the package run (coverage-guided fuzzing). A parser must return or raise an error that
names the file, in bounded time and memory.
"""
