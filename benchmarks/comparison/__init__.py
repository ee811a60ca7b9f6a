"""The comparison of all algorithms on one task (`make compare`), and the study of A*-PO's stability.

`__main__.py` runs the comparison, `stability.py` the study. Both train in workspaces of their own
(`workspaces.py`, `trial.py`) and cache the result of every training (`cache.py`).
"""
