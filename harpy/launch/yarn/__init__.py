"""Workers as the tasks of a MapReduce job on YARN; the Java that runs there is in java/."""
