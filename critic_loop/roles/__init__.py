"""Roles that are played by models with prompts, by functions as actors, and by runnables.

Each is made of a `core.roles.View` and knows nothing of trees, stores or graphs: who calls it, and what
becomes of what it says, is decided in `nodes`.
"""
