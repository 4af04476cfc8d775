"""Actor classes that a test defines inside itself, made findable by name as strict mode wants them."""

import sys


def importable(actor_class):
    module = sys.modules[actor_class.__module__]
    actor_class.__qualname__ = actor_class.__name__ = f"Local{len(vars(module))}{actor_class.__name__}"
    setattr(module, actor_class.__name__, actor_class)
    return actor_class
