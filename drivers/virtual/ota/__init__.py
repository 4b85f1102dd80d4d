"""Virtual boards that update themselves over the network.

What they share: station.py (the place on the bench), device.py (supply, resets, services), slots.py (memory for two
firmwares, in files), ports.py (a TCP and a UDP port with the line's faults).
"""
