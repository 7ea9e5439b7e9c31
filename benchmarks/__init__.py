"""What is run by hand: the GPU gate, kernels beside cuDNN, the memory of training, the papers' ablation."""
