"""Training on this machine: one run loop, LoRA adapters, packing, and the process that trains a job."""
