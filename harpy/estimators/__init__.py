"""Estimators with scikit-learn's interface whose fits run as programs on a session.

What they share lies here and knows none of them; each has a room of its own (`kmeans/`). An
estimator derives from `SavedEstimator` (model_files.py), or from `LabellingEstimator` (labels.py)
where it labels rows; it takes rows by rows.py and files.py, and gives its program to `_run`.
"""
