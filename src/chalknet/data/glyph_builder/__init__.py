"""Build a balanced set of labeled letter images from font files.

    find_fonts -> scan_fonts -> drop near-identical faces -> choose_images -> LetterSet -> npz_bytes
                                     read_manifest -> build_pinned ->──────┘

letters        the characters that a text stands for
fonts          font files on disk
faces          results of reading a font file: faces and drops
drawing        drawing one glyph, one face, one file
scanning       drawing many files in a pool of processes
deduplication  one of each set of near-identical rows
choice         which images of each letter are used
families       which faces share a design
manifest       the list of faces: records, CSV, and the fonts that it names
letter_set     images, numbered and shuffled
building       the two ways to build a set
archive        the .npz file, reproducible byte for byte
comparison     a rebuilt set compared with the file that it should equal

A module imports only from modules above it.
"""
