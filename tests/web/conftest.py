import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agentcom.config import Config
from tests.web.troupe import Hub, running

Scene = Callable[[Hub], Coroutine[Any, Any, None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    """Runs a coroutine function against a running edge."""

    def run(scene: Scene, config: Config | None = None, **options: Any) -> None:
        async def inside() -> None:
            async with running(config or Config(), tmp_path / "data", **options) as hub:
                await asyncio.wait_for(scene(hub), 30)

        asyncio.run(inside())

    return run
