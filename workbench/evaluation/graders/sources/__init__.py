"""The sources of ready-made python graders: each file is sent as it stands, and runs on any service.

Each imports only what Azure's python graders have, and ends in ``grade(sample, item)``; ``explain`` says
the reason in words, where somebody asks for it.
"""
