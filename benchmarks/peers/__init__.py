"""The rooms of benchmarks/kmeans_peers.py: data, libraries, clocks, marks, the machine, reports."""
