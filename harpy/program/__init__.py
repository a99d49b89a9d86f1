"""What the author of a program sees: the program's source, the Context and what the Context hands
out.
"""
