"""Sweeps: W&B's sweep.yaml on one machine, without account or network, each point ending once.

sweep.yaml -> `space` (points) -> `coordinator` (who runs next, what an end means) -> `executors`
(processes) -> a folder a trial, written by the trial itself; `ledger` remembers what happened,
`state` folds it. Nothing here imports torch: a trial is a subprocess known by its
record.json and curves.jsonl.
"""
