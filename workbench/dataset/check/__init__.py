"""Everything that is wrong with training data, or worth knowing about it, before anybody pays for training.

``check`` looks at datasets and at files of any size. ``lines`` reads one line, ``rules`` judges what it
holds, ``pieces`` spreads the work over cores and machines, and ``report`` is what comes out.
"""
