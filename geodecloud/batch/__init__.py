"""Restore many scenes: skip those that are done, give the others to workers, record the results.

One process owns the batch: the one that the user starts. It restores nothing itself. In it run

- ``folder.py``: the batch from request to last result; start reading here,
- ``search.py``, ``plan.py``, ``watch.py``: which scenes there are, and the outputs of each,
- ``scheduler.py``: jobs to idle workers, and a second attempt after a failure,
- ``record.py``, ``manifest.py``: results, on the display and in the folder of the outputs,
- ``crew.py``: the workers that the user wants,
- ``local.py`` or ``dask.py``: workers of this machine or of a Dask cluster, as the owner sees them.

In each worker run

- ``worker.py``: one scene after another, each with a result that is a value,
- ``local_worker.py`` or ``dask_worker.py``: what receives scenes and sends results.

``events.py`` holds the protocols between them. The bars and the options of the command line
stand in ``geodecloud/cli``: no module here imports typer, and no worker needs it.
"""
