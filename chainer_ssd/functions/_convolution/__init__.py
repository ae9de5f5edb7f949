"""Convolutions in blocks that fit in the cache: Winograd's algorithm, columns, and 1 x 1 kernels.

``docs/explanation/fast-convolution.md`` has the derivations.
"""
