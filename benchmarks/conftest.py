"""By lying here it lets the tests of this folder import what a benchmark imports when it is run:
pytest puts a conftest.py's folder on the path."""
