"""The mixture and the order of training, for the stage `mix`.

`mixture` says what is wanted and which documents belong to which leaf; `plan` decides from token
counts how often each leaf's documents are used; `order` gives every use its place.
"""
