"""The program container (LB6xx): what each code says, why, and what to do."""

from __future__ import annotations

from lowbitc.compiler.codes.code import Code

_COPY_AGAIN = "Copy the file again as binary and compare its SHA-256, or compile the model again."
_COMPILE_AGAIN = (
    "Compile the model again; if another tool wrote the file, compare it with docs/container.md."
)
_UPDATE = "Update lowbitc, or compile the model again with the version that is installed."

CODES: tuple[Code, ...] = (
    Code(
        "LB601",
        "Not a lowbitc program",
        "The file does not start with the eight bytes that every program starts with.",
        "A transfer as text (line ends changed, the top bit lost), a Git LFS pointer or another "
        "kind of file would otherwise be read as nonsense.",
        "Name a program that `lowbitc compile` wrote. Transfer programs as binary; with Git, mark "
        "`*.lbc binary` in .gitattributes, and run `git lfs pull` where LFS keeps them.",
    ),
    Code(
        "LB602",
        "Program cut short",
        "The file has fewer bytes than its header says.",
        "A download or copy stopped early, or the disk was full.",
        _COPY_AGAIN,
    ),
    Code(
        "LB603",
        "Damaged section",
        "The bytes of a section do not have the CRC-32 that the section table holds.",
        "One changed bit in a weight or threshold gives other results without any other sign.",
        _COPY_AGAIN,
    ),
    Code(
        "LB604",
        "Absurd length",
        "A length or count in the file is larger than the file, or than any program may be.",
        "Lengths are checked before memory is asked for, so that a damaged or hostile file "
        "cannot exhaust it.",
        _COPY_AGAIN,
    ),
    Code(
        "LB605",
        "Another major format version",
        "The program is of a major format version that this lowbitc does not read.",
        "A new major version changes what existing bytes mean; guessing would give wrong results.",
        _UPDATE,
    ),
    Code(
        "LB606",
        "Unknown required section",
        "The program has a section of a type that this lowbitc does not know, and it is not "
        "marked optional.",
        "Results could depend on it. Sections marked optional are skipped and kept.",
        _UPDATE,
    ),
    Code(
        "LB607",
        "Bad manifest",
        "The manifest is missing, not a JSON object, not in canonical form, or not of the shape "
        "that a program has.",
        "The manifest says what every other section means. It has one form, so that the same "
        "program is the same file.",
        _COMPILE_AGAIN,
    ),
    Code(
        "LB608",
        "Bytes after the end",
        "The file has more bytes than its header says.",
        "Something was appended, or two files were joined; the SHA-256 would not cover it.",
        _COPY_AGAIN,
    ),
    Code(
        "LB609",
        "Damaged header or section table",
        "The header and the section table do not have their CRC-32, or set bits that the format "
        "reserves.",
        "Offsets and lengths of all sections come from there.",
        _COPY_AGAIN,
    ),
    Code(
        "LB610",
        "Wrong order or place of sections",
        "Sections are out of order, repeated, overlapping, not aligned to 64 bytes, or leave gaps.",
        "Lengths fix every offset, so that the same content has exactly one file, and no byte is "
        "read as two things.",
        _COMPILE_AGAIN,
    ),
    Code(
        "LB611",
        "Padding that is not zero",
        "Bytes between sections are not zero.",
        "The file is damaged there, or carries bytes that no reader looks at.",
        _COPY_AGAIN,
    ),
    Code(
        "LB612",
        "Digest differs",
        "All sections have their CRC-32, but the file does not have the SHA-256 in its header.",
        "The digest itself is damaged, or the file was changed on purpose and only its CRC-32 "
        "were mended.",
        _COPY_AGAIN,
    ),
    Code(
        "LB613",
        "Program cannot be read",
        "The system refused to open or read the file, for the reason that the message ends with.",
        "A missing file, no permission, or a folder in place of a file.",
        "Check the path; `lowbitc compile MODEL.onnx -o OUT.lbc` writes a program.",
    ),
    Code(
        "LB614",
        "Program cannot be written",
        "The system refused to write the file, for the reason that the message ends with.",
        "The program is written beside its place and moved there when it is whole: an older "
        "program of that name is still there, unchanged.",
        "Create the folder, free space, or name another file with -o.",
    ),
    Code(
        "LB615",
        "Malformed content of a section",
        "Arrays or packed levels in a section are not what their headers say.",
        "The check sums fit, so the file is as it was written: by another tool, or by a defect.",
        _COMPILE_AGAIN,
    ),
)
