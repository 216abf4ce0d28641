"""A network as an ExecuTorch program (.pte) for XNNPACK's kernels, and run by ExecuTorch."""
