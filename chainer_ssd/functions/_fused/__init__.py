"""Everything that exists for speed only: the function node, mining, memory and CUDA kernels.

``docs/explanation/fast-loss.md`` has the derivations.
"""
