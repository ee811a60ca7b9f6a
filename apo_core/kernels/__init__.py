"""Speed, nearly all of it on CPU, behind `install.install(model)`: without this folder everything still runs.

On GPUs two files are at work: `kv_cache` (no copy of the cache per token) and `attention` (of one query to
fewer key heads).
"""
