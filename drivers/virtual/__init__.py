"""The bench: a process that hosts virtual boards, which speak the real protocols to the real tools.

A board and the driver that talks to it agree only over the wire: nothing here imports a driver or shares its codec.
"""
