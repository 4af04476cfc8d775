"""How fast the hub is: a load process, a real hub, and a table with the aims beside the figures.

Run as `python -m benchmarks`; `docs/how-to/measure.md` says what each figure means.
May import: agentcom.protocol, agentcom.cli.main in the launched hub only, and agentcom.web.server in the bare one.
"""
