"""A network whose values and kernels lie on the grids of 8 bits that runtimes compute with."""
