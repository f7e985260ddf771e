"""Slots: which model a role's calls are sent to, and how that changes while loops run.

Knows bindings, routes (fallbacks and splits), swaps, and the ids of trees and attempts. Does not know what is
asked, nor how a model is reached.
"""
