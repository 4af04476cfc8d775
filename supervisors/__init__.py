"""OTP's supervision for Thespian: specs, supervisors, a registry, and the base class of supervised actors.

Knows nothing of tasks or agents (but for `tree.py`, which is the hub's own tree).
"""
