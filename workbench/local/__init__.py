"""The local service: fine-tuning and chat on this machine, behind Azure OpenAI's own REST API.

It runs as a process of its own and is talked to over HTTP only: ``process`` finds, starts and
stops it. ``app`` answers, ``store`` remembers, ``workers`` train and run the models; torch is
loaded by the workers' processes and by nobody else.
"""
