"""Many scenes: plan, skip what is done, restore the rest, one result each.

Start reading at ``run.py``. ``plan.py`` says which scenes there are and where each goes,
``manifest.py`` remembers what was done, ``restorer.py`` restores one scene inside a worker; workers
are processes of this machine (``local.py``) or of a Dask cluster (``cluster.py``).
"""
