"""The gang: what runs inside a worker, how workers find, trust and hear each other, and the
driver's end of the line."""
