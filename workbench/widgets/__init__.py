"""Windows on the workbench's plain objects: they show one, and know no client and no file."""
