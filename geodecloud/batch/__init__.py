"""Restore many scenes: skip those that are done, give the others to workers, record the results.

The process that the user starts owns the batch, and restores nothing itself. These modules run in
it:

- ``folder.py``: the batch from request to last result; start reading here,
- ``search.py``, ``plan.py``, ``watch.py``: which scenes there are, and the outputs of each,
- ``scheduler.py``: jobs to idle workers, and a second attempt after a failure,
- ``record.py``, ``manifest.py``: results, on the display and in the folder of the outputs,
- ``crew.py``: the workers that the user wants,
- ``local.py`` or ``dask.py``: the owner's end of the workers of this machine or a Dask cluster.

These modules run in each worker:

- ``worker.py``: restores one scene after another; a failure is a result, not an exception,
- ``local_worker.py`` or ``dask_worker.py``: receives scenes and sends results.

``events.py`` holds the protocols between them. The progress bars and the options of the
command line are in ``geodecloud/cli``: no module here imports typer, and no worker needs it.
"""
