"""The gang: what runs inside a worker, and how workers find, authenticate and reach each other."""
