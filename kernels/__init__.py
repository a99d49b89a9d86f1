"""Native code: each room is C++ with a thin Cython face."""
