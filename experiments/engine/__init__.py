"""Training on mmengine's Runner, and inference; mmengine's quirks live here and nowhere else."""
