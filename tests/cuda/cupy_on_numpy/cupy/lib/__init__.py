"""Parts of ``numpy.lib``."""
