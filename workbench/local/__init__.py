"""The local service: fine-tuning and chat on this machine, behind Azure OpenAI's own REST API.

It runs as a process of its own and is talked to over HTTP only: ``process`` finds, starts and stops
it. ``api`` answers, ``store`` remembers, ``workers`` supervises the child processes in which
``training`` and ``inference`` work on a model; torch is loaded there and nowhere else.
"""
