"""Studies: train many configurations with several seeds each, and compare them with uncertainty.

- What is studied: `spec` (the specification), `search_space`, `configurations`, `search`.
- How it runs: `store`, `lease`, `job_planner`, `execution_plan`, `study_training`,
  `run_checkpoints`, `run_output`, `runner`.
- What is read: `results`, `results_reader`.
- What it says: `compare`, `random_effects`, `intervals`, `bootstrap`, `findings`, `stopping_point`.
"""
