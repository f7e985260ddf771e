"""Roles that are played by models with prompts, by functions as actors, and by runnables.

Each takes a `core.roles.View` and knows nothing of trees, stores or graphs: `nodes` decides when it is called
and what happens with its feedback.
"""
