"""Estimators that fit on a session."""
