"""The whole hub in virtual time: its real actors, real core and real store; simulated sidecars, people and network.

A run is a pure function of its `Plan`, and a plan of its seed. `world.run(plan)` is the way in; `python -m hubsim`
runs many. Everything a run may not do alike twice (clocks, randomness, the disk) comes in through `hub`.
"""
