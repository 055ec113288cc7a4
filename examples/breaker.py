"""A circuit breaker around a service that goes down and comes back: python examples/breaker.py"""

import asyncio

from langchain_cluster import BreakerPolicy, CircuitBreaker, CircuitOpen
from langchain_cluster.testing import FakeClock

clock = FakeClock()  # stands still until it is moved, so that this takes no time; the default is the real one
breaker = CircuitBreaker(
    BreakerPolicy(consecutive_failures=3, open_for=8.0),  # seconds
    clock,
    name="search",
    counts=(ConnectionError, TimeoutError),
    on_change=lambda change: print(f"          {change.before} -> {change.state}: {change.reason}"),
)
down = True


@breaker
async def search(question: str) -> str:
    await asyncio.sleep(0)
    if down:
        raise ConnectionError("refused")
    return f"all about {question}"


async def ask() -> str:
    try:
        return await search("breakers")
    except ConnectionError as error:
        return f"failed: {error}"
    except CircuitOpen as error:
        wait = "a probe is under way" if error.retry_after is None else f"{error.retry_after:.0f} s to go"
        return f"refused at once: {error.state}, {wait}"


async def main() -> None:
    global down
    for second in range(13):
        if second == 4:
            down = False
        answers = await asyncio.gather(*(ask() for _ in range(2)))
        print(f"{second:>4} s    {' | '.join(answers)}")
        clock.advance(1.0)
    print(breaker)


asyncio.run(main())
