"""File systems: the interface, HDFS, local disks, and others through fsspec. Knows no rows."""
