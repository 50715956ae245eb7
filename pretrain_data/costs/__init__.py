"""What a run will cost, reckoned from what smaller runs over data of the same kind have used.

`points` reads what was measured, `law` fits it, `plan` scales it to the tokens that are wanted.
"""
