"""The problem that DROO was made for: wireless powered mobile edge computing with one access point.

Huang, Bi, Zhang, IEEE TMC 2020 (doi 10.1109/TMC.2019.2928811). Its frames, physics and environment
are its own.
"""
