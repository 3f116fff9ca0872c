"""Run the language model in llama.cpp: write it as a GGUF file, and reports with it."""
