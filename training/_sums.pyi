from lowbitc.compiler.elements import Float32

def multiply(
    a: Float32,
    b: Float32,
    out: Float32,
    chunk: int,
    first: int,
    last: int,
    generic: bool,
    /,
) -> None: ...
