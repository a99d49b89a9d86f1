"""What travels between driver, workers and launchers: authentication, frames and connections, and
one record for each message and file.

Knows no state of a gang and no run; those are harpy.gang's and harpy.session's.
"""
