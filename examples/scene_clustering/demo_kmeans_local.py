"""Cluster pictures with k-means and score the clusters: a tutorial in two versions.

    python demo_kmeans_….py          scikit-learn's digits
    python demo_kmeans_….py DIR      photographs, one folder per class

What changes when it moves to a Hadoop cluster: diff demo_kmeans_local.py demo_kmeans_daal.py
"""

import sys
from pathlib import Path
from time import perf_counter

from sklearn.cluster import KMeans

from harpy.demo.comparison import score, score_header, score_line
from harpy.demo.pictures import load_digits, load_photographs


def main() -> None:
    # ---------- extract features --------------------------------------------
    pictures = load_photographs(Path(sys.argv[1])) if len(sys.argv) > 1 else load_digits()
    n_classes = len(pictures.class_names)

    # ---------- call k-means ------------------------------------------------
    model = KMeans(
        n_clusters=n_classes,
        max_iter=1000,
        tol=0,
        n_init=1,
        random_state=0,
        init="random",
    )
    start = perf_counter()
    model.fit(pictures.X)
    seconds = perf_counter() - start

    # ---------- evaluate ----------------------------------------------------
    scores = score(pictures.X, pictures.classes, model.labels_)
    print(score_header())
    print(score_line(type(model).__name__, seconds, model.inertia_, scores))


if __name__ == "__main__":
    main()
