"""Programming exercises: folders with blanks for students, and the grader that checks what they write.

A `Task` is one function to write. Its reference solution is made of the functions of `network` and
`training`, and its catalog of mistakes is made of functions that compute what typical wrong
solutions compute. `grading` compares the outcomes of the student's function with both. The
student's code only runs in a process of its own: `worker`. May import everything below `studies`.
"""
