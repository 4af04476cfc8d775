"""What holds for every test.

Property tests draw the same examples at each run, so that a run says something about the change and not about luck.
`HYPOTHESIS_PROFILE=explore` draws new ones: leave it running when you look for trouble.
"""

import os

from hypothesis import settings

settings.register_profile("steady", derandomize=True, print_blob=True, deadline=None)
settings.register_profile("explore", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
