"""What runs inside a sandbox: a process of its own that seals itself and then runs a stranger's grader.

These files are started by path, without the rest of the workbench, and use nothing beyond the standard
library. Whoever starts and asks such a process is in ``workbench.evaluation.graders.sandboxes``.
"""
