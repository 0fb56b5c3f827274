"""Settings of the tests with TorchRec."""

import torch

torch.set_num_threads(1)  # small batches: more threads only wait for each other
