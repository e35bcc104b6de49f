"""Font files in, a balanced set of labeled letter images out: find, draw, drop, thin, group, shuffle.

    find_fonts -> scan_fonts -> drop near-identical faces -> choose_images -> LetterSet -> npz_bytes
                                     read_manifest -> build_pinned ->──────┘

letters     which characters a text stands for                  families    which faces share a design
fonts       font files on disk                                  manifest    the pin list: records, CSV, matching fonts
faces       what comes of a file: faces and drops               letter_set  images put together, numbered, shuffled
drawing     one glyph, one face, one file                       building    the two ways to build
scanning    many files, in a pool of processes                  archive     the .npz file, byte for byte the same
deduplication  one of each set of near-identical rows              comparison  a rebuild beside the file it should equal
choice      which images of each letter are taken

A file imports only from files that stand before it here, the left column first.
"""
