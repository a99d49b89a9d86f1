"""The demo: pictures clustered by scikit-learn and by DAALKMeans side by side, with scores."""
