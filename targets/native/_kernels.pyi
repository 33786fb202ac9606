from collections.abc import Buffer

class Plan:
    def __init__(
        self,
        path: str,
        arena_per_image: int,
        values: tuple[tuple[int, int, int, int, int, int], ...],
        ops: tuple[
            tuple[tuple[int, ...], tuple[float, ...], tuple[Buffer | None, ...]],
            ...,
        ],
        /,
    ) -> None: ...
    def run(self, arrays: tuple[Buffer, ...], batch: int, chunk: int, threads: int, /) -> None: ...

def paths() -> tuple[str, ...]: ...
