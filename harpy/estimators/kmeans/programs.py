"""The job programs of k-means, by the names under which workers import them."""

FIT = "harpy.jobs.kmeans:main"
PREDICT = "harpy.jobs.kmeans:predict"
SCORE = "harpy.jobs.kmeans:inertia"
