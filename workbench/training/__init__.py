"""Training: starting a job or finding it again, following it, and reading its loss curve.

``jobs`` talks to the service, ``curve`` is pure. What a job costs and whether
its result is any good is answered elsewhere.
"""
