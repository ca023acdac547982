"""The local service: fine-tuning and chat on this machine, behind Azure OpenAI's own REST API.

It runs as a process of its own and is talked to over HTTP only: ``process`` finds, starts and
stops it. ``api`` answers, ``storage`` remembers, ``workers`` look after the child processes in
which ``engine`` trains and runs the models; torch is loaded there and nowhere else.
"""
