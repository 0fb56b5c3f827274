"""The id table on a GPU, in Triton. Nothing here is imported by `embedding` itself: it needs torch and triton.

On CPU tensors the same kernels run in Triton's interpreter (slowly, for tests): set TRITON_INTERPRET=1 before the first
import of triton.
"""
