"""Samples and labels: reading, splitting, scaling, augmentation and audits.

`load_data` reads any supported source into a `Dataset`, `split_dataset` divides it, and `audit`
looks for duplicates and other problems. Modules of this package import only each other and the root
modules of chalknet (config, errors, files, formatting).
"""
