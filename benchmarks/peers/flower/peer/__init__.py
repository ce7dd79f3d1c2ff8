"""The common work as an app of Flower; task.py is laid beside these files when it runs."""
