"""Mutants: each breaks one core line, and the tests must notice.

    python -m tests.mutants
    python -m tests.mutants --only ops/matching.py

A *mutant* is a copy of the package with one changed line. It is *killed* if the tests that are
named beside it fail, and *survives* if they pass. A survivor shows a rule that no test holds.
``table.py`` lists the mutants.

The mutants are written by hand and not generated. A generator makes thousands of them, most of
which break nothing that matters. Each of these breaks a rule of the objective.
"""
