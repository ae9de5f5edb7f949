"""Names of CuPy's internals that other packages import."""


class PerformanceWarning(Warning):
    """CuPy's warning of slow code."""
