"""CUDA sources and their lazily compiled launchers, CuPy arrays in and out."""
