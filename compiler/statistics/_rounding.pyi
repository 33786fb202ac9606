from lowbitc.compiler.elements import Float64

def feed_back(
    arrays: tuple[Float64, Float64, Float64, Float64, Float64, Float64],
    first: int,
    last: int,
    odd: bool,
    least: float,
    most: float,
    /,
) -> None: ...
def descend(
    arrays: tuple[Float64, Float64, Float64, Float64, Float64],
    first: int,
    last: int,
    odd: bool,
    least: float,
    most: float,
    /,
) -> bool: ...
