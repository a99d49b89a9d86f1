"""What travels between driver, workers and hub: frames, authentication, connections, runs and
causes as JSON.

Knows no state of a gang and no run; those are harpy.gang's and harpy.session's.
"""
