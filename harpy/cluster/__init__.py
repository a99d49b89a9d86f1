"""The embedded cluster: a real HDFS and YARN on one machine, from Maven Central's jars.

Owns fetching, configuring, starting, finding and stopping it; knows nothing of sessions or jobs.
"""
