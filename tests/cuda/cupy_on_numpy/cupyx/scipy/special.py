"""SciPy's special functions. The stand-in has none."""
