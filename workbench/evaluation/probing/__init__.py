"""Questions that have nothing to do with the task: what did the model forget while it learnt?"""
