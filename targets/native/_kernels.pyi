from lowbitc.compiler.elements import Array

class Plan:
    def __init__(
        self,
        path: str,
        arena_per_image: int,
        values: tuple[tuple[int, int, int, int, int, int], ...],
        ops: tuple[
            tuple[tuple[int, ...], tuple[float, ...], tuple[Array | None, ...]],
            ...,
        ],
        /,
    ) -> None: ...
    def run(self, arrays: tuple[Array, ...], batch: int, chunk: int, threads: int, /) -> None: ...

def paths() -> tuple[str, ...]: ...
