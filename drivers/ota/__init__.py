"""Updates over the network: boards that take an image beside the one that runs, and start it by themselves.

One protocol a module; the address of a board is `net://host:port` (drivers/net.py), a password is a reference
(drivers/secrets.py).
"""
