"""The store that training uses: one machine's CPU, in Numba kernels."""
