"""The join over tables of numbers: their layout, the numbers of ids and objects, and the kernels."""
