"""Train the runs of a study on workers: processes of this machine, or actors of a Ray cluster."""
