"""Inference on this machine: batched decoding over a KV cache, LoRA adapters side by side, the worker."""
