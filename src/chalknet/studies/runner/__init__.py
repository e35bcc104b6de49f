"""Train the runs of a study on workers: processes of this machine, or actors of a Ray cluster.

- `scheduler`: `WorkQueue` claims runs in the store, `Scheduler` gives them to workers.
- `local_pool` and `processes`: workers as processes. `ray_pool`: workers as Ray actors.
- `worker`: what runs in a worker. `protocol`: the messages. `samples`: the files that hold the
  samples.
"""
