"""Everything that is wrong with training data, or worth knowing about it, before anybody pays for training.

``check`` takes datasets and files of any size. ``rules`` is the table of all rules, ``row`` reads one
line, and ``report`` is what comes out.
"""
