"""Plain diffusers (benchmarks/pipeline.py) behind other servers, as their own documentation recommends."""
