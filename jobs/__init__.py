"""Job programs. They see the Context they are called with and harpy.kernels, nothing of Hadoop."""
