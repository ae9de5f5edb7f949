"""SciPy's linear algebra. The stand-in has none."""
