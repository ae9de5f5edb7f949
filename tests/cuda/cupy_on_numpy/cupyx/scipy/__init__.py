"""SciPy's functions. The stand-in has none."""
