"""DAALKMeans: k-means with scikit-learn's interface."""
