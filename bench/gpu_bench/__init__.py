"""Parts of the GPU bench; `bench/bench_gpu.py` runs them."""
